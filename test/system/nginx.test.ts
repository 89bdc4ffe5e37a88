import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { exchange, IRIS, irisBody, request, until } from '../http/client.ts'
import { freePort, type ServerProcess, startProcess } from '../server.ts'
import { need } from './clients/run.ts'

/*
 * Request smuggling through a proxy. nginx sends requests from many clients over one connection, so
 * another client would get the response to a smuggled request. nginx also blocks /metrics, so that
 * the tests detect a smuggled request for it.
 */

const SECRET = 'correct-horse-battery-staple'
const LONGEST_MS = 300_000
let own: ServerProcess
let guarded: ServerProcess
let nginx: ChildProcess
let port: number
let guardedPort: number
let folder: string

before(async () => {
  await need('nginx', 'apt-get install nginx-light')
  own = await startProcess({}, [], LONGEST_MS)
  guarded = await startProcess({ AUTH_SECRET: SECRET }, [], LONGEST_MS)
  folder = mkdtempSync(join(tmpdir(), 'nginx-'))
  port = await freePort()
  guardedPort = await freePort()
  writeFileSync(
    join(folder, 'nginx.conf'),
    `daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/error.log;
events { worker_connections 256; }
http {
  access_log off;
  client_body_temp_path ${folder}/body; proxy_temp_path ${folder}/proxy; fastcgi_temp_path ${folder}/a; uwsgi_temp_path ${folder}/b; scgi_temp_path ${folder}/c;
  upstream function { server 127.0.0.1:${new URL(own.url).port}; keepalive 1; }
  upstream guarded { server 127.0.0.1:${new URL(guarded.url).port}; keepalive 1; }
  server {
    listen 127.0.0.1:${port};
    location /metrics { return 403; }
    location / {
      proxy_pass http://function;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_request_buffering off;
    }
  }
  server {
    listen 127.0.0.1:${guardedPort};
    location / { proxy_pass http://guarded; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}`,
  )
  nginx = spawn('nginx', ['-p', folder, '-c', join(folder, 'nginx.conf')], { stdio: 'inherit' })
  await until('nginx listens', () =>
    answers('GET /v2 HTTP/1.1\r\nHost: a\r\n\r\n').then(
      ({ length }) => length > 0,
      () => false,
    ),
  )
})
after(async () => {
  nginx?.kill('SIGTERM')
  own?.process.kill('SIGTERM')
  guarded?.process.kill('SIGTERM')
  rmSync(folder, { recursive: true, force: true })
})

/**
 * The statuses and text of everything received until nginx closes the connection or is silent for
 * 300 ms.
 */
function answers(bytes: string): Promise<{ length: number; statuses: string[]; text: string }> {
  return new Promise((resolve, reject) => {
    const socket = connectSocket(port, '127.0.0.1')
    let text = ''
    socket.setEncoding('latin1').setTimeout(300, () => socket.destroy())
    socket.on('data', piece => {
      text += piece
    })
    socket.once('error', reject)
    socket.once('close', () => {
      const statuses = [...text.matchAll(/^HTTP\/1\.1 (\d+)/gm)].map(
        ([, status]) => status as string,
      )
      resolve({ length: statuses.length, statuses, text })
    })
    socket.write(Buffer.from(bytes, 'latin1'))
  })
}

const HIDDEN = 'GET /metrics HTTP/1.1\r\nHost: a\r\nX-Request-Id: hidden\r\n\r\n'
const POST = `POST ${IRIS} HTTP/1.1\r\nHost: a\r\n`
const CHUNKED = `${POST}Transfer-Encoding: chunked\r\n\r\n`
const END = '0\r\n\r\n'

const ATTACKS: Readonly<Record<string, string>> = {
  'a length and chunks (CL.TE)': `${POST}Content-Length: ${END.length + HIDDEN.length}\r\nTransfer-Encoding: chunked\r\n\r\n${END}${HIDDEN}`,
  'chunks and a length (TE.CL)': `${POST}Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n${END}`,
  'two codings (TE.TE)': `${POST}Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n${END}${HIDDEN}`,
  'a coding after a tab': `${POST}Transfer-Encoding:\tchunked\r\nContent-Length: ${END.length + HIDDEN.length}\r\n\r\n${END}${HIDDEN}`,
  'a space before the colon': `${POST}Transfer-Encoding : chunked\r\nContent-Length: ${END.length + HIDDEN.length}\r\n\r\n${END}${HIDDEN}`,
  'a folded coding': `${POST}X: a\r\n Transfer-Encoding: chunked\r\nContent-Length: ${END.length + HIDDEN.length}\r\n\r\n${END}${HIDDEN}`,
  'a coding after a bare LF': `${POST}X: a\nTransfer-Encoding: chunked\r\nContent-Length: ${END.length + HIDDEN.length}\r\n\r\n${END}${HIDDEN}`,
  'two lengths': `${POST}Content-Length: 2\r\nContent-Length: ${2 + HIDDEN.length}\r\n\r\n{}${HIDDEN}`,
  'a list of lengths': `${POST}Content-Length: 2, ${2 + HIDDEN.length}\r\n\r\n{}${HIDDEN}`,
  'a length with a sign': `${POST}Content-Length: +2\r\n\r\n{}${HIDDEN}`,
  'a length that is a hop-by-hop header': `${POST}Connection: Content-Length\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
  'a GET request with a body': `GET /v2 HTTP/1.1\r\nHost: a\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
  'a GET request with a chunked body': `GET /v2 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${HIDDEN.length.toString(16)}\r\n${HIDDEN}\r\n${END}`,
  'a chunk extension that ends with a bare LF': `${CHUNKED}2;a\n{}\r\n0\r\n\r\n`,
  'chunks that end with a bare LF': `${CHUNKED}2\n{}\n0\n\n`,
  'a chunk size with a sign': `${CHUNKED}+2\r\n{}\r\n${END}`,
  'a chunk size beyond 64 bits': `${CHUNKED}10000000000000002\r\n{}\r\n${END}`,
  'a trailer that is a request': `${CHUNKED}2\r\n{}\r\n0\r\nX: a\r\n${HIDDEN}`,
  'an upgrade to HTTP/2': `${POST}Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
  'a line break in the path': `GET /v2%20HTTP/1.1%0d%0aX:%20a%0d%0a%0d%0aGET%20/metrics HTTP/1.1\r\nHost: a\r\n\r\n`,
  'an unknown expectation': `${POST}Expect: a\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
  'a body that the server does not read': `POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: ${HIDDEN.length}\r\n\r\n${HIDDEN}`,
}

describe('through nginx', () => {
  for (const [what, bytes] of Object.entries(ATTACKS)) {
    test(`${what} smuggles no request, and every client gets its own response`, async () => {
      const { text, statuses } = await answers(bytes)
      assert.ok(!text.includes('inference_requests_total'), text)
      // nginx itself returns 501 for an unknown coding.
      assert.ok(!statuses.some(status => /^50[^1]$/.test(status)), statuses.join(' '))
      // The next clients use the same connection to the function; each must get its own response.
      for (let i = 0; i < 3; i++) {
        const { status, json, headers } = await exchange(
          port,
          request('POST', IRIS, { 'x-request-id': `own-${i}` }, irisBody(`${i}`)),
        )
        assert.deepEqual([status, json.id, headers['x-request-id']], [200, `${i}`, `own-${i}`])
      }
    })
  }

  const PATHS = [
    '/metrics',
    '/metrics/',
    '//metrics',
    '/./metrics',
    '/v2/../metrics',
    '/%6detrics',
    '/metrics%2f',
    '/METRICS',
    '/metrics;a',
    '/metrics%00',
    '/v2/..%2fmetrics',
    '\\metrics',
  ]
  for (const path of PATHS) {
    test(`the path ${path} does not bypass the block on /metrics`, async () => {
      const { text } = await answers(request('GET', path))
      assert.ok(!text.includes('inference_requests_total'), text.slice(0, 200))
    })
  }
})

test('one client’s secret does not authenticate other clients on the same upstream connection', async () => {
  const known = { authorization: `Bearer ${SECRET}` }
  const statuses: number[] = []
  for (const headers of [known, {}, known, {}] as Record<string, string>[]) {
    statuses.push((await exchange(guardedPort, request('POST', IRIS, headers, irisBody()))).status)
  }
  assert.deepEqual(statuses, [200, 401, 200, 401])
})
