import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage } from 'node:http'
import { after, before, test } from 'node:test'
import { gunzipSync, inflateSync } from 'node:zlib'
import { type Server, startProcess, startServer, testModel } from '../server.ts'
import {
  connect,
  exchange,
  IRIS,
  irisBody,
  readMetrics,
  request,
  SLOW,
  slowBody,
  until,
} from './client.ts'

let server: Server
before(async () => {
  server = await startServer()
})
after(() => server.stop())

const MODEL = '/v2/models/iris-classifier'
const GET_ROUTES = [
  ...[
    '/',
    '/v2',
    '/v2/',
    '/v2/health/live',
    '/v2/health/ready',
    '/health',
    '/ready',
    '/health/liveness',
    '/health/readiness',
  ],
  ...[
    '/metrics',
    '/openapi.json',
    '/docs',
    MODEL,
    `${MODEL}/`,
    `${MODEL}/ready`,
    `${MODEL}/versions/v1.0.0`,
    `${MODEL}/versions/v1.0.0/ready`,
  ],
]
const POST_ROUTES = [IRIS, `${MODEL}/versions/v1.0.0/infer`]

const inferenceOf = (headers: Record<string, string> = {}, id?: string) =>
  request('POST', IRIS, headers, irisBody(id))

test('serves many requests on one connection, and keeps it for longer than the 90 s of the queue-proxy', async () => {
  const connection = await connect(server.port)
  for (let i = 0; i < 200; i++) {
    connection.send(inferenceOf({}, `${i}`))
    const { status, json, headers } = await connection.answer()
    assert.deepEqual([status, json.id, headers.connection], [200, `${i}`, 'keep-alive'])
    assert.ok(
      Number(/timeout=(\d+)/.exec(headers['keep-alive'] ?? '')?.[1]) >= 95,
      headers['keep-alive'],
    )
  }
  connection.socket.destroy()
})

test('closes the connection after a request with Connection: close', async () => {
  const connection = await connect(server.port)
  connection.send(inferenceOf({ connection: 'close' }))
  assert.equal((await connection.answer()).headers.connection, 'close')
  await connection.closed
})

test('answers pipelined requests in order, however long each request takes', async () => {
  const connection = await connect(server.port)
  const targets = ['/v2', '/metrics', '/nowhere', '/v2/health/live']
  connection.send(
    Array.from({ length: 50 }, (_, i) =>
      inferenceOf({ 'x-request-id': `infer-${i}` }, `${i}`).concat(
        request('GET', targets[i % 4] as string, { 'x-request-id': `get-${i}` }),
      ),
    ).join(''),
  )
  for (let i = 0; i < 50; i++) {
    const first = await connection.answer()
    assert.deepEqual(
      [first.status, first.json.id, first.headers['x-request-id']],
      [200, `${i}`, `infer-${i}`],
    )
    assert.equal((await connection.answer()).headers['x-request-id'], `get-${i}`)
  }
  connection.socket.destroy()
})

/** A response without the headers that depend on the time. */
function lasting(
  { date: _, ...headers }: Readonly<Record<string, string>>,
  path: string,
): Record<string, string> {
  const { 'content-length': length, ...others } = headers
  return path === '/metrics'
    ? { ...others, 'content-length': String(length !== undefined) }
    : headers
}

for (const path of GET_ROUTES) {
  test(`HEAD ${path} gets the same response as GET, without the body`, async () => {
    const connection = await connect(server.port)
    for (const headers of [{}, { accept: 'text/html' }, { 'accept-encoding': 'gzip' }] as Record<
      string,
      string
    >[]) {
      connection.send(request('GET', path, headers))
      const get = await connection.answer()
      connection.send(request('HEAD', path, headers))
      const head = await connection.answer('HEAD')
      assert.equal(get.status, 200)
      assert.deepEqual(
        [head.status, lasting(head.headers, path)],
        [get.status, lasting(get.headers, path)],
      )
      assert.ok('content-length' in head.headers)
    }
    connection.send(request('GET', '/v2/health/live'))
    assert.deepEqual(
      (await connection.answer()).json,
      { live: true },
      'no bytes are left on the connection',
    )
    connection.socket.destroy()
  })
}

test('a HEAD request for an unknown path, or for a path without GET, gets the error status and no body', async () => {
  const connection = await connect(server.port)
  for (const [path, status] of [
    ['/nowhere', 404],
    [IRIS, 405],
  ] as const) {
    connection.send(request('HEAD', path))
    assert.equal((await connection.answer('HEAD')).status, status)
  }
  connection.socket.destroy()
})

test('OPTIONS lists the allowed methods of every route and of the server', async () => {
  const allowed = (path: string) =>
    POST_ROUTES.includes(path)
      ? 'POST, OPTIONS'
      : path === '/' || path === '*'
        ? 'GET, HEAD, POST, OPTIONS'
        : 'GET, HEAD, OPTIONS'
  for (const path of [...GET_ROUTES, ...POST_ROUTES, '*']) {
    const { status, headers, body } = await exchange(server.port, request('OPTIONS', path))
    assert.deepEqual(
      [path, status, headers.allow, body, headers['content-length']],
      [path, 204, allowed(path), '', undefined],
    )
  }
  assert.equal((await exchange(server.port, request('OPTIONS', '/nowhere'))).status, 404)
})

test('no response allows other origins by default', async () => {
  const origin = { origin: 'https://elsewhere.example', 'access-control-request-method': 'POST' }
  for (const bytes of [
    ...GET_ROUTES.map(path => request('GET', path, origin)),
    request('OPTIONS', IRIS, origin),
    inferenceOf(origin),
  ]) {
    const { headers } = await exchange(server.port, bytes)
    assert.deepEqual(
      Object.keys(headers).filter(name => name.startsWith('access-control')),
      [],
    )
  }
})

const TARGETS = [
  ['a query', `${IRIS}?a=1&b=/x?y`],
  ['an empty query', `${IRIS}?`],
  ['a complete URL', `http://test${IRIS}`],
  ['a complete URL with a query', `http://test:8080${IRIS}?a=1`],
  ['an escaped letter in the model\u2019s name', IRIS.replace('iris', '%69ris')],
] as const
for (const [what, target] of TARGETS) {
  test(`a request target with ${what} finds its route`, async () => {
    assert.equal((await exchange(server.port, request('POST', target, {}, irisBody()))).status, 200)
  })
}

test('a complete URL without a path refers to the root', async () => {
  assert.equal(
    (await exchange(server.port, request('GET', 'http://test'))).json.name,
    'onnx-function',
  )
})

test('returns x-request-id in responses and errors, and does not generate an id', async () => {
  const id = { 'x-request-id': 'my id: 1/é' }
  for (const bytes of [
    inferenceOf(id),
    request('GET', '/nowhere', id),
    request('GET', '/v2', id),
  ]) {
    assert.equal(
      (await exchange(server.port, Buffer.from(bytes, 'latin1'))).headers['x-request-id'],
      'my id: 1/é',
    )
  }
  assert.equal('x-request-id' in (await exchange(server.port, inferenceOf())).headers, false)
})

const ENCODINGS: readonly [acceptEncoding: string, contentEncoding: string | undefined][] = [
  ['gzip', 'gzip'],
  ['GZip', 'gzip'],
  ['x-gzip', 'gzip'],
  ['deflate', 'deflate'],
  ['gzip, deflate, br', 'gzip'],
  ['gzip;q=0.5, deflate;q=0.8', 'deflate'],
  ['*', 'gzip'],
  ['gzip;q=0, *', 'deflate'],
  ['deflate;q=0.1, *;q=0', 'deflate'],
  ['identity;q=0.5, gzip;q=0.5', 'gzip'],
  ['identity', undefined],
  ['identity, gzip;q=0.5', undefined],
  ['gzip;q=0', undefined],
  ['gzip; q=0.000', undefined],
  ['gzip;q=nonsense', undefined],
  ['gzip;q=-1', undefined],
  ['br, zstd', undefined],
  ['', undefined],
]
for (const [acceptEncoding, encoding] of ENCODINGS) {
  test(`Accept-Encoding "${acceptEncoding}" gets a large response with the encoding ${encoding ?? 'identity'}`, async () => {
    const inputs = [
      { name: 'input', shape: [200, 4], datatype: 'FP32', data: Array(800).fill(1.5) },
    ]
    const connection = await connect(server.port)
    const chunks: Buffer[] = []
    connection.socket.on('data', chunk => chunks.push(chunk))
    connection.send(
      request(
        'POST',
        IRIS,
        { 'accept-encoding': acceptEncoding, connection: 'close' },
        JSON.stringify({ inputs }),
      ),
    )
    const { status, headers } = await connection.answer()
    await connection.closed
    const bytes = Buffer.concat(chunks)
    const body = bytes.subarray(bytes.indexOf('\r\n\r\n') + 4)
    assert.deepEqual([status, headers['content-encoding']], [200, encoding])
    assert.equal(headers.vary?.toLowerCase(), 'accept-encoding')
    const text =
      encoding === 'gzip' ? gunzipSync(body) : encoding === 'deflate' ? inflateSync(body) : body
    assert.deepEqual(JSON.parse(text.toString()).outputs[0].shape, [200, 3])
  })
}

test('does not compress a small response', async () => {
  const { headers } = await exchange(server.port, inferenceOf({ 'accept-encoding': 'gzip' }))
  assert.equal('content-encoding' in headers, false)
})

/** The response of 20 MB exceeds the sockets' buffers. */
function large(): Buffer {
  const data = Buffer.alloc(20_000_000)
  const json = JSON.stringify({
    inputs: [
      {
        name: 'x',
        shape: [data.length / 4],
        datatype: 'FP32',
        parameters: { binary_data_size: data.length },
      },
    ],
    parameters: { binary_data_output: true },
  })
  const head = request('POST', '/v2/models/identity-fp32/infer', {
    'content-length': String(json.length + data.length),
    'inference-header-content-length': String(json.length),
  })
  return Buffer.concat([Buffer.from(head + json), data])
}

const succeeded = async ({ service }: Server) =>
  [...readMetrics(await service.metrics.text())].find(
    ([name]) => name.startsWith('inference_requests_total') && name.includes('success'),
  )?.[1] ?? 0

test('a client that does not read its response does not affect other clients, and gets the complete response once it reads', async t => {
  const identity = await startServer({ MODEL_DIR: testModel('identity-fp32') })
  t.after(identity.stop)
  const slow = await connect(identity.port)
  slow.socket.pause()
  slow.send(large())
  await until('the response is produced', async () => (await succeeded(identity)) === 1)
  assert.equal((await exchange(identity.port, request('GET', '/v2/health/ready'))).status, 200)
  slow.socket.resume()
  assert.ok(((await slow.answer()).headers['content-length'] as unknown as number) > 20_000_000)
  slow.socket.destroy()
})

test('a response that is still being read when the server closes arrives completely, and then the server is closed', async t => {
  const identity = await startServer({ MODEL_DIR: testModel('identity-fp32') })
  t.after(identity.stop)
  const slow = await connect(identity.port)
  slow.socket.pause()
  slow.send(large())
  await until('the response is produced', async () => (await succeeded(identity)) === 1)
  // An upper limit, not a delay: a busy machine needs seconds to read 20 MB.
  const closed = identity.close(30_000)
  // Several turns later, the server has closed its idle connections.
  for (let i = 0; i < 20; i++) await new Promise(setImmediate)
  slow.socket.resume()
  assert.equal((await slow.answer()).status, 200)
  await slow.closed
  assert.equal(await closed, true)
})

test('when the server closes, a request whose headers are arriving is answered, and an idle connection is closed', async t => {
  const own = await startServer()
  t.after(own.stop)
  const [fresh, used, idle, unused] = await Promise.all([0, 1, 2, 3].map(() => connect(own.port)))
  for (const connection of [used, idle]) {
    connection?.send(inferenceOf())
    await connection?.answer()
  }
  fresh?.send(inferenceOf().slice(0, 30))
  used?.send(inferenceOf().slice(0, 30))
  await exchange(own.port, request('GET', '/v2'))
  const closed = own.close(5_000)
  await Promise.all([idle?.closed, unused?.closed])
  for (const connection of [fresh, used]) {
    connection?.send(inferenceOf().slice(30))
    const answer = await connection?.answer()
    assert.deepEqual([answer?.status, answer?.headers.connection], [200, 'close'])
    await connection?.closed
  }
  assert.equal(await closed, true)
})

test('a request that arrives in time during shutdown is answered, even if the timer that would close its connection is late', async t => {
  const own = await startServer()
  t.after(own.stop)
  const client = await connect(own.port)
  client.send(inferenceOf())
  await client.answer()
  let now = performance.now()
  t.mock.method(performance, 'now', () => now)
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const closed = own.close(5_000)
  for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate)
  client.send(inferenceOf())
  // The timers run in the same turn, before the event loop has read the request.
  now += 10_000
  t.mock.timers.tick(4_000)
  const answer = await client.answer()
  assert.deepEqual([answer.status, answer.headers.connection], [200, 'close'])
  await client.closed
  assert.equal(await closed, true)
})

test('a connection that was idle for too long is closed, unless a request has arrived meanwhile', async t => {
  const own = await startServer({ IDLE_EXIT_SECONDS: '1' })
  t.after(own.stop)
  const [used, idle] = await Promise.all([connect(own.port), connect(own.port)])
  for (const client of [used, idle]) {
    client.send(inferenceOf())
    await client.answer()
  }
  await new Promise(setImmediate)
  used.send(inferenceOf())
  // Block the event loop for longer than the keep-alive time, like a busy machine.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 2_500)
  assert.equal((await used.answer()).status, 200)
  await Promise.all([used.closed, idle.closed])
})

test('a client that connects during the last push of an unused process is served, and its metrics are pushed', async t => {
  const own = await startServer()
  t.after(own.stop)
  const pushes: (() => void)[] = []
  const closed = own.closeWhenUnused(10, () => new Promise<void>(resolve => pushes.push(resolve)))
  await until('the first push begins', () => pushes.length === 1)
  assert.equal((await exchange(own.port, inferenceOf({ connection: 'close' }))).status, 200)
  pushes[0]?.()
  await until('the second push begins', () => pushes.length === 2)
  pushes[1]?.()
  await closed
  assert.equal(pushes.length, 2)
})

for (const [what, path, body] of [
  ['a request that is refused after its body was read', IRIS, '{}'],
  ['a request that is refused before its body was read', '/nowhere', '{}'],
  ['an inference', IRIS, irisBody()],
] as const) {
  test(`a connection is idle after the response to ${what}, and shutdown does not wait for it`, async t => {
    const own = await startServer()
    t.after(() => own.stop())
    const connection = await connect(own.port)
    connection.send(request('POST', path, {}, body))
    await connection.answer()
    // A busy connection would be cut off after the timeout.
    assert.equal(await own.close(5_000), true)
  })
}

test('the model does not run for clients that hung up while it was loading, with or without pipelining', async t => {
  const own = await startServer({}, { load: false })
  t.after(own.stop)
  const one = await connect(own.port)
  const two = await connect(own.port)
  one.send(inferenceOf())
  two.send(inferenceOf() + inferenceOf())
  // The third request waits for the response to the second, on the same connection.
  await until('both requests wait', () => own.service.model.queuedRows === 2)
  one.socket.destroy()
  two.socket.destroy()
  await Promise.all([one.closed, two.closed])
  await until('no request waits', () => own.service.model.queuedRows === 0)
  await own.service.model.load()
  const metrics = async () => readMetrics(await own.service.metrics.text())
  await until(
    'no request is in flight',
    async () => (await metrics()).get('inference_requests_in_flight') === 0,
  )
  assert.equal((await metrics()).get('inference_batch_rows_count'), 0)
})

test('the model does not run for clients that hung up while other requests ran', async t => {
  const own = await startServer({ MODEL_DIR: testModel('slow'), MAX_BATCH_ROWS: '1' })
  t.after(own.stop)
  const clients = await Promise.all(Array.from({ length: 6 }, () => connect(own.port)))
  for (const client of clients) client.send(request('GET', '/v2'))
  for (const client of clients) await client.answer()
  for (const client of clients) client.send(request('POST', SLOW, {}, slowBody()))
  await until('most requests wait', () => own.service.model.queuedRows >= 4)
  for (const client of clients) client.socket.destroy()
  const metrics = async () => readMetrics(await own.service.metrics.text())
  await until(
    'no request is in flight',
    async () => (await metrics()).get('inference_requests_in_flight') === 0,
  )
  const runs = (await metrics()).get('inference_batch_rows_count') as number
  assert.ok(runs <= 3, `${runs} runs`)
})

test('clients that hang up at any point cause no error in the log and do not stop the server', async () => {
  const own = await startProcess({ MODEL_DIR: testModel('slow') })
  const port = Number(new URL(own.url).port)
  const whole = request('POST', SLOW, {}, slowBody())
  const chunked = `POST ${SLOW} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{"\r\n`
  for (const bytes of [
    '',
    'PO',
    whole.slice(0, 60),
    whole.slice(0, -10),
    chunked,
    whole,
    whole + whole,
    `${whole}rubbish\r\n\r\n`,
    'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n',
  ]) {
    for (const leave of ['destroy', 'resetAndDestroy', 'end'] as const) {
      const connection = await connect(port)
      connection.send(bytes)
      await exchange(port, request('GET', '/v2'))
      // A socket that the server has ended cannot be reset: Node 24 would leave it open forever.
      connection.socket[
        leave === 'resetAndDestroy' && !connection.socket.writable ? 'destroy' : leave
      ]()
      if (leave !== 'end') await connection.closed
    }
  }
  assert.equal((await exchange(port, whole)).status, 200)
  own.process.kill('SIGTERM')
  assert.deepEqual(await own.exited, [0, null])
  assert.deepEqual(
    own.log.filter(line => JSON.parse(line).level > 30),
    [],
  )
})

test('answers the requests on one connection one after the other', async t => {
  const own = await startServer({}, { load: false })
  t.after(own.stop)
  const [one, other] = await Promise.all([connect(own.port), connect(own.port)])
  one.send(inferenceOf({}, '1') + inferenceOf({}, '2') + inferenceOf({}, '3'))
  other.send(inferenceOf({}, '4'))
  await until(
    'the first request of each connection waits',
    () => own.service.model.queuedRows === 2,
  )
  await exchange(own.port, request('GET', '/v2'))
  assert.equal(own.service.model.queuedRows, 2)
  await own.service.model.load()
  for (const id of ['1', '2', '3']) assert.equal((await one.answer()).json.id, id)
  assert.equal((await other.answer()).json.id, '4')
  for (const { socket } of [one, other]) socket.destroy()
})

test('a response that is not read within REQUEST_TIMEOUT_MS is cut off, even if its client continues to send', async t => {
  const own = await startServer({
    MODEL_DIR: testModel('identity-fp32'),
    // Long enough for a busy machine to run the request.
    REQUEST_TIMEOUT_MS: '3000',
  })
  t.after(own.stop)
  const client = await connect(own.port)
  client.socket.pause()
  client.send(large())
  await until('the response is produced', async () => (await succeeded(own)) === 1)
  await until('the response is cut off', () => {
    if (client.socket.writable) client.send('G')
    return client.socket.destroyed
  })
})

test('more than 128 pipelined requests close the connection, and other connections are not affected', async t => {
  const own = await startServer({ MODEL_DIR: testModel('slow'), MAX_BATCH_ROWS: '1' })
  t.after(own.stop)
  const client = await connect(own.port)
  client.send(request('POST', SLOW, {}, slowBody()) + request('GET', '/v2').repeat(129))
  await client.closed
  assert.equal((await exchange(own.port, request('GET', '/v2'))).status, 200)
})

test('after a connection has been closed for pipelining, its other requests are not parsed', async t => {
  const own = await startServer({ MODEL_DIR: testModel('slow'), MAX_BATCH_ROWS: '1' })
  t.after(own.stop)
  let parsed = 0
  const count = () => parsed++
  subscribe('http.server.request.start', count)
  t.after(() => unsubscribe('http.server.request.start', count))
  const client = await connect(own.port)
  client.send(request('POST', SLOW, {}, slowBody()) + request('GET', '/v2').repeat(1_000))
  await client.closed
  assert.ok(parsed >= 129 && parsed <= 131, `${parsed} requests were parsed`)
})

test('if all connections together pipeline too much, the connection that pipelines most is closed', async t => {
  const own = await startServer({
    MODEL_DIR: testModel('slow'),
    MAX_BATCH_ROWS: '1',
    MAX_QUEUE_ROWS: '16',
  })
  t.after(own.stop)
  const pipelined = request('GET', '/v2')
  const slow = request('POST', SLOW, {}, slowBody())
  const greedy = await connect(own.port)
  const modest = await connect(own.port)
  greedy.send(slow + pipelined.repeat(12))
  modest.send(slow + pipelined.repeat(8))
  await greedy.closed
  for (let i = 0; i < 9; i++) assert.equal((await modest.answer()).status, 200)
  const last = await connect(own.port)
  last.send(slow + pipelined.repeat(17))
  await last.closed
})

test('errors have stack traces after a connection with pipelined requests has been closed', async t => {
  const own = await startServer({ MODEL_DIR: testModel('slow'), MAX_BATCH_ROWS: '1' })
  t.after(own.stop)
  const limit = Error.stackTraceLimit
  const requests: IncomingMessage[] = []
  const add = (message: unknown) =>
    requests.push((message as { readonly request: IncomingMessage }).request)
  subscribe('http.server.request.start', add)
  t.after(() => unsubscribe('http.server.request.start', add))
  const client = await connect(own.port)
  client.send(request('POST', SLOW, {}, slowBody()) + request('GET', '/v2').repeat(9))
  await until('all requests have arrived', () => requests.length === 10)
  Error.stackTraceLimit = limit + 1
  const closed = new Promise(resolve => requests[0]?.socket.once('close', resolve))
  client.socket.resetAndDestroy()
  await closed
  assert.equal(Error.stackTraceLimit, limit + 1)
  Error.stackTraceLimit = limit
})
