import assert from 'node:assert/strict'
import type { ServerHttp2Stream } from 'node:http2'
import { PassThrough } from 'node:stream'
import { describe, test } from 'node:test'
import { setImmediate } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { MessageReader } from '../../function/grpc/frames.ts'
import { decoderOf } from '../../function/http/compression.ts'
import { BodyMemory } from '../../function/http/memory.ts'
import { MessageCodec } from '../../function/protocol/message.ts'
import type { Signature } from '../../function/protocol/tensor.ts'
import { encode, frame } from './client.ts'

const SIGNATURE: Signature = {
  inputs: [{ name: 'x', datatype: 'FP64', shape: [-1], dimensionNames: [''], anyRank: false }],
  outputs: [],
}

const request = (id: string) =>
  encode('ModelInfer', {
    id,
    inputs: [{ name: 'x', datatype: 'FP64', shape: [1_000] }],
    raw_input_contents: [Buffer.from(new Float64Array(1_000).fill(0.1).buffer)],
  })

function readerOf(...chunks: readonly Buffer[]): MessageReader {
  const { reader, stream } = openReader()
  for (const chunk of chunks) stream.write(chunk)
  stream.end()
  return reader
}

function openReader(encoding?: string) {
  const stream = new PassThrough()
  const reader = new MessageReader(stream as unknown as ServerHttp2Stream, {
    memory: new BodyMemory(2 ** 20),
    maxBytes: 2 ** 20,
    longestMs: 1_000,
    decoder: decoderOf(encoding),
  })
  return { stream, reader }
}

const cut = (bytes: Buffer, size: number) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
    bytes.subarray(i * size, (i + 1) * size),
  )

describe('a message', () => {
  // Ids of different lengths move the start of the raw contents.
  for (let length = 0; length < 8; length++) {
    test(`copies a message with an id of ${length} letters only once, so that its tensor is a view of the message`, async () => {
      for (const size of [1_000_000, 1_021]) {
        const reader = readerOf(...cut(frame(request('x'.repeat(length))), size))
        const { message } = (await reader.next()) ?? assert.fail('no message')
        const codec = new MessageCodec({ kind: 'message', body: message, isFinal: false })
        const { data } = codec.decode(SIGNATURE).inputs[0] ?? assert.fail('no input')
        assert.equal((data as Float64Array).buffer, message.buffer)
        assert.equal((data as Float64Array)[999], 0.1)
      }
    })
  }

  test('reads messages from pieces of any size', async () => {
    const frames = Buffer.concat(['a', '', 'bc'].map(text => frame(Buffer.from(text))))
    for (const size of [1, 2, 3, 5, 7, 100]) {
      const reader = readerOf(...cut(frames, size))
      const read: (string | undefined)[] = []
      for (let i = 0; i < 4; i++) read.push((await reader.next())?.message.toString())
      assert.deepEqual(read, ['a', '', 'bc', undefined])
    }
  })

  test('does not treat a call as idle while its message is decompressed', async () => {
    const { stream, reader } = openReader('gzip')
    stream.write(frame(gzipSync(Buffer.alloc(500_000)), 1))
    await setImmediate()
    assert.equal(reader.isIdle, false, 'the message has not been read')
    const next = reader.next()
    assert.equal(reader.isIdle, false, 'the message is being decompressed')
    assert.equal((await next)?.message.length, 500_000)
    assert.equal(reader.isIdle, true)
  })

  test('allocates memory only for the bytes that have arrived, not for the length in the prefix', async () => {
    const prefix = Buffer.alloc(5)
    prefix.writeUInt32BE(2 ** 20, 1)
    const before = process.memoryUsage().arrayBuffers
    const opened = Array.from({ length: 100 }, openReader)
    for (const { stream } of opened) {
      stream.write(prefix)
      stream.write(Buffer.alloc(1))
    }
    await setImmediate()
    assert.ok(process.memoryUsage().arrayBuffers - before < 10 * 2 ** 20)
    for (const { reader, stream } of opened) {
      stream.end(Buffer.alloc(2 ** 20 - 1, 1))
      const { message } = (await reader.next()) ?? assert.fail('no message')
      assert.deepEqual([message.length, message[0], message.at(-1)], [2 ** 20, 0, 1])
    }
  })
})
