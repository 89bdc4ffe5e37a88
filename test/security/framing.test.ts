import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { connect, IRIS, irisBody, type RawAnswer, request } from '../http/client.ts'
import { type Server, startServer } from '../server.ts'

/*
 * Request smuggling exploits two consecutive servers that find the end of a request in different
 * places.
 */

let server: Server
before(async () => {
  server = await startServer()
})
after(() => server.stop())

const SMUGGLED = 'GET /v2 HTTP/1.1\r\nHost: a\r\nX-Request-Id: smuggled\r\n\r\n'
const POST = `POST ${IRIS} HTTP/1.1\r\nHost: a\r\n`
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`
const END = '0\r\n\r\n'

/**
 * All responses to `bytes`, until the connection is closed or the request after `bytes` is
 * answered.
 */
async function answersTo(bytes: string): Promise<{ answers: RawAnswer[]; closed: boolean }> {
  const connection = await connect(server.port)
  connection.send(Buffer.from(bytes, 'latin1'))
  const answers = [await connection.answer()]
  connection.send(request('GET', '/v2', { 'x-request-id': 'behind' }))
  try {
    while (answers.at(-1)?.headers['x-request-id'] !== 'behind')
      answers.push(await connection.answer())
  } catch {
    return { answers, closed: true }
  }
  connection.socket.destroy()
  return { answers, closed: false }
}

const AMBIGUOUS: Readonly<Record<string, string>> = {
  'a length and chunks (CL.TE)': `${POST}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n${END}`,
  'chunks and a length (TE.CL)': `${POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n2\r\n{}\r\n${END}`,
  'a length and an unknown coding': `${POST}Content-Length: 5\r\nTransfer-Encoding: identity\r\n\r\n${END}`,
  'a space before the colon': `${POST}Transfer-Encoding : chunked\r\nContent-Length: 5\r\n\r\n${END}`,
  'a tab before the coding, and a length': `${POST}Transfer-Encoding:\tchunked\r\nContent-Length: 5\r\n\r\n${END}`,
  'a vertical tab before the coding': `${POST}Transfer-Encoding: \x0bchunked\r\n\r\n${END}`,
  'a coding that begins with another letter': `${POST}Transfer-Encoding: xchunked\r\n\r\n${END}`,
  'a coding in quotes': `${POST}Transfer-Encoding: "chunked"\r\n\r\n${END}`,
  'chunks that are not the last coding': `${POST}Transfer-Encoding: chunked, identity\r\n\r\n${END}`,
  'chunks twice': `${POST}Transfer-Encoding: chunked, chunked\r\n\r\n${END}`,
  'two headers of codings, the first of chunks': `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n${END}`,
  'a coding on a separate line (obs-fold)': `${POST}Transfer-Encoding:\r\n chunked\r\n\r\n${END}`,
  'a header folded over two lines (obs-fold)': `${POST}X: a\r\n b\r\nContent-Length: 2\r\n\r\n{}`,
  'a length on a separate line (obs-fold)': `${POST}Content-Length:\r\n 2\r\n\r\n{}`,
  'two lengths that differ': `${POST}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}`,
  'two lengths that agree': `${POST}Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}`,
  'two lengths in one header': `${POST}Content-Length: 2, 2\r\n\r\n{}`,
  'a length with a sign': `${POST}Content-Length: +2\r\n\r\n{}`,
  'a length in hexadecimal': `${POST}Content-Length: 0x2\r\n\r\n{}`,
  'an empty length': `${POST}Content-Length:\r\n\r\n`,
  'a length with a space in it': `${POST}Content-Length: 1 2\r\n\r\n{}`,
  'a length beyond 64 bits': `${POST}Content-Length: 18446744073709551618\r\n\r\n{}`,
  'lines that end with only LF': `${POST.replaceAll('\r\n', '\n')}Content-Length: 2\n\n{}`,
  'one header that ends with only LF': `${POST}X: a\nContent-Length: 2\r\n\r\n{}`,
  'headers that end with only LF': `${POST}Content-Length: 2\r\n\n{}`,
  'a header that ends with only CR': `${POST}X: a\rContent-Length: 2\r\n\r\n{}`,
  'a NUL in a header': `${POST}X: a\0b\r\nContent-Length: 2\r\n\r\n{}`,
  'chunks whose lines end with only LF': `${CHUNKED}2\n{}\n0\n\n`,
  'a chunk size that ends with only LF': `${CHUNKED}2\n{}\r\n${END}`,
  'a chunk extension with LF in it': `${CHUNKED}2;a\nb\r\n{}\r\n${END}`,
  'a chunk extension with CR in it': `${CHUNKED}2;a\rb\r\n{}\r\n${END}`,
  'a chunk size with the prefix 0x': `${CHUNKED}0x2\r\n{}\r\n${END}`,
  'a chunk size with a sign': `${CHUNKED}+2\r\n{}\r\n${END}`,
  'a negative chunk size': `${CHUNKED}-2\r\n{}\r\n${END}`,
  'a chunk size followed by a space': `${CHUNKED}2 \r\n{}\r\n${END}`,
  'a chunk size beyond 64 bits': `${CHUNKED}10000000000000002\r\n{}\r\n${END}`,
  'a chunk without its line end': `${CHUNKED}2\r\n{}${END}`,
  'a chunk with two wrong bytes at its line end': `${CHUNKED}2\r\n{}XX${END}`,
  'a length after the chunks': `${CHUNKED}2\r\n{}\r\n0\r\nContent-Length: 50\r\n\r\n`,
  'a trailer that ends with only LF': `${CHUNKED}2\r\n{}\r\n0\r\nX: a\n\r\n`,
  'a space in a header’s name': 'GET /v2 HTTP/1.1\r\nHost: a\r\nX Y: b\r\n\r\n',
  'a space before the first header': 'GET /v2 HTTP/1.1\r\n Host: a\r\n\r\n',
  'a version of HTTP that does not exist': 'GET /v2 HTTP/1.2\r\nHost: a\r\n\r\n',
  'a method in lower case': 'get /v2 HTTP/1.1\r\nHost: a\r\n\r\n',
  'tabs in the request line': 'GET\t/v2\tHTTP/1.1\r\nHost: a\r\n\r\n',
  'a byte beyond ASCII in the target': 'GET /v2\xff HTTP/1.1\r\nHost: a\r\n\r\n',
}

suite('the framing of requests', () => {
  for (const [what, bytes] of Object.entries(AMBIGUOUS)) {
    test(`${what}: the request gets 400, and the data after it gets no response`, async () => {
      const { answers, closed } = await answersTo(bytes + SMUGGLED)
      assert.deepEqual([answers.map(({ status }) => status), closed], [[400], true])
    })
  }

  const UNSUPPORTED: Readonly<Record<string, string>> = {
    'chunks after another coding': `${POST}Transfer-Encoding: gzip, chunked\r\n\r\n${END}`,
    'chunks after the coding identity': `${POST}Transfer-Encoding: identity, chunked\r\n\r\n${END}`,
    'two headers of codings, the last of chunks': `${POST}Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n${END}`,
    'chunks in HTTP/1.0': `POST ${IRIS} HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n${END}`,
    'two Hosts': 'GET /v2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n',
    'two Hosts that agree': 'GET /v2 HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n',
    'no version': 'GET /v2\r\n\r\n',
  }
  for (const [what, bytes] of Object.entries(UNSUPPORTED)) {
    test(`${what}: the request gets 400 and its connection is closed, because another server may read it differently`, async () => {
      const { answers, closed } = await answersTo(bytes + SMUGGLED)
      assert.deepEqual([answers.map(({ status }) => status), closed], [[400], true])
    })
  }

  const BODIES: Readonly<Record<string, string>> = {
    'GET with a length': `GET /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
    'GET in chunks': `GET /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n${END}`,
    'OPTIONS with a length': `OPTIONS /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
    'a method that the path does not allow': `DELETE /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
    'a path that does not exist': `POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
    'an unknown encoding': `${POST}Content-Encoding: br\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
    'a length that Connection tells the next hop to remove': `${POST}Connection: Content-Length\r\nContent-Length: ${SMUGGLED.length}\r\n\r\n${SMUGGLED}`,
    'chunks with extensions': `${CHUNKED}${SMUGGLED.length.toString(16)};a=b;c\r\n${SMUGGLED}\r\n${END}`,
    'chunks with trailers': `${CHUNKED}${SMUGGLED.length.toString(16)}\r\n${SMUGGLED}\r\n0\r\nX-Request-Id: smuggled\r\n\r\n`,
  }
  for (const [what, bytes] of Object.entries(BODIES)) {
    test(`${what}: the body is never read as a request`, async () => {
      const { answers } = await answersTo(bytes)
      assert.ok(answers.length <= 2)
      assert.ok(!answers.some(({ headers }) => headers['x-request-id'] === 'smuggled'))
    })
  }

  test('rare but valid framing is read in the same way as other servers read it', async () => {
    const body = irisBody()
    const rare = [
      `${POST}Transfer-Encoding: ChUnKeD\r\n\r\n${body.length.toString(16).toUpperCase()}\r\n${body}\r\n${END}`,
      `${POST}Content-Length: 00${body.length} \r\n\r\n${body}`,
      `\r\n${POST}Content-Length: ${body.length}\r\n\r\n${body}`,
    ]
    for (const bytes of rare) {
      const { answers, closed } = await answersTo(bytes)
      assert.deepEqual([answers.map(({ status }) => status), closed], [[200, 200], false])
    }
  })
})
