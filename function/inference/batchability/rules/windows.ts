import { each, type Rule, type Rules, type Step, since } from '../rule.ts'
import { add, asNumber, divide, equals, fixed, multiply, type Size, unknownSize } from '../size.ts'
import { Stop, tensor, UNKNOWN, type Value } from '../value.ts'

/*
 * Convolution and pooling process images [N, channels, …] one by one, with the same weights for
 * all. The output's spatial sizes are computed, because later operators may divide these sizes.
 */

/** @throws {Stop} if the batch of images is not dimension 0 */
export function checkPictures({ axis }: Value): void {
  if (axis !== undefined && axis !== 0) throw new Stop(`the batch is dimension ${axis}, not 0`)
}

/**
 * For operators that process each image separately.
 * @param channelsOf returns the number of channels of the result
 * @param sizeOf returns the size of the result along a spatial dimension
 */
const eachPicture =
  (channelsOf: (step: Step) => Size, sizeOf: (window: Window) => Size | undefined): Rule =>
  step => {
    const value = step.input(0)
    step.constantsFrom(1)
    step.onlyOutputs(1)
    if (value.dims === undefined) return [UNKNOWN]
    checkPictures(value)
    return [tensor([value.dims[0] as Size, channelsOf(step), ...places(step, sizeOf)], value.axis)]
  }

interface Window {
  readonly size: Size
  readonly kernel: number
  readonly stride: number
  readonly dilation: number
  /**
   * The padding at both ends; undefined if the result's size is the input's size divided by the
   * stride.
   */
  readonly pads: number | undefined
  readonly outputPadding: number
  readonly roundsUp: boolean
}

export function places(step: Step, sizeOf: (window: Window) => Size | undefined): Size[] {
  const sizes = step.dims(0).slice(2)
  const kernel = step.integers('kernel_shape') ?? kernelOf(step)
  const pads = step.integers('pads') ?? []
  const autoPad = step.text('auto_pad', 'NOTSET')
  const isGiven = step.attribute('output_shape') !== undefined
  return sizes.map((size, i) => {
    const length = kernel?.[i]
    if (length === undefined || isGiven) return unknownSize()
    const window = {
      size,
      kernel: length,
      stride: step.integers('strides')?.[i] ?? 1,
      dilation: step.integers('dilations')?.[i] ?? 1,
      pads: padsOf(autoPad, (pads[i] ?? 0) + (pads[i + sizes.length] ?? 0)),
      outputPadding: step.integers('output_padding')?.[i] ?? 0,
      roundsUp: step.flag('ceil_mode', false),
    }
    return sizeOf(window) ?? unknownSize()
  })
}

function padsOf(autoPad: string, explicit: number): number | undefined {
  if (autoPad.startsWith('SAME')) return undefined
  return autoPad === 'VALID' ? 0 : explicit
}

/** The kernel's size from the weight, which is input 1, or input 3 of a quantised convolution. */
function kernelOf({ node, inputs }: Step): (number | undefined)[] | undefined {
  const weight = inputs[node.operator === 'QLinearConv' ? 3 : 1]
  return weight?.dims?.slice(2).map(asNumber)
}

/** The result's size along one dimension; undefined if no polynomial expresses it. */
export function windowed({ size, pads, ...window }: Window): Size | undefined {
  const { kernel, stride, dilation, roundsUp } = window
  const number = asNumber(size)
  // ONNX Runtime computes the pads without the dilation.
  if (pads === undefined && dilation !== 1) return undefined
  if (pads === undefined) {
    if (stride === 1) return size
    return number === undefined ? undefined : fixed(Math.ceil(number / stride))
  }
  const beyond = pads - dilation * (kernel - 1)
  if (stride === 1) return add(size, fixed(beyond))
  if (number === undefined) return undefined
  const steps = (number + beyond - 1) / stride
  if (steps < 0 || (roundsUp && !Number.isInteger(steps))) return undefined
  return fixed(Math.floor(steps) + 1)
}

function transposed({ size, kernel, stride, dilation, pads, outputPadding }: Window) {
  if (pads === undefined) return undefined
  const scaled = multiply(size, fixed(stride))
  return scaled && add(scaled, fixed(outputPadding + dilation * (kernel - 1) + 1 - stride - pads))
}

/** A convolution's weight is [output channels, …]. */
const channelsOut = (step: Step) => step.inputs[1]?.dims?.[0] ?? unknownSize()

/** A transposed convolution's weight is [input channels, output channels per group, …]. */
function channelsTransposed(step: Step): Size {
  const each = step.inputs[1]?.dims?.[1]
  return (each && multiply(each, fixed(step.integer('group', 1)))) ?? unknownSize()
}

const sameChannels = (step: Step) => step.dims(0)[1] as Size

const globalPool: Rule = step => {
  const { dims, axis } = step.input(0)
  if (dims === undefined) return [UNKNOWN]
  if (axis !== undefined && axis > 1) throw new Stop('the node pools over the batch')
  return [tensor([...dims.slice(0, 2), ...dims.slice(2).map(() => fixed(1))], axis)]
}

/** Moves elements between channels and square blocks with sides of `blocksize`. */
const blocks: Rule = step => {
  const value = step.input(0)
  if (value.dims === undefined) return [UNKNOWN]
  checkPictures(value)
  const [rows, channels, ...sides] = value.dims as readonly [Size, Size, ...Size[]]
  const side = fixed(step.integer('blocksize', 1))
  const area = multiply(side, side) ?? side
  const isOut = step.node.operator === 'DepthToSpace'
  const [all, each] = isOut ? [divide, multiply] : [multiply, divide]
  const sizes = [all(channels, area), ...sides.map(size => each(size, side))]
  return [tensor([rows, ...sizes.map(size => size ?? unknownSize())], value.axis)]
}

/**
 * Images [N, channels, …] and a grid [N, …, 2]: a row's grid contains positions in the same row's
 * image.
 */
const gridSample: Rule = step => {
  const [picture, grid] = [step.batched(0), step.batched(1)]
  const [rows, others] = [picture.dims[0] as Size, grid.dims[0] as Size]
  if (picture.axis !== 0 || grid.axis !== 0 || !equals(rows, others))
    throw new Stop('images and grids do not have the same batch in dimension 0')
  return [tensor([rows, picture.dims[1] as Size, ...grid.dims.slice(1, -1)], 0)]
}

export const WINDOWS: Rules = {
  ...each(['Conv', 'ConvInteger'], since(7, eachPicture(channelsOut, windowed))),
  ConvTranspose: [since(7, eachPicture(channelsTransposed, transposed))],
  ...each(['AveragePool', 'MaxPool', 'LpPool'], since(7, eachPicture(sameChannels, windowed))),
  ...each(['GlobalAveragePool', 'GlobalMaxPool', 'GlobalLpPool'], since(7, globalPool)),
  ...each(['DepthToSpace', 'SpaceToDepth'], since(7, blocks)),
  GridSample: [since(16, gridSample)],
}
