import { broadcast } from '../broadcast.ts'
import { axisOf, each, notAlong, type Rule, type Rules, type Step, since } from '../rule.ts'
import { fixed, unknownSize } from '../size.ts'
import { isBatched, Stop, tensor, UNKNOWN, type Value } from '../value.ts'
import { like } from './elementwise.ts'
import { axesOf, without } from './shapes.ts'

/*
 * Reductions and other operators along axes. The batch must not be one of these axes, but often is
 * by default.
 */

function reduced(value: Value, axes: readonly number[], keeps: boolean): Value {
  if (!keeps) return without(value, axes)
  const dims = (value.dims ?? []).map((size, i) => (axes.includes(i) ? fixed(1) : size))
  return tensor(dims, value.axis)
}

const reduce: Rule = step => {
  const value = step.input(0)
  if (value.dims === undefined) return [UNKNOWN]
  // ONNX Runtime's outputs have other shapes then.
  if (value.dims.some(size => size.size === 0)) throw new Stop('the input is empty')
  const axes = axesOf(step, 1, value.dims.length) ?? []
  if (axes.length === 0 && step.flag('noop_with_empty_axes', false)) return [like(value)]
  const along = axes.length === 0 ? value.dims.map((_, i) => i) : axes
  notAlong(along, value)
  return [reduced(value, along, step.flag('keepdims', true))]
}

const arg: Rule = step => {
  const value = step.input(0)
  if (value.dims === undefined) return [UNKNOWN]
  const axes = [axisOf(step.integer('axis', 0), value.dims.length)]
  notAlong(axes, value)
  return [reduced(value, axes, step.flag('keepdims', true))]
}

/**
 * Softmax and similar operators before opset 13 treat the input as a matrix: the dimensions before
 * `axis` are its rows, and the operator works along all other dimensions.
 */
const flattened: Rule = step => {
  const value = step.input(0)
  if (isBatched(value)) {
    const axis = axisOf(step.integer('axis', 1), value.dims.length)
    if (value.axis >= axis)
      throw new Stop(`the node works along all dimensions from ${axis} on, including the batch`)
  }
  return [like(value)]
}

const along =
  (otherwise: number): Rule =>
  step => {
    const value = step.input(0)
    if (isBatched(value))
      notAlong([axisOf(step.integer('axis', otherwise), value.dims.length)], value)
    return [like(value)]
  }

/** CumSum and CumProd have their axis as an input. */
const cumulative: Rule = step => {
  const value = step.input(0)
  if (isBatched(value)) {
    const axis = step.numbers(1)?.[0]
    notAlong([axisOf(axis ?? Number.NaN, value.dims.length)], value)
  }
  return [like(value)]
}

/** Both outputs, values and indices, have size k along the axis. */
const topK: Rule = step => {
  const value = step.input(0)
  step.constantsFrom(1)
  if (value.dims === undefined) return [UNKNOWN, UNKNOWN]
  const axis = axisOf(step.integer('axis', -1), value.dims.length)
  notAlong([axis], value)
  const k = step.attribute('k')?.number
  const known = k === undefined ? step.inputs[1]?.elements?.[0] : fixed(k)
  const out = tensor(value.dims.with(axis, known ?? unknownSize()), value.axis)
  return [out, out]
}

/** Works along all dimensions from `axis` on, where the outputs Mean and InvStdDev have size 1. */
const layerNormalization: Rule = step => {
  const value = step.input(0)
  if (value.dims === undefined) return step.node.outputs.map(() => UNKNOWN)
  const axis = axisOf(step.integer('axis', -1), value.dims.length)
  const axes = value.dims.map((_, i) => i).filter(i => i >= axis)
  notAlong(axes, value)
  scaledBy(step, value)
  const statistics = reduced(value, axes, true)
  return [like(value), statistics, statistics]
}

/** Scale and bias are broadcast to the input and must be the same for all rows. */
function scaledBy(step: Step, value: Value): void {
  step.constantsFrom(1)
  for (const operand of step.inputs.slice(1)) if (operand !== undefined) broadcast([value, operand])
}

/** Works along batch, height and width by default. */
const meanVariance: Rule = step => {
  const value = step.input(0)
  if (isBatched(value)) {
    const { length } = value.dims
    if (step.attribute('axes') !== undefined && step.integers('axes') === undefined)
      throw new Stop('the attribute "axes" is empty')
    notAlong(
      (step.integers('axes') ?? [0, 2, 3]).map(axis => axisOf(axis, length)),
      value,
    )
  }
  return [like(value)]
}

/** Normalises each image separately. Scale and bias have one element per channel. */
const eachPicture: Rule = step => {
  const value = step.input(0)
  step.constantsFrom(1)
  if (value.axis !== undefined && value.axis !== 0) throw new Stop('the batch is not dimension 0')
  return [like(value)]
}

/**
 * Accepts only inference mode, where the statistics are inputs. In training mode, they are computed
 * from the batch.
 */
const batchNormalization: Rule = step => {
  const value = step.input(0)
  step.constantsFrom(1)
  if (step.flag('training_mode', false)) throw new Stop('the node is in training mode')
  if (step.opset < 14 && step.node.outputs.slice(1).some(name => name !== ''))
    throw new Stop('the node is in training mode, because it has more than one output')
  if (!step.flag('spatial', true)) throw new Stop('the attribute "spatial" is 0; it must be 1')
  if (value.axis === 1) throw new Stop('the channels are the batch')
  step.onlyOutputs(1)
  return [like(value)]
}

const REDUCTIONS_OF = [
  ...['ReduceL1', 'ReduceL2', 'ReduceLogSum', 'ReduceLogSumExp', 'ReduceMax', 'ReduceMean'],
  ...['ReduceMin', 'ReduceProd', 'ReduceSum', 'ReduceSumSquare'],
]

export const REDUCTIONS: Rules = {
  ...each(REDUCTIONS_OF, since(7, reduce)),
  ...each(['ArgMax', 'ArgMin'], since(7, arg)),
  ...each(['Softmax', 'LogSoftmax', 'Hardmax'], since(7, flattened), since(13, along(-1))),
  LpNormalization: [since(7, along(-1))],
  ...each(['CumSum', 'CumProd'], since(11, cumulative)),
  TopK: [since(7, topK)],
  ...each(['LayerNormalization', 'RMSNormalization'], since(17, layerNormalization)),
  MeanVarianceNormalization: [since(9, meanVariance)],
  ...each(['InstanceNormalization', 'GroupNormalization', 'LRN'], since(7, eachPicture)),
  BatchNormalization: [since(7, batchNormalization)],
}
