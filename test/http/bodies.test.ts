import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { after, before, test } from 'node:test'
import { deflateSync, gzipSync } from 'node:zlib'
import { IncomingBody, inflate } from '../../function/http/body.ts'
import { type Decoder, decoderOf } from '../../function/http/compression.ts'
import { BodyMemory } from '../../function/http/memory.ts'
import { type Server, startProcess, startServer } from '../server.ts'
import { connect, exchange, IRIS, irisBody, request, until } from './client.ts'

const MAX_BODY_BYTES = 2_000
let server: Server
before(async () => {
  server = await startServer({ MAX_BODY_BYTES: `${MAX_BODY_BYTES}` })
})
after(() => server.stop())

const CHUNKED = `POST ${IRIS} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n`
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`

test('accepts a body of exactly MAX_BODY_BYTES, and refuses one more byte', async () => {
  const padded = irisBody().padEnd(MAX_BODY_BYTES)
  assert.equal((await exchange(server.port, request('POST', IRIS, {}, padded))).status, 200)
  assert.equal((await exchange(server.port, request('POST', IRIS, {}, `${padded} `))).status, 413)
})

test('refuses more than 4 MiB of JSON outside tensor data with 413, in requests and in events', async () => {
  const large = await startServer()
  try {
    const body = irisBody().replace('{', `{${' '.repeat(4 * 2 ** 20)}`)
    const event = {
      'ce-specversion': '1.0',
      'ce-id': '1',
      'ce-source': '/garden',
      'ce-type': 'iris.request',
      'content-type': 'application/json',
    }
    for (const [path, headers] of [
      [IRIS, {}],
      ['/', event],
    ] as const) {
      const { status, json } = await exchange(large.port, request('POST', path, headers, body))
      assert.equal(status, 413)
      assert.match(
        json.error,
        /^the body contains more than the 4194304 bytes of JSON allowed outside tensor data$/,
      )
    }
  } finally {
    await large.stop()
  }
})

test('MAX_JSON_BYTES also limits the JSON of small requests, responses and events', async t => {
  const own = await startServer({ MAX_JSON_BYTES: '600' })
  t.after(own.stop)
  const error = async (body: string, headers = {}, path = IRIS) => {
    const { status, json } = await exchange(own.port, request('POST', path, headers, body))
    return [status, json.error]
  }
  const [status, text] = await error(irisBody().padEnd(601))
  assert.equal(status, 413)
  assert.match(text, /^601 bytes of JSON exceed the 600 bytes allowed \(MAX_JSON_BYTES\)/)
  const rows = new Array(20).fill([1, 2, 3, 4])
  const input = { name: 'input', datatype: 'FP32', shape: [20, 4], data: rows }
  const [refused, why] = await error(JSON.stringify({ inputs: [input] }))
  assert.equal(refused, 413)
  assert.match(why, /^the response as JSON is larger than the 600 bytes allowed \(MAX_JSON_BYTES\)/)
  const type = { 'content-type': 'application/cloudevents+json' }
  const [, event] = await error('{}'.padEnd(601), type, '/')
  assert.match(
    event,
    /^601 bytes of events in JSON exceed the 600 bytes allowed \(MAX_JSON_BYTES\)/,
  )
})

test('accepts a body that arrives one byte at a time', async () => {
  const connection = await connect(server.port)
  for (const byte of request('POST', IRIS, {}, irisBody())) {
    connection.send(byte)
    await new Promise(setImmediate)
  }
  assert.equal((await connection.answer()).status, 200)
  connection.send(CHUNKED + [...irisBody()].map(chunk).join('') + chunk(''))
  assert.equal((await connection.answer()).status, 200)
  connection.socket.destroy()
})

test('accepts chunk extensions and trailers', async () => {
  const [head, tail] = [irisBody().slice(0, 10), irisBody().slice(10)]
  const bytes = `${CHUNKED}a;why="because"\r\n${head}\r\n${chunk(tail)}0\r\nX-Trailer: 1\r\n\r\n`
  assert.equal((await exchange(server.port, bytes)).status, 200)
})

const ENDLESS = [
  [
    'declared',
    () => request('POST', IRIS, { 'content-length': '1000000000000' }),
    (text: string) => text,
  ],
  ['streamed', () => CHUNKED, chunk],
] as const
for (const [how, head, piece] of ENDLESS) {
  test(`a ${how} body that is too large gets 413 while the client continues to send; then its connection closes, and other connections are not affected`, async () => {
    const other = await connect(server.port)
    const connection = await connect(server.port)
    let isClosed = false
    connection.closed.then(() => {
      isClosed = true
    })
    connection.send(head())
    const answer = connection.answer()
    while (!isClosed) {
      connection.send(piece('x'.repeat(10_000)))
      other.send(request('POST', IRIS, {}, irisBody()))
      assert.equal((await other.answer()).status, 200)
    }
    const { status, headers, json } = await answer
    assert.deepEqual([status, headers.connection, typeof json.error], [413, 'close', 'string'])
    other.socket.destroy()
  })
}

test('fetch can read the 413 response to a body that is far too large', async () => {
  for (let i = 0; i < 20; i++) {
    const answer = await fetch(server.url + IRIS, { method: 'POST', body: Buffer.alloc(5_000_000) })
    assert.equal(answer.status, 413)
    assert.match(((await answer.json()) as { error: string }).error, /MAX_BODY_BYTES/)
  }
})

test('a connection stays usable after a refused request with a small body', async () => {
  const connection = await connect(server.port)
  for (const [method, target, status] of [
    ['POST', '/nowhere', 404],
    ['POST', '/v2', 405],
    ['PUT', IRIS, 405],
    ['DELETE', IRIS, 405],
  ] as const) {
    connection.send(request(method, target, {}, irisBody()))
    assert.equal((await connection.answer()).status, status)
    connection.send(request('POST', IRIS, {}, irisBody()))
    assert.equal((await connection.answer()).status, 200)
  }
  connection.socket.destroy()
})

test('a connection is closed after a refused request with an enormous body', async () => {
  const refused = async (target: string) => {
    const connection = await connect(server.port)
    connection.send(request('POST', target, { 'content-length': '1000000000' }))
    const { headers, status } = await connection.answer()
    await connection.closed
    return [status, headers.connection]
  }
  assert.deepEqual(await Promise.all(['/nowhere', '/v2'].map(refused)), [
    [404, 'close'],
    [405, 'close'],
  ])
})

function compressed(encoding: string, body: Buffer): Buffer {
  return Buffer.concat([
    Buffer.from(
      request('POST', IRIS, { 'content-encoding': encoding, 'content-length': `${body.length}` }),
    ),
    body,
  ])
}

const ENCODED: readonly { what: string; encoding: string; body: Buffer; status: number }[] = [
  { what: 'gzip', encoding: 'gzip', body: gzipSync(irisBody()), status: 200 },
  {
    what: 'gzip, declared by its old name',
    encoding: 'X-GZIP',
    body: gzipSync(irisBody()),
    status: 200,
  },
  { what: 'deflate', encoding: 'deflate', body: deflateSync(irisBody()), status: 200 },
  { what: 'identity', encoding: 'identity', body: Buffer.from(irisBody()), status: 200 },
  {
    what: 'declared as gzip but not compressed',
    encoding: 'gzip',
    body: Buffer.from(irisBody()),
    status: 400,
  },
  {
    what: 'incomplete gzip data',
    encoding: 'gzip',
    body: gzipSync(irisBody()).subarray(0, 40),
    status: 400,
  },
  { what: 'declared as gzip but empty', encoding: 'gzip', body: Buffer.alloc(0), status: 400 },
  {
    what: 'gzip data in several members',
    encoding: 'gzip',
    body: Buffer.concat([gzipSync(irisBody().slice(0, 9)), gzipSync(irisBody().slice(9))]),
    status: 200,
  },
  {
    what: 'deflate data followed by other data',
    encoding: 'deflate',
    body: Buffer.concat([deflateSync(irisBody()), deflateSync(irisBody())]),
    status: 400,
  },
  {
    what: 'gzip data followed by other data',
    encoding: 'gzip',
    body: Buffer.concat([gzipSync(irisBody()), Buffer.alloc(1), gzipSync(irisBody())]),
    status: 400,
  },
  {
    what: 'deflate with a wrong checksum',
    encoding: 'deflate',
    body: Buffer.concat([deflateSync(irisBody()).subarray(0, -4), Buffer.alloc(4)]),
    status: 400,
  },
  {
    what: 'gzip data that decompresses to exactly the limit',
    encoding: 'gzip',
    body: gzipSync(irisBody().padEnd(MAX_BODY_BYTES)),
    status: 200,
  },
  {
    what: 'gzip data that decompresses to one byte more than the limit',
    encoding: 'gzip',
    body: gzipSync(irisBody().padEnd(MAX_BODY_BYTES + 1)),
    status: 413,
  },
  {
    what: 'compressed twice with gzip',
    encoding: 'gzip, gzip',
    body: gzipSync(gzipSync(irisBody())),
    status: 415,
  },
  {
    what: 'in an encoding that is not supported',
    encoding: 'br',
    body: Buffer.from('x'),
    status: 415,
  },
]
for (const { what, encoding, body, status } of ENCODED) {
  test(`a body that is ${what} gets ${status}`, async () => {
    const answer = await exchange(server.port, compressed(encoding, body))
    assert.equal(answer.status, status, answer.body)
    if (status === 415) assert.equal(answer.headers['accept-encoding'], 'gzip, deflate')
  })
}

test('many bodies that expand to more than the limit get 413 one after the other, and a valid one gets 200', async t => {
  const limit = 4 * 2 ** 20
  const own = await startServer({ MAX_BODY_BYTES: `${limit}` })
  t.after(own.stop)
  const send = (body: Buffer) => exchange(own.port, compressed('gzip', body))
  const bomb = gzipSync(Buffer.alloc(4 * limit, ' '))
  const bombs = Array.from({ length: 20 }, () => send(bomb))
  const valid = await send(gzipSync(irisBody().padEnd(200_000)))
  assert.equal(valid.status, 200, valid.body)
  for (const { status, body } of await Promise.all(bombs)) assert.equal(status, 413, body)
})

async function holdBody(port: number, bytes: number) {
  const connection = await connect(port)
  connection.send(request('POST', IRIS, { 'content-length': `${bytes}` }) + ' '.repeat(bytes - 1))
  return connection
}

test('requests get 503 with Retry-After while other bodies fill the memory, and are accepted again afterwards', async t => {
  const own = await startServer({ MAX_BODY_BYTES: '100000' }, { load: false })
  t.after(own.stop)
  const post = () => exchange(own.port, request('POST', IRIS, {}, irisBody().padEnd(90_000)))
  // These requests have arrived completely, and wait for the model.
  const held = [post(), post(), post()]
  await until('all three requests wait', () => own.service.model.queuedRows === 3)
  const { status, headers, json } = await post()
  assert.equal(status, 503)
  assert.deepEqual(
    [headers['retry-after'], headers.connection, typeof json.error],
    ['1', 'close', 'string'],
  )
  await own.service.model.load()
  for (const { status } of await Promise.all(held)) assert.equal(status, 200)
  assert.equal((await post()).status, 200)
})

test('large bodies do not displace small bodies, for which a separate part of the memory is reserved', async t => {
  const own = await startServer({ MAX_BODY_BYTES: '1000000' })
  t.after(own.stop)
  const held = await Promise.all(Array.from({ length: 3 }, () => holdBody(own.port, 999_000)))
  assert.equal((await Promise.race(held.map(connection => connection.answer()))).status, 503)
  for (const bytes of [0, 1_000, 100_000]) {
    assert.equal(
      (await exchange(own.port, request('POST', IRIS, {}, irisBody().padEnd(bytes)))).status,
      200,
    )
  }
  for (const { socket } of held) socket.destroy()
})

test('a body in tiny chunks and bodies that are being decompressed stay within the memory limit', {
  skip: !existsSync('/proc/self/status') && 'needs /proc',
}, async () => {
  const own = await startProcess({ MAX_BODY_BYTES: '16000000' })
  const port = Number(new URL(own.url).port)
  const peak = () =>
    Number(/VmHWM:\s*(\d+)/.exec(readFileSync(`/proc/${own.process.pid}/status`, 'utf8'))?.[1]) /
    1024
  const before = peak()
  const crumbs = chunk('x').repeat(500_000)
  assert.equal((await exchange(port, CHUNKED + crumbs + chunk(''))).status, 400)
  assert.ok(peak() - before < 100, `500,000 chunks of one byte used ${peak() - before} MB`)
  const bomb = compressed('gzip', gzipSync(Buffer.alloc(15_900_000, ' ')))
  const answers = await Promise.all(Array.from({ length: 60 }, () => exchange(port, bomb)))
  for (const { status } of answers) assert.ok(status === 400 || status === 503, `${status}`)
  // Two bodies may be in memory, each of them twice while its pieces are joined; sixty would need
  // 950 MB.
  assert.ok(peak() - before < 350, `the memory grew by ${peak() - before} MB`)
  own.process.kill('SIGTERM')
  await own.exited
})

test('bodies are read and freed independently, although Node read them into one buffer', async () => {
  const sizes = [100, 200, 300]
  const buffer = Buffer.alloc(300_000)
  const streams = sizes.map(() => new PassThrough())
  const bodies = streams.map(stream => {
    const head = { httpVersion: '1.1', headers: {}, rawHeaders: [] }
    return new IncomingBody(
      { head, stream, response: { writeContinue() {} } },
      new BodyMemory(1_000_000),
      1_000_000,
    )
  })
  for (const [i, size] of sizes.entries()) {
    const bytes = buffer.subarray(i * 1_000, i * 1_000 + size).fill(i + 1)
    streams[i]?.write(bytes.subarray(0, 50))
    streams[i]?.write(bytes.subarray(50))
  }
  for (const [i, body] of bodies.entries()) {
    streams[i]?.end()
    assert.deepEqual(await body.read(), Buffer.alloc(sizes[i] as number, i + 1))
    body.becomeAnswer({ status: 200, headers: {}, body: '' })
  }
})

test('a body is not decompressed after its client has hung up', async () => {
  const socket = { destroyed: false }
  const stream = Object.assign(new PassThrough(), { socket: socket as Socket })
  const head = { httpVersion: '1.1', headers: { 'content-encoding': 'gzip' }, rawHeaders: [] }
  const source = { head, stream, response: { writeContinue() {} } }
  const body = new IncomingBody(source, new BodyMemory(1_000_000), 1_000_000)
  stream.end(gzipSync(Buffer.alloc(900_000)))
  const read = body.read()
  Object.assign(socket, { destroyed: true })
  await assert.rejects(read, { code: 'HUNG_UP' })
})

test('a body waits for at most one of the bodies that expand more and arrived before it', async () => {
  const order: string[] = []
  const decompress = async (name: string, bytes: Uint8Array) => {
    await inflate(decoderOf('gzip') as Decoder, gzipSync(bytes), {
      what: 'body',
      maxBytes: 40_000_000,
      reserve() {},
      checkClient() {},
    })
    order.push(name)
  }
  const bombs = [1, 2, 3].map(i => decompress(`bomb ${i}`, Buffer.alloc(30_000_000)))
  await Promise.all([...bombs, decompress('small', randomBytes(400_000))])
  assert.ok(order.indexOf('small') < 2, order.join(', '))
})
