import type { Node } from '../onnx-file.ts'
import { divide, fixed, hasRows, perRow, ROWS, type Size, show } from './size.ts'

/**
 * The known properties of a tensor in the graph, for a run with N rows. Only the batch dimension
 * may depend on N. A value is one of three kinds:
 * - **batched**: `axis` is set. Row i has the indices [i·k, (i+1)·k) of that dimension, whose
 *   size is k·N. No element there depends on another row.
 * - **shape-derived**: an element of `elements` contains N. The tensor is the same for all rows.
 * - **constant**: the same for all rows and for any number of rows.
 */
export type Value = {
  /** Undefined if even the rank is unknown; always known for a batched tensor. */
  readonly dims?: readonly Size[]
  readonly axis?: number
  /**
   * The elements of a small tensor of integers or booleans, in row-major order; undefined if
   * unknown.
   */
  readonly elements?: readonly (Size | undefined)[]
} & Marks

/**
 * Properties that rules do not examine. marks.ts passes these properties from inputs to outputs.
 */
export interface Marks {
  /**
   * How many times the rows are repeated; absent if once. Index (o·N + i)·k + j of the batch
   * dimension belongs to row i, for each o below this number.
   */
  readonly repeats?: Size
  /** The text that pads shorter rows to the length of the run's longest row. */
  readonly padding?: string
  /** True if elements depend on a row's number in the run. They must not reach an output. */
  readonly isNumbered?: true
  /**
   * Row i contains indices i·stride + c, with 0 ≤ c < below: indices within row i of a tensor of
   * size stride·N.
   */
  readonly address?: { readonly stride: Size; readonly below: Size }
  /** True if the last dimension is an index that begins with the row's own number. */
  readonly beginsWithRow?: true
  /** The exclusive bound of a constant of non-negative integers. */
  readonly below?: Size
}

export type Batched = Value & { readonly dims: readonly Size[]; readonly axis: number }

/** Stops the proof. The message is the reason. */
export class Stop extends Error {
  /** The innermost node at which the proof stopped. */
  node: Node | undefined
  opset: number | undefined
}

/** A constant whose shape and elements are unknown. */
export const UNKNOWN: Value = {}

export const isBatched = (value: Value | undefined): value is Batched => value?.axis !== undefined

export const isShapeDerived = (value: Value | undefined): boolean =>
  value?.elements?.some(element => element !== undefined && hasRows(element)) ?? false

export const dependsOnRows = (value: Value | undefined): boolean =>
  isBatched(value) || isShapeDerived(value)

/** How many neighbouring indices of the batch dimension belong to one row. */
export const partsOf = ({ dims, axis, repeats = fixed(1) }: Batched): Size =>
  divide(perRow(dims[axis] as Size) as Size, repeats) as Size

/**
 * @throws {Stop} if a dimension other than the batch depends on N, or the batch's size is not k·N
 */
export function batched(dims: readonly Size[], axis: number): Batched {
  if (perRow(dims[axis] ?? ROWS) === undefined)
    throw new Stop(
      `dimension ${axis} has size ${show(dims[axis] as Size)}, which is not a multiple of N`,
    )
  if (dims.some((size, i) => i !== axis && hasRows(size)))
    throw new Stop(`the output would have the batch in two dimensions of [${dims.map(show)}]`)
  return { dims, axis }
}

/** @throws {Stop} if a dimension depends on N */
export function constant(dims: readonly Size[]): Value {
  if (dims.some(hasRows))
    throw new Stop(
      `a dimension of [${dims.map(show)}] depends on N, but is not the batch dimension`,
    )
  return { dims }
}

export const tensor = (dims: readonly Size[], axis: number | undefined): Value =>
  axis === undefined ? constant(dims) : batched(dims, axis)
