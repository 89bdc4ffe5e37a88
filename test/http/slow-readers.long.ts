import { test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { startServer, testModel } from '../server.ts'
import { type Connection, connect, request, until } from './client.ts'

const MIB = 2 ** 20

/** Returns a request whose response has as many bytes as the request. */
function echo(bytes: number): Buffer {
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
  const head = request('POST', '/v2/models/identity-fp32/infer', {
    'content-length': String(json.length + bytes),
    'inference-header-content-length': String(json.length),
  })
  return Buffer.concat([Buffer.from(head + json), Buffer.alloc(bytes)])
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
