import type { Attribute, Node } from '../onnx-file.ts'
import { asNumber, type Size } from './size.ts'
import { type Batched, isBatched, Stop, type Value } from './value.ts'

/**
 * Computes a node's outputs from its inputs.
 * @throws {Stop} if an output row may depend on another row
 */
export type Rule = (step: Step) => readonly Value[]

export interface Version {
  readonly since: number
  readonly rule: Rule
  /**
   * Inputs that are shapes: their values may contain N. In the values of other inputs, N stops the
   * proof.
   */
  readonly shapes: readonly number[]
}

/** An operator's rules, each valid from its opset until that of the next rule. */
export type Versions = readonly Version[]

export type Rules = Readonly<Record<string, Versions>>

export const since = (opset: number, rule: Rule, shapes: readonly number[] = []): Version => ({
  since: opset,
  rule,
  shapes,
})

export const each = (operators: readonly string[], ...versions: Versions): Rules =>
  Object.fromEntries(operators.map(operator => [operator, versions]))

export class Step {
  readonly node: Node
  readonly opset: number
  readonly inputs: readonly (Value | undefined)[]
  /** Whether a tensor of the model may contain texts. */
  readonly hasTexts: boolean
  readonly hasTransposes: boolean
  readonly #attributes: ReadonlyMap<string, Attribute>
  readonly #wanted: (output: string) => boolean

  constructor(options: {
    readonly node: Node
    readonly opset: number
    readonly inputs: readonly (Value | undefined)[]
    readonly hasTexts: boolean
    readonly hasTransposes: boolean
    /** With references to a function's attributes resolved. */
    readonly attributes: ReadonlyMap<string, Attribute>
    readonly wanted: (output: string) => boolean
  }) {
    this.node = options.node
    this.opset = options.opset
    this.inputs = options.inputs
    this.hasTexts = options.hasTexts
    this.hasTransposes = options.hasTransposes
    this.#attributes = options.attributes
    this.#wanted = options.wanted
  }

  /** @throws {Stop} if the node has no such input */
  input(index: number): Value {
    const value = this.inputs[index]
    if (value === undefined) throw new Stop(`input ${index} is missing`)
    return value
  }

  /** @throws {Stop} if the input is not batched */
  batched(index: number): Batched {
    const value = this.input(index)
    if (!isBatched(value)) throw new Stop(`input ${index} is not batched`)
    return value
  }

  /** @throws {Stop} if an input from this index on depends on rows */
  constantsFrom(index: number): void {
    for (let i = index; i < this.inputs.length; i++)
      if (isBatched(this.inputs[i]))
        throw new Stop(`input ${i} depends on rows; it must be the same for all rows`)
  }

  /** @throws {Stop} if the input's rank is unknown */
  dims(index: number): readonly Size[] {
    const { dims } = this.input(index)
    if (dims === undefined) throw new Stop(`the shape of input ${index} is unknown`)
    return dims
  }

  /**
   * The elements of a small integer input; undefined if the input is omitted.
   * @throws {Stop} if the elements are unknown
   */
  elements(index: number): readonly (Size | undefined)[] | undefined {
    const value = this.inputs[index]
    if (value === undefined) return undefined
    if (value.elements === undefined || isBatched(value))
      throw new Stop(`the values of input ${index} cannot be determined from the graph`)
    return value.elements
  }

  /** @throws {Stop} if an element is not a number */
  numbers(index: number): readonly number[] | undefined {
    return this.elements(index)?.map(element => {
      const number = element === undefined ? undefined : asNumber(element)
      if (number === undefined)
        throw new Stop(`the values of input ${index} cannot be determined from the graph`)
      return number
    })
  }

  attribute(name: string): Attribute | undefined {
    const attribute = this.#attributes.get(name)
    if (attribute?.skipped) throw new Stop(`attribute ${name} is too long to read`)
    if (attribute?.reference !== undefined)
      throw new Stop(
        `attribute ${name} refers to a function's attribute, but the node is not in a function`,
      )
    return attribute
  }

  integer(name: string, otherwise: number): number {
    return this.attribute(name)?.number ?? otherwise
  }

  /**
   * Returns an attribute that must be 0 or 1.
   * @throws {Stop} for other values, which kernels interpret differently
   */
  flag(name: string, otherwise: boolean): boolean {
    const number = this.attribute(name)?.number
    if (number === undefined) return otherwise
    if (number !== 0 && number !== 1)
      throw new Stop(`attribute ${name} is ${number}; it must be 0 or 1`)
    return number === 1
  }

  integers(name: string): readonly number[] | undefined {
    return this.attribute(name)?.numbers
  }

  text(name: string, otherwise: string): string {
    return this.attribute(name)?.text ?? otherwise
  }

  wants(output: number): boolean {
    const name = this.node.outputs[output] ?? ''
    return name !== '' && this.#wanted(name)
  }

  /** @throws {Stop} if the graph uses outputs after the first `count` */
  onlyOutputs(count: number): void {
    for (let i = count; i < this.node.outputs.length; i++)
      if (this.wants(i))
        throw new Stop(`there is no rule for output ${i} ("${this.node.outputs[i]}")`)
  }
}

/**
 * Returns the axis as a non-negative number; a negative axis counts from the end.
 * @throws {Stop} if the axis is out of range
 */
export function axisOf(axis: number, rank: number): number {
  const positive = axis < 0 ? axis + rank : axis
  if (positive >= 0 && positive < rank) return positive
  throw new Stop(`axis ${axis} is out of range for ${rank} dimensions`)
}

/** @throws {Stop} if one of the axes is the batch */
export function notAlong(axes: readonly number[], { axis }: Value): void {
  if (axis !== undefined && axes.includes(axis))
    throw new Stop(`the node works along dimension ${axis}, which is the batch`)
}
