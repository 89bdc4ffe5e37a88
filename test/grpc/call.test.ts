import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { ServerHttp2Stream } from 'node:http2'
import { Duplex } from 'node:stream'
import { test } from 'node:test'
import { Call } from '../../function/grpc/call.ts'
import { BodyMemory } from '../../function/http/memory.ts'
import { frame } from './client.ts'

const MIB = 2 ** 20

/** A stream whose writes never end, even if it is destroyed. */
class Stuck extends Duplex {
  headersSent = false

  override _read() {}
  override _write() {}
  override _writev() {}

  respond() {
    this.headersSent = true
  }
}

test('a call frees the memory of its messages when its stream closes, even if Node does not report the end of a write', async () => {
  const memory = new BodyMemory(16 * MIB)
  const stream = new Stuck()
  const call = new Call(
    stream as unknown as ServerHttp2Stream,
    { method: 'POST', url: '/', httpVersion: '2', headers: {}, rawHeaders: [] },
    { memory, config: { maxBodyBytes: 16 * MIB, requestTimeoutMs: 60_000 } },
  )
  call.open({ expectsMessage: false })
  stream.push(Buffer.concat([15, 15].map(size => frame(Buffer.alloc(size * MIB)))))
  for (let i = 0; i < 2; i++) {
    const { reservation } = (await call.read()) ?? assert.fail('no message')
    await call.send([Buffer.alloc(8)], reservation)
  }
  assert.throws(() => memory.reserveForAnswer(20 * MIB), /use all the memory/)
  stream.destroy()
  await once(stream, 'close')
  memory.reserveForAnswer(20 * MIB).release()
})
