import { sizeOf } from '../broadcast.ts'
import { axisOf, notAlong, type Rule, type Rules, type Step, since } from '../rule.ts'
import {
  add,
  asNumber,
  divide,
  equals,
  fixed,
  hasRows,
  isAtLeast,
  isOne,
  multiply,
  perRow,
  product,
  ROWS,
  type Size,
  show,
  subtract,
  unknownSize,
} from '../size.ts'
import {
  type Batched,
  batched,
  constant,
  isBatched,
  Stop,
  tensor,
  UNKNOWN,
  type Value,
} from '../value.ts'
import { like } from './elementwise.ts'

/*
 * Shapes: operators that move elements without examining them. Each rule computes the place of the
 * rows afterwards. Sizes come from shape arithmetic (arithmetic.ts), and N occurs only in shapes.
 */

const shape: Rule = step => {
  const dims = step.dims(0)
  const wrap = (index: number) => Math.max(index < 0 ? index + dims.length : index, 0)
  const elements = dims.slice(
    wrap(step.integer('start', 0)),
    wrap(step.integer('end', dims.length)),
  )
  return [{ dims: [fixed(elements.length)], elements }]
}

const size: Rule = step => [{ dims: [], elements: [product(step.dims(0))] }]

/** Elements of a small constant are kept, so that shapes made from it stay known. */
const MOST_KEPT = 1_024

const constantOfShape: Rule = step => {
  const dims = sizesOf(step, 0)
  const axis = dims.findIndex(hasRows)
  if (axis !== -1) return [batched(dims, axis)]
  const given = step.attribute('value')
  // Values of other types are not read.
  const [value = Number.NaN] = given === undefined ? [0] : (given.tensor?.values ?? [])
  const count = dims.map(asNumber).reduce<number>((all, one) => all * (one ?? Number.NaN), 1)
  if (!(count <= MOST_KEPT)) return [constant(dims)]
  const element = Number.isInteger(value) ? fixed(value) : undefined
  return [{ dims, elements: Array.from({ length: count }, () => element) }]
}

/** The sizes in a shape operand. An unknown size does not depend on N. */
const sizesOf = (step: Step, index: number): Size[] =>
  (step.elements(index) ?? []).map(element => element ?? unknownSize())

/**
 * Row-major order is kept. Let the batch be r·N·k in [p…, r·N·k, q…]: rows are repeated r times,
 * with k neighbouring indices each. A new dimension r'·N·k' is the batch again if p·r equals p'·r',
 * because then the same number of indices precede a row. −1 and 0 are resolved. An unknown size may
 * be either, so it must come after the batch.
 */
const reshape: Rule = step => {
  const value = step.input(0)
  const target = step.elements(1) ?? step.integers('shape')?.map(fixed) ?? []
  if (step.flag('allowzero', false) && target.some(isZero))
    throw new Stop('it makes a dimension of size 0')
  if (!isBatched(value)) return [reshapedConstant(value, target)]
  return [regrouped(value, resolve(value, target))]
}

const isZero = (size: Size | undefined) => size !== undefined && asNumber(size) === 0

function regrouped(value: Batched, dims: readonly (Size | undefined)[]): Value {
  const at = dims.findIndex(size => size !== undefined && hasRows(size))
  const ahead = dims.slice(0, Math.max(at, 0))
  if (at === -1 || ahead.includes(undefined))
    throw new Stop(
      `it is not known where the batch of ${showDims(value)} is in [${showSizes(dims)}]`,
    )
  const before = product([...value.dims.slice(0, value.axis), value.repeats ?? fixed(1)])
  const precedes = product(ahead as Size[])
  const repeats = before && precedes && divide(before, precedes)
  const parts = perRow(dims[at] as Size)
  if (repeats === undefined || parts === undefined || divide(parts, repeats) === undefined)
    throw new Stop(`[${showSizes(dims)}] does not keep the rows of ${showDims(value)} together`)
  const sizes = dims.map(size => size ?? unknownSize())
  return { ...batched(sizes, at), ...(!isOne(repeats) && { repeats }) }
}

const showSizes = (sizes: readonly (Size | undefined)[]) =>
  sizes.map(size => (size === undefined ? '?' : show(size))).join(', ')
const showDims = ({ dims }: Batched) => `[${showSizes(dims)}]`

/** Replaces −1 and 0 in a Reshape's target by the sizes they stand for, if these are known. */
function resolve({ dims }: Batched, target: readonly (Size | undefined)[]): (Size | undefined)[] {
  const sizes = target.map((size, i) =>
    size !== undefined && asNumber(size) === 0 ? dims[i] : size,
  )
  const isInferred = (size: Size | undefined) => size !== undefined && asNumber(size) === -1
  const inferred = sizes.findIndex(isInferred)
  if (inferred === -1) return sizes
  const others = sizes.filter((_, i) => i !== inferred)
  const [all, known] = [
    product(dims),
    others.includes(undefined) ? undefined : product(others as Size[]),
  ]
  const rest = all === undefined || known === undefined ? undefined : divide(all, known)
  // If another dimension contains N, this one does not, whatever its size.
  const isFree = others.some(size => size !== undefined && hasRows(size))
  return sizes.with(inferred, rest ?? (isFree ? unknownSize() : undefined))
}

function reshapedConstant({ dims }: Value, target: readonly (Size | undefined)[]): Value {
  const known = target.map((size, i) =>
    size !== undefined && asNumber(size) === 0 ? dims?.[i] : size,
  )
  if (known.some(size => size !== undefined && hasRows(size)))
    throw new Stop('a tensor that is the same for all rows is given N as a dimension')
  const inferred = known.findIndex(size => size !== undefined && asNumber(size) === -1)
  if (inferred !== -1) {
    const all = dims && product(dims)
    const others = known.filter((_, i) => i !== inferred)
    const rest = others.includes(undefined) ? undefined : product(others as Size[])
    known[inferred] = all && rest && divide(all, rest)
  }
  return constant(known.map(size => size ?? unknownSize()))
}

const flatten: Rule = step => {
  const value = step.input(0)
  const { dims } = value
  if (dims === undefined) return [UNKNOWN]
  const at = step.integer('axis', 1)
  const split = at < 0 ? at + dims.length : at
  const sizes = [dims.slice(0, split), dims.slice(split)].map(side => product(side))
  if (isBatched(value)) return [regrouped(value, sizes)]
  return [constant(sizes.map(size => size ?? unknownSize()))]
}

const transpose: Rule = step => {
  const { dims, axis } = step.input(0)
  if (dims === undefined) return [UNKNOWN]
  const perm = step.integers('perm') ?? dims.map((_, i) => dims.length - 1 - i)
  if (perm.length !== dims.length) throw new Stop('its perm has a different number of dimensions')
  const moved = perm.map(from => dims[from] as Size)
  return [tensor(moved, axis === undefined ? undefined : perm.indexOf(axis))]
}

/** Axes that were an attribute in earlier opsets and are an input now. */
export function axesOf(step: Step, index: number, rank: number): number[] | undefined {
  const axes = step.integers('axes') ?? step.numbers(index)
  return axes?.map(axis => axisOf(axis, rank))
}

const squeeze: Rule = step => {
  const value = step.input(0)
  if (value.dims === undefined) return [UNKNOWN]
  const axes = axesOf(step, 1, value.dims.length) ?? []
  if (axes.length === 0) {
    // At N = 1, it would remove the batch as well.
    if (isBatched(value))
      throw new Stop('it names no axes, so with one row it removes the batch, too')
    if (value.dims.some(dim => asNumber(dim) === undefined)) return [UNKNOWN]
    return [constant(value.dims.filter(dim => !isOne(dim)))]
  }
  notAlong(axes, value)
  return [without(value, axes)]
}

/** The remaining dimensions, and the place of the batch among them. */
export function without({ dims = [], axis }: Value, axes: readonly number[]): Value {
  const stays = dims.flatMap((_, i) => (axes.includes(i) ? [] : i))
  return tensor(
    stays.map(i => dims[i] as Size),
    axis === undefined ? undefined : stays.indexOf(axis),
  )
}

const unsqueeze: Rule = step => {
  const { dims, axis } = step.input(0)
  if (dims === undefined) return [UNKNOWN]
  const count = (step.integers('axes') ?? step.elements(1) ?? []).length
  const rank = dims.length + count
  const axes = axesOf(step, 1, rank) ?? []
  if (new Set(axes).size < axes.length) throw new Stop('an axis is named twice')
  const stays = Array.from({ length: rank }, (_, i) => i).filter(i => !axes.includes(i))
  const sizes = Array.from({ length: rank }, (_, i) =>
    axes.includes(i) ? fixed(1) : (dims[stays.indexOf(i)] as Size),
  )
  return [tensor(sizes, axis === undefined ? undefined : stays[axis])]
}

const concat: Rule = step => [
  concatenated(
    step,
    step.inputs.map((_, i) => step.input(i)),
  ),
]

/** All pieces have the batch at the same place, and are concatenated along another dimension. */
export function concatenated(step: Step, values: readonly Value[]): Value {
  const first = values.find(isBatched)
  if (values.some(({ dims }) => dims === undefined)) {
    if (first === undefined) return UNKNOWN
    throw new Stop('the shape of an input is unknown')
  }
  const [{ dims: shape = [] }] = values as [Value]
  const along = axisOf(step.integer('axis', Number.NaN), shape.length)
  if (first !== undefined) {
    notAlong([along], first)
    for (const [i, { dims, axis }] of values.entries())
      if (axis !== first.axis || !equals(dims?.[axis] as Size, first.dims[first.axis] as Size))
        throw new Stop(`input ${i} has a different batch from the others`)
  }
  const sizes = shape.map((_, place) => {
    const all = values.map(({ dims }) => dims?.[place] as Size)
    if (place !== along) return sizeOfSame(all)
    return all.reduce<Size | undefined>((sum, one) => sum && add(sum, one), fixed(0))
  })
  return tensor(
    sizes.map(one => one ?? unknownSize()),
    first?.axis,
  )
}

/** The size of dimensions that must be equal for the run to succeed: a number if one of them is. */
const sizeOfSame = (sizes: readonly Size[]) =>
  sizes.find(one => asNumber(one) !== undefined) ?? sizes[0]

const split: Rule = step => {
  const value = step.input(0)
  if (value.dims === undefined) return step.node.outputs.map(() => UNKNOWN)
  const along = axisOf(step.integer('axis', 0), value.dims.length)
  notAlong([along], value)
  const sizes = step.integers('split')?.map(fixed) ?? splitSizes(step)
  const { length } = step.node.outputs
  const equal = sizes === undefined ? divide(value.dims[along] as Size, fixed(length)) : undefined
  return step.node.outputs.map((_, i) =>
    tensor((value.dims ?? []).with(along, sizes?.[i] ?? equal ?? unknownSize()), value.axis),
  )
}

const splitSizes = (step: Step): Size[] | undefined =>
  step.inputs[1] === undefined ? undefined : sizesOf(step, 1)

/** Exporters write "to the end" as this or more. No request body could hold so many rows. */
const TO_THE_END = 1e9

const slice: Rule = step => {
  const value = step.input(0)
  if (value.dims === undefined) return [UNKNOWN]
  const rank = value.dims.length
  const named = (step.integers('axes') ?? step.numbers(3))?.map(axis => axisOf(axis, rank))
  const list = (name: string, index: number) =>
    step.integers(name)?.map(fixed) ?? elementsOrUnknown(step, index, named?.length)
  const starts = list('starts', 1) ?? []
  const ends = list('ends', 2) ?? []
  const axes = named ?? starts.map((_, i) => i)
  const steps = list('steps', 4) ?? starts.map(() => fixed(1))
  const sizes = value.dims.map((whole, axis) => {
    const i = axes.indexOf(axis)
    if (i === -1) return whole
    const cut = { start: starts[i], end: ends[i], step: steps[i] }
    if (takesAll(cut, whole)) return whole
    if (axis === value.axis) throw new Stop('it takes some of the rows, or turns them around')
    return lengthOf(cut, whole)
  })
  return [tensor(sizes, value.axis)]
}

/** That number of unknown elements, if the operand is the same for all rows. */
function elementsOrUnknown(step: Step, index: number, count: number | undefined) {
  const value = step.inputs[index]
  if (
    value === undefined ||
    value.elements !== undefined ||
    isBatched(value) ||
    count === undefined
  )
    return step.elements(index)
  return new Array<Size | undefined>(count).fill(undefined)
}

interface Cut {
  readonly start: Size | undefined
  readonly end: Size | undefined
  readonly step: Size | undefined
}

function takesAll({ start, end, step }: Cut, whole: Size): boolean {
  if (start === undefined || end === undefined || step === undefined) return false
  if (asNumber(start) !== 0 || !isOne(step)) return false
  if ((asNumber(end) ?? 0) >= TO_THE_END) return true
  const beyond = subtract(end, whole)
  return beyond !== undefined && isAtLeast(beyond, 0)
}

/** The length of a part if it is known; else an unknown size without N. */
function lengthOf({ start, end, step }: Cut, whole: Size): Size {
  for (const size of [start, end, step])
    if (size !== undefined && hasRows(size))
      throw new Stop('N sets how much of another dimension it takes')
  const [from, to, by, all] = [start, end, step, whole].map(size => size && asNumber(size))
  if (from === undefined || to === undefined || by !== 1) return unknownSize()
  if (all !== undefined) {
    const at = (index: number) => Math.min(Math.max(index < 0 ? index + all : index, 0), all)
    return fixed(Math.max(at(to) - at(from), 0))
  }
  return unknownSize()
}

/**
 * Rows look up constants (an embedding), or the operator takes the same places of each row. Rows
 * that select other rows are refused, and so is a row selected by its number.
 */
const gather: Rule = step => {
  const [data, indices] = [step.input(0), step.input(1)]
  if (data.dims === undefined || indices.dims === undefined) {
    if (!isBatched(data) && !isBatched(indices)) return [UNKNOWN]
    throw new Stop('the shape of an input is unknown')
  }
  if (isBatched(data) && isBatched(indices)) throw new Stop('rows index into a batched tensor')
  const along = axisOf(step.integer('axis', 0), data.dims.length)
  notAlong([along], data)
  const sizes = [...data.dims.slice(0, along), ...indices.dims, ...data.dims.slice(along + 1)]
  return [tensor(sizes, gatheredAxis(data, indices, along))]
}

function gatheredAxis(data: Value, indices: Value, along: number): number | undefined {
  if (indices.axis !== undefined) return along + indices.axis
  if (data.axis === undefined || data.axis < along) return data.axis
  return data.axis - 1 + (indices.dims?.length ?? 0)
}

/**
 * Both have the batch at the same place, and the lookup is along another: row i looks into row i.
 */
const gatherElements: Rule = step => {
  if (!step.inputs.some(isBatched)) return [like(step.input(1))]
  const [data, indices] = [step.input(0), step.batched(1)]
  const along = axisOf(step.integer('axis', 0), indices.dims.length)
  if (isBatched(data)) {
    notAlong([along], data)
    checkSameBatch(data, indices)
  } else if (along !== indices.axis) throw new Stop('a constant has an entry for each row')
  return [like(indices)]
}

function checkSameBatch(a: Batched, b: Batched): void {
  if (a.axis !== b.axis || !equals(a.dims[a.axis] as Size, b.dims[b.axis] as Size))
    throw new Stop('its inputs have the batch at different places')
}

const gatherNd: Rule = step => {
  const [data, indices] = [step.input(0), step.input(1)]
  const within = step.integer('batch_dims', 0)
  if (!isBatched(indices)) throw new Stop('the same indices take from all rows')
  if (isBatched(data)) {
    if (data.axis >= within) throw new Stop('rows index into a batched tensor')
    checkSameBatch(data, indices)
  } else if (within > 0) throw new Stop('a constant has a dimension of its own for each row')
  if (indices.axis === indices.dims.length - 1) throw new Stop('an index is made of several rows')
  const last = indices.dims.at(-1)
  const width = last === undefined ? undefined : asNumber(last)
  if (width === undefined || data.dims === undefined)
    throw new Stop('the shape of an input is unknown')
  const sizes = [...indices.dims.slice(0, -1), ...data.dims.slice(within + width)]
  return [batched(sizes, indices.axis)]
}

const scatterElements: Rule = step => {
  if (step.text('reduction', 'none') !== 'none') throw new Stop('it reduces')
  const [data, indices, updates] = [step.batched(0), step.batched(1), step.batched(2)]
  notAlong([axisOf(step.integer('axis', 0), data.dims.length)], data)
  checkSameBatch(data, indices)
  checkSameBatch(data, updates)
  return [like(data)]
}

/** Size 1 becomes N if the tensor is the same for all rows; the batch itself must not change. */
const expand: Rule = step => {
  const value = step.input(0)
  const target = step.elements(1) ?? []
  if (value.dims === undefined) {
    if (target.some(size => size !== undefined && hasRows(size)))
      throw new Stop('the shape of its input is unknown')
    return [UNKNOWN]
  }
  const { dims } = value
  const rank = Math.max(dims.length, target.length)
  const axis = isBatched(value) ? rank - dims.length + value.axis : undefined
  let expandedAt = axis
  const sizes = Array.from({ length: rank }, (_, place) => {
    const has = dims[place - rank + dims.length] ?? fixed(1)
    const at = place - rank + target.length
    const wants = at < 0 ? fixed(1) : target[at]
    if (place === axis) return keptBatch(has, wants)
    if (wants === undefined) return unknownSize()
    if (!hasRows(wants)) return sizeOf([has, wants])
    if (!isOne(has) || expandedAt !== undefined)
      throw new Stop(`size ${show(has)} becomes ${show(wants)}`)
    expandedAt = place
    return wants
  })
  return [tensor(sizes, expandedAt)]
}

function keptBatch(has: Size, wants: Size | undefined): Size {
  if (wants !== undefined && (isOne(wants) || equals(has, wants))) return has
  throw new Stop(
    `the batch of ${show(has)} is expanded to ${wants === undefined ? '?' : show(wants)}`,
  )
}

const tile: Rule = step => {
  const value = step.input(0)
  if (value.dims === undefined) throw new Stop('the shape of its input is unknown')
  const times = step.elements(1) ?? []
  let axis = value.axis
  const sizes = value.dims.map((has, place) => {
    const by = times[place]
    if (place === value.axis) {
      if (by === undefined || !isOne(by)) throw new Stop('it repeats the batch')
      return has
    }
    if (by === undefined) return unknownSize()
    if (hasRows(by)) {
      if (axis !== undefined) throw new Stop('the batch would be in two dimensions')
      axis = place
    }
    return multiply(has, by) ?? unknownSize()
  })
  return [tensor(sizes, axis)]
}

const pad: Rule = step => {
  const value = step.input(0)
  if (value.dims === undefined) return [UNKNOWN]
  step.constantsFrom(2)
  const rank = value.dims.length
  const axes = step.numbers(3)?.map(axis => axisOf(axis, rank)) ?? value.dims.map((_, i) => i)
  if (new Set(axes).size < axes.length) throw new Stop('an axis is named twice')
  const pads = step.integers('pads')?.map(fixed) ?? step.elements(1) ?? []
  const sizes = value.dims.map((has, place) => {
    const i = axes.indexOf(place)
    if (i === -1) return has
    const [before, after] = [pads[i], pads[i + axes.length]]
    const isKept = [before, after].every(by => by !== undefined && asNumber(by) === 0)
    if (isKept) return has
    if (place === value.axis) throw new Stop('it pads the batch')
    if ([before, after].some(by => by !== undefined && hasRows(by))) throw new Stop('it pads by N')
    return before && after ? (add(add(has, before) ?? has, after) ?? unknownSize()) : unknownSize()
  })
  return [tensor(sizes, value.axis)]
}

/** Every other dimension is scaled; the batch's scale is 1, or its size stays the same. */
const resize: Rule = step => {
  const value = step.input(0)
  step.constantsFrom(1)
  if (value.dims === undefined) return [UNKNOWN]
  if (step.text('coordinate_transformation_mode', '') === 'tf_crop_and_resize')
    throw new Stop('it crops, maybe the batch')
  if (step.text('keep_aspect_ratio_policy', 'stretch') !== 'stretch')
    throw new Stop('one dimension decides the scale of all')
  const rank = value.dims.length
  checkNotBetweenRows(step, value)
  const axes = step.integers('axes')?.map(axis => axisOf(axis, rank)) ?? value.dims.map((_, i) => i)
  const { scales, sizes } = scalesOf(step)
  const out = value.dims.map((has, place) => {
    const i = axes.indexOf(place)
    const [scale, wanted] = [scales?.[i], sizes?.[i]]
    if (i === -1 || (scale !== undefined && isOne(scale))) return has
    if (wanted !== undefined && equals(wanted, has)) return has
    if (place === value.axis) throw new Stop('it resizes the batch')
    return wanted ?? unknownSize()
  })
  return [tensor(out, value.axis)]
}

/**
 * To interpolate, ONNX Runtime adds the neighbour times 0 along every dimension, even one of scale
 * 1, and 0 times NaN is NaN. It processes images [N, channels, …] of two or three dimensions one by
 * one.
 */
function checkNotBetweenRows(step: Step, { dims = [], axis }: Value): void {
  const isOnePicture = axis === 0 && (dims.length === 4 || dims.length === 5)
  if (axis !== undefined && step.text('mode', 'nearest') !== 'nearest' && !isOnePicture)
    throw new Stop('it interpolates, maybe between rows: the batch is not that of [N, channels, …]')
}

/** Scales or sizes; the node has one of the two, and the other is absent or empty. */
function scalesOf(step: Step): Partial<Record<'scales' | 'sizes', readonly (Size | undefined)[]>> {
  const at = step.node.operator === 'Upsample' || step.opset < 11 ? 1 : 2
  const scales = step.inputs[at]
  const isGiven = scales !== undefined && !(scales.dims?.[0]?.size === 0)
  if (isGiven) return { scales: step.elements(at) ?? [] }
  return { sizes: step.elements(3) ?? [] }
}

/** A range from 0 to N gives each row its number, which may only become an index (marks.ts). */
const range: Rule = step => {
  const [start, limit, delta] = [0, 1, 2].map(index => step.elements(index)?.[0])
  const isCount = start && delta && asNumber(start) === 0 && isOne(delta)
  if (isCount && limit && equals(limit, ROWS)) {
    const address = { stride: fixed(1), below: fixed(1) }
    return [{ ...batched([ROWS], 0), isNumbered: true, address }]
  }
  if ([start, limit, delta].some(size => size !== undefined && hasRows(size)))
    throw new Stop('it counts the rows')
  if (!isCount || !limit || !isAtLeast(limit, 0)) return [constant([unknownSize()])]
  return [{ ...constant([limit]), below: limit }]
}

/** The last two dimensions are matrices. */
const trilu: Rule = step => {
  const value = step.input(0)
  step.constantsFrom(1)
  if (isBatched(value)) notAlong([value.dims.length - 2, value.dims.length - 1], value)
  return [like(value)]
}

/** Adds a dimension of `depth` places. */
const oneHot: Rule = step => {
  const indices = step.input(0)
  step.constantsFrom(1)
  if (indices.dims === undefined) return [UNKNOWN]
  const at = axisOf(step.integer('axis', -1), indices.dims.length + 1)
  const sizes = indices.dims.toSpliced(at, 0, unknownSize())
  const { axis } = indices
  return [tensor(sizes, axis !== undefined && axis >= at ? axis + 1 : axis)]
}

/** Each row of `batch_axis` is reversed by its own length. */
const reverseSequence: Rule = step => {
  const [value, lengths] = [step.batched(0), step.batched(1)]
  const rows = axisOf(step.integer('batch_axis', 1), value.dims.length)
  if (rows !== value.axis) throw new Stop('the batch is not its batch_axis')
  if (lengths.dims.length !== 1 || !equals(lengths.dims[0] as Size, value.dims[rows] as Size))
    throw new Stop('it does not have one length per row')
  return [like(value)]
}

/** ONNX's operators that make shapes or move elements. */
export const SHAPES: Rules = {
  Shape: [since(7, shape, [0])],
  Size: [since(7, size, [0])],
  ConstantOfShape: [since(9, constantOfShape, [0])],
  Reshape: [since(7, reshape, [1])],
  Flatten: [since(7, flatten)],
  Transpose: [since(7, transpose)],
  Squeeze: [since(7, squeeze)],
  Unsqueeze: [since(7, unsqueeze)],
  Concat: [since(7, concat)],
  Split: [since(7, split, [1])],
  Slice: [since(7, slice, [1, 2])],
  Gather: [since(7, gather)],
  GatherElements: [since(11, gatherElements)],
  GatherND: [since(11, gatherNd)],
  ScatterElements: [since(11, scatterElements)],
  Expand: [since(8, expand, [1])],
  Tile: [since(7, tile, [1])],
  Pad: [since(7, pad, [1])],
  Resize: [since(10, resize, [3])],
  Upsample: [since(9, resize)],
  Range: [since(11, range, [0, 1, 2])],
  Trilu: [since(14, trilu)],
  OneHot: [since(9, oneHot)],
  ReverseSequence: [since(10, reverseSequence)],
}
