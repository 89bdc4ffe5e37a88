import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { isExpected, type Result, verdict } from './summary.ts'
import { asJson, difference, elements, fromJson } from './tensor.ts'

const bytes = (values: ArrayBufferView) => Buffer.from(values.buffer as ArrayBuffer)
const EXACT = { rtol: 0, atol: 0 }

suite('the comparison of a response with the recorded outputs', () => {
  const values = new Float32Array([1, Number.NaN, Number.POSITIVE_INFINITY])
  const base64 = bytes(values).toString('base64')
  const expected = { name: 'y', datatype: 'FP32', shape: [3], data_base64: base64 }
  const output = { name: 'y', datatype: 'FP32', shape: [3], values: [...values] }
  const near = { ...output, values: [1.001, Number.NaN, Number.POSITIVE_INFINITY] }

  test('accepts the recorded values, and values within the tolerance', () => {
    assert.equal(difference([output], [expected], EXACT), undefined)
    assert.equal(difference([near], [expected], { rtol: 0.01, atol: 0 }), undefined)
  })

  for (const [what, outputs, told] of [
    ['a missing output', [], 'no output "y"'],
    ['another datatype', [{ ...output, datatype: 'FP64' }], '"y" is FP64'],
    ['another shape', [{ ...output, shape: [1, 3] }], '"y" has shape [1,3]'],
    ['too few elements', [{ ...output, values: [1] }], '"y" has 1 elements'],
    ['a value beyond the tolerance', [near], '"y"[0] is 1.001, not 1'],
    ['a number in place of NaN', [{ ...output, values: [1, 2, 3] }], '"y"[1] is 2, not NaN'],
  ] as const)
    test(`rejects ${what}`, () => assert.equal(difference(outputs, [expected], EXACT), told))
})

suite('the conversion of a tensor', () => {
  for (const [datatype, values, json] of [
    [
      'FP32',
      new Float32Array([-0, Number.NaN, Number.NEGATIVE_INFINITY]),
      [-0, 'NaN', '-Infinity'],
    ],
    ['INT64', new BigInt64Array([2n ** 62n]), [2n ** 62n]],
    ['BOOL', new Uint8Array([1, 0]), [true, false]],
  ] as const)
    test(`converts ${datatype} to JSON and back`, () => {
      const tensor = { name: 'x', datatype, shape: [values.length] }
      const { data } = asJson({ ...tensor, data_base64: bytes(values).toString('base64') })
      assert.deepEqual(data, json)
      assert.deepEqual(fromJson(datatype, data), [...values])
    })

  test('reads BYTES from binary tensor data', () => {
    const binary = Buffer.from([1, 0, 0, 0, 97, 0, 0, 0, 0])
    assert.deepEqual(elements('BYTES', binary), ['a', ''])
  })
})

suite('the verdict', () => {
  const both: Result = { name: 'm', json: { right: true }, binary: { right: true } }
  for (const [line, result] of [
    ['both', both],
    ['WRONG', { ...both, json: { wrong: '"y" is FP64' } }],
    ['not tested: an input is not a tensor', { name: 'm', notAsked: 'an input is not a tensor' }],
    ['REFUSED', { name: 'm', notServed: 'not a model' }],
    ['REFUSED', { ...both, json: { refused: '400 no' } }],
    ['binary only', { ...both, json: { refused: '400 input "x": FP16 has no JSON form' } }],
  ] as const)
    test(`counts ${JSON.stringify(result)} as "${line}"`, () => assert.equal(verdict(result), line))

  test('makes the run fail if one result is wrong or refused', () => {
    const part = { isWhole: false }
    assert.ok(isExpected([both], part))
    assert.ok(!isExpected([both, { ...both, binary: { wrong: 'no output "y"' } }], part))
    assert.ok(!isExpected([both, { name: 'm', notServed: 'not a model' }], part))
  })

  test('makes a complete run fail if too few models are served', () =>
    assert.ok(!isExpected([both], { isWhole: true })))
})
