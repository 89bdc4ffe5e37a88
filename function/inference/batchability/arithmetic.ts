import type { Step } from './rule.ts'
import { checkNegativeAxes } from './rules/shapes.ts'
import {
  add,
  asNumber,
  divide,
  equals,
  fixed,
  hasRows,
  isAtLeast,
  multiply,
  product,
  type Size,
  subtract,
} from './size.ts'
import { isBatched, Stop, type Value } from './value.ts'

/*
 * Computes the elements of small integer tensors from constants and shapes. The elements are sizes
 * in rules for operators such as Reshape and Expand. An unknown element is undefined. It does not
 * depend on N, the number of rows: otherwise, the proof would have stopped.
 */

type Element = Size | undefined

interface Small {
  readonly shape: readonly number[]
  readonly elements: readonly Element[]
}

const MOST_ELEMENTS = 1_024

/**
 * Computes the output of a node whose inputs are small tensors.
 * @returns undefined if the operator is not in {@link EVALUATED}, or an input is not a small tensor
 * @throws {Stop} if a value would depend on N in a way that no polynomial expresses
 */
export function evaluate(step: Step): Value | undefined {
  const operator = EVALUATED[step.node.operator]
  if (operator === undefined || step.node.domain !== 'ai.onnx') return undefined
  if (!step.inputs.some(value => value?.elements !== undefined)) return undefined
  const smalls = step.inputs.map(smallOf)
  if (
    smalls.length === 0 ||
    smalls.some((small, i) => small === undefined && step.inputs[i] !== undefined)
  )
    return undefined
  const result = operator(smalls as (Small | undefined)[], step)
  if (result === undefined || result.elements.length > MOST_ELEMENTS) return undefined
  return { dims: result.shape.map(fixed), elements: result.elements }
}

/**
 * Returns the value as a small tensor, or undefined. A constant with unknown values has undefined
 * elements.
 */
function smallOf(value: Value | undefined): Small | undefined {
  if (value?.dims === undefined || isBatched(value)) return undefined
  const shape = value.dims.map(asNumber)
  if (shape.includes(undefined)) return undefined
  const count = (shape as number[]).reduce((all, size) => all * size, 1)
  if (count > MOST_ELEMENTS) return undefined
  return {
    shape: shape as number[],
    elements: value.elements ?? new Array<Element>(count).fill(undefined),
  }
}

type Evaluate = (inputs: readonly (Small | undefined)[], step: Step) => Small | undefined

/** Undefined if the result is unknown. */
type Operation = (a: Size, b: Size) => Element

/** @throws {Stop} if the element is unknown and may depend on N */
function result(value: Element, ...operands: readonly Element[]): Element {
  if (value === undefined && operands.some(operand => operand !== undefined && hasRows(operand)))
    throw new Stop(
      'the node calculates with the number of rows in a way that the proof cannot follow',
    )
  return value
}

/** All integers up to this value are exact in INT32 and FP32. Larger sizes are not computed. */
const MOST_EXACT = 2 ** 24

const both = (operation: Operation) => (a: Element, b: Element) => {
  const value = a === undefined || b === undefined ? undefined : operation(a, b)
  const isExact = value !== undefined && [...value.values()].every(x => Math.abs(x) <= MOST_EXACT)
  return result(isExact ? value : undefined, a, b)
}

const truth = (value: boolean) => fixed(value ? 1 : 0)

/** The sign of a − b if it is the same in every run; otherwise undefined. */
function compare(a: Size, b: Size): -1 | 0 | 1 | undefined {
  if (equals(a, b)) return 0
  const [above, below] = [subtract(a, b), subtract(b, a)]
  if (above !== undefined && isAtLeast(above, 1)) return 1
  return below !== undefined && isAtLeast(below, 1) ? -1 : undefined
}

const compared =
  (holds: (sign: -1 | 0 | 1) => boolean): Operation =>
  (a, b) => {
    const sign = compare(a, b)
    return sign === undefined ? undefined : truth(holds(sign))
  }

function isNotLess(a: Size, b: Size): boolean {
  const difference = subtract(a, b)
  return difference !== undefined && isAtLeast(difference, 0)
}

function larger(a: Size, b: Size): Element {
  if (isNotLess(a, b)) return a
  return isNotLess(b, a) ? b : undefined
}

function smaller(a: Size, b: Size): Element {
  if (isNotLess(a, b)) return b
  return isNotLess(b, a) ? a : undefined
}

const isTrue = (element: Size): boolean | undefined => {
  if (isAtLeast(element, 1)) return true
  const number = asNumber(element)
  return number === undefined ? undefined : number !== 0
}

const logical =
  (operation: (a: boolean, b: boolean) => boolean): Operation =>
  (a, b) => {
    const [one, other] = [isTrue(a), isTrue(b)]
    return one === undefined || other === undefined ? undefined : truth(operation(one, other))
  }

/** Only an exact quotient is known: a division of integers rounds towards zero. */
const divided: Operation = (a, b) => divide(a, b)

/** For non-negative numbers, ONNX's two kinds of remainder are equal. */
function remainder(a: Size, b: Size): Element {
  const [one, other] = [asNumber(a), asNumber(b)]
  if (one === undefined || other === undefined || one < 0 || other <= 0) return undefined
  return fixed(one % other)
}

const broadcast =
  (operation: (a: Element, b: Element) => Element): Evaluate =>
  inputs => {
    let all = inputs[0] as Small
    for (const other of inputs.slice(1)) all = pairwise(all, other as Small, operation)
    return all
  }

function pairwise(a: Small, b: Small, operation: (a: Element, b: Element) => Element): Small {
  const shape = broadcastShape(a.shape, b.shape)
  const [left, right] = [expanded(a, shape), expanded(b, shape)]
  return { shape, elements: left.map((element, i) => operation(element, right[i])) }
}

function broadcastShape(a: readonly number[], b: readonly number[]): number[] {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const [one, other] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1]
    if (one !== other && one !== 1 && other !== 1)
      throw new Stop('the shapes of the inputs cannot be broadcast to each other')
    return one === 1 ? other : one
  })
}

const expanded = (small: Small, shape: readonly number[]): Element[] =>
  pick(small, shape, index => {
    const offset = shape.length - small.shape.length
    return small.shape.map((size, i) => (size === 1 ? 0 : (index[i + offset] as number)))
  })

/** `from` maps each index of `outShape` to an index of `elements`. */
function pick(
  { shape, elements }: Small,
  outShape: readonly number[],
  from: (index: readonly number[]) => readonly number[],
): Element[] {
  const count = outShape.reduce((all, size) => all * size, 1)
  if (count > MOST_ELEMENTS)
    throw new Stop(`the shape has ${count} elements; the proof follows at most ${MOST_ELEMENTS}`)
  const index = outShape.map(() => 0)
  return Array.from({ length: count }, () => {
    const at = from(index).reduce((sum, i, axis) => sum * (shape[axis] as number) + i, 0)
    const element = elements[at]
    for (let axis = index.length - 1; axis >= 0; axis--) {
      index[axis] = (index[axis] as number) + 1
      if ((index[axis] as number) < (outShape[axis] as number)) break
      index[axis] = 0
    }
    return element
  })
}

const each =
  (operation: (element: Size) => Element): Evaluate =>
  ([input]) => {
    const { shape, elements } = input as Small
    return {
      shape,
      elements: elements.map(element =>
        result(element === undefined ? undefined : operation(element), element),
      ),
    }
  }

/** The integer datatypes of a shape (TensorProto.DataType), with their largest values. */
const SHAPE_TYPES: Readonly<Record<number, number>> = { 6: 2 ** 31 - 1, 7: 2 ** 63 }
const BOOL = 9
function cast(element: Size, to: number): Element {
  const most = SHAPE_TYPES[to]
  // A cast to INT32 turns INT64's largest number, which means "to the end", into -1.
  if (most !== undefined)
    return [...element.values()].every(x => Math.abs(x) <= most) ? element : undefined
  if (to === BOOL) {
    const value = isTrue(element)
    return value === undefined ? undefined : truth(value)
  }
  const number = asNumber(element)
  return number !== undefined && to === 1 && Math.abs(number) < MOST_EXACT ? element : undefined
}

function reduceProd(
  [input, axesInput]: readonly (Small | undefined)[],
  step: Step,
): Small | undefined {
  const { shape, elements } = input as Small
  const axes = step.integers('axes') ?? axesInput?.elements
  if (shape.length !== 1 || elements.length === 0) return undefined
  if (axes !== undefined && axes.length !== 1) return undefined
  if (axes === undefined && step.flag('noop_with_empty_axes', false)) return undefined
  const all = elements.includes(undefined) ? undefined : product(elements as Size[])
  return {
    shape: step.flag('keepdims', true) ? [1] : [],
    elements: [result(all, ...elements)],
  }
}

function axesOf(second: Small | undefined, step: Step, rank: number): number[] | undefined {
  const axes = step.integers('axes') ?? second?.elements.map(numberOf)
  return axes?.map(axis => (axis < 0 ? axis + rank : axis))
}

function numberOf(element: Element): number {
  const number = element === undefined ? undefined : asNumber(element)
  if (number === undefined) throw new Stop('an index or axis cannot be determined from the graph')
  return number
}

function unsqueeze(
  [input, axesInput]: readonly (Small | undefined)[],
  step: Step,
): Small | undefined {
  const { shape, elements } = input as Small
  const count = step.integers('axes')?.length ?? axesInput?.elements.length ?? 0
  checkNegativeAxes(step)
  const axes = axesOf(axesInput, step, shape.length + count)
  if (axes === undefined || new Set(axes).size < axes.length) return undefined
  const rest = [...shape]
  const out = Array.from({ length: shape.length + axes.length }, (_, i) =>
    axes.includes(i) ? 1 : (rest.shift() as number),
  )
  return { shape: out, elements }
}

function squeeze([input, axesInput]: readonly (Small | undefined)[], step: Step): Small {
  const { shape, elements } = input as Small
  checkNegativeAxes(step)
  const axes = axesOf(axesInput, step, shape.length) ?? []
  const isGone = (size: number, i: number) => (axes.length === 0 ? size === 1 : axes.includes(i))
  return { shape: shape.filter((size, i) => !isGone(size, i)), elements }
}

function gather([data, indices]: readonly (Small | undefined)[], step: Step): Small {
  const [from, by] = [data as Small, indices as Small]
  const axis = wrap(step.integer('axis', 0), from.shape.length)
  const size = from.shape[axis] as number
  const at = by.elements.map(element => wrap(numberOf(element), size))
  if (at.some(i => !(i >= 0 && i < size))) throw new Stop('an index is outside the tensor')
  const shape = [...from.shape.slice(0, axis), ...by.shape, ...from.shape.slice(axis + 1)]
  const strides = by.shape.map((_, i) => by.shape.slice(i + 1).reduce((all, one) => all * one, 1))
  const elements = pick(from, shape, index => {
    const within = index.slice(axis, axis + by.shape.length)
    const place = within.reduce((sum, i, n) => sum + i * (strides[n] as number), 0)
    return [...index.slice(0, axis), at[place] as number, ...index.slice(axis + by.shape.length)]
  })
  return { shape, elements }
}

const wrap = (index: number, size: number) => (index < 0 ? index + size : index)

function concat(inputs: readonly (Small | undefined)[], step: Step): Small | undefined {
  const parts = inputs as readonly Small[]
  if (parts.some(({ shape }) => shape.length !== 1) || wrap(step.integer('axis', 0), 1) !== 0)
    return undefined
  const elements = parts.flatMap(part => part.elements)
  return { shape: [elements.length], elements }
}

function slice(inputs: readonly (Small | undefined)[], step: Step): Small {
  const { shape, elements } = inputs[0] as Small
  const list = (name: string, index: number) =>
    step.integers(name) ?? inputs[index]?.elements.map(numberOf)
  const starts = list('starts', 1) ?? []
  const ends = list('ends', 2) ?? []
  const axes = (list('axes', 3) ?? starts.map((_, i) => i)).map(axis => wrap(axis, shape.length))
  const steps = list('steps', 4) ?? starts.map(() => 1)
  const taken = shape.map((size, axis) => {
    const i = axes.indexOf(axis)
    if (i === -1) return Array.from({ length: size }, (_, at) => at)
    return indicesOf(size, starts[i] as number, ends[i] as number, steps[i] as number)
  })
  const out = taken.map(({ length }) => length)
  const from = (index: readonly number[]) => index.map((i, axis) => taken[axis]?.[i] as number)
  return { shape: out, elements: pick({ shape, elements }, out, from) }
}

const INT32_MAX = 2 ** 31 - 1

/**
 * The indices that Slice selects: starts and ends are clamped, and a negative step counts
 * backwards.
 */
function indicesOf(size: number, start: number, end: number, step: number): number[] {
  const indices: number[] = []
  const clamp = (at: number, least: number, most: number) => Math.min(Math.max(at, least), most)
  if (step > 0) {
    const last = clamp(wrap(end, size), 0, size)
    for (let at = clamp(wrap(start, size), 0, size); at < last; at += step) indices.push(at)
  } else if (step < 0) {
    if (end >= INT32_MAX)
      throw new Stop('for ONNX Runtime, this end means the beginning if the step is negative')
    const last = clamp(wrap(end, size), -1, size - 1)
    for (let at = clamp(wrap(start, size), 0, size - 1); at > last; at += step) indices.push(at)
  }
  return indices
}

function reshape([data, target]: readonly (Small | undefined)[], step: Step): Small | undefined {
  const { shape, elements } = data as Small
  if (step.flag('allowzero', false)) return undefined
  const wanted = (target as Small).elements.map(numberOf)
  const sizes = wanted.map((size, i) => (size === 0 ? (shape[i] ?? 0) : size))
  const known = sizes.filter(size => size !== -1).reduce((all, size) => all * size, 1)
  return { shape: sizes.map(size => (size === -1 ? elements.length / known : size)), elements }
}

function transpose([data]: readonly (Small | undefined)[], step: Step): Small {
  const small = data as Small
  const perm = step.integers('perm') ?? small.shape.map((_, i) => small.shape.length - 1 - i)
  const shape = perm.map(axis => small.shape[axis] as number)
  const elements = pick(small, shape, index => {
    const from: number[] = []
    for (const [i, axis] of perm.entries()) from[axis] = index[i] as number
    return from
  })
  return { shape, elements }
}

function where([condition, a, b]: readonly (Small | undefined)[]): Small {
  const [yes, no] = [a as Small, b as Small]
  const test = condition as Small
  const shape = broadcastShape(test.shape, broadcastShape(yes.shape, no.shape))
  const [tests, ones, others] = [expanded(test, shape), expanded(yes, shape), expanded(no, shape)]
  const elements = tests.map((element, i) => {
    const holds = element === undefined ? undefined : isTrue(element)
    const [one, other] = [ones[i], others[i]]
    if (holds !== undefined) return holds ? one : other
    const isSame = one !== undefined && other !== undefined && equals(one, other)
    return result(isSame ? one : undefined, element, one, other)
  })
  return { shape, elements }
}

function range([start, limit, delta]: readonly (Small | undefined)[]): Small | undefined {
  const [from, to, by] = [start, limit, delta].map(small => small?.elements[0])
  const numbers = [from, to, by].map(size => (size === undefined ? undefined : asNumber(size)))
  if (numbers.includes(undefined)) return undefined
  const [first, last, each] = numbers as [number, number, number]
  const length = Math.max(Math.ceil((last - first) / each), 0)
  if (!(length <= MOST_ELEMENTS)) return undefined
  return { shape: [length], elements: Array.from({ length }, (_, i) => fixed(first + i * each)) }
}

function tile([data, repeats]: readonly (Small | undefined)[]): Small {
  const small = data as Small
  const times = (repeats as Small).elements.map(numberOf)
  const shape = small.shape.map((size, i) => size * (times[i] ?? 1))
  const from = (index: readonly number[]) => index.map((at, i) => at % (small.shape[i] as number))
  return { shape, elements: pick(small, shape, from) }
}

function expand([data, target]: readonly (Small | undefined)[]): Small {
  const shape = broadcastShape((data as Small).shape, (target as Small).elements.map(numberOf))
  return { shape, elements: expanded(data as Small, shape) }
}

const EVALUATED: Readonly<Record<string, Evaluate>> = {
  __proto__: null as never,
  Add: broadcast(both(add)),
  Sub: broadcast(both(subtract)),
  Mul: broadcast(both(multiply)),
  Div: broadcast(both(divided)),
  Mod: broadcast(both(remainder)),
  Min: broadcast(both(smaller)),
  Max: broadcast(both(larger)),
  Equal: broadcast(both(compared(sign => sign === 0))),
  Less: broadcast(both(compared(sign => sign < 0))),
  LessOrEqual: broadcast(both(compared(sign => sign <= 0))),
  Greater: broadcast(both(compared(sign => sign > 0))),
  GreaterOrEqual: broadcast(both(compared(sign => sign >= 0))),
  And: broadcast(both(logical((a, b) => a && b))),
  Or: broadcast(both(logical((a, b) => a || b))),
  Not: each(element => {
    const value = isTrue(element)
    return value === undefined ? undefined : truth(!value)
  }),
  Neg: each(element => multiply(element, fixed(-1))),
  Identity: ([input]) => input,
  Cast: (inputs, step) => each(element => cast(element, step.integer('to', 0)))(inputs, step),
  Where: where,
  ReduceProd: reduceProd,
  Unsqueeze: unsqueeze,
  Squeeze: squeeze,
  Gather: gather,
  Concat: concat,
  Slice: slice,
  Reshape: reshape,
  Transpose: transpose,
  Range: range,
  Tile: tile,
  Expand: expand,
}
