import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import { connectGrpc } from '../grpc/client.ts'
import { type Server, startServer } from '../server.ts'
import { connect, exchange, IRIS, irisBody, readMetrics, request, until } from './client.ts'
import { answerOf, open, openSession } from './http2-client.ts'

/** A body without its last byte, as attackers send it. */
const UNFINISHED = Buffer.alloc(131_071, ' ')

const prefixOf = (length: number) => {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(length, 1)
  return prefix
}

/** Each function starts a request that stalls, and resolves to the status of its refusal. */
const SENDERS = {
  async 'HTTP/1.1'({ port }: Server) {
    const connection = await connect(port)
    connection.send(request('POST', IRIS, { 'content-length': '131072' }))
    connection.send(UNFINISHED)
    return connection.answer().then(({ status }) => status)
  },
  async 'HTTP/2'({ url }: Server) {
    const session = await openSession(url)
    const stream = open(session, IRIS, { method: 'POST' })
    stream.write(UNFINISHED)
    return answerOf(stream).then(({ status }) => status)
  },
  async gRPC({ port }: Server) {
    const call = connectGrpc(port).open('ModelInfer')
    call.stream.write(Buffer.concat([prefixOf(131_072), UNFINISHED]))
    return call.answered.then(({ status }) => status)
  },
} as const

async function upload({ port }: Server): Promise<number> {
  const body = irisBody().padEnd(100_000)
  const connection = await connect(port)
  connection.send(request('POST', IRIS, { 'content-length': String(body.length) }))
  for (let at = 0; at < body.length; at += 3_000) {
    connection.send(body.slice(at, at + 3_000))
    await wait(100)
  }
  const { status } = await connection.answer()
  connection.socket.destroy()
  return status
}

async function statusesOf(asked: readonly Promise<number>[]): Promise<Record<number, number>> {
  const counts: Record<number, number> = {}
  for (const status of await Promise.all(asked)) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

const times = <T>(n: number, make: () => T): T[] => Array.from({ length: n }, make)

suite('slow senders', { concurrency: true }, () => {
  for (const [protocol, send] of Object.entries(SENDERS)) {
    const refusal = protocol === 'gRPC' ? 4 : 408
    test(`a body over ${protocol} that stops arriving is refused after 5 s`, async t => {
      const server = await startServer()
      t.after(server.stop)
      const began = performance.now()
      // The 5 s count from the last byte received: earlier delays do not extend them.
      const status = await send(server)
      assert.equal(status, refusal)
      assert.ok(performance.now() - began >= 5_000 - 50)
      const metrics = readMetrics(await server.service.metrics.text())
      assert.equal(metrics.get('inference_rejected_total{reason="slow"}'), 1)
    })

    test(`bodies over ${protocol} that stop arriving are dropped if memory is short`, async t => {
      const server = await startServer({ MAX_BODY_BYTES: String(2 ** 20) })
      t.after(server.stop)
      const stuck = times(60, () => send(server).catch(() => 0))
      const ask = async () =>
        (await exchange(server.port, request('POST', IRIS, {}, irisBody().padEnd(50_000)))).status
      await until('a complete body has room', async () => (await ask()) === 200)
      assert.deepEqual(await statusesOf(times(100, ask)), { 200: 100 })
      await Promise.all(stuck)
    })
  }

  test('300 slow uploads are answered on an idle server, and also while the bodies of 130 senders do not arrive', async t => {
    const server = await startServer()
    t.after(server.stop)
    const uploads = () => statusesOf(times(300, () => upload(server)))
    assert.deepEqual(await uploads(), { 200: 300 })
    for (const send of times(130, () => SENDERS['HTTP/1.1'])) void send(server).catch(() => {})
    assert.deepEqual(await uploads(), { 200: 300 })
  })
})
