import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { IRIS, irisBody, until } from '../http/client.ts'
import {
  ACK,
  block,
  type Frame,
  frame,
  head,
  header,
  RawSession,
  settings,
  TYPES,
  uint32,
} from '../http/frames.ts'
import { ask, openSession } from '../http/http2-client.ts'
import { type Server, startServer } from '../server.ts'

/* Each attack ends only its own stream or connection, and other clients are answered meanwhile. */

let server: Server
let impatient: Server
before(async () => {
  server = await startServer()
  impatient = await startServer({ REQUEST_TIMEOUT_MS: '1000' })
})
after(() => Promise.all([server.stop(), impatient.stop()]))

const REFUSED_STREAM = 7
const ENHANCE_YOUR_CALM = 11
const POST = block('POST', IRIS)
const GET = block('GET', '/v2')

const resets = (frames: readonly Frame[], code: number) =>
  frames.filter(({ type, payload }) => type === TYPES.rstStream && payload.readUInt32BE() === code)
    .length

const answers = (frames: readonly Frame[]) =>
  frames.filter(({ type }) => type === TYPES.headers).length

/** The server must answer another client on a separate connection. */
async function isServing(): Promise<void> {
  const session = await openSession(server.url)
  const answer = await ask(session, IRIS, { method: 'POST', body: irisBody() })
  assert.equal(answer.status, 200)
  session.destroy()
}

const times = <Value>(count: number, make: (i: number) => Value): Value[] =>
  Array.from({ length: count }, (_, i) => make(i))

test('a client that reads nothing and keeps its connection open does not delay a shutdown', async () => {
  const server = await startServer()
  const session = await RawSession.open(server.port)
  session.send(head(1, GET))
  await session.end(1)
  session.socket.pause()
  assert.ok(await server.close(5_000))
  session.socket.destroy()
  await server.stop()
})

suite('an attack on a connection', () => {
  const FLOODS: Readonly<Record<string, (session: RawSession) => void>> = {
    'settings without reading their acknowledgements': session => {
      session.socket.pause()
      for (let i = 0; i < 20; i++) session.send(...times(10_000, () => settings({ 3: 100 })))
    },
    'pings without reading their responses': session => {
      session.socket.pause()
      const ping = frame('ping', Buffer.alloc(8))
      for (let i = 0; i < 50; i++) session.send(...times(10_000, () => ping))
    },
    'streams that are cancelled at once': session =>
      session.send(
        ...times(3_000, i =>
          Buffer.concat([
            head(2 * i + 1, GET),
            frame('rstStream', uint32(8), { stream: 2 * i + 1 }),
          ]),
        ),
      ),
    'a head with endless empty frames': session => {
      session.send(frame('headers', GET, { stream: 1 }))
      session.send(...times(10_000, () => frame('continuation', Buffer.alloc(0), { stream: 1 })))
    },
    'a head of 16 MB': session => {
      session.send(frame('headers', GET, { stream: 1 }))
      const more = header('x', 'a'.repeat(16_000))
      session.send(...times(1_000, () => frame('continuation', more, { stream: 1 })))
    },
    'a body of empty frames': session => {
      session.send(head(1, POST, false))
      const empty = frame('data', Buffer.alloc(0), { stream: 1 })
      for (let i = 0; i < 10; i++) session.send(...times(10_000, () => empty))
    },
  }
  for (const [what, flood] of Object.entries(FLOODS)) {
    test(`closes a connection that sends ${what}`, async () => {
      const session = await RawSession.open(server.port)
      flood(session)
      await isServing()
      // Without this call, the client does not notice that its connection is closed.
      session.socket.resume()
      await session.closed
      await isServing()
    })
  }
})

test('refuses concurrent streams beyond 128, and answers the first 128', async () => {
  const session = await RawSession.open(server.port)
  session.send(...times(200, i => head(2 * i + 1, POST, false)))
  await until('72 are refused', () => resets(session.frames, REFUSED_STREAM) === 72)
  const body = Buffer.from(irisBody())
  session.send(...times(128, i => frame('data', body, { stream: 2 * i + 1, flags: 1 })))
  await until('128 are answered', () => answers(session.frames) === 128)
  session.socket.destroy()
})

test('resets only the stream for a head larger than 16 KiB or with more than 128 fields', async () => {
  const session = await RawSession.open(server.port)
  // A limit applies only after the client has acknowledged it (RFC 9113 section 6.5.3).
  await session.frame('settings')
  session.send(frame('settings', undefined, { flags: ACK }))
  const large = Buffer.concat([GET, header('x', 'a'.repeat(16_000)), header('y', 'a'.repeat(500))])
  session.send(
    frame('headers', large.subarray(0, 16_384), { stream: 1, flags: 1 }),
    frame('continuation', large.subarray(16_384), { stream: 1, flags: 4 }),
    head(3, Buffer.concat([GET, ...times(200, i => header(`x-${i}`, 'a'))])),
    head(5, GET),
  )
  await until('both streams have been reset', () => resets(session.frames, ENHANCE_YOUR_CALM) === 2)
  await session.frame('headers', ({ stream }) => stream === 5)
  assert.equal(answers(session.frames), 1)
  session.socket.destroy()
})

test('cuts off responses after REQUEST_TIMEOUT_MS if the client opens no window for them', async () => {
  const session = await RawSession.open(impatient.port, { 4: 0 })
  session.send(...times(100, i => head(2 * i + 1, block('GET', '/openapi.json'))))
  await until('all are answered', () => answers(session.frames) === 100)
  await isServing()
  await until('all are cut off', () => resets(session.frames, ENHANCE_YOUR_CALM) === 100)
  session.socket.destroy()
})

test('cuts off the oldest unread responses if unread responses need too much memory', async t => {
  const server = await startServer({ MAX_BODY_BYTES: String(2 ** 20) })
  t.after(server.stop)
  const metrics = block('GET', '/openapi.json')
  const sessions = await Promise.all(times(10, () => RawSession.open(server.port, { 4: 0 })))
  for (const session of sessions) session.send(...times(128, i => head(2 * i + 1, metrics)))
  const cut = () => sessions.reduce((sum, { frames }) => sum + resets(frames, ENHANCE_YOUR_CALM), 0)
  const waiting = () => sessions.reduce((sum, { frames }) => sum + answers(frames), 0) - cut()
  await until('some are cut off', () => cut() > 0)
  await until('all are answered', () => waiting() + cut() === 1_280)
  for (const { socket } of sessions) socket.destroy()
})

test('answers with 408 if a body does not arrive within REQUEST_TIMEOUT_MS, as over HTTP/1.1', async () => {
  const session = await RawSession.open(impatient.port)
  session.send(head(1, POST, false), frame('data', Buffer.from('{'), { stream: 1 }))
  const { payload } = await session.frame('data')
  assert.match(payload.toString(), /the request did not arrive in time \(REQUEST_TIMEOUT_MS\)/)
  await session.frame('rstStream', ({ payload }) => payload.readUInt32BE() === 0)
  session.socket.destroy()
})

test('closes a connection that sends only the preface, like a connection that sends no head', async () => {
  const session = await RawSession.open(impatient.port)
  const silent = await RawSession.openSilent(impatient.port)
  await silent.closed
  assert.equal(session.socket.closed, false)
  session.socket.destroy()
})

test('gives a stream a window of only 64 KiB before its body is read if callers are authenticated', async t => {
  for (const [env, bytes] of [
    [{}, 256 * 1024],
    [{ AUTH_SECRET: 'sixteen-and-more' }, 65_535],
  ] as const) {
    const own = await startServer(env)
    t.after(own.stop)
    const session = await openSession(own.url)
    await until(
      'the settings of the server have arrived',
      () => session.remoteSettings.initialWindowSize === bytes,
    )
    session.destroy()
  }
})
