import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync } from 'node:fs'
import { type AddressInfo, createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { describe, test } from 'node:test'
import {
  connect,
  exchange,
  IRIS,
  irisBody,
  request,
  SLOW,
  slowBody,
  until,
} from '../http/client.ts'
import { INHERITED, projectFolder, startProcess, startServer, testModel } from '../server.ts'

const INFER = request('POST', IRIS, {}, irisBody())

/** Starts the function several times in succession with one listening socket, like systemd. */
async function activated(
  times: number,
  env: Record<string, string>,
  socket = createServer().listen(0, '127.0.0.1'),
) {
  if (!socket.listening) await once(socket, 'listening')
  const { port } = socket.address() as AddressInfo
  // The inner shell sets LISTEN_PID to its own process id, which exec keeps. The outer shell keeps
  // the socket.
  const start = `sh -c 'LISTEN_PID=$$ exec "$0" function/main.ts' "$0"`
  const child = spawn('sh', ['-c', Array(times).fill(start).join(' && '), process.execPath], {
    cwd: projectFolder,
    env: { ...INHERITED, PORT: '1', LISTEN_FDS: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe', descriptorOf(socket)],
    timeout: 30_000,
    killSignal: 'SIGKILL',
  })
  socket.close()
  const log: { msg: string }[] = []
  createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', line =>
    log.push(JSON.parse(line)),
  )
  const told = child.stderr?.setEncoding('utf8').toArray()
  const said = (message: RegExp) => log.filter(({ msg }) => message.test(msg)).length
  return { port, said, told, exited: once(child, 'exit') }
}

/** Node has no public API for a server's file descriptor. */
const descriptorOf = (server: Server) =>
  (server as unknown as { _handle: { fd: number } })._handle.fd

describe('sockets from systemd', { concurrency: 2 }, () => {
  test('a socket from systemd is used instead of PORT, and no example command is printed', async () => {
    const { port, told, exited } = await activated(1, { IDLE_EXIT_SECONDS: '1' })
    const { status, json } = await exchange(port, INFER)
    assert.deepEqual([status, json.outputs[1].data], [200, ['setosa']])
    await exited
    assert.deepEqual(await told, [])
  })

  test('clients that connect to a socket from systemd while a process exits are answered by the next process', async () => {
    const { port, said, exited } = await activated(3, { IDLE_EXIT_SECONDS: '1' })
    for (const ended of [1, 2]) {
      assert.equal((await exchange(port, INFER)).status, 200)
      await until('the process exits', () => said(/IDLE_EXIT_SECONDS; the process exits/) === ended)
    }
    assert.equal((await exchange(port, INFER)).status, 200)
    assert.deepEqual(await exited, [0, null])
    assert.equal(said(/serving/), 3)
  })
})

test('a socket that is not a TCP socket is refused in one line', async () => {
  const socket = createServer().listen(
    join(mkdtempSync(join(tmpdir(), 'onnx-function-')), 'socket'),
  )
  await once(socket, 'listening')
  const { said, exited } = await activated(1, {}, socket)
  assert.deepEqual(await exited, [1, null])
  assert.equal(said(/LISTEN_FDS.* is not a TCP socket/), 1)
})

describe('IDLE_EXIT_SECONDS', { concurrency: 3 }, () => {
  test('IDLE_EXIT_SECONDS makes the process exit with 0 after this time without requests', async () => {
    const server = await startProcess({ IDLE_EXIT_SECONDS: '1' })
    assert.deepEqual(await server.exited, [0, null])
  })

  test('IDLE_EXIT_SECONDS counts from readiness, however long the model took to load', async t => {
    const server = await startServer()
    t.after(server.stop)
    const listening = performance.now()
    await until(
      'the server has listened for longer than the limit',
      () => performance.now() > listening + 600,
    )
    const ready = performance.now()
    await server.closeWhenUnused(500)
    assert.ok(performance.now() - ready >= 500)
  })

  test('IDLE_EXIT_SECONDS counts from the last response, and does not interrupt a request that takes longer', async () => {
    const server = await startProcess({
      IDLE_EXIT_SECONDS: '3',
      MODEL_DIR: testModel('slow'),
      MAX_BATCH_ROWS: '1',
    })
    const port = Number(new URL(server.url).port)
    const half = await connect(port)
    half.send(request('POST', SLOW, {}, slowBody()).slice(0, -20))
    const began = performance.now()
    await until(
      'the request has taken longer than IDLE_EXIT_SECONDS',
      () => performance.now() > began + 3_500,
    )
    half.send(slowBody().slice(-20))
    assert.equal((await half.answer()).status, 200)
    const answered = performance.now()
    half.socket.end()
    assert.deepEqual(await server.exited, [0, null])
    assert.ok(performance.now() - answered >= 2_000)
  })

  test('IDLE_EXIT_SECONDS does not cut off connections: responses announce the timeout, and the process waits for idle connections', async () => {
    const server = await startProcess({ IDLE_EXIT_SECONDS: '3', REQUEST_TIMEOUT_MS: '20000' })
    const port = Number(new URL(server.url).port)
    const [kept, silent] = [await connect(port), await connect(port)]
    kept.send(INFER)
    assert.equal((await kept.answer()).headers['keep-alive'], 'timeout=3')
    await kept.closed
    silent.send(INFER)
    assert.equal((await silent.answer()).status, 200)
    assert.deepEqual(await server.exited, [0, null])
  })

  test('IDLE_EXIT_SECONDS is not delayed by constant requests for health, readiness and metrics', async () => {
    const server = await startProcess({ IDLE_EXIT_SECONDS: '3' })
    const port = Number(new URL(server.url).port)
    const ended = server.exited.then(() => 'ended')
    const watch = (path: string) =>
      exchange(port, request('GET', path)).then(({ headers }) => headers.connection)
    const paths = [
      '/v2/health/ready',
      '/health/liveness',
      '/health',
      '/v2/models/iris-classifier/ready',
      '/metrics',
    ]
    for (const path of paths) assert.equal(await watch(path), 'close')
    let last: string | undefined = 'close'
    // The connection is refused if the process exits meanwhile.
    for (let i = 0; last === 'close'; i++)
      last = await Promise.race([
        ended,
        watch(paths[i % paths.length] as string).catch(() => ended),
      ])
    assert.deepEqual(await server.exited, [0, null])
  })

  test('IDLE_EXIT_SECONDS is off by default, and connections are kept for 95 s', async () => {
    const server = await startProcess()
    const kept = await connect(Number(new URL(server.url).port))
    kept.send(INFER)
    assert.equal((await kept.answer()).headers['keep-alive'], 'timeout=95')
    server.process.kill('SIGTERM')
    await server.exited
  })
})
