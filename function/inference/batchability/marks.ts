import type { Step } from './rule.ts'
import {
  add,
  asNumber,
  equals,
  fixed,
  hasRows,
  isAtLeast,
  isOne,
  multiply,
  ROWS,
  type Size,
  subtract,
} from './size.ts'
import { type Batched, batched, isBatched, type Marks, Stop, UNKNOWN, type Value } from './value.ts'

/*
 * Marks are properties of values that rules do not examine. An operator must pass each mark on to
 * its output; otherwise the proof stops.
 */

/** Adds the marks of a step's inputs to its outputs. @throws {Stop} if a mark would be lost */
export function withMarks(step: Step, values: readonly Value[]): readonly Value[] {
  const marks = [repeatsOf(step, values), paddingOf(step, values), numberOf(step)]
  if (marks.every(mark => mark === undefined)) return values
  return values.map(value => (isBatched(value) ? Object.assign({}, ...marks, value) : value))
}

const OWN_REPEATS = ['Reshape', 'Flatten']

/** Returns the marks of repeated rows. The operator must keep all indices of the batch. */
function repeatsOf(step: Step, results: readonly Value[]): Marks | undefined {
  const values = step.inputs.filter(isBatched)
  const repeated = values.find(value => value.repeats !== undefined)
  if (repeated === undefined || OWN_REPEATS.includes(step.node.operator)) return undefined
  const { repeats } = repeated as { repeats: Size }
  for (const value of values)
    if (value.repeats === undefined || !equals(value.repeats, repeats))
      throw new Stop('the rows of two inputs are in different orders')
  for (const result of results)
    if (isBatched(result) && !equals(sizeOfBatch(result), sizeOfBatch(repeated)))
      throw new Stop('the node changes a batch that contains each row several times')
  return { repeats }
}

const sizeOfBatch = ({ dims, axis }: Batched) => dims[axis] as Size

/** Operators that keep the order of the texts in a row. */
const KEEPS_ORDER = ['Flatten', 'Reshape', 'Squeeze']

/**
 * Returns the marks of padded rows. Padding must stay at the end of each row, and may reach only
 * operators that ignore it.
 */
function paddingOf(step: Step, [value = UNKNOWN]: readonly Value[]): Marks | undefined {
  const padded = step.inputs.find(input => input?.padding !== undefined)
  const { operator } = step.node
  if (padded?.padding === undefined || operator === 'TfIdfVectorizer') return undefined
  const { dims = [], axis, padding } = padded
  const isOneText = dims.every((size, i) => i === axis || i === dims.length - 1 || isOne(size))
  const isTable = value.axis === 0 && value.dims?.length === 2
  const isKept = KEEPS_ORDER.includes(operator) && isOneText && axis === 0 && isTable
  if (!isKept || !equals(value.dims?.[0] as Size, dims[0] as Size))
    throw new Stop('the width of the input depends on the longest row')
  return { padding }
}

/** Operators that move elements without changing them. */
const MOVES = ['Cast', 'Expand', 'Identity', 'Reshape', 'Squeeze', 'Transpose', 'Unsqueeze']

/**
 * Returns the marks of values that depend on a row's number. These values may be used only for
 * their shape or as an index (see `lookup`).
 */
function numberOf(step: Step): Marks | undefined {
  if (!step.inputs.some(value => value?.isNumbered)) return undefined
  const address = addressOf(step)
  if (address !== undefined) return { isNumbered: true, address }
  return beginsWithRow(step) ? { isNumbered: true, beginsWithRow: true } : { isNumbered: true }
}

function addressOf(step: Step): Marks['address'] {
  const { operator } = step.node
  const [first, second] = step.inputs
  if (MOVES.includes(operator)) return isIntegerCast(step) ? first?.address : undefined
  const [from, other] = first?.address === undefined ? [second, first] : [first, second]
  const address = from?.address
  if (address === undefined || other === undefined || isBatched(other)) return undefined
  const { stride, below } = address
  if (operator === 'Add') {
    const sum = bounds(below, boundOf(other))
    return sum && { stride, below: sum }
  }
  const [by, ...more] = other.elements ?? []
  if (operator !== 'Mul' || by === undefined || more.length > 0) return undefined
  if (hasRows(by) || !isAtLeast(by, 0)) return undefined
  const [times, most] = [multiply(stride, by), scaled(below, by)]
  return times && most && { stride: times, below: most }
}

/** INT32 and INT64 (TensorProto.DataType), which can represent a row's number. */
const INTEGERS = [6, 7]

const isIntegerCast = (step: Step) =>
  step.node.operator !== 'Cast' || INTEGERS.includes(step.integer('to', 0))

/** One more than the largest sum of two numbers below these bounds. */
function bounds(a: Size, b: Size | undefined): Size | undefined {
  const sum = b && add(a, b)
  return sum && add(sum, fixed(-1))
}

/** One more than the largest product of `by` and a number below this bound. */
function scaled(below: Size, by: Size): Size | undefined {
  const largest = add(below, fixed(-1))
  const product = largest && multiply(largest, by)
  return product && add(product, fixed(1))
}

/** The exclusive bound of a constant of non-negative integers; undefined if unknown. */
function boundOf({ below, elements }: Value): Size | undefined {
  if (below !== undefined || elements === undefined) return below
  const numbers = elements.map(element => (element === undefined ? undefined : asNumber(element)))
  if (numbers.some(number => number === undefined || number < 0)) return undefined
  return fixed(Math.max(0, ...(numbers as number[])) + 1)
}

export function boundOfResult(step: Step): Size | undefined {
  const [first, second] = step.inputs
  if (first === undefined) return undefined
  if (MOVES.includes(step.node.operator)) return isIntegerCast(step) ? boundOf(first) : undefined
  if (step.node.operator !== 'Add' || second === undefined) return undefined
  const one = boundOf(first)
  return one && bounds(one, boundOf(second))
}

/** Whether the output is a multi-part index that begins with the row's own number. */
function beginsWithRow(step: Step): boolean {
  const [first, ...others] = step.inputs
  if (step.node.operator !== 'Concat' || !isBatched(first)) return false
  const last = first.dims.length - 1
  const isLast = [last, -1].includes(step.integer('axis', 0))
  const isPlain = others.every(value => !value?.isNumbered)
  return isLast && isOne(first.dims[last] as Size) && isRowNumber(first) && isPlain
}

const isRowNumber = ({ address }: Value) =>
  address !== undefined && isOne(address.stride) && isOne(address.below)

/**
 * Returns the outputs of a step in which each row selects elements only from itself: GatherND with
 * an index that begins with the row's number, or Gather from a tensor of size stride·N with indices
 * within row i.
 * @returns undefined for other steps
 */
export function lookup(step: Step): readonly Value[] | undefined {
  const [data, indices] = step.inputs
  if (!isBatched(data) || !isBatched(indices) || data.axis !== 0) return undefined
  if (step.inputs.some(hasPaddingOrRepeats) || data.isNumbered) return undefined
  const { operator } = step.node
  if (operator === 'GatherND' && indices.beginsWithRow) return [byRow(step, data, indices)]
  if (operator !== 'Gather' || indices.address === undefined) return undefined
  if (step.integer('axis', 0) !== 0) return undefined
  const { stride, below } = indices.address
  const whole = multiply(stride, ROWS)
  const room = subtract(stride, below)
  if (whole === undefined || room === undefined) return undefined
  if (!equals(data.dims[0] as Size, whole) || !isAtLeast(room, 0)) return undefined
  return [batched([...indices.dims, ...data.dims.slice(1)], indices.axis)]
}

function byRow(step: Step, data: Batched, indices: Batched): Value {
  const width = asNumber(indices.dims.at(-1) as Size)
  if (
    width === undefined ||
    step.integer('batch_dims', 0) !== 0 ||
    !equals(data.dims[0] as Size, ROWS)
  )
    throw new Stop('rows are used as indices into a batched tensor')
  return batched([...indices.dims.slice(0, -1), ...data.dims.slice(width)], indices.axis)
}

/** The padding may be an empty text. */
const hasPaddingOrRepeats = (value: Value | undefined) =>
  value?.padding !== undefined || value?.repeats !== undefined

/** @throws {Stop} if a value of an inner graph has a mark, which inner graphs do not pass on */
export function checkUnmarked(value: Value | undefined): void {
  if (hasPaddingOrRepeats(value) || value?.isNumbered)
    throw new Stop(
      'an input or output of the inner graph has padded, repeated or numbered rows, for which there is no rule',
    )
}
