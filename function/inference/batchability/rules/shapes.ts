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
 * Operators that move elements without examining them. Each rule computes the output's batch
 * dimension. arithmetic.ts computes sizes; only shapes contain N, the number of rows.
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

/** Constants up to this size keep their elements, so that shapes computed from them are known. */
const MOST_KEPT = 1_024

const constantOfShape: Rule = step => {
  const dims = sizesOf(step, 0)
  const axis = dims.findIndex(hasRows)
  if (axis !== -1) return [batched(dims, axis)]
  const given = step.attribute('value')
  // The reader skips values of some datatypes.
  const [value = Number.NaN] = given === undefined ? [0] : (given.tensor?.values ?? [])
  const count = dims.map(asNumber).reduce<number>((all, one) => all * (one ?? Number.NaN), 1)
  if (!(count <= MOST_KEPT)) return [constant(dims)]
  const element = Number.isInteger(value) ? fixed(value) : undefined
  return [{ dims, elements: Array.from({ length: count }, () => element) }]
}

/** The sizes in an input that is a shape. An unknown size does not depend on N. */
const sizesOf = (step: Step, index: number): Size[] =>
  (step.elements(index) ?? []).map(element => element ?? unknownSize())

/**
 * Reshape keeps row-major order. Let the batch dimension be r·N·k in [p…, r·N·k, q…]: rows are
 * repeated r times, and each has k neighbouring indices. A new dimension r'·N·k' is the batch
 * dimension again if p·r equals p'·r', because the same number of indices then precede each row. −1
 * and 0 in the target are replaced by sizes. An unknown size may be −1 or 0, so it must follow the
 * batch dimension.
 */
const reshape: Rule = step => {
  const value = step.input(0)
  const target = step.elements(1) ?? step.integers('shape')?.map(fixed) ?? []
  if (step.flag('allowzero', false) && target.some(isZero))
    throw new Stop('a dimension of the output has size 0')
  if (!isBatched(value)) return [reshapedConstant(value, target)]
  return [regrouped(value, resolve(value, target))]
}

const isZero = (size: Size | undefined) => size !== undefined && asNumber(size) === 0

function regrouped(value: Batched, dims: readonly (Size | undefined)[]): Value {
  const at = dims.findIndex(size => size !== undefined && hasRows(size))
  const ahead = dims.slice(0, Math.max(at, 0))
  if (at === -1 || ahead.includes(undefined))
    throw new Stop(
      `the batch dimension of the output [${showSizes(dims)}] is unknown; the input is ${showDims(value)}`,
    )
  const before = product([...value.dims.slice(0, value.axis), value.repeats ?? fixed(1)])
  const precedes = product(ahead as Size[])
  const repeats = before && precedes && divide(before, precedes)
  const parts = perRow(dims[at] as Size)
  if (repeats === undefined || parts === undefined || divide(parts, repeats) === undefined)
    throw new Stop(
      `the output [${showSizes(dims)}] does not keep the rows of ${showDims(value)} together`,
    )
  const sizes = dims.map(size => size ?? unknownSize())
  return { ...batched(sizes, at), ...(!isOne(repeats) && { repeats }) }
}

const showSizes = (sizes: readonly (Size | undefined)[]) =>
  sizes.map(size => (size === undefined ? '?' : show(size))).join(', ')
const showDims = ({ dims }: Batched) => `[${showSizes(dims)}]`

/** Replaces −1 and 0 in a Reshape's target with their sizes, if known. */
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
  // If another dimension contains N, the inferred dimension does not.
  const isFree = others.some(size => size !== undefined && hasRows(size))
  return sizes.with(inferred, rest ?? (isFree ? unknownSize() : undefined))
}

function reshapedConstant({ dims }: Value, target: readonly (Size | undefined)[]): Value {
  const known = target.map((size, i) =>
    size !== undefined && asNumber(size) === 0 ? dims?.[i] : size,
  )
  if (known.some(size => size !== undefined && hasRows(size)))
    throw new Stop('a tensor that is the same for all rows is reshaped to a dimension of N')
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
  if (perm.length !== dims.length)
    throw new Stop(
      `the attribute "perm" has ${perm.length} axes; the input has ${dims.length} dimensions`,
    )
  const moved = perm.map(from => dims[from] as Size)
  return [tensor(moved, axis === undefined ? undefined : perm.indexOf(axis))]
}

/** Earlier opsets have axes as an attribute, newer opsets as an input. */
export function axesOf(step: Step, index: number, rank: number): number[] | undefined {
  const axes = step.integers('axes') ?? step.numbers(index)
  return axes?.map(axis => axisOf(axis, rank))
}

/** Before opset 11, ONNX allows no negative axes, and ONNX Runtime's optimisations misread them. */
export function checkNegativeAxes(step: Step): void {
  if (step.opset < 11 && step.integers('axes')?.some(axis => axis < 0))
    throw new Stop('an axis is negative, which opset 11 introduced')
}

const squeeze: Rule = step => {
  const value = step.input(0)
  if (value.dims === undefined) return [UNKNOWN]
  checkNegativeAxes(step)
  const axes = axesOf(step, 1, value.dims.length) ?? []
  if (axes.length === 0) {
    // If N is 1, the node also removes the batch dimension.
    if (isBatched(value))
      throw new Stop('the node has no axes, so it also removes the batch dimension of a single row')
    if (value.dims.some(dim => asNumber(dim) === undefined)) return [UNKNOWN]
    return [constant(value.dims.filter(dim => !isOne(dim)))]
  }
  notAlong(axes, value)
  return [without(value, axes)]
}

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
  if (new Set(axes).size < axes.length) throw new Stop('an axis occurs twice')
  checkNegativeAxes(step)
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

/**
 * All pieces must have the batch in the same dimension, and be concatenated along another
 * dimension.
 */
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
        throw new Stop(`input ${i} has a different batch from the other inputs`)
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

/**
 * Returns the size of a dimension in which all pieces have the same size: a number, if one is
 * known.
 */
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

/**
 * In exported graphs, a Slice's end of at least this means "to the end". No body could contain so
 * many rows.
 */
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
    if (axis === value.axis)
      throw new Stop('the node selects some of the rows, or reverses their order')
    return lengthOf(cut, whole)
  })
  return [tensor(sizes, value.axis)]
}

/** @param count the number of unknown elements to return if the input is the same for all rows */
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

/** Returns a slice's length, or an unknown size that does not depend on N. */
function lengthOf({ start, end, step }: Cut, whole: Size): Size {
  for (const size of [start, end, step])
    if (size !== undefined && hasRows(size))
      throw new Stop('the size of the slice of another dimension depends on N')
  const [from, to, by, all] = [start, end, step, whole].map(size => size && asNumber(size))
  if (from === undefined || to === undefined || by !== 1) return unknownSize()
  if (all !== undefined) {
    const at = (index: number) => Math.min(Math.max(index < 0 ? index + all : index, 0), all)
    return fixed(Math.max(at(to) - at(from), 0))
  }
  return unknownSize()
}

/**
 * Accepted if rows look up constants (an embedding), or the operator selects the same indices of
 * each row. Stops if rows select other rows, or a row is selected by its number.
 */
const gather: Rule = step => {
  const [data, indices] = [step.input(0), step.input(1)]
  if (data.dims === undefined || indices.dims === undefined) {
    if (!isBatched(data) && !isBatched(indices)) return [UNKNOWN]
    throw new Stop('the shape of an input is unknown')
  }
  if (isBatched(data) && isBatched(indices))
    throw new Stop('rows are used as indices into a batched tensor')
  const along = axisOf(step.integer('axis', 0), data.dims.length)
  notAlong([along], data)
  // ONNX Runtime may replace this Gather with a Slice, which returns fewer than N elements.
  if (indices.isNumbered && !isBatched(data))
    throw new Stop('the data is a constant that is indexed by row number')
  // ONNX Runtime 1.30 copies only the first text of each block behind the axis. It may also move a
  // Transpose from before to after the node.
  const isBlock = data.axis !== undefined && (data.axis > along || step.hasTransposes)
  if (step.hasTexts && isBlock)
    throw new Stop('the model contains texts, of which the node may copy only those of row 0')
  const sizes = [...data.dims.slice(0, along), ...indices.dims, ...data.dims.slice(along + 1)]
  return [tensor(sizes, gatheredAxis(data, indices, along))]
}

function gatheredAxis(data: Value, indices: Value, along: number): number | undefined {
  if (indices.axis !== undefined) return along + indices.axis
  if (data.axis === undefined || data.axis < along) return data.axis
  return data.axis - 1 + (indices.dims?.length ?? 0)
}

/**
 * Data and indices must have the batch in the same dimension, and be indexed along another
 * dimension, so that row i selects only from row i.
 */
const gatherElements: Rule = step => {
  if (!step.inputs.some(isBatched)) return [like(step.input(1))]
  const [data, indices] = [step.input(0), step.batched(1)]
  const along = axisOf(step.integer('axis', 0), indices.dims.length)
  if (isBatched(data)) {
    notAlong([along], data)
    checkSameBatch(data, indices)
  } else if (along !== indices.axis)
    throw new Stop('the data is a constant that is indexed by row number')
  return [like(indices)]
}

function checkSameBatch(a: Batched, b: Batched): void {
  if (a.axis !== b.axis || !equals(a.dims[a.axis] as Size, b.dims[b.axis] as Size))
    throw new Stop('the inputs have the batch in different dimensions or with different sizes')
}

const gatherNd: Rule = step => {
  const [data, indices] = [step.input(0), step.input(1)]
  const within = step.integer('batch_dims', 0)
  if (!isBatched(indices))
    throw new Stop('the indices are the same for all rows, so they select rows')
  if (isBatched(data)) {
    if (data.axis >= within) throw new Stop('rows are used as indices into a batched tensor')
    checkSameBatch(data, indices)
  } else if (within > 0) throw new Stop('the data is a constant with an entry for each row')
  if (indices.axis === indices.dims.length - 1)
    throw new Stop('a single index combines several rows')
  const last = indices.dims.at(-1)
  const width = last === undefined ? undefined : asNumber(last)
  if (width === undefined || data.dims === undefined)
    throw new Stop('the shape of an input is unknown')
  const sizes = [...indices.dims.slice(0, -1), ...data.dims.slice(within + width)]
  return [batched(sizes, indices.axis)]
}

const scatterElements: Rule = step => {
  if (step.text('reduction', 'none') !== 'none')
    throw new Stop('the attribute "reduction" is not "none"')
  const [data, indices, updates] = [step.batched(0), step.batched(1), step.batched(2)]
  notAlong([axisOf(step.integer('axis', 0), data.dims.length)], data)
  checkSameBatch(data, indices)
  checkSameBatch(data, updates)
  return [like(data)]
}

/**
 * In a tensor that is the same for all rows, a dimension of size 1 may become N. The batch
 * dimension must not change.
 */
const expand: Rule = step => {
  const value = step.input(0)
  const target = step.elements(1) ?? []
  if (value.dims === undefined) {
    if (target.some(size => size !== undefined && hasRows(size)))
      throw new Stop('the shape of the input is unknown')
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
      throw new Stop(`the node expands size ${show(has)} to ${show(wants)}`)
    expandedAt = place
    return wants
  })
  return [tensor(sizes, expandedAt)]
}

function keptBatch(has: Size, wants: Size | undefined): Size {
  if (wants !== undefined && (isOne(wants) || equals(has, wants))) return has
  throw new Stop(
    `the node expands the batch of size ${show(has)} to ${wants === undefined ? '?' : show(wants)}`,
  )
}

const tile: Rule = step => {
  const value = step.input(0)
  if (value.dims === undefined) throw new Stop('the shape of the input is unknown')
  const times = step.elements(1) ?? []
  let axis = value.axis
  const sizes = value.dims.map((has, place) => {
    const by = times[place]
    if (place === value.axis) {
      if (by === undefined || !isOne(by)) throw new Stop('the node repeats the batch')
      return has
    }
    if (by === undefined) return unknownSize()
    if (hasRows(by)) {
      if (axis !== undefined) throw new Stop('the output would have the batch in two dimensions')
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
  if (new Set(axes).size < axes.length) throw new Stop('an axis occurs twice')
  const pads = step.integers('pads')?.map(fixed) ?? step.elements(1) ?? []
  const sizes = value.dims.map((has, place) => {
    const i = axes.indexOf(place)
    if (i === -1) return has
    const [before, after] = [pads[i], pads[i + axes.length]]
    const isKept = [before, after].every(by => by !== undefined && asNumber(by) === 0)
    if (isKept) return has
    if (place === value.axis) throw new Stop('the node pads the batch')
    if ([before, after].some(by => by !== undefined && hasRows(by)))
      throw new Stop('the number of pads depends on N')
    return before && after ? (add(add(has, before) ?? has, after) ?? unknownSize()) : unknownSize()
  })
  return [tensor(sizes, value.axis)]
}

/**
 * May scale every dimension except the batch, whose scale must be 1 or whose size must stay the
 * same.
 */
const resize: Rule = step => {
  const value = step.input(0)
  step.constantsFrom(1)
  if (value.dims === undefined) return [UNKNOWN]
  if (step.text('coordinate_transformation_mode', '') === 'tf_crop_and_resize')
    throw new Stop('the node crops (tf_crop_and_resize), and may crop the batch')
  if (step.text('keep_aspect_ratio_policy', 'stretch') !== 'stretch')
    throw new Stop('the attribute "keep_aspect_ratio_policy" is not "stretch"')
  const rank = value.dims.length
  checkNotBetweenRows(step, value)
  const axes = step.integers('axes')?.map(axis => axisOf(axis, rank)) ?? value.dims.map((_, i) => i)
  const { scales, sizes } = scalesOf(step)
  const out = value.dims.map((has, place) => {
    const i = axes.indexOf(place)
    const [scale, wanted] = [scales?.[i], sizes?.[i]]
    if (i === -1 || (scale !== undefined && isOne(scale))) return has
    if (wanted !== undefined && equals(wanted, has)) return has
    if (place === value.axis) throw new Stop('the node resizes the batch')
    return wanted ?? unknownSize()
  })
  return [tensor(out, value.axis)]
}

/**
 * Checks that interpolation does not mix rows. ONNX Runtime adds 0 times the neighbouring element
 * along every dimension, even of scale 1, and 0 times NaN is NaN. Only images [N, channels, …] with
 * two or three spatial dimensions are processed one by one.
 */
function checkNotBetweenRows(step: Step, { dims = [], axis }: Value): void {
  const isOnePicture = axis === 0 && (dims.length === 4 || dims.length === 5)
  if (axis !== undefined && step.text('mode', 'nearest') !== 'nearest' && !isOnePicture)
    throw new Stop(
      'the node may interpolate between rows: the input is not of shape [N, channels, …] with two or three spatial dimensions',
    )
}

/** A node has scales or sizes; the other input is absent or empty. */
function scalesOf(step: Step): Partial<Record<'scales' | 'sizes', readonly (Size | undefined)[]>> {
  const at = step.node.operator === 'Upsample' || step.opset < 11 ? 1 : 2
  const scales = step.inputs[at]
  const isGiven = scales !== undefined && !(scales.dims?.[0]?.size === 0)
  if (isGiven) return { scales: step.elements(at) ?? [] }
  return { sizes: step.elements(3) ?? [] }
}

/**
 * A range from 0 to N contains the number of each row, which may be used only as an index
 * (marks.ts).
 */
const range: Rule = step => {
  const [start, limit, delta] = [0, 1, 2].map(index => step.elements(index)?.[0])
  const isCount = start && delta && asNumber(start) === 0 && isOne(delta)
  if (isCount && limit && equals(limit, ROWS)) {
    const address = { stride: fixed(1), below: fixed(1) }
    return [{ ...batched([ROWS], 0), isNumbered: true, address }]
  }
  if ([start, limit, delta].some(size => size !== undefined && hasRows(size)))
    throw new Stop('the range depends on the number of rows')
  if (!isCount || !limit || !isAtLeast(limit, 0)) return [constant([unknownSize()])]
  return [{ ...constant([limit]), below: limit }]
}

/** Works on matrices in the last two dimensions. */
const trilu: Rule = step => {
  const value = step.input(0)
  step.constantsFrom(1)
  if (isBatched(value)) notAlong([value.dims.length - 2, value.dims.length - 1], value)
  return [like(value)]
}

/** Adds a dimension of size `depth`. */
const oneHot: Rule = step => {
  const indices = step.input(0)
  step.constantsFrom(1)
  if (indices.dims === undefined) return [UNKNOWN]
  const at = axisOf(step.integer('axis', -1), indices.dims.length + 1)
  const sizes = indices.dims.toSpliced(at, 0, unknownSize())
  const { axis } = indices
  return [tensor(sizes, axis !== undefined && axis >= at ? axis + 1 : axis)]
}

/** Reverses each index of `batch_axis` separately, by its own length. */
const reverseSequence: Rule = step => {
  const [value, lengths] = [step.batched(0), step.batched(1)]
  const rows = axisOf(step.integer('batch_axis', 1), value.dims.length)
  if (rows !== value.axis)
    throw new Stop(`the batch is dimension ${value.axis}, but batch_axis is ${rows}`)
  if (lengths.dims.length !== 1 || !equals(lengths.dims[0] as Size, value.dims[rows] as Size))
    throw new Stop('the input does not have one length per row')
  return [like(value)]
}

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
