import assert from 'node:assert/strict'
import { once } from 'node:events'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { Drops, Round } from '../../function/http/connection-limit.ts'
import { type Server, startServer } from '../server.ts'
import {
  type Connection,
  connect,
  exchange,
  IRIS,
  irisBody,
  readMetrics,
  request,
  until,
} from './client.ts'
import { answerOf, ask, open, openSession } from './http2-client.ts'

const LIVE = request('GET', '/v2/health/live')
const CERTIFICATES = fileURLToPath(new URL('../security/certificates', import.meta.url))
const TLS = {
  TLS_CERT_FILE: join(CERTIFICATES, 'first.crt'),
  TLS_KEY_FILE: join(CERTIFICATES, 'first.key'),
}

const several = (n: number, port: number) =>
  Promise.all(Array.from({ length: n }, () => connect(port)))

async function dropped({ service }: Server, reason: string): Promise<number | undefined> {
  const metrics = readMetrics(await service.metrics.text())
  return metrics.get(`inference_connections_dropped_total{reason="${reason}"}`)
}

const closedOf = (connections: readonly Connection[]) =>
  connections.filter(({ socket }) => socket.destroyed).length

/** Sends one request per connection. The model is not loaded, so the requests stay in progress. */
async function fillWithWork(server: Server, n: number): Promise<Connection[]> {
  const connections = await several(n, server.port)
  for (const connection of connections) connection.send(request('POST', IRIS, {}, irisBody()))
  await until('all requests wait', () => server.service.model.queuedRows === n)
  return connections
}

const ATTACKS: readonly [what: string, bytes: string | undefined][] = [
  ['nothing', undefined],
  ['part of a head', `GET /v2 HTTP/1.1\r\nHost: a\r\nx: ${'a'.repeat(15_000)}`],
  ['a complete request and then nothing', LIVE],
]
for (const [what, bytes] of ATTACKS) {
  test(`clients that send ${what} do not block other clients`, async t => {
    const server = await startServer({ MAX_CONNECTIONS: '8' })
    t.after(server.stop)
    const attackers: Connection[] = []
    for (let i = 0; i < 40; i++) {
      const attacker = await connect(server.port)
      attackers.push(attacker)
      if (bytes !== undefined) attacker.send(bytes)
      if (bytes === LIVE) await attacker.answer()
      if (i % 8 === 0) assert.equal((await exchange(server.port, LIVE)).status, 200)
    }
    assert.equal((await exchange(server.port, request('POST', IRIS, {}, irisBody()))).status, 200)
    await until('the idle connections are dropped', () => closedOf(attackers) >= 40 - 8)
    assert.ok(((await dropped(server, 'idle')) ?? 0) >= 40 - 8)
    assert.equal(await dropped(server, 'refused'), 0)
  })
}

test('a new connection is refused while all connections are busy, and METRICS_PORT reports the refusal', async t => {
  const server = await startServer({ MAX_CONNECTIONS: '8', METRICS_PORT: '0' }, { load: false })
  t.after(server.stop)
  const working = await fillWithWork(server, 8)
  const newcomer = await connect(server.port)
  await newcomer.closed
  const { body } = await exchange(server.metricsPort as number, request('GET', '/metrics'))
  assert.equal(readMetrics(body).get('inference_connections_dropped_total{reason="refused"}'), 1)
  const health = await exchange(server.metricsPort as number, LIVE)
  assert.equal(health.status, 200)
  await server.service.model.load()
  for (const connection of working) assert.equal((await connection.answer()).status, 200)
  assert.equal((await exchange(server.port, LIVE)).status, 200)
})

test('drops a connection whose body has stopped arriving, and keeps a connection whose body is arriving', async t => {
  const server = await startServer({ MAX_CONNECTIONS: '8' }, { load: false })
  t.after(server.stop)
  await fillWithWork(server, 6)
  const body = irisBody() + ' '.repeat(50_000)
  const [stopped, arriving] = (await several(2, server.port)) as [Connection, Connection]
  for (const connection of [stopped, arriving]) {
    const headers = { 'content-length': `${body.length}`, expect: '100-continue' }
    connection.send(request('POST', IRIS, headers))
    assert.equal((await connection.answer()).status, 100)
  }
  let sent = 0
  // The server must check twice to know that a transfer has stopped.
  await until('the stopped connection is dropped', async () => {
    if (sent < body.length - 1) arriving.send(body[sent++] as string)
    const newcomer = await connect(server.port)
    newcomer.socket.destroy()
    await newcomer.closed
    return stopped.socket.destroyed
  })
  arriving.send(body.slice(sent))
  await server.service.model.load()
  assert.equal((await arriving.answer()).status, 200)
})

test('MAX_CONNECTIONS also limits HTTP/2 streams, and idle sessions are closed to admit new connections', async t => {
  const server = await startServer({ MAX_CONNECTIONS: '8' }, { load: false })
  t.after(server.stop)
  const session = await openSession(server.url)
  const post = { method: 'POST', body: irisBody() }
  const working = Array.from({ length: 8 }, () => answerOf(open(session, IRIS, post)))
  await until('all requests wait', () => server.service.model.queuedRows === 8)
  const refused = open(session, '/v2/health/live')
  await new Promise(resolve => refused.once('close', resolve))
  // Code 7 is REFUSED_STREAM, after which clients retry the request.
  assert.deepEqual([refused.rstCode, await dropped(server, 'stream')], [7, 1])
  await server.service.model.load()
  for (const { status } of await Promise.all(working)) assert.equal(status, 200)
  assert.equal((await ask(session, '/v2/health/live')).status, 200)
  const ended = once(session, 'close')
  for (const connection of await several(8, server.port)) connection.send(LIVE)
  await ended
})

test('a stream whose client reads nothing is dropped to admit a new stream', async t => {
  const server = await startServer({ MAX_CONNECTIONS: '8' })
  t.after(server.stop)
  // With a window of 0, no part of a response can be sent.
  const bad = await openSession(server.url, { settings: { initialWindowSize: 0 } })
  const stuck = Array.from({ length: 8 }, () => open(bad, '/openapi.json'))
  const good = await openSession(server.url)
  await until('a new stream is answered', async () => {
    const { status } = await ask(good, '/v2/health/live').catch(() => ({ status: 0 }))
    return status === 200
  })
  await until('the client knows that a stream was dropped', () =>
    stuck.some(({ destroyed }) => destroyed),
  )
  for (const session of [bad, good]) session.destroy()
})

test('with TLS, handshakes are limited to a quarter of MAX_CONNECTIONS, and the oldest handshake is dropped', async t => {
  const server = await startServer({ ...TLS, MAX_CONNECTIONS: '16' })
  t.after(server.stop)
  const hello = Buffer.from('16030100f5010000f10303', 'hex')
  const attackers: Connection[] = []
  for (let i = 0; i < 20; i++) {
    const attacker = await connect(server.port)
    attacker.send(hello)
    attackers.push(attacker)
  }
  await until('the oldest handshakes are dropped', () => closedOf(attackers) === 16)
  assert.equal(await dropped(server, 'handshake'), 16)
  const socket = connectTls({ port: server.port, host: '127.0.0.1', rejectUnauthorized: false })
  await once(socket, 'secureConnect')
  socket.end(LIVE.replace('\r\n\r\n', '\r\nConnection: close\r\n\r\n'))
  assert.match((await socket.setEncoding('utf8').toArray()).join(''), /^HTTP\/1\.1 200 /)
  for (const attacker of attackers) attacker.socket.destroy()
})

test('counts every dropped connection, and logs at most one line per minute', t => {
  t.mock.timers.enable({ apis: ['Date'] })
  let now = 0
  t.mock.method(performance, 'now', () => now)
  const counted: string[] = []
  const lines: object[] = []
  const log = { warn: (...[fields]: readonly unknown[]) => void lines.push(fields as object) }
  const drops = new Drops({ metrics: { dropped: reason => counted.push(reason) }, log }, 8)
  for (now = 0; now < 60_000; now += 1_000) drops.count('refused')
  assert.deepEqual([counted.length, lines.length], [60, 1])
  now = 60_001
  drops.count('refused')
  assert.deepEqual(lines.at(-1), { reason: 'refused', dropped: 60, maxConnections: 8 })
})

test('Round visits every item of a set, including added items, and begins where the previous round stopped', () => {
  const items = new Set([1, 2, 3])
  const round = new Round(items)
  assert.deepEqual([...round.next(2)], [1, 2])
  items.delete(1)
  items.add(4)
  assert.deepEqual([...round.next(3)], [3, 4, 2])
  items.clear()
  assert.deepEqual([...round.next(3)], [])
})
