import assert from 'node:assert/strict'
import { test } from 'node:test'
import { readHalf, writeHalf } from '../half.ts'

test('FP16 is read and written with every version of Node', () => {
  const view = new DataView(new ArrayBuffer(2))
  const cases: readonly [value: number, bits: number, rounded?: number][] = [
    [0, 0],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2.5, 0xc100],
    [65_504, 0x7bff],
    [65_520, 0x7c00, Number.POSITIVE_INFINITY],
    [2 ** -24, 1],
    [2 ** -14 - 2 ** -26, 0x400, 2 ** -14],
    [1 + 2 ** -11, 0x3c00, 1],
    [1 + 3 * 2 ** -11, 0x3c02, 1 + 2 ** -9],
    [Number.NEGATIVE_INFINITY, 0xfc00],
    [Number.NaN, 0x7e00],
  ]
  for (const [value, bits, rounded = value] of cases) {
    writeHalf(view, 0, value)
    assert.equal(view.getUint16(0, true), bits)
    assert.equal(readHalf(view, 0), rounded)
  }
})
