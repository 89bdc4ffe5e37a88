import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, describe, type TestContext, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { until } from '../http/client.ts'
import { type WrittenModel, writeModel } from '../inference/batchability/onnx-writer.ts'
import { freePort, INHERITED, projectFolder, type ServerProcess, startProcess } from '../server.ts'

const temporary = mkdtempSync(join(tmpdir(), 'runaway-'))
after(() => rmSync(temporary, { recursive: true }))

/** Negates x n times, so that the caller determines how long a run takes. */
const COUNTED: WrittenModel = {
  opset: 17,
  inputs: { n: { type: 'INT64', dims: [1] }, x: { type: 'FP32', dims: [1] } },
  outputs: { y: { type: 'FP32', dims: [1] } },
  nodes: [
    {
      operator: 'Loop',
      inputs: ['n', '', 'x'],
      outputs: ['y'],
      attributes: {
        body: {
          inputs: {
            i: { type: 'INT64', dims: [] },
            go: { type: 'BOOL', dims: [] },
            in: { type: 'FP32', dims: [1] },
          },
          outputs: { on: { type: 'BOOL', dims: [] }, out: { type: 'FP32', dims: [1] } },
          nodes: [
            { operator: 'Identity', inputs: ['go'], outputs: ['on'] },
            { operator: 'Neg', inputs: ['in'], outputs: ['out'] },
          ],
        },
      },
    },
  ],
}

/** Endless if n is 0, as in generated inputs. */
const ENDLESS_ON_ZERO: WrittenModel = {
  ...COUNTED,
  constants: {
    zero: { type: 'INT64', shape: [1], values: [0] },
    never: { type: 'INT64', shape: [1], values: ['1152921504606846976'] },
  },
  nodes: [
    { operator: 'Equal', inputs: ['n', 'zero'], outputs: ['is'] },
    { operator: 'Where', inputs: ['is', 'never', 'n'], outputs: ['times'] },
    ...COUNTED.nodes.map(node => ({ ...node, inputs: ['times', '', 'x'] })),
  ],
}

let folders = 0
function folder(model: WrittenModel, modelJson: object = {}): string {
  const path = join(temporary, `${++folders}`)
  mkdirSync(path)
  writeFileSync(join(path, 'model.onnx'), writeModel(model))
  writeFileSync(join(path, 'model.json'), JSON.stringify({ name: 'm', ...modelJson }))
  return path
}

/** The process is killed after half a minute at the latest. */
async function start(t: TestContext, env: Record<string, string>): Promise<ServerProcess> {
  const server = await startProcess({ PORT: `${await freePort()}`, LOG_LEVEL: 'info', ...env })
  t.after(() => server.process.kill('SIGKILL'))
  return server
}

const NEVER = 2 ** 52
const infer = (url: string, n: number) =>
  fetch(`${url}/v2/models/m/infer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({
      inputs: [
        { name: 'n', datatype: 'INT64', shape: [1], data: [n] },
        { name: 'x', datatype: 'FP32', shape: [1], data: [1] },
      ],
    }),
  })
const readiness = async (url: string) => {
  const response = await fetch(`${url}/v2/health/ready`)
  return { status: response.status, ...((await response.json()) as { error?: string }) }
}
const messages = (server: ServerProcess) =>
  server.log.map(line => (JSON.parse(line) as { msg: string }).msg)
const served = (server: ServerProcess) =>
  messages(server).filter(message => message.startsWith('serving ')).length

describe('endless runs', { concurrency: 2 }, () => {
  test('a request with an endless run gets 504, readiness fails, and the process replaces itself with the same command and port', async t => {
    const server = await start(t, {
      MODEL_DIR: folder(COUNTED),
      RUN_TIMEOUT_MS: '500',
      DRAIN_DELAY_MS: '500',
      DRAIN_TIMEOUT_MS: '3000',
    })
    const { url } = server
    assert.equal((await infer(url, 3)).status, 200)
    const runaway = infer(url, NEVER)
    await until('the run has begun', async () => (await fetch(`${url}/v2/health/live`)).ok)
    const waited = infer(url, 5)
    const answer = await runaway
    assert.equal(answer.status, 504)
    assert.match(
      ((await answer.json()) as { error: string }).error,
      /longer than 0.5 s \(RUN_TIMEOUT_MS\)/,
    )
    const { status, error } = await readiness(url)
    assert.equal(status, 503)
    assert.match(error ?? '', /the process replaces itself/)
    assert.equal((await waited).status, 200, 'a waiting request is answered by another thread')
    await until('the new process serves', () => served(server) === 2)
    assert.equal((await infer(url, 3)).status, 200)
    assert.equal((await readiness(url)).status, 200)
    assert.ok(messages(server).some(message => /its inputs: n \[1\], x \[1\]/.test(message)))
    server.process.kill('SIGTERM')
    assert.deepEqual(await server.exited, [0, null])
  })

  test('an endless run in a transform gets 504, the thread’s other calls get 503, and the process replaces itself', async t => {
    const path = folder(COUNTED)
    const code =
      'export default { preprocess: n => ({ n: [n], x: [1] }), postprocess: ({ y }) => y.data[0] }'
    writeFileSync(join(path, 'transform.mjs'), code)
    const server = await start(t, {
      MODEL_DIR: path,
      RUN_TIMEOUT_MS: '1000',
      DRAIN_DELAY_MS: '500',
      DRAIN_TIMEOUT_MS: '3000',
    })
    const { url } = server
    const call = async (n: number) => {
      const headers = { 'content-type': 'application/json' }
      const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(n) })
      return [answer.status, await answer.json()]
    }
    assert.deepEqual(await call(3), [200, -1])
    const runaway = call(NEVER)
    await until('the run has begun', async () => (await fetch(`${url}/v2/health/live`)).ok)
    await wait(200)
    const waited = call(5)
    assert.deepEqual(await runaway, [
      504,
      { error: 'the run lasted longer than 1 s (RUN_TIMEOUT_MS)' },
    ])
    assert.equal((await waited)[0], 503)
    assert.match((await readiness(url)).error ?? '', /the process replaces itself/)
    await until('the new process serves', () => served(server) === 2)
    assert.deepEqual(await call(4), [200, 1])
    server.process.kill('SIGTERM')
    assert.deepEqual(await server.exited, [0, null])
  })

  test('an endless run does not prevent SIGTERM from stopping the process within DRAIN_TIMEOUT_MS', async t => {
    const server = await start(t, {
      MODEL_DIR: folder(COUNTED),
      RUN_TIMEOUT_MS: '0',
      DRAIN_TIMEOUT_MS: '500',
    })
    const runaway = infer(server.url, NEVER).catch(() => undefined)
    await until('the run has begun', async () => (await fetch(`${server.url}/v2/health/live`)).ok)
    const began = performance.now()
    server.process.kill('SIGTERM')
    assert.deepEqual(await server.exited, [0, null])
    assert.ok(performance.now() - began < 10_000)
    await runaway
  })

  test('an endless run in the warm-up with generated inputs causes a warning, and the model is served', async t => {
    const server = await start(t, {
      MODEL_DIR: folder(ENDLESS_ON_ZERO),
      RUN_TIMEOUT_MS: '500',
      DRAIN_TIMEOUT_MS: '500',
    })
    assert.ok(
      messages(server).some(message => /warm-up with generated inputs failed/.test(message)),
    )
    assert.equal((await infer(server.url, 3)).status, 200)
    assert.equal((await readiness(server.url)).status, 200)
    server.process.kill('SIGTERM')
    assert.deepEqual(await server.exited, [0, null])
  })

  test('an endless run makes a process with a socket from systemd exit with 1, so that systemd starts it again', async t => {
    const socket = createServer().listen(0, '127.0.0.1')
    await once(socket, 'listening')
    const { port } = socket.address() as AddressInfo
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle
    const start = 'LISTEN_PID=$$ exec "$0" function/main.ts'
    const child = spawn('sh', ['-c', start, process.execPath], {
      cwd: projectFolder,
      env: {
        ...INHERITED,
        LISTEN_FDS: '1',
        MODEL_DIR: folder(COUNTED),
        RUN_TIMEOUT_MS: '500',
        DRAIN_TIMEOUT_MS: '500',
      },
      stdio: ['ignore', 'ignore', 'ignore', fd],
      timeout: 30_000,
      killSignal: 'SIGKILL',
    })
    t.after(() => child.kill('SIGKILL'))
    socket.close()
    const exited = once(child, 'exit')
    assert.equal((await infer(`http://127.0.0.1:${port}`, NEVER)).status, 504)
    assert.deepEqual(await exited, [1, null])
  })

  test("an endless run in the warm-up with model.json's sample makes startup fail with a reason", async t => {
    const started = start(t, {
      MODEL_DIR: folder(ENDLESS_ON_ZERO, { sample: { n: [0], x: [1] } }),
      RUN_TIMEOUT_MS: '500',
    })
    await assert.rejects(
      started,
      /failed on the sample in model.json: the run lasted longer than 0.5 s/,
    )
  })
})
