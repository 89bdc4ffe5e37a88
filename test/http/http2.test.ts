import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:http2'
import type { AddressInfo, Socket } from 'node:net'
import { after, before, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { OpenSession } from '../../function/http/http2.ts'
import { type Server, startServer, testModel } from '../server.ts'
import { connect, IRIS, irisBody, request, SLOW, slowBody, until } from './client.ts'
import {
  block,
  frame,
  head,
  header,
  PREFACE,
  RawSession,
  settings,
  TYPES,
  uint32,
} from './frames.ts'
import { answerOf, ask, open, openSession } from './http2-client.ts'

let server: Server
before(async () => {
  server = await startServer()
})
after(() => server.stop())

test('a connection that begins with the HTTP/2 preface uses HTTP/2', async () => {
  const session = await openSession(server.url)
  const answer = await ask(session, IRIS, { method: 'POST', body: irisBody('two') })
  assert.deepEqual([answer.status, JSON.parse(String(answer.body)).id], [200, 'two'])
  session.destroy()
})

test('the preface may arrive in pieces of any size', async () => {
  for (const length of [1, 7, 23]) {
    const connection = await connect(server.port)
    const received = once(connection.socket, 'data')
    for (let i = 0; i < PREFACE.length; i += length) {
      connection.send(PREFACE.slice(i, i + length))
      // The pieces must arrive in separate packets.
      await wait(1)
    }
    // The server acknowledges an empty SETTINGS frame.
    connection.send(Buffer.of(0, 0, 0, 4, 0, 0, 0, 0, 0))
    const [[first]] = [await received]
    assert.equal(first[3], 4)
    connection.socket.destroy()
  }
})

test('a preface after an HTTP/1.1 request is refused', async () => {
  const connection = await connect(server.port)
  connection.send(request('GET', '/v2') + PREFACE)
  assert.equal((await connection.answer()).status, 200)
  const { status, json } = await connection.answer()
  assert.equal(status, 400)
  assert.match(json.error, /start HTTP\/2 with the first byte of a connection/)
  await connection.closed
})

test('data after a preface is never parsed as an HTTP/1.1 request', async () => {
  const connection = await connect(server.port)
  let received = ''
  connection.socket.on('data', chunk => {
    received += chunk.toString('latin1')
  })
  connection.send(PREFACE + request('GET', '/v2'))
  await connection.closed
  assert.doesNotMatch(received, /HTTP\/1/)
})

test('the model does not run for a cancelled stream', async t => {
  const own = await startServer({ MODEL_DIR: testModel('slow') }, { load: false })
  t.after(own.stop)
  const session = await openSession(own.url)
  const cancelled = open(session, SLOW, { method: 'POST', body: slowBody() })
  const kept = answerOf(open(session, SLOW, { method: 'POST', body: slowBody() }))
  await once(cancelled, 'finish')
  cancelled.close()
  await once(cancelled, 'close')
  await own.service.model.load()
  assert.equal((await kept).status, 200)
  const metrics = await ask(session, '/metrics')
  assert.match(String(metrics.body), /^inference_requests_total\{.*"http",status="success"\} 1$/m)
  session.destroy()
})

test('while the server closes, it answers streams that clients opened before they received the final GOAWAY', async () => {
  const own = await startServer()
  const [session, idle] = [await RawSession.open(own.port), await RawSession.open(own.port)]
  const body = Buffer.from(irisBody())
  session.send(head(1, block('POST', IRIS), false))
  idle.send(head(1, block('GET', '/v2')))
  await idle.frame('headers')
  const closed = own.close(10_000)
  const { payload } = await session.frame('goaway')
  assert.equal(payload.readUInt32BE(), 2 ** 31 - 1)
  session.send(head(3, block('GET', '/v2')))
  await session.frame('headers', ({ stream }) => stream === 3)
  await session.frame('goaway', ({ payload }) => payload.readUInt32BE() === 3)
  // The client has received the final GOAWAY; streams that it opened before are answered.
  session.send(frame('data', body, { stream: 1, flags: 1 }))
  await session.frame('headers', ({ stream }) => stream === 1)
  assert.deepEqual([await closed, await session.errorCode(), await idle.errorCode()], [true, 0, 0])
  await own.service.model.close()
})

test('an unused process keeps running until its HTTP/2 connections are closed', async t => {
  const own = await startServer()
  t.after(own.stop)
  const session = await openSession(own.url)
  await ask(session, '/v2')
  let isClosed = false
  const closed = own.closeWhenUnused(50).then(() => {
    isClosed = true
  })
  await wait(200)
  assert.equal(isClosed, false)
  session.close()
  await closed
})

test('with IDLE_EXIT_SECONDS, the connection of a probe is closed after the response', async t => {
  const own = await startServer({ IDLE_EXIT_SECONDS: '5' })
  t.after(own.stop)
  const session = await openSession(own.url)
  assert.equal((await ask(session, '/health/readiness')).status, 200)
  await until('the session is closed', () => session.closed)
})

const LONG = { firstMs: 60_000, idleMs: 60_000, ageMs: 60_000, leavingMs: 60_000 }

/** @returns the milliseconds until a connection with these time limits was closed */
async function lifeOf(times: ConstructorParameters<typeof OpenSession>[2], asks: boolean) {
  const http2 = createServer().listen(0, '127.0.0.1')
  await once(http2, 'listening')
  let socket: Socket
  http2.prependListener('connection', connection => {
    socket = connection
  })
  http2.on('session', session => {
    const open = new OpenSession(session, socket, times)
    session.on('stream', stream => {
      open.began(stream)
      stream.respond({ ':status': 200 }, { endStream: true })
    })
  })
  const session = await openSession(`http://127.0.0.1:${(http2.address() as AddressInfo).port}`)
  const began = performance.now()
  const closed = once(session, 'close')
  while (!session.closed) {
    if (asks) await ask(session, '/').catch(() => {})
    else session.ping(() => {})
    await wait(10)
  }
  await closed
  http2.close()
  return performance.now() - began
}

test('an idle connection is closed after its idle time, however often its client pings', async () => {
  const took = await lifeOf({ ...LONG, idleMs: 100 }, false)
  assert.ok(took >= 90 && took < 5_000, `${took}`)
})

test('a connection in use is closed at its maximum age', async () => {
  const took = await lifeOf({ ...LONG, ageMs: 200 }, true)
  assert.ok(took >= 170 && took < 5_000, `${took}`)
})

test('a connection is closed if its client sends GOAWAY and then an invalid frame', async t => {
  const own = await startServer({ REQUEST_TIMEOUT_MS: '200' })
  t.after(own.stop)
  const session = await RawSession.open(own.port)
  session.send(head(1, block('POST', IRIS), false), frame('goaway', Buffer.alloc(8)))
  // Larger than allowed, so the stream never ends.
  session.send(frame('data', Buffer.alloc(20_000), { stream: 1 }))
  assert.equal(await session.errorCode(), 6)
})

test('several bodies in one packet are answered, even if MAX_JSON_BYTES passes them to a worker', async t => {
  const own = await startServer({ EXECUTION: 'worker', MAX_JSON_BYTES: '500' })
  t.after(own.stop)
  const shape = [100, 4]
  const json = JSON.stringify({
    inputs: [{ name: 'input', datatype: 'FP32', shape, parameters: { binary_data_size: 1_600 } }],
    parameters: { binary_data_output: true },
  })
  const length = header('inference-header-content-length', String(json.length))
  const body = Buffer.concat([Buffer.from(json), Buffer.alloc(1_600)])
  const session = await RawSession.open(own.port)
  const streams = [1, 3, 5]
  session.send(
    ...streams.flatMap(stream => [
      head(stream, block('POST', IRIS, length), false),
      frame('data', body, { stream, flags: 1 }),
    ]),
  )
  const ends = await Promise.all(streams.map(stream => session.end(stream)))
  const sizes = ends.map(({ payload }) => payload.byteLength)
  assert.ok(sizes[0] !== undefined && sizes[0] > 2_000, `${sizes}`)
  assert.deepEqual(sizes, Array(3).fill(sizes[0]))
  session.socket.destroy()
})

test('a connection closes if its client resets a stream without an error before it has read the response', async () => {
  const own = await startServer()
  const session = await RawSession.open(own.port, { 4: 0 })
  session.send(head(1, block('POST', '/nothing'), false))
  await session.frame('headers')
  session.send(frame('rstStream', Buffer.alloc(4), { stream: 1 }))
  session.send(frame('goaway', Buffer.alloc(8)))
  await session.closed
  assert.equal(await own.close(5_000), true)
  await own.service.model.close()
})

test('a client may stop sending a refused body before its stream is closed', async () => {
  const session = await RawSession.open(server.port)
  session.send(head(1, block('POST', IRIS, header('content-length', '100000000')), false))
  const { type } = await session.end(1)
  // When the server acknowledges the ping, it has sent everything else.
  session.send(frame('ping', Buffer.alloc(8)))
  await session.frame('ping')
  const isReset = session.frames.some(frame => frame.type === TYPES.rstStream)
  assert.deepEqual([type, isReset], [TYPES.data, false])
  session.socket.destroy()
})

test('a client may reset a call in the packet with the preface', async () => {
  const type = 'application/grpc'
  const session = await openSession(server.url)
  // The first call loads the code for gRPC, so that the next call is refused at once.
  const request = { headers: { 'content-type': type } }
  assert.equal((await ask(session, '/a', request)).headers['grpc-status'], '12')
  const connection = await connect(server.port)
  const call = head(1, block('GET', '/a', header('content-type', type)))
  const reset = frame('rstStream', uint32(0), { stream: 1 })
  connection.socket.end(Buffer.concat([Buffer.from(PREFACE), settings(), call, reset]))
  await connection.closed
  assert.equal((await ask(session, '/v2')).status, 200)
  session.destroy()
})

const CERTIFICATES = new URL('../security/certificates/', import.meta.url)
const TLS = {
  TLS_CERT_FILE: fileURLToPath(new URL('first.crt', CERTIFICATES)),
  TLS_KEY_FILE: fileURLToPath(new URL('first.key', CERTIFICATES)),
}

test('over TLS, connections are closed when they are idle and when the server closes', async t => {
  const own = await startServer({ ...TLS, REQUEST_TIMEOUT_MS: '200' })
  t.after(own.stop)
  const silent = connectTls({ port: own.port, rejectUnauthorized: false, ALPNProtocols: ['h2'] })
  await once(silent.resume(), 'close')
  const session = await openSession(own.url)
  assert.equal((await ask(session, IRIS, { method: 'POST', body: irisBody() })).status, 200)
  const [, closed] = await Promise.all([once(session, 'goaway'), own.close(5_000)])
  assert.ok(closed)
})

test('over TLS, ALPN selects the version of HTTP', async t => {
  const own = await startServer(TLS)
  t.after(own.stop)
  const session = await openSession(own.url)
  const answer = await ask(session, IRIS, { method: 'POST', body: irisBody() })
  assert.deepEqual([session.alpnProtocol, answer.status], ['h2', 200])
  session.destroy()
  for (const [ALPNProtocols, bytes, says] of [
    [['http/1.1'], request('GET', '/v2'), /^HTTP\/1\.1 200 /],
    [[], request('GET', '/v2'), /^HTTP\/1\.1 200 /],
    [['http/1.0'], 'GET /v2 HTTP/1.0\r\n\r\n', /^HTTP\/1\.1 200 /],
    [['http/1.1'], PREFACE, /^HTTP\/1\.1 400 /],
    [[], PREFACE, /^HTTP\/1\.1 400 /],
    // The server sends HTTP/2 frames, not an HTTP/1.1 response.
    [['h2'], request('GET', '/v2'), /^(?!HTTP\/1)/],
  ] as const) {
    const port = own.port
    const socket = connectTls({
      port,
      rejectUnauthorized: false,
      ALPNProtocols: [...ALPNProtocols],
    })
    socket.write(bytes)
    const [received] = await once(socket, 'data')
    assert.match(received.toString('latin1'), says)
    socket.destroy()
  }
})
