import { axisOf, type Rule, type Rules, type Step, since } from '../rule.ts'
import { type Size, unknownSize } from '../size.ts'
import { isBatched, Stop, tensor, UNKNOWN, type Value } from '../value.ts'
import { like } from './elementwise.ts'
import { isSingle, matrixProduct } from './products.ts'
import { checkPictures, places, windowed } from './windows.ts'

/*
 * Quantisation with constant scales. A scale computed from the tensor (DynamicQuantizeLinear)
 * depends on the entire batch, so the proof stops.
 */

/**
 * One scale, or one per index of `axis`, which must not be the batch. There is no rule for blocks.
 */
const linear: Rule = step => {
  const value = step.input(0)
  step.constantsFrom(1)
  if (isBatched(value)) {
    const scale = step.input(1)
    if (step.integer('block_size', 0) !== 0)
      throw new Stop('there is no rule for the attribute block_size')
    if (!isSingle(scale)) checkAxis(step, scale, value)
  }
  return [like(value)]
}

function checkAxis(step: Step, scale: Value, value: Value): void {
  const { dims = [], axis } = value
  if (scale.dims?.length !== 1)
    throw new Stop('the shape of the scale is unknown, or the scale has several dimensions')
  if (axisOf(step.integer('axis', 1), dims.length) === axis)
    throw new Stop('the node has a scale for each row')
}

/** @throws {Stop} if a scale or zero point at these inputs has several elements */
const ofWholeTensor = (step: Step, indices: readonly number[]) => {
  for (const index of indices) {
    const value = step.inputs[index]
    if (value !== undefined && !isSingle(value))
      throw new Stop(
        `input ${index} has several elements; a batched tensor needs a single scale and zero point`,
      )
  }
}

function notBatched(step: Step, indices: readonly number[]): void {
  for (const index of indices)
    if (isBatched(step.inputs[index]))
      throw new Stop(`input ${index} depends on rows; it must be the same for all rows`)
}

const matMulInteger: Rule = step => {
  notBatched(step, [2, 3])
  ofWholeTensor(step, isBatched(step.inputs[0]) ? [2] : [])
  ofWholeTensor(step, isBatched(step.inputs[1]) ? [3] : [])
  return [matrixProduct(step.input(0), step.input(1))]
}

/**
 * Inputs: a, its scale and zero point; b, its scale and zero point; the result's scale and zero
 * point.
 */
const qlinearMatMul: Rule = step => {
  notBatched(step, [1, 2, 4, 5, 6, 7])
  const isRows = isBatched(step.inputs[0]) || isBatched(step.inputs[3])
  ofWholeTensor(step, isRows ? [1, 2, 6, 7] : [])
  ofWholeTensor(step, isBatched(step.inputs[3]) ? [4, 5] : [])
  return [matrixProduct(step.input(0), step.input(3))]
}

const qlinearConv: Rule = step => {
  const value = step.input(0)
  step.constantsFrom(1)
  if (value.dims === undefined) return [UNKNOWN]
  checkPictures(value)
  const channels = step.inputs[3]?.dims?.[0] ?? unknownSize()
  return [tensor([value.dims[0] as Size, channels, ...places(step, windowed)], value.axis)]
}

/** All results are computed from the entire tensor. */
const dynamic: Rule = step => {
  if (isBatched(step.input(0)))
    throw new Stop('the node scales with the largest value in the entire batch')
  return [like(step.input(0)), { dims: [] }, { dims: [] }]
}

export const QUANTIZATION: Rules = {
  QuantizeLinear: [since(10, linear)],
  DequantizeLinear: [since(10, linear)],
  MatMulInteger: [since(10, matMulInteger)],
  QLinearMatMul: [since(10, qlinearMatMul)],
  QLinearConv: [since(10, qlinearConv)],
  DynamicQuantizeLinear: [since(11, dynamic)],
}
