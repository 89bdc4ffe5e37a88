import type { Signature, TensorMetadata } from '../../protocol/tensor.ts'
import {
  type Attribute,
  type Graph,
  type ModelFunction,
  type Node,
  namesIn,
  type OnnxModel,
  readOnnxModel,
} from '../onnx-file.ts'
import { Slices } from '../slices.ts'
import { zipMapsOf } from '../zip-map.ts'
import { evaluate } from './arithmetic.ts'
import { isControl, walkControl } from './control.ts'
import { boundOfResult, lookup, withMarks } from './marks.ts'
import { Step } from './rule.ts'
import { tensorValue } from './rules/constants.ts'
import { ruleOf } from './rules/table.ts'
import { Scope } from './scope.ts'
import { equals, fixed, ROWS, type Size, show, unknownSize } from './size.ts'
import { hasTexts, hasTransposes } from './texts.ts'
import {
  batched,
  dependsOnRows,
  isBatched,
  isShapeDerived,
  Stop,
  UNKNOWN,
  type Value,
} from './value.ts'

export type Proof =
  | { readonly isProven: true }
  | { readonly isProven: false; readonly reason: string }

/**
 * Proves from the graph, without running the model, that rows are independent: requests may then
 * share a run, and a large request may be divided. Runs on this thread in time slices.
 * @param file an .onnx file; weights longer than a few bytes are not read
 * @param signature the inputs and outputs that the server offers
 * @throws {Error} if the file cannot be read
 */
export async function proveIndependent(file: string, signature: Signature): Promise<Proof> {
  const model = await readOnnxModel(file)
  try {
    const scope = new Scope()
    const sizes = new Map<string, Size>()
    for (const input of signature.inputs) scope.set(input.name, inputValue(input, sizes))
    // The server returns a ZipMap's input instead of its output.
    const zipMaps = zipMapsOf(model.graph)
    const names = signature.outputs.map(({ name }) => zipMaps.get(name)?.input ?? name)
    await new Walk(model).graph(model.graph, scope, names)
    for (const name of names) checkOutput(name, scope.get(name))
    return { isProven: true }
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    return { isProven: false, reason: reasonOf(error) }
  }
}

/**
 * @param sizes keyed by dimension name: in a valid request, dimensions with the same name have the
 * same size
 */
function inputValue(input: TensorMetadata, sizes: Map<string, Size>): Value {
  const { name, shape, dimensionNames, anyRank } = input
  if (anyRank || shape.length === 0)
    throw new Stop(`input "${name}" has no first dimension in the graph`)
  if (shape[0] !== -1)
    throw new Stop(`input "${name}" has the fixed first dimension ${shape[0]}; it must be variable`)
  const rest = shape.slice(1).map((size, i) => {
    if (size !== -1) return fixed(size)
    const named = dimensionNames[i + 1] ?? ''
    const known = sizes.get(named) ?? unknownSize()
    if (BINDS.test(named)) sizes.set(named, known)
    return known
  })
  return batched([ROWS, ...rest], 0)
}

/** Matches names whose dimensions all have the same size, unlike "?" and blanks. */
const BINDS = /[^\s?]/

function checkOutput(name: string, value: Value): void {
  if (!isBatched(value)) throw new Stop(`output "${name}" does not depend on rows`)
  const { dims, axis, padding, repeats, isNumbered } = value
  if (axis !== 0) throw new Stop(`output "${name}" has the batch in dimension ${axis}, not 0`)
  if (repeats !== undefined || !equals(dims[0] as Size, ROWS))
    throw new Stop(`output "${name}" has ${show(dims[0] as Size)} rows for N input rows`)
  if (padding !== undefined)
    throw new Stop(`output "${name}" has a width that depends on the longest row`)
  if (isNumbered) throw new Stop(`output "${name}" depends on a row's number in the run`)
}

function reasonOf({ node, opset, message }: Stop): string {
  if (node === undefined) return message
  const name = node.name || node.outputs[0] || ''
  return `node "${name}" (${node.operator}, ${node.domain} ${opset ?? '?'}): ${message}`
}

interface Context {
  readonly opsets: ReadonlyMap<string, number>
  /** The attributes of the function's call, to which its nodes may refer. */
  readonly attributes: ReadonlyMap<string, Attribute>
  readonly depth: number
}

const DEEPEST = 32

const RUNTIME_DOMAINS = /^(ai\.onnx|com\.microsoft|com\.ms|org\.pytorch)/

class Walk {
  readonly #functions: ReadonlyMap<string, readonly ModelFunction[]>
  readonly #opsets: ReadonlyMap<string, number>
  readonly #has: { readonly hasTexts: boolean; readonly hasTransposes: boolean }
  readonly #slices = new Slices()
  #context: Context

  constructor(model: OnnxModel) {
    const { functions, opsets } = model
    this.#functions = Map.groupBy(functions, own => `${own.domain} ${own.name}`)
    this.#opsets = opsets
    this.#has = { hasTexts: hasTexts(model), hasTransposes: hasTransposes(model) }
    this.#context = { opsets, attributes: new Map(), depth: 0 }
  }

  /**
   * Adds all values that the outputs need to the scope.
   * @param scope contains the inputs
   * @throws {Stop}
   */
  async graph(
    { initializers, nodes }: Graph,
    scope: Scope,
    outputs: readonly string[],
  ): Promise<void> {
    // An initialiser with an input's name is only a default: callers may send another value.
    const own = initializers.filter(({ name }) => !scope.hasOwn(name))
    for (const tensor of own) scope.set(tensor.name, tensorValue(tensor))
    await this.#nodes(nodes, scope, outputs)
  }

  async #nodes(nodes: readonly Node[], scope: Scope, outputs: readonly string[]): Promise<void> {
    const needed = await namesNeeded(nodes, outputs, this.#slices)
    for (const node of nodes) {
      if (!node.outputs.some(name => needed.has(name))) continue
      const values = await this.#valuesOf(node, scope, needed)
      for (const [i, name] of node.outputs.entries())
        if (name !== '') scope.set(name, values[i] ?? UNKNOWN)
      if (this.#slices.isOver) await this.#slices.next()
    }
  }

  async #valuesOf(
    node: Node,
    scope: Scope,
    needed: ReadonlySet<string>,
  ): Promise<readonly Value[]> {
    const [own] = this.#functions.get(`${node.domain} ${node.operator}`) ?? []
    const opset = this.#context.opsets.get(node.domain)
    try {
      const inputs = node.inputs.map(name => (name === '' ? undefined : scope.get(name)))
      const wanted = (name: string) => needed.has(name)
      const attributes = this.#attributesOf(node)
      if (own !== undefined) return await this.#call(own, { node, inputs, attributes, needed })
      if (opset === undefined) throw new Stop('the file does not state the opset of this domain')
      const step = new Step({ node, opset, inputs, ...this.#has, attributes, wanted })
      if (isControl(node)) return await walkControl(step, scope, this.graph.bind(this))
      return apply(step)
    } catch (error) {
      if (error instanceof Stop && error.node === undefined) Object.assign(error, { node, opset })
      throw error
    }
  }

  #attributesOf({ attributes }: Node): ReadonlyMap<string, Attribute> {
    if (this.#context.depth === 0) return attributes
    const resolved = new Map<string, Attribute>()
    for (const [name, attribute] of attributes) {
      const { reference } = attribute
      const value = reference === undefined ? attribute : this.#context.attributes.get(reference)
      if (value !== undefined) resolved.set(name, value)
    }
    return resolved
  }

  /**
   * Stops at functions that ONNX Runtime 1.30 reads differently from the ONNX standard. ONNX
   * Runtime prefers its own operator to a function of the same name, reads a function's nodes with
   * the model's opsets, and chooses an unknown one of several overloads.
   */
  #checkFunction({ domain, name, opsets }: ModelFunction): void {
    if (RUNTIME_DOMAINS.test(domain))
      throw new Stop('the node calls a function in a domain of ONNX Runtime')
    if ((this.#functions.get(`${domain} ${name}`)?.length ?? 0) > 1)
      throw new Stop('the file defines several functions of this name')
    for (const [imported, version] of opsets)
      if (this.#opsets.has(imported) && this.#opsets.get(imported) !== version)
        throw new Stop(
          `the function uses opset ${version} of domain "${imported}", and the model uses ${this.#opsets.get(imported)}`,
        )
  }

  /** Walks a function's nodes in a separate scope, with the function's opsets. */
  async #call(own: ModelFunction, call: Call): Promise<readonly Value[]> {
    const outside = this.#context
    this.#checkFunction(own)
    if (outside.depth === DEEPEST)
      throw new Stop(`function calls are nested more than ${DEEPEST} levels deep`)
    const scope = new Scope()
    for (const [i, name] of own.inputs.entries()) {
      const value = call.inputs[i]
      if (value !== undefined) scope.set(name, value)
    }
    const attributes = new Map([...own.defaults, ...call.attributes])
    this.#context = { opsets: own.opsets, attributes, depth: outside.depth + 1 }
    try {
      const taken = own.outputs.filter((_, i) => call.needed.has(call.node.outputs[i] ?? ''))
      await this.#nodes(withoutMissing(own, call), scope, taken)
      return own.outputs.map(name => (taken.includes(name) ? scope.get(name) : UNKNOWN))
    } finally {
      this.#context = outside
    }
  }
}

interface Call {
  readonly node: Node
  readonly inputs: readonly (Value | undefined)[]
  readonly attributes: ReadonlyMap<string, Attribute>
  readonly needed: ReadonlySet<string>
}

function withoutMissing({ nodes, inputs }: ModelFunction, call: Call): readonly Node[] {
  const missing = inputs.filter((_, i) => call.inputs[i] === undefined)
  if (missing.length === 0) return nodes
  const rename = (name: string) => (missing.includes(name) ? '' : name)
  return nodes.map(node => ({ ...node, inputs: node.inputs.map(rename) }))
}

function apply(step: Step): readonly Value[] {
  const { domain, operator } = step.node
  const { rule, shapes } = ruleOf(domain, operator, step.opset)
  // Return the same object, so that scanRows recognises a state that is passed on unchanged.
  if (domain === 'ai.onnx' && operator === 'Identity') return [step.input(0)]
  if (!step.inputs.some(dependsOnRows)) return applyToConstants(rule, step)
  const evaluated = evaluateOrNot(step)
  if (evaluated !== undefined) return [evaluated]
  for (const [i, value] of step.inputs.entries())
    if (isShapeDerived(value) && !shapes.includes(i))
      throw new Stop(`input ${i} contains the number of rows as a value`)
  const found = lookup(step)
  if (found !== undefined) return found
  const values = rule(step)
  checkRowsStay(step, values)
  return withMarks(step, values)
}

/** Operators that use only the shape or the type of a batched tensor. */
const OF_NO_ROW = ['Shape', 'Size', 'CastLike']

/**
 * Checks that a result computed from rows is batched, and that a result computed from N has a known
 * shape: a rule might leave an input unexamined.
 */
function checkRowsStay(step: Step, values: readonly Value[]): void {
  if (OF_NO_ROW.includes(step.node.operator)) return
  const isOfRows = step.inputs.some(isBatched)
  for (const [i, name] of step.node.outputs.entries()) {
    const value = values[i]
    if (!step.wants(i) || isBatched(value)) continue
    if (isOfRows || value?.dims === undefined)
      throw new Stop(`the batch dimension of output ${i} ("${name}") is unknown`)
  }
}

/** Returns undefined if shape arithmetic stops, because a rule may still accept the node. */
function evaluateOrNot(step: Step): Value | undefined {
  try {
    return evaluate(step)
  } catch (error) {
    if (error instanceof Stop) return undefined
    throw error
  }
}

/**
 * The outputs of a node with constant inputs are constants; the rule supplies their shapes if
 * possible.
 */
function applyToConstants(rule: (step: Step) => readonly Value[], step: Step): readonly Value[] {
  const evaluated = evaluateOrNot(step)
  if (evaluated !== undefined) return [evaluated]
  try {
    const [first = UNKNOWN, ...others] = rule(step)
    const below = first.below ?? boundOfResult(step)
    return [below === undefined ? first : { ...first, below }, ...others]
  } catch (error) {
    if (!(error instanceof Stop)) throw error
    return step.node.outputs.map(() => UNKNOWN)
  }
}

/** All values on which the outputs depend, including values that inner graphs use. */
async function namesNeeded(
  nodes: readonly Node[],
  outputs: readonly string[],
  slices: Slices,
): Promise<Set<string>> {
  const needed = new Set(outputs)
  for (const node of nodes.toReversed()) {
    if (node.outputs.some(name => needed.has(name)))
      for (const name of namesIn(node)) needed.add(name)
    if (slices.isOver) await slices.next()
  }
  return needed
}
