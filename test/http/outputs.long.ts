import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectSocket } from 'node:net'
import { suite, test } from 'node:test'
import { modelFolder, type Picture } from '../../bench/container-memory/models.ts'
import { connectGrpc } from '../grpc/client.ts'
import { rawRequest } from '../grpc/messages.ts'
import { type Server, startServer } from '../server.ts'
import { until } from './client.ts'
import { openSession, open as openStream } from './http2-client.ts'

const MIB = 2 ** 20

async function open(
  t: { after(undo: () => void): void },
  picture: Partial<Picture>,
  env: Record<string, string> = {},
  memoryBytes?: number,
): Promise<Server> {
  const whole = { channels: 1, height: 256, width: 256, isOutput: true, ...picture }
  const folder = modelFolder(whole)
  const server = await startServer(
    { MODEL_DIR: folder.path, ...env },
    memoryBytes === undefined ? {} : { memoryBytes },
  )
  t.after(async () => {
    await server.stop()
    folder[Symbol.dispose]()
  })
  return server
}

const binary = { parameters: { binary_data_output: true } }

function bodyOf(rows: number, more: object = {}): string {
  const data = Array.from({ length: rows * 4 }, (_, i) => i % 10)
  return JSON.stringify({
    inputs: [{ name: 'x', shape: [rows, 4], datatype: 'FP32', data }],
    ...more,
  })
}

async function ask({ url }: Server, rows: number, more: object = {}) {
  const response = await fetch(`${url}/v2/models/picture/infer`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: bodyOf(rows, more),
  })
  return { status: response.status, bytes: Buffer.from(await response.arrayBuffer()) }
}

const errorOf = ({ bytes }: { bytes: Buffer }) => JSON.parse(String(bytes)).error as string

async function runsOf({ service }: Server): Promise<number> {
  const text = await service.metrics.text()
  return Number(/^inference_batch_rows_count (\d+)/m.exec(text)?.[1])
}

/** Sends a request and reads only the beginning of the response. */
async function startReading({ port }: Server, body: string) {
  const socket = connectSocket(port, '127.0.0.1')
  socket.write(
    `POST /v2/models/picture/infer HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  )
  await once(socket, 'readable')
  return socket
}

suite('the limits of responses', () => {
  test('a JSON response is refused before the run if even its shortest form is too large, and the error suggests a solution', async t => {
    const server = await open(t, {}, { MAX_BODY_BYTES: String(8 * MIB) })
    const before = await runsOf(server)
    // 65 rows of 65,536 elements need more than 8 MiB even in the shortest JSON, and 16 MiB in
    // binary.
    const refused = await ask(server, 65)
    assert.equal(refused.status, 413)
    assert.match(
      errorOf(refused),
      /8388608 bytes allowed \(MAX_BODY_BYTES\); request binary tensor data .*fewer rows/,
    )
    assert.equal(await runsOf(server), before)
    assert.equal((await ask(server, 1, binary)).status, 200)
  })

  test('a response that is too large in any form is refused before the run, and the error names the variable', async t => {
    const server = await open(t, {}, { MAX_BODY_BYTES: String(MIB) })
    const before = await runsOf(server)
    const refused = await ask(server, 5, binary)
    assert.equal(refused.status, 413)
    assert.match(errorOf(refused), /1048576 bytes allowed \(MAX_BODY_BYTES\); send fewer rows/)
    assert.equal(await runsOf(server), before)
    assert.equal((await ask(server, 3, binary)).status, 200)
  })

  test('a response that is too large is also refused before the run if its size was learned from an earlier run', async t => {
    const server = await open(t, { isUndeclared: true }, { MAX_BODY_BYTES: String(MIB) })
    const before = await runsOf(server)
    assert.equal((await ask(server, 5, binary)).status, 413)
    assert.equal(await runsOf(server), before)
  })

  test('a JSON response that is too large is refused during encoding if its size depends on the values', async t => {
    const server = await open(t, {}, { MAX_BODY_BYTES: String(MIB / 2) })
    // 65,536 elements of about 8 digits.
    const refused = await ask(server, 1)
    assert.equal(refused.status, 413)
    assert.match(errorOf(refused), /as JSON is larger than the 524288 bytes allowed/)
  })
})

test('a large JSON response is the same whether another thread encodes it or the main thread encodes it in steps', async t => {
  const texts: string[] = []
  for (const EXECUTION of ['auto', 'inline', 'worker'] as const) {
    const server = await open(t, { height: 64 }, { EXECUTION })
    const { status, bytes } = await ask(server, 3)
    assert.equal(status, 200)
    texts.push(String(bytes))
  }
  const [first, ...others] = texts
  assert.equal(JSON.parse(first as string).outputs[0].data.length, 3 * 64 * 256)
  for (const text of others) assert.ok(text === first, 'the texts must be the same')
})

test('rows that do not fit in memory in one run are run one after the other', async t => {
  for (const EXECUTION of ['inline', 'worker']) {
    const whole = await open(t, { isOutput: false }, { EXECUTION })
    const held = await open(t, { isOutput: false }, { EXECUTION }, 1)
    const before = await runsOf(held)
    const [one, other] = [await ask(whole, 6), await ask(held, 6)]
    assert.deepEqual([one.status, other.status], [200, 200])
    assert.equal(String(other.bytes), String(one.bytes))
    assert.equal((await runsOf(held)) - before, 6)
  }
})

test('requests do not share a run if the run would not fit in memory', async t => {
  const server = await open(t, { isOutput: false }, { EXECUTION: 'inline' }, 1)
  const before = await runsOf(server)
  const answers = await Promise.all(Array.from({ length: 8 }, () => ask(server, 1)))
  assert.ok(answers.every(({ status }) => status === 200))
  assert.equal((await runsOf(server)) - before, 8)
})

test('unread responses use memory: further responses wait until their readers disconnect', async t => {
  const server = await open(
    t,
    { channels: 3, height: 1024, width: 1024 },
    { EXECUTION: 'inline', MAX_BODY_BYTES: String(16 * MIB) },
  )
  // Each response has 12 MiB. The memory has room for two, in addition to the sockets' buffers.
  const body = bodyOf(1, binary)
  const sockets = await Promise.all([1, 2].map(() => startReading(server, body)))
  const before = await runsOf(server)
  const third = ask(server, 1, binary)
  while (server.service.model.queuedRows === 0) await new Promise(resolve => setImmediate(resolve))
  assert.equal(await runsOf(server), before, 'the third request waits')
  sockets[0]?.destroy()
  assert.equal((await third).status, 200)
  for (const socket of sockets) socket.destroy()
})

const PATH = '/v2/models/picture/infer'

/** Each function sends a request for one row, and returns a function that hangs up. */
const CLIENTS: Readonly<Record<string, (server: Server) => Promise<() => void>>> = {
  async 'HTTP/1.1'({ port }) {
    const body = bodyOf(1, binary)
    const socket = connectSocket(port, '127.0.0.1')
    socket.write(
      `POST ${PATH} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    )
    return () => socket.destroy()
  },
  async 'HTTP/2'({ url }) {
    const session = await openSession(url)
    const headers = { 'content-type': 'application/json' }
    openStream(session, PATH, { method: 'POST', headers, body: bodyOf(1, binary) })
    return () => session.destroy()
  },
  async gRPC({ port }) {
    const client = connectGrpc(port)
    const inputs = [{ name: 'x', datatype: 'FP32', shape: [1, 4], data: [1, 2, 3, 4] }]
    client.open('ModelInfer').write(rawRequest('picture', inputs))
    return () => client.session.destroy()
  },
}

test('a request that waits for memory is over as soon as its client hangs up', async t => {
  const server = await open(
    t,
    { channels: 3, height: 1024, width: 1024 },
    { EXECUTION: 'inline', MAX_BODY_BYTES: String(16 * MIB), REQUEST_TIMEOUT_MS: '600000' },
  )
  const body = bodyOf(1, binary)
  const sockets = await Promise.all([1, 2].map(() => startReading(server, body)))
  for (const [protocol, start] of Object.entries(CLIENTS)) {
    const leave = await start(server)
    const { model, metrics } = server.service
    await until(`the ${protocol} request waits`, () => model.queuedRows === 1)
    leave()
    await until(`the ${protocol} request is over`, async () =>
      /^inference_requests_in_flight 0$/m.test(await metrics.text()),
    )
    assert.equal(model.queuedRows, 0)
  }
  for (const socket of sockets) socket.destroy()
})
