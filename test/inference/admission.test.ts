import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { Admission } from '../../function/inference/admission.ts'
import { RunSizes } from '../../function/inference/run-sizes.ts'
import type { Datatype } from '../../function/protocol/datatypes.ts'
import type { Tensor } from '../../function/protocol/tensor.ts'

const MOST = 1_000

/** A model with input [N] and output [N, ?], after a run of one row with this output. */
function after(output: Tensor, followShapes = true) {
  const described = (name: string, datatype: Datatype, shape: readonly number[]) => ({
    name,
    datatype,
    shape,
    dimensionNames: shape.map(() => ''),
    anyRank: false,
  })
  const signature = {
    inputs: [described('x', 'FP32', [-1])],
    outputs: [described('y', output.datatype, [-1, -1])],
  }
  const sizes = new RunSizes(signature, 2 ** 20, () => 0)
  sizes.areRowsIndependent = true
  sizes.followShapes = followShapes
  sizes.ran([input(1)], [output])
  const admission = new Admission(signature, sizes, { maxBytes: MOST, maxJsonBytes: MOST })
  return (rows: number, binary: boolean) =>
    admission.sizeOf({ inputs: [input(rows)], outputs: [{ name: 'y', binary }] })
}

const input = (rows: number): Tensor => ({
  name: 'x',
  datatype: 'FP32',
  shape: [rows],
  data: new Float32Array(rows),
})

const numbers = (count: number): Tensor => ({
  name: 'y',
  datatype: 'FP32',
  shape: [1, count],
  data: new Float32Array(count),
})

const text = (length: number): Tensor => ({
  name: 'y',
  datatype: 'BYTES',
  shape: [1, 1],
  data: ['a'.repeat(length)],
})

suite('responses that exceed the limits', () => {
  test('a request is refused before its run if output sizes depend only on shapes', () => {
    const sizeOf = after(numbers(100))
    assert.equal(sizeOf(2, true)?.bytes, 800)
    assert.throws(() => sizeOf(3, true), /MAX_BODY_BYTES/)
    assert.throws(() => sizeOf(6, false), /the response as JSON is larger/)
  })

  test('a request is not refused before its run if output sizes depend on input values', () => {
    const sizeOf = after(numbers(1_000_000), false)
    assert.equal(sizeOf(1, true)?.bytes, MOST)
    assert.equal(sizeOf(1, false)?.bytes, 2 * MOST)
  })

  test('a request is not refused because an earlier caller received long texts', () => {
    const sizeOf = after(text(1_000_000))
    assert.equal(sizeOf(100, true)?.bytes, MOST)
    assert.equal(sizeOf(100, false)?.bytes, 2 * MOST)
  })

  test('a request for too many texts is refused before its run, whatever their length', () => {
    assert.throws(() => after(text(0))(400, false), /the response as JSON is larger/)
  })
})
