import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect as connectHttp2, type IncomingHttpHeaders } from 'node:http2'
import { after, before, test } from 'node:test'
import { type Server, startServer } from '../server.ts'
import { connect, IRIS, irisBody, request } from './client.ts'

let server: Server
before(async () => {
  server = await startServer()
})
after(() => server.stop())

test('a connection that begins with the preface of HTTP/2 speaks it', async () => {
  const session = connectHttp2(server.url)
  const stream = session.request({ ':method': 'POST', ':path': IRIS })
  stream.end(irisBody('two'))
  const [headers] = (await once(stream, 'response')) as [IncomingHttpHeaders]
  const { id } = JSON.parse(String(Buffer.concat(await stream.toArray())))
  assert.deepEqual([headers[':status'], id], [200, 'two'])
  session.destroy()
})

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

test('a preface after a request of HTTP/1.1 is refused', async () => {
  const connection = await connect(server.port)
  connection.send(request('GET', '/v2') + PREFACE)
  assert.equal((await connection.answer()).status, 200)
  const { status, json } = await connection.answer()
  assert.equal(status, 400)
  assert.match(json.error, /HTTP\/2 begins with the first byte of a connection/)
  await connection.closed
})

test('what follows a preface is never taken for a request of HTTP/1.1', async () => {
  const connection = await connect(server.port)
  let received = ''
  connection.socket.on('data', chunk => {
    received += chunk.toString('latin1')
  })
  connection.send(PREFACE + request('GET', '/v2'))
  await connection.closed
  assert.doesNotMatch(received, /HTTP\/1/)
})
