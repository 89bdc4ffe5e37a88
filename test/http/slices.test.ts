import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Writable } from 'node:stream'
import { test } from 'node:test'
import { SLICE_BYTES, writeInSlices } from '../../function/http/slices.ts'
import { own } from '../../function/inference/transfer.ts'

const written = () => {
  const chunks: Buffer[] = []
  const to = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(Buffer.from(chunk))
      setImmediate(done)
    },
  })
  return { to, bytes: () => Buffer.concat(chunks) }
}

test('a response from another thread is freed after it has been written, even if parts share a buffer', async () => {
  const buffer = new Uint8Array(3 * SLICE_BYTES).fill(7)
  const parts = [buffer.subarray(0, SLICE_BYTES + 1), buffer.subarray(SLICE_BYTES + 1)]
  own(parts)
  const { to, bytes } = written()
  const sizes: number[] = []
  writeInSlices(to, ['head', ...parts], size => sizes.push(size))
  await once(to, 'finish')
  assert.equal(bytes().byteLength, 4 + 3 * SLICE_BYTES)
  assert.equal(
    bytes()
      .subarray(4)
      .every(byte => byte === 7),
    true,
  )
  assert.deepEqual(sizes, [4, SLICE_BYTES, 1, SLICE_BYTES, SLICE_BYTES - 1])
  assert.equal(buffer.buffer.byteLength, 0)
})

test('other bodies are kept, because other responses may contain them', async () => {
  const page = new Uint8Array(SLICE_BYTES + 1)
  const { to } = written()
  writeInSlices(to, [page], () => {})
  await once(to, 'finish')
  assert.equal(page.byteLength, SLICE_BYTES + 1)
})

test('a response is kept if its connection breaks, because the system may still read the memory', async () => {
  const part = new Uint8Array(2 * SLICE_BYTES)
  own([part])
  const to = new Writable({ write: (_chunk, _encoding, done) => done(new Error('broken')) })
  writeInSlices(to, [part], () => {})
  await assert.rejects(once(to, 'close'), /broken/)
  assert.equal(part.byteLength, 2 * SLICE_BYTES)
})
