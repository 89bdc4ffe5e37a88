import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { Datatype } from '../../function/protocol/datatypes.ts'
import type { TensorData } from '../../function/protocol/tensor.ts'
import { tensorsOf } from '../../function/transform/tensors.ts'

/** The input `x` has any number of rows and columns. */
function read(datatype: Datatype, x: unknown): TensorData | undefined {
  const metadata = { name: 'x', shape: [-1, -1], dimensionNames: ['', ''], anyRank: false }
  const signature = { inputs: [{ ...metadata, datatype }], outputs: [] }
  return tensorsOf({ x }, signature, 2 ** 30)[0]?.data
}

describe('an input that preprocess returns', () => {
  test('reads a Uint16Array as the bits of FP16, flat or as a row of nested arrays', () => {
    const bits = Uint16Array.of(0x3c00, 0xc000)
    assert.deepEqual(read('FP16', { shape: [1, 2], data: bits }), bits)
    assert.deepEqual(read('FP16', [bits]), bits)
    assert.throws(() => read('FP16', [[[1]], bits]), /shape/)
  })

  test('must not contain bytes other than 0 and 1 if it is BOOL', () => {
    const data = Uint8Array.of(0, 1)
    assert.deepEqual(read('BOOL', { shape: [1, 2], data }), data)
    assert.throws(
      () => read('BOOL', { shape: [1, 2], data: Uint8Array.of(0, 255) }),
      /^Error: input "x": element 1 is neither 0 nor 1; the model accepts BOOL/,
    )
  })

  for (const rows of [1, 2 ** 19])
    test(`may be in shared memory, from which it is copied because ONNX Runtime cannot read it (${rows} rows)`, () => {
      const data = new Float32Array(new SharedArrayBuffer(4 * rows)).fill(0.5)
      const own = read('FP32', { shape: [rows, 1], data }) as Float32Array
      assert.ok(own.buffer instanceof ArrayBuffer)
      assert.deepEqual([own.length, own[rows - 1]], [rows, 0.5])
    })
})
