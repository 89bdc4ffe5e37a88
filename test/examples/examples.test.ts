import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, suite, test } from 'node:test'
import { openSession } from '../../function/inference/session.ts'
import { modelTypes } from '../../function/transform/model-types.ts'
import { projectFolder } from '../server.ts'

/*
 * The tests of each example pass as its readers run them: in another folder, with the packed
 * package.
 */

const EXAMPLES = join(projectFolder, 'examples')
const NAMES = readdirSync(EXAMPLES, { withFileTypes: true })
  .filter(entry => entry.isDirectory())
  .map(({ name }) => name)

suite('examples', () => {
  let folder: string
  let tarball: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'examples-'))
    npm(projectFolder, 'pack', '--pack-destination', folder)
    tarball = readdirSync(folder).find(name => name.endsWith('.tgz')) as string
  })
  after(() => rmSync(folder, { recursive: true }))

  for (const name of NAMES)
    suite(name, () => {
      let copy: string
      before(() => {
        copy = join(folder, name)
        cpSync(join(EXAMPLES, name), copy, {
          recursive: true,
          filter: source => basename(source) !== 'node_modules',
        })
        setPackage(copy, `file:../${tarball}`)
        npm(copy, 'install')
      })

      test('compiles', () => npm(copy, 'run', 'check'))
      test('passes its tests', () => npm(copy, 'test'))

      test('responds as its README shows', async () => {
        const page = readFileSync(join(copy, 'README.md'), 'utf8')
        const [, command, shown] =
          /^(curl .*?)\n```\n+```json\n(.*?)\n```$/ms.exec(page) ??
          assert.fail('README.md has no curl command followed by JSON')
        const { url, end } = await startExample(copy)
        try {
          const asked = String(command).replace('localhost:8080', `${url} --silent`)
          const answered = execFileSync('bash', ['-c', asked], { cwd: copy, encoding: 'utf8' })
          assert.equal(answered, shown)
        } finally {
          await end()
        }
      })

      test('has up-to-date types for its model', async () => {
        const model = join(EXAMPLES, name, 'model/model.onnx')
        const session = await openSession(model, 1)
        await session.close()
        const types = readFileSync(join(EXAMPLES, name, 'model/model.d.onnx.ts'), 'utf8')
        assert.equal(modelTypes(session.signature, 'model.onnx'), types)
      })
    })

  test('iris-fields has the same files as the shipped model', () => {
    for (const file of ['model.onnx', 'model.json'])
      assert.deepEqual(
        readFileSync(join(EXAMPLES, 'iris-fields/model', file)),
        readFileSync(join(projectFolder, 'models/iris/v1.0.0', file)),
      )
  })
})

/** Runs the README's `npm start`, on a free port. */
async function startExample(cwd: string): Promise<{ url: string; end: () => Promise<unknown> }> {
  const child = spawn('npm', ['--silent', 'start'], {
    cwd,
    // npm and the server form one process group, so that one signal stops both.
    detached: true,
    env: { ...process.env, PORT: '0', LISTEN_HOST: '127.0.0.1', KUBERNETES_SERVICE_HOST: 'none' },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const closed = once(child, 'close')
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout })
      .on('line', line => {
        const { url } = JSON.parse(line)
        if (url !== undefined) resolve(url)
      })
      .once('close', () => reject(new Error('the server exited before it was ready')))
  })
  const end = () => {
    process.kill(-(child.pid as number))
    return closed
  }
  return { url, end }
}

/** @throws {Error} with the output of npm and of the tests, if npm fails */
function npm(cwd: string, ...args: string[]): void {
  // With this variable, the example's tests would report to the runner of this test.
  const { NODE_TEST_CONTEXT: _, ...env } = process.env
  try {
    execFileSync('npm', args, {
      cwd,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
      env,
    })
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    assert.fail(`npm ${args.join(' ')} in ${basename(cwd)}:\n${stdout}\n${stderr}`)
  }
}

function setPackage(folder: string, address: string): void {
  const file = join(folder, 'package.json')
  const manifest = JSON.parse(readFileSync(file, 'utf8'))
  manifest.dependencies['onnx-function'] = address
  writeFileSync(file, JSON.stringify(manifest))
}
