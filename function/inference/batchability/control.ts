import type { Graph, Node } from '../onnx-file.ts'
import type { Step } from './rule.ts'
import { Scope } from './scope.ts'
import { asNumber, equals, isAtLeast, type Size, unknownSize } from './size.ts'
import {
  type Batched,
  batched,
  dependsOnRows,
  isBatched,
  Stop,
  UNKNOWN,
  type Value,
} from './value.ts'

/*
 * Nodes with graphs of their own, which capture values of the graphs around them. On constants they are
 * walked only for what is in them; with rows there are two cases that are proven: a branch that the
 * rows do not choose, and a Scan that takes one row at a time and hands nothing on to the next.
 */

export const isControl = ({ domain, operator }: Node) =>
  domain === 'ai.onnx' && ['If', 'Loop', 'Scan'].includes(operator)

/** Walks a graph's nodes; the scope then has all that the outputs need. @throws {Stop} */
export type WalkGraph = (graph: Graph, scope: Scope, outputs: readonly string[]) => Promise<void>

export function walkControl(step: Step, scope: Scope, walk: WalkGraph): Promise<readonly Value[]> {
  if (step.node.operator === 'If') return branch(step, scope, walk)
  const body = graphOf(step, 'body')
  if (step.inputs.some(dependsOnRows) && step.node.operator === 'Scan')
    return scanRows(step, body, { scope, walk })
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
  if (isBatched(condition)) throw new Stop('rows choose the branch')
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
  throw new Stop('the number of rows may choose the branch')
}

async function valuesOf(graph: Graph, scope: Scope, walk: WalkGraph): Promise<Value[]> {
  const names = graph.outputs.map(({ name }) => name)
  await walk(graph, scope, names)
  return names.map(name => scope.get(name))
}

/** One of the two, and the rows do not decide which. */
function either(a: Value, b: Value): Value {
  if (isBatched(a) !== isBatched(b) || a.axis !== b.axis || a.padding !== b.padding)
    throw new Stop('its branches have the batch at different places')
  if (a.dims === undefined || a.dims.length !== b.dims?.length) {
    if (isBatched(a) || dependsOnRows(a) || dependsOnRows(b))
      throw new Stop('its branches have different shapes')
    return UNKNOWN
  }
  const dims = a.dims.map((size, i) => {
    const other = b.dims?.[i] as Size
    if (equals(size, other)) return size
    if (i === a.axis) throw new Stop('its branches have different batches')
    return unknownSize()
  })
  if (dependsOnRows(a) !== isBatched(a) || dependsOnRows(b) !== isBatched(b))
    throw new Stop('its branches use the number of rows as data')
  return a.axis === undefined ? { dims } : batched(dims, a.axis)
}

/** A loop over constants: its body must have nothing in it that depends on rows, or is random. */
async function repeat(
  step: Step,
  body: Graph,
  { scope, walk }: Surroundings,
): Promise<readonly Value[]> {
  if (step.inputs.some(dependsOnRows)) throw new Stop('it repeats something that depends on rows')
  const inner = new Scope(scope)
  for (const { name } of body.inputs) inner.set(name, UNKNOWN)
  const values = await valuesOf(body, inner, walk)
  if (values.some(dependsOnRows)) throw new Stop('its body takes something that depends on rows')
  return step.node.outputs.map(() => UNKNOWN)
}

/**
 * A Scan along the batch of all its scanned inputs. In the body a row is a constant like others: there
 * is only one. States must come out as they went in, or a row would depend on those before it.
 */
async function scanRows(
  step: Step,
  body: Graph,
  { scope, walk }: Surroundings,
): Promise<readonly Value[]> {
  if (step.opset < 9) throw new Stop('Scan before opset 9 has no rule')
  const scanned = step.integer('num_scan_inputs', 0)
  const states = step.inputs.length - scanned
  for (const name of ['scan_input_directions', 'scan_output_directions'])
    if (step.integers(name)?.some(direction => direction !== 0)) throw new Stop('it goes backwards')
  const axes = step.integers('scan_input_axes')
  const inner = new Scope(new RowlessScope(scope))
  const given: Value[] = []
  for (const [i, { name }] of body.inputs.entries()) {
    const value = step.input(i)
    if (i < states && dependsOnRows(value)) throw new Stop('a state depends on rows')
    const own =
      i < states ? { ...value } : rowOf(value, axes?.[i - states] ?? 0, step.input(states))
    given.push(own)
    inner.set(name, own)
  }
  const values = await valuesOf(body, inner, walk)
  for (let i = 0; i < states; i++)
    if (values[i] !== given[i]) throw new Stop('it hands something on from row to row')
  const size = sizeOfRows(step.input(states))
  const places = step.integers('scan_output_axes')
  return values.map((value, i) =>
    i < states ? (step.inputs[i] as Value) : stacked(value, places?.[i - states] ?? 0, size),
  )
}

/** Values of the graphs around, as long as they do not depend on rows. */
class RowlessScope extends Scope {
  override get(name: string): Value {
    const value = super.get(name)
    if (dependsOnRows(value)) throw new Stop(`its body takes "${name}", which depends on rows`)
    return value
  }
}

function sizeOfRows(value: Value): Size {
  if (!isBatched(value)) throw new Stop('it goes along something else than the batch')
  return value.dims[value.axis] as Size
}

/** One index of the batch. */
function rowOf(value: Value, axis: number, first: Value): Value {
  if (!isBatched(value) || value.axis !== (axis < 0 ? axis + value.dims.length : axis))
    throw new Stop('it goes along something else than the batch')
  if (!equals(sizeOfRows(value), sizeOfRows(first)))
    throw new Stop('its inputs have different batches')
  return { dims: value.dims.filter((_, i) => i !== value.axis) }
}

function stacked({ dims }: Value, place: number, size: Size): Batched {
  if (dims === undefined) throw new Stop('the shape of what it gives is unknown')
  const at = place < 0 ? place + dims.length + 1 : place
  return batched(dims.toSpliced(at, 0, size), at)
}
