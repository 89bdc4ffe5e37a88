import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readBinaryTensor, writeBinaryTensor } from '../../function/protocol/binary.ts'
import { readContents, writeContents } from '../../function/protocol/contents.ts'

/** Texts of the lengths at which the encodings of lengths and of texts change. */
const TEXTS = [0, 1, 31, 32, 127, 128, 255, 256, 16_383, 16_384, 70_000].flatMap(length => [
  'a'.repeat(length),
  '\x7f'.repeat(length),
  'é'.repeat(Math.ceil(length / 2)),
  `${'🌸'.repeat(Math.floor(length / 4))}\ufffd`,
])

const metadata = {
  name: 'x',
  datatype: 'BYTES',
  shape: [-1],
  dimensionNames: ['n'],
  anyRank: false,
} as const
const shape = [TEXTS.length]

test('texts of every length are written and read as binary tensor data', () => {
  const bytes = writeBinaryTensor({ ...metadata, shape, data: TEXTS })
  const expected = TEXTS.flatMap(text => {
    const length = Buffer.alloc(4)
    length.writeUInt32LE(Buffer.byteLength(text))
    return [length, Buffer.from(text)]
  })
  assert.ok(Buffer.concat(expected).equals(bytes))
  assert.deepEqual(readBinaryTensor(bytes, shape, metadata), TEXTS)
})

test('texts of every length are written and read as typed contents', () => {
  const contents = Buffer.concat(writeContents({ datatype: 'BYTES', data: TEXTS }))
  assert.deepEqual(readContents(contents, shape, metadata), TEXTS)
})

test('a lone surrogate of a model is written as U+FFFD', () => {
  const data = ['\ud800', `a\udfff${'b'.repeat(40)}`]
  const bytes = writeBinaryTensor({ ...metadata, shape: [2], data })
  assert.deepEqual(
    readBinaryTensor(bytes, [2], metadata),
    data.map(text => text.toWellFormed()),
  )
})
