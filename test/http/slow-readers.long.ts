import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { startServer, testModel } from '../server.ts'
import { type Connection, connect, request, until } from './client.ts'
import { block, END_STREAM, frame, head, header, RawSession, uint32 } from './frames.ts'

const MIB = 2 ** 20

/** The response has as many bytes as the request. */
function echoBody(bytes: number) {
  const json = JSON.stringify({
    inputs: [
      {
        name: 'x',
        shape: [bytes / 4],
        datatype: 'FP32',
        parameters: { binary_data_size: bytes },
      },
    ],
    parameters: { binary_data_output: true },
  })
  const body = Buffer.concat([Buffer.from(json), Buffer.alloc(bytes)])
  return { body, headers: { 'inference-header-content-length': String(json.length) } }
}

const PATH = '/v2/models/identity-fp32/infer'

function echo(bytes: number): Buffer {
  const { body, headers } = echoBody(bytes)
  const head = request('POST', PATH, { 'content-length': String(body.length), ...headers })
  return Buffer.concat([Buffer.from(head), body])
}

test('large responses that are not read are dropped for other responses, but a response that is read slowly is kept', async t => {
  const server = await startServer({
    MODEL_DIR: testModel('identity-fp32'),
    MAX_BODY_BYTES: String(12 * MIB),
  })
  t.after(server.stop)
  const ask = async (connection: Connection, bytes: number) => {
    connection.send(echo(bytes))
    const { status } = await connection.answer()
    return status
  }
  const silent: Connection[] = []
  const fill = async () => {
    const connection = await connect(server.port)
    connection.socket.pause()
    connection.send(echo(11 * MIB))
    silent.push(connection)
  }
  // Reads the bytes that the socket has received, then pauses.
  const reader = await connect(server.port)
  let read = 0
  reader.socket.removeAllListeners('data')
  reader.socket.on('data', chunk => {
    read += chunk.length
    reader.socket.pause()
    setTimeout(() => reader.socket.resume(), 2)
  })
  reader.send(echo(10 * MIB))
  await until('the slow reader has begun to read', () => read > 0)
  await until('an unread response is cut off', async () => {
    await fill()
    await wait(200)
    for (const { socket } of silent) if (socket.writable) socket.write('G')
    return silent.some(({ socket }) => socket.destroyed)
  })
  const honest = await connect(server.port)
  await until('an honest client gets its response', async () => {
    const other = honest.socket.destroyed ? await connect(server.port) : honest
    return (await ask(other, 8 * MIB).catch(() => 0)) === 200
  })
  await until('the slow reader has read its complete response', () => read > 10 * MIB, 60_000)
  for (const { socket } of [...silent, reader, honest]) socket.destroy()
})

/** The identifier of a setting, and a window so large that only the socket limits the responses. */
const INITIAL_WINDOW_SIZE = 4
const LARGEST_WINDOW = 2 ** 31 - 1

/** Opens a session whose client requests a large response and reads nothing. */
async function openSilentSession(port: number): Promise<RawSession> {
  const { body, headers } = echoBody(20 * MIB)
  const compressed = gzipSync(body)
  const all = { 'content-encoding': 'gzip', ...headers }
  const fields = Object.entries(all).map(([name, value]) => header(name, value))
  const session = await RawSession.open(port, { [INITIAL_WINDOW_SIZE]: LARGEST_WINDOW })
  session.send(frame('windowUpdate', uint32(LARGEST_WINDOW - 65_535)))
  await session.frame('settings')
  session.socket.pause()
  session.send(head(1, block('POST', PATH, ...fields), false))
  for (let at = 0; at < compressed.length; at += 16_000) {
    const flags = at + 16_000 < compressed.length ? 0 : END_STREAM
    session.send(frame('data', compressed.subarray(at, at + 16_000), { stream: 1, flags }))
  }
  return session
}

test('the connection of an HTTP/2 client that reads nothing is closed', async t => {
  const server = await startServer({
    MODEL_DIR: testModel('identity-fp32'),
    REQUEST_TIMEOUT_MS: '500',
  })
  t.after(server.stop)
  const session = await openSilentSession(server.port)
  await until('the connection is closed', () => {
    session.send(frame('ping', Buffer.alloc(8)))
    return session.socket.destroyed
  })
})

test('an HTTP/2 client that reads nothing until shutdown does not end the process abruptly', async t => {
  const server = await startServer({ MODEL_DIR: testModel('identity-fp32') })
  t.after(server.stop)
  const session = await openSilentSession(server.port)
  await wait(1_000)
  const closed = server.close(2_000)
  await wait(100)
  session.socket.resume()
  await session.end(1)
  session.socket.destroy()
  await closed
})
