import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { classify } from '../../function/protocol/classification.ts'
import type { Tensor } from '../../function/protocol/tensor.ts'
import { runs } from '../seed.ts'

const fp32 = (shape: readonly number[], ...values: readonly number[]): Tensor => ({
  name: 'y',
  datatype: 'FP32',
  shape,
  data: Float32Array.from(values),
})

const OPTIONS = { count: 2, batched: true, labels: [] as readonly string[] }
const LABELS = ['apple', 'pear', 'pickle', 'plum']

suite('classification of an output', () => {
  test('returns the highest values of each row with their indices, in descending order', () =>
    assert.deepEqual(classify(fp32([2, 4], 1.1, 3.3, 0.5, 2.4, 4, 3, 2, 1), OPTIONS), {
      name: 'y',
      datatype: 'BYTES',
      shape: [2, 2],
      data: ['3.3:1', '2.4:3', '4:0', '3:1'],
    }))

  test('adds labels if the model has one label for each value of a row', () => {
    const row = fp32([1, 4], 1, 5, 10, 4)
    const data = ['10:2:pickle', '5:1:pear']
    assert.deepEqual(classify(row, { ...OPTIONS, labels: LABELS }).data, data)
    assert.deepEqual(classify(row, { ...OPTIONS, labels: ['a', 'b'] }).data, ['10:2', '5:1'])
  })

  for (const [what, tensor, batched, shape] of [
    [
      'treats each value of a vector as a row if the model is batched',
      fp32([3], 1, 2, 3),
      true,
      [3, 1],
    ],
    ['treats a vector as one row if the model is not batched', fp32([3], 1, 2, 3), false, [2]],
    ['returns one class for a scalar', fp32([], 7), false, [1]],
    [
      'combines all dimensions after the first into one row',
      fp32([1, 2, 2], 1, 2, 3, 4),
      true,
      [1, 2],
    ],
    ['returns at most as many classes as a row has values', fp32([1, 1], 1), true, [1, 1]],
    ['returns no classes for an output without rows', fp32([0, 3]), true, [0, 2]],
  ] as const)
    test(what, () => assert.deepEqual(classify(tensor, { ...OPTIONS, batched }).shape, shape))

  test('keeps all digits of 64-bit integers and ranks NaN lowest', () => {
    const big = { name: 'y', datatype: 'INT64', shape: [1, 2] } as const
    const data = BigInt64Array.from([2n ** 53n, 2n ** 53n + 1n])
    assert.deepEqual(classify({ ...big, data }, OPTIONS).data, [
      '9007199254740993:1',
      '9007199254740992:0',
    ])
    const odd = fp32([1, 4], Number.NaN, -1, Number.NEGATIVE_INFINITY, Number.NaN)
    assert.deepEqual(classify(odd, { ...OPTIONS, count: 4 }).data, [
      '-1:1',
      '-Infinity:2',
      'NaN:0',
      'NaN:3',
    ])
  })

  test('orders few classes and many classes like a stable sort', () =>
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -20, max: 20 }), { maxLength: 80 }), values => {
        const order = values
          .map((value, index) => ({ value, index }))
          .sort((one, other) => other.value - one.value)
          .map(({ value, index }) => `${value}:${index}`)
        for (const count of [1, 5, 80]) {
          const { data } = classify(fp32([1, values.length], ...values), { ...OPTIONS, count })
          assert.deepEqual(data, order.slice(0, count))
        }
      }),
      runs(100),
    ))
})
