import type { Graph, Node } from '../onnx-file.ts'
import { checkUnmarked } from './marks.ts'
import type { Step } from './rule.ts'
import { checkOpset } from './rules/table.ts'
import { Scope } from './scope.ts'
import { asNumber, equals, hasRows, isAtLeast, type Size, unknownSize } from './size.ts'
import {
  type Batched,
  batched,
  dependsOnRows,
  isBatched,
  isShapeDerived,
  Stop,
  tensor,
  UNKNOWN,
  type Value,
} from './value.ts'

/*
 * Nodes with inner graphs, which can use outer values. Three cases are proven: an If whose
 * condition does not depend on rows, a Loop or Scan whose number of repetitions does not, and a
 * Scan that processes one row at a time and passes no state to the next.
 */

export const isControl = ({ domain, operator }: Node) =>
  domain === 'ai.onnx' && ['If', 'Loop', 'Scan'].includes(operator)

/**
 * Walks a graph's nodes until the scope contains all values that the outputs need.
 * @throws {Stop}
 */
export type WalkGraph = (graph: Graph, scope: Scope, outputs: readonly string[]) => Promise<void>

export function walkControl(step: Step, scope: Scope, walk: WalkGraph): Promise<readonly Value[]> {
  checkOpset(step.node.domain, step.opset)
  if (step.node.operator === 'If') return branch(step, scope, walk)
  const body = graphOf(step, 'body')
  if (step.node.operator === 'Scan' && scansRows(step)) return scanRows(step, body, { scope, walk })
  return repeat(step, body, { scope, walk })
}

interface Surroundings {
  readonly scope: Scope
  readonly walk: WalkGraph
}

function graphOf(step: Step, attribute: string): Graph {
  const graph = step.attribute(attribute)?.graph
  if (graph === undefined) throw new Stop(`attribute ${attribute} is missing`)
  return graph
}

async function branch(step: Step, scope: Scope, walk: WalkGraph): Promise<readonly Value[]> {
  const condition = step.input(0)
  if (isBatched(condition)) throw new Stop('the condition depends on rows')
  const [chosen] = condition.elements ?? []
  const names = chosen === undefined ? ['then_branch', 'else_branch'] : [branchOf(chosen)]
  const results: (readonly Value[])[] = []
  for (const name of names)
    results.push(await valuesOf(graphOf(step, name), new Scope(scope), walk))
  const [first = [], other] = results
  return other === undefined ? first : first.map((value, i) => either(value, other[i] as Value))
}

function branchOf(condition: Size): string {
  if (isAtLeast(condition, 1)) return 'then_branch'
  if (asNumber(condition) === 0) return 'else_branch'
  throw new Stop('the condition may depend on the number of rows')
}

async function valuesOf(graph: Graph, scope: Scope, walk: WalkGraph): Promise<Value[]> {
  if (graph.inputs.some(({ name }) => graph.initializers.some(own => own.name === name)))
    throw new Stop('an input of the inner graph has a default value')
  const names = graph.outputs.map(({ name }) => name)
  await walk(graph, scope, names)
  return names.map(name => scope.get(name))
}

function either(a: Value, b: Value): Value {
  checkUnmarked(a)
  checkUnmarked(b)
  if (isBatched(a) !== isBatched(b) || a.axis !== b.axis)
    throw new Stop('the branches have the batch in different dimensions')
  if (a.dims === undefined || a.dims.length !== b.dims?.length) {
    if (isBatched(a) || dependsOnRows(a) || dependsOnRows(b))
      throw new Stop('the branches have different shapes')
    return UNKNOWN
  }
  const dims = a.dims.map((size, i) => {
    const other = b.dims?.[i] as Size
    if (equals(size, other)) return size
    if (i === a.axis) throw new Stop('the branches have batches of different sizes')
    return unknownSize()
  })
  if (dependsOnRows(a) !== isBatched(a) || dependsOnRows(b) !== isBatched(b))
    throw new Stop('a branch returns the number of rows as data')
  return a.axis === undefined ? { dims } : batched(dims, a.axis)
}

/**
 * Proves a Loop or Scan whose number of repetitions does not depend on rows, by induction: the
 * first state is batched, and the body returns a state that is batched in the same way.
 */
async function repeat(step: Step, body: Graph, { scope, walk }: Surroundings): Promise<Value[]> {
  const { first, states, stackedAt } = repeated(step, body)
  const inner = new Scope(scope)
  const given = body.inputs.map((_, i) => {
    const value = i < first || i >= first + states ? UNKNOWN : stateOf(step.input(i))
    return i >= first + states ? sliceOf(step, i, first + states) : value
  })
  for (const [i, { name }] of body.inputs.entries()) inner.set(name, given[i] as Value)
  const values = await valuesOf(body, inner, walk)
  // The first output of a Loop's body is the condition to continue.
  const condition = first > 0 ? values.shift() : undefined
  if (dependsOnRows(condition)) throw new Stop('the number of repetitions depends on the rows')
  return values.map((value, i) =>
    i < states ? sameState(given[first + i] as Value, value) : stack(value, stackedAt(i - states)),
  )
}

interface Repeated {
  /** The number of the body's inputs before its states. */
  readonly first: number
  readonly states: number
  readonly stackedAt: (output: number) => number
}

/**
 * Describes the states and outputs of a Loop or Scan. @throws {Stop} if a Loop's count or condition
 * depends on rows
 */
function repeated(step: Step, body: Graph): Repeated {
  if (step.node.operator === 'Loop') {
    for (const value of step.inputs.slice(0, 2))
      if (dependsOnRows(value)) throw new Stop('the number of repetitions depends on the rows')
    return { first: 2, states: body.inputs.length - 2, stackedAt: () => 0 }
  }
  if (step.opset < 9) throw new Stop('there is no rule for Scan before opset 9')
  const states = step.inputs.length - step.integer('num_scan_inputs', 0)
  const places = step.integers('scan_output_axes')
  return { first: 0, states, stackedAt: output => places?.[output] ?? 0 }
}

/** A state without its elements, which may change between repetitions. */
function stateOf(value: Value): Value {
  checkUnmarked(value)
  if (isShapeDerived(value)) throw new Stop('a state contains the number of rows')
  const { dims, axis } = value
  return { ...(dims && { dims }), ...(axis !== undefined && { axis }) }
}

function sliceOf(step: Step, index: number, firstScanned: number): Value {
  const { dims, elements } = step.input(index)
  const axis = step.integers('scan_input_axes')?.[index - firstScanned] ?? 0
  if (elements?.some(one => one !== undefined && hasRows(one)))
    throw new Stop('the node iterates over a tensor that contains the number of rows')
  if (dims === undefined) return UNKNOWN
  return { dims: dims.toSpliced(axis < 0 ? axis + dims.length : axis, 1) }
}

function sameState(before: Value, after: Value): Value {
  checkUnmarked(after)
  if (before === after) return before
  const isAlike =
    before.axis === after.axis &&
    before.dims?.length === after.dims?.length &&
    (before.dims ?? []).every((size, i) => equals(size, after.dims?.[i] as Size))
  if (isAlike && !isShapeDerived(after)) return before
  if (!dependsOnRows(before) && !dependsOnRows(after) && before.dims === undefined) return UNKNOWN
  throw new Stop('a repetition changes the shape or batch of a state')
}

function stack(value: Value, place: number): Value {
  checkUnmarked(value)
  if (isShapeDerived(value)) throw new Stop('the body returns the number of rows as data')
  const { dims, axis } = value
  if (dims === undefined) return UNKNOWN
  const at = place < 0 ? place + dims.length + 1 : place
  return tensor(
    dims.toSpliced(at, 0, unknownSize()),
    axis !== undefined && axis >= at ? axis + 1 : axis,
  )
}

const scansRows = (step: Step) =>
  step.inputs.slice(-step.integer('num_scan_inputs', 1)).some(isBatched)

/**
 * Proves a Scan along the batch of all its scanned inputs. The body processes one row at a time, so
 * the row counts as a constant. The body must not change its states: otherwise, a row would depend
 * on the previous rows.
 */
async function scanRows(
  step: Step,
  body: Graph,
  { scope, walk }: Surroundings,
): Promise<readonly Value[]> {
  if (step.opset < 9) throw new Stop('there is no rule for Scan before opset 9')
  const scanned = step.integer('num_scan_inputs', 0)
  const states = step.inputs.length - scanned
  for (const name of ['scan_input_directions', 'scan_output_directions'])
    if (step.integers(name)?.some(direction => direction !== 0))
      throw new Stop('the node iterates backwards')
  const axes = step.integers('scan_input_axes')
  const inner = new Scope(new RowlessScope(scope))
  const given: Value[] = []
  for (const [i, { name }] of body.inputs.entries()) {
    const value = step.input(i)
    if (i < states && dependsOnRows(value)) throw new Stop('a state of the Scan depends on rows')
    const own =
      i < states ? { ...value } : rowOf(value, axes?.[i - states] ?? 0, step.input(states))
    given.push(own)
    inner.set(name, own)
  }
  const values = await valuesOf(body, inner, walk)
  for (let i = 0; i < states; i++)
    if (values[i] !== given[i]) throw new Stop('the body passes state from one row to the next')
  const size = sizeOfRows(step.input(states))
  const places = step.integers('scan_output_axes')
  return values.map((value, i) =>
    i < states ? (step.inputs[i] as Value) : stacked(value, places?.[i - states] ?? 0, size),
  )
}

/** A scope with only values that do not depend on rows. */
class RowlessScope extends Scope {
  override get(name: string): Value {
    const value = super.get(name)
    if (dependsOnRows(value)) throw new Stop(`the body uses "${name}", which depends on rows`)
    return value
  }
}

function sizeOfRows(value: Value): Size {
  if (!isBatched(value)) throw new Stop('the node iterates over a dimension other than the batch')
  return value.dims[value.axis] as Size
}

function rowOf(value: Value, axis: number, first: Value): Value {
  checkUnmarked(value)
  if (!isBatched(value) || value.axis !== (axis < 0 ? axis + value.dims.length : axis))
    throw new Stop('the node iterates over a dimension other than the batch')
  if (!equals(sizeOfRows(value), sizeOfRows(first)))
    throw new Stop('the inputs have batches of different sizes')
  return { dims: value.dims.filter((_, i) => i !== value.axis) }
}

function stacked({ dims }: Value, place: number, size: Size): Batched {
  if (dims === undefined) throw new Stop('the shape of an output is unknown')
  const at = place < 0 ? place + dims.length + 1 : place
  return batched(dims.toSpliced(at, 0, size), at)
}
