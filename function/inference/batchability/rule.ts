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
   * Inputs whose values may contain N, because they are shapes. In all others, N ends the proof.
   */
  readonly shapes: readonly number[]
}

/** An operator's rules, each valid from one opset until the next rule begins. */
export type Versions = readonly Version[]

/** The rules of a domain by operator. */
export type Rules = Readonly<Record<string, Versions>>

export const since = (opset: number, rule: Rule, shapes: readonly number[] = []): Version => ({
  since: opset,
  rule,
  shapes,
})

/** The same rule for several operators. */
export const each = (operators: readonly string[], ...versions: Versions): Rules =>
  Object.fromEntries(operators.map(operator => [operator, versions]))

/** A node with its inputs. */
export class Step {
  readonly node: Node
  readonly opset: number
  readonly inputs: readonly (Value | undefined)[]
  readonly #attributes: ReadonlyMap<string, Attribute>
  readonly #wanted: (output: string) => boolean

  constructor(options: {
    readonly node: Node
    readonly opset: number
    readonly inputs: readonly (Value | undefined)[]
    /** References to a function's attributes are resolved. */
    readonly attributes: ReadonlyMap<string, Attribute>
    readonly wanted: (output: string) => boolean
  }) {
    this.node = options.node
    this.opset = options.opset
    this.inputs = options.inputs
    this.#attributes = options.attributes
    this.#wanted = options.wanted
  }

  /** @throws {Stop} if the node has no such input */
  input(index: number): Value {
    const value = this.inputs[index]
    if (value === undefined) throw new Stop(`input ${index} is missing`)
    return value
  }

  /** The batched input at that index. @throws {Stop} if it is not batched */
  batched(index: number): Batched {
    const value = this.input(index)
    if (!isBatched(value)) throw new Stop(`input ${index} is not batched`)
    return value
  }

  /** @throws {Stop} if an input from that index on depends on rows */
  constantsFrom(index: number): void {
    for (let i = index; i < this.inputs.length; i++)
      if (isBatched(this.inputs[i])) throw new Stop(`input ${i} differs from row to row`)
  }

  /** The dimensions of an input. @throws {Stop} if even their number is unknown */
  dims(index: number): readonly Size[] {
    const { dims } = this.input(index)
    if (dims === undefined) throw new Stop(`the shape of input ${index} is unknown`)
    return dims
  }

  /**
   * The elements of a small integer input; undefined if it is omitted.
   * @throws {Stop} if they are unknown
   */
  elements(index: number): readonly (Size | undefined)[] | undefined {
    const value = this.inputs[index]
    if (value === undefined) return undefined
    if (value.elements === undefined || isBatched(value))
      throw new Stop(`the values of input ${index} are not known from the graph`)
    return value.elements
  }

  /** The same elements as numbers. @throws {Stop} if one is not a number */
  numbers(index: number): readonly number[] | undefined {
    return this.elements(index)?.map(element => {
      const number = element === undefined ? undefined : asNumber(element)
      if (number === undefined)
        throw new Stop(`the values of input ${index} are not known from the graph`)
      return number
    })
  }

  attribute(name: string): Attribute | undefined {
    const attribute = this.#attributes.get(name)
    if (attribute?.skipped) throw new Stop(`attribute ${name} is too long to be read`)
    if (attribute?.reference !== undefined)
      throw new Stop(
        `attribute ${name} refers to an attribute of a function, outside of a function`,
      )
    return attribute
  }

  integer(name: string, otherwise: number): number {
    return this.attribute(name)?.number ?? otherwise
  }

  /** An attribute of 0 or 1. @throws {Stop} for other values, which kernels read differently */
  flag(name: string, otherwise: boolean): boolean {
    const number = this.attribute(name)?.number
    if (number === undefined) return otherwise
    if (number !== 0 && number !== 1) throw new Stop(`attribute ${name} is ${number}, not 0 or 1`)
    return number === 1
  }

  integers(name: string): readonly number[] | undefined {
    return this.attribute(name)?.numbers
  }

  text(name: string, otherwise: string): string {
    return this.attribute(name)?.text ?? otherwise
  }

  /** Whether anything in the graph uses that output. */
  wants(output: number): boolean {
    const name = this.node.outputs[output] ?? ''
    return name !== '' && this.#wanted(name)
  }

  /** @throws {Stop} if anything in the graph uses an output from that index on */
  onlyOutputs(count: number): void {
    for (let i = count; i < this.node.outputs.length; i++)
      if (this.wants(i)) throw new Stop(`output ${i} ("${this.node.outputs[i]}") has no rule`)
  }
}

/** An axis, counted from the end if it is negative. @throws {Stop} if there is no such axis */
export function axisOf(axis: number, rank: number): number {
  const positive = axis < 0 ? axis + rank : axis
  if (positive >= 0 && positive < rank) return positive
  throw new Stop(`axis ${axis} is not one of ${rank} dimensions`)
}

/** @throws {Stop} if one of the axes is the batch: the operator works across it */
export function notAlong(axes: readonly number[], { axis }: Value): void {
  if (axis !== undefined && axes.includes(axis))
    throw new Stop(`it works along dimension ${axis}, which is the batch`)
}
