import assert from 'node:assert/strict'
import type { ChildProcess } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { irisBody, until } from '../http/client.ts'
import { PROGRAMS, projectFolder, type ServerProcess, startProcess } from '../server.ts'

const childrenOf = ({ pid }: ChildProcess): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ').map(Number)

suite('onnx-function --watch', () => {
  const folder = mkdtempSync(join(tmpdir(), 'watch-'))
  const iris = join(projectFolder, 'models/iris/v1.0.0')
  let server: ServerProcess
  before(async () => {
    cpSync(iris, folder, { recursive: true })
    server = await startProcess({}, ['serve', folder, '--watch'], 60_000, PROGRAMS.function)
  })
  after(() => {
    server.process.kill('SIGKILL')
    rmSync(folder, { recursive: true })
  })

  const writeVersion = (version: string) =>
    writeFileSync(join(folder, 'model.json'), JSON.stringify({ name: 'iris', version }))
  const ask = async () => {
    const headers = { 'content-type': 'application/json' }
    const answer = await fetch(server.url, { method: 'POST', headers, body: irisBody('1') })
    return {
      status: answer.status,
      version: ((await answer.json()) as { model_version: string }).model_version,
    }
  }
  const said = (what: RegExp) => server.log.filter(line => what.test(line)).length

  test('--watch serves a changed model once it is ready, and no request fails meanwhile', async () => {
    const versions = new Set<string>()
    for (const version of ['v2', 'v3']) {
      writeVersion(version)
      for (let last = ''; last !== version; ) {
        const answers = await Promise.all(Array.from({ length: 8 }, ask))
        for (const { status } of answers) assert.equal(status, 200)
        last = answers[0]?.version ?? ''
        versions.add(last)
      }
    }
    assert.deepEqual([...versions], ['v1.0.0', 'v2', 'v3'])
  })

  test('--watch serves a changed transform.ts, although there is a transform.js in the same folder', async () => {
    const write = (name: string, answer: string) =>
      writeFileSync(
        join(folder, name),
        `export default { preprocess: (data: { row: number[] }) => ({ input: [data.row] }), postprocess: () => '${answer}' }`.replace(
          name.endsWith('.js') ? ': { row: number[] }' : '',
          '',
        ),
      )
    const answer = async () => {
      const headers = { 'content-type': 'application/json' }
      const body = '{"row":[5.1,3.5,1.4,0.2]}'
      return (await fetch(server.url, { method: 'POST', headers, body })).text()
    }
    write('transform.js', 'built')
    for (const edited of ['one', 'two']) {
      write('transform.ts', edited)
      await until(`${edited} is served`, async () => (await answer()) === `"${edited}"`)
    }
    for (const name of ['transform.js', 'transform.ts']) rmSync(join(folder, name))
    await until('no transform is served', async () => /"error"/.test(await answer()))
  })

  test('--watch detects that a file was replaced, and later changes of the new file in place', async () => {
    const file = join(folder, 'model.json')
    writeFileSync(join(folder, 'new.json'), JSON.stringify({ name: 'iris', version: 'replaced' }))
    renameSync(join(folder, 'new.json'), file)
    await until('the new file is served', async () => (await ask()).version === 'replaced')
    for (const version of ['in-place', 'v3']) {
      writeVersion(version)
      await until(`${version} is served`, async () => (await ask()).version === version)
    }
  })

  test('--watch continues with the old model if the new model is broken, and logs the reason in one line', async () => {
    writeFileSync(join(folder, 'model.onnx'), 'broken')
    await until('the new process failed', () => said(/the model cannot be loaded/) > 0)
    assert.equal(said(/the model cannot be loaded/), 1)
    assert.deepEqual(await ask(), { status: 200, version: 'v3' })
    writeVersion('v4')
    cpSync(join(iris, 'model.onnx'), join(folder, 'model.onnx'))
    await until('v4 is served', async () => (await ask()).version === 'v4')
  })

  test('--watch starts a new process if the serving process was killed', async () => {
    const workers = () => server.log.filter(line => /"url"/.test(line)).length
    const before = workers()
    await until('only one child process is left', () => childrenOf(server.process).length === 1)
    const [pid] = childrenOf(server.process)
    process.kill(pid as number, 'SIGKILL')
    await until('a new process serves', () => workers() > before)
    assert.equal(said(/the server process exited; starting a new one/), 1)
    assert.equal((await ask()).status, 200)
  })

  test('--watch exits with 0 on SIGTERM, together with its child processes', async () => {
    const children = childrenOf(server.process)
    server.process.kill('SIGTERM')
    assert.deepEqual(await server.exited, [0, null])
    for (const child of children)
      assert.throws(
        () => process.kill(child, 0),
        { code: 'ESRCH' },
        `process ${child} is still running`,
      )
  })

  test('--watch exits with 1 if the first model cannot be served', async () => {
    writeFileSync(join(folder, 'model.onnx'), 'broken')
    const starting = startProcess({}, [folder, '--watch'], 60_000, PROGRAMS.function)
    await assert.rejects(starting, /the model cannot be loaded/)
  })
})
