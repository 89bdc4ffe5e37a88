import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type Server, startProcess, startServer } from '../server.ts'
import { connect, exchange, IRIS, irisBody, type RawAnswer, request } from './client.ts'

let server: Server
before(async () => {
  server = await startServer({ REQUEST_TIMEOUT_MS: '300', MAX_BODY_BYTES: '100000' })
})
after(() => server.stop())

const GOOD = request('POST', IRIS, {}, irisBody())

function assertRefusal(answer: RawAnswer, status: number, says: RegExp): void {
  assert.equal(answer.status, status, answer.body)
  assert.match(answer.headers['content-type'] ?? '', /^application\/json/)
  assert.match(answer.json.error, says)
}

const BROKEN: readonly { mistake: string; bytes: string; status: number; says: RegExp }[] = [
  {
    mistake: 'input that is not HTTP',
    bytes: 'hello\r\n\r\n',
    status: 400,
    says: /not valid HTTP/,
  },
  {
    mistake: 'a TLS handshake',
    bytes: '\x16\x03\x01\x02\x00\x01\x00',
    status: 400,
    says: /not valid HTTP/,
  },
  {
    mistake: 'an unknown method',
    bytes: 'BREW / HTTP/1.1\r\nHost: a\r\n\r\n',
    status: 400,
    says: /not valid HTTP/,
  },
  {
    mistake: 'a space in the target',
    bytes: 'GET /v2 /x HTTP/1.1\r\nHost: a\r\n\r\n',
    status: 400,
    says: /not valid HTTP/,
  },
  {
    mistake: 'a header without a colon',
    bytes: 'GET /v2 HTTP/1.1\r\nHost a\r\n\r\n',
    status: 400,
    says: /not valid HTTP/,
  },
  {
    mistake: 'a control character in a header',
    bytes: 'GET /v2 HTTP/1.1\r\nHost: a\r\nX: \x01\r\n\r\n',
    status: 400,
    says: /not valid HTTP/,
  },
  {
    mistake: 'two Content-Length headers',
    bytes: 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab',
    status: 400,
    says: /not valid HTTP/,
  },
  {
    mistake: 'a Content-Length header together with chunks',
    bytes:
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    status: 400,
    says: /not valid HTTP/,
  },
  {
    mistake: 'a negative Content-Length',
    bytes: 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n',
    status: 400,
    says: /not valid HTTP/,
  },
  {
    mistake: 'a chunk whose size is not a number',
    bytes: `POST ${IRIS} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n`,
    status: 400,
    says: /not valid HTTP/,
  },
  {
    mistake: 'a chunk longer than its size',
    bytes: `POST ${IRIS} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhello\r\n0\r\n\r\n`,
    status: 400,
    says: /not valid HTTP/,
  },
  {
    mistake: 'very long chunk extensions',
    bytes: `POST ${IRIS} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;${'x'.repeat(20_000)}\r\nab\r\n0\r\n\r\n`,
    status: 413,
    says: /chunk extensions/,
  },
  {
    mistake: 'a header that is too large',
    bytes: `GET /v2 HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
    status: 431,
    says: /16 KiB/,
  },
  {
    mistake: 'headers that are too large in total',
    bytes: `GET /v2 HTTP/1.1\r\nHost: a\r\n${'X-Number: 1\r\n'.repeat(5_000)}\r\n`,
    status: 431,
    says: /16 KiB/,
  },
  {
    mistake: 'a request target that is too long',
    bytes: `GET /${'v'.repeat(20_000)} HTTP/1.1\r\nHost: a\r\n\r\n`,
    status: 431,
    says: /16 KiB/,
  },
  {
    mistake: 'a request without a Host header',
    bytes: 'GET /v2 HTTP/1.1\r\n\r\n',
    status: 400,
    says: /Host/,
  },
  {
    mistake: 'CONNECT',
    bytes: 'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n',
    status: 405,
    says: /not a proxy/,
  },
  {
    mistake: 'an unknown expectation',
    bytes: request('POST', IRIS, { expect: 'a-miracle' }, irisBody()),
    status: 417,
    says: /100-continue/,
  },
  {
    mistake: 'GET *',
    bytes: 'GET * HTTP/1.1\r\nHost: a\r\n\r\n',
    status: 404,
    says: /not found: \*/,
  },
  {
    mistake: 'headers that never end',
    bytes: 'GET /v2 HTTP/1.1\r\nHost: a\r\nX',
    status: 408,
    says: /in time/,
  },
  { mistake: 'a request line that never ends', bytes: 'GET', status: 408, says: /in time/ },
  {
    mistake: 'a body that never ends',
    bytes: `POST ${IRIS} HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\n{"in`,
    status: 408,
    says: /in time/,
  },
  {
    mistake: 'chunks that never end',
    bytes: `POST ${IRIS} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n`,
    status: 408,
    says: /in time/,
  },
]

for (const { mistake, bytes, status, says } of BROKEN) {
  test(`answers ${mistake} with ${status} and a JSON error, and serves the next connection`, async () => {
    assertRefusal(await exchange(server.port, bytes), status, says)
    assert.equal((await exchange(server.port, GOOD)).status, 200)
  })
}

test('a malformed request closes its connection', async () => {
  for (const bytes of [
    'hello\r\n\r\n',
    'GET /v2 HTTP/1.1\r\nHost: a\r\nX',
    'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n',
  ]) {
    const connection = await connect(server.port)
    connection.send(bytes)
    assert.equal((await connection.answer()).headers.connection, 'close')
    await connection.closed
  }
})

test('a body that arrives too slowly gets 408, although its bytes never stop arriving', async () => {
  const connection = await connect(server.port)
  connection.send(`POST ${IRIS} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n`)
  const trickle = setInterval(() => connection.send(' '), 20)
  assertRefusal(await connection.answer(), 408, /in time/)
  clearInterval(trickle)
  connection.socket.destroy()
})

test('a client that continues to send invalid data can read one complete response', async () => {
  for (const start of ['rubbish\r\n\r\n', 'GET / HTTP/1.1\r\nHost: a\r\nX: ']) {
    const connection = await connect(server.port)
    connection.send(start)
    let writable = true
    connection.closed.then(() => {
      writable = false
    })
    // More than the sockets' buffers can store, in many writes over many turns of the event loop.
    for (let i = 0; i < 200 && writable; i++) {
      connection.send('x'.repeat(10_000))
      await new Promise(setImmediate)
    }
    const answer = await connection.answer()
    assert.ok(answer.status === 400 || answer.status === 431, String(answer.status))
    assert.equal(typeof answer.json.error, 'string')
    await assert.rejects(connection.answer(), /closed before a response; received: ""/)
  }
})

test('an HTTP/1.0 request needs no Host header, and its connection is closed', async () => {
  const connection = await connect(server.port)
  connection.send(
    `POST ${IRIS} HTTP/1.0\r\nContent-Length: ${irisBody().length}\r\n\r\n${irisBody()}`,
  )
  const answer = await connection.answer()
  assert.deepEqual([answer.status, answer.headers.connection], [200, 'close'])
  await connection.closed
})

test('the Expect header is ignored in HTTP/1.0: the body is read, and no 100 is sent', async () => {
  const answer = await exchange(
    server.port,
    `POST ${IRIS} HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: ${irisBody().length}\r\n\r\n${irisBody()}`,
  )
  assert.equal(answer.status, 200)
})

test('a request to upgrade the protocol is answered without an upgrade', async () => {
  assert.equal(
    (
      await exchange(
        server.port,
        request(
          'POST',
          IRIS,
          { connection: 'Upgrade, HTTP2-Settings', upgrade: 'h2c' },
          irisBody(),
        ),
      )
    ).status,
    200,
  )
})

test('a request to upgrade the protocol closes its connection, because invalid data after it would not be detected', async () => {
  for (const path of [IRIS, '/v2', '/docs']) {
    const connection = await connect(server.port)
    connection.send(
      path === IRIS
        ? request('POST', IRIS, { connection: 'Upgrade', upgrade: 'websocket' }, irisBody())
        : request('GET', path, { connection: 'Upgrade', upgrade: 'websocket' }),
    )
    const { status, headers } = await connection.answer()
    assert.deepEqual([status, headers.connection], [200, 'close'])
    await connection.closed
  }
})

test('a request with Expect: 100-continue gets 100, and the final response after its body', async () => {
  const connection = await connect(server.port)
  connection.send(
    request('POST', IRIS, { expect: '100-continue', 'content-length': String(irisBody().length) }),
  )
  assert.equal((await connection.answer()).status, 100)
  connection.send(irisBody())
  assert.equal((await connection.answer()).status, 200)
  connection.socket.destroy()
})

const UNWANTED = [
  { what: 'too large', target: IRIS, headers: { 'content-length': '100001' }, status: 413 },
  {
    what: 'in an unknown encoding',
    target: IRIS,
    headers: { 'content-length': '10', 'content-encoding': 'br' },
    status: 415,
  },
  {
    what: 'for an unknown path',
    target: '/nowhere',
    headers: { 'content-length': '10' },
    status: 404,
  },
]
for (const { what, target, headers, status } of UNWANTED) {
  test(`the server does not request a body that is ${what}, and sends ${status} without 100`, async () => {
    const answer = await exchange(
      server.port,
      request('POST', target, { expect: '100-continue', ...headers }),
    )
    assert.equal(answer.status, status)
  })
}

test('valid requests and invalid data after them are answered in order, and then the connection closes', async () => {
  const connection = await connect(server.port)
  connection.send(`${GOOD}${GOOD}rubbish\r\n\r\n`)
  assert.equal((await connection.answer()).status, 200)
  assert.equal((await connection.answer()).status, 200)
  assertRefusal(await connection.answer(), 400, /not valid HTTP/)
  await connection.closed
})

test('a valid request and a CONNECT request after it are answered in order', async () => {
  const connection = await connect(server.port)
  connection.send(`${GOOD}CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n`)
  assert.equal((await connection.answer()).status, 200)
  assertRefusal(await connection.answer(), 405, /not a proxy/)
  await connection.closed
})

test('a client that resets its connection after CONNECT or invalid data does not stop the server', async () => {
  const own = await startProcess()
  const port = Number(new URL(own.url).port)
  for (const bytes of [
    'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n',
    'rubbish\r\n\r\n',
    `${GOOD}rubbish\r\n\r\n`,
  ]) {
    const connection = await connect(port)
    connection.send(bytes)
    await connection.answer()
    connection.send('x'.repeat(1000))
    connection.socket.resetAndDestroy()
    await connection.closed
    assert.equal((await exchange(port, GOOD)).status, 200)
  }
  own.process.kill('SIGTERM')
  assert.deepEqual(await own.exited, [0, null])
})

test('a client that closes its half of the connection within a request gets 400 with this reason', async () => {
  for (const bytes of [GOOD.slice(0, -1), GOOD.slice(0, 30)]) {
    const connection = await connect(server.port)
    connection.send(bytes)
    connection.socket.end()
    assertRefusal(await connection.answer(), 400, /its half .* before the request was complete$/)
    await connection.closed
  }
})
