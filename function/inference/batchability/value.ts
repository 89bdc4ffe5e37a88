import type { Node } from '../onnx-file.ts'
import { divide, fixed, hasRows, perRow, ROWS, type Size, show } from './size.ts'

/**
 * A tensor of the graph, as far as it is known, in a run of N rows. Only its batch dimension may
 * depend on N. It is one of:
 * - **batched**: `axis` is set. Row i of the run lies at the indices [i·k, (i+1)·k) of that one
 *   dimension, whose size is k·N; nothing at those indices depends on another row.
 * - **shape-derived**: an element of `elements` contains N. The tensor is the same for all rows.
 * - **constant**: neither. The tensor is the same for all rows and for any number of them.
 */
export type Value = {
  /** Undefined if even the number of dimensions is unknown; never for a batched tensor. */
  readonly dims?: readonly Size[]
  /** The batch dimension. */
  readonly axis?: number
  /** Row-major, for a small tensor of integers or booleans; undefined if unknown. */
  readonly elements?: readonly (Size | undefined)[]
} & Marks

/** Properties that rules do not examine. marks.ts passes them from inputs to outputs. */
export interface Marks {
  /**
   * Rows are repeated: index (o·N + i)·k + j of the batch dimension belongs to row i, for each o
   * below this. Absent if it is 1.
   */
  readonly repeats?: Size
  /** Rows are padded with this text to the length of the longest row of the run. */
  readonly padding?: string
  /** A row's elements depend on its number in the run, so they must not reach an output. */
  readonly isNumbered?: true
  /** Row i holds i·stride + c, with 0 ≤ c < below: places within row i of a tensor of stride·N. */
  readonly address?: { readonly stride: Size; readonly below: Size }
  /** The last dimension is an index that begins with the row's own number. */
  readonly beginsWithRow?: true
  /** For a constant: its elements are integers from 0 up to, but not including, this. */
  readonly below?: Size
}

export type Batched = Value & { readonly dims: readonly Size[]; readonly axis: number }

/** The reason why the walk ends without a proof. */
export class Stop extends Error {
  /** The innermost node at which it stopped. */
  node: Node | undefined
  opset: number | undefined
}

/** A tensor that is the same for all rows; nothing else is known of it. */
export const UNKNOWN: Value = {}

export const isBatched = (value: Value | undefined): value is Batched => value?.axis !== undefined

export const isShapeDerived = (value: Value | undefined): boolean =>
  value?.elements?.some(element => element !== undefined && hasRows(element)) ?? false

export const dependsOnRows = (value: Value | undefined): boolean =>
  isBatched(value) || isShapeDerived(value)

/** The number of neighbouring indices of the batch dimension that belong to one row. */
export const partsOf = ({ dims, axis, repeats = fixed(1) }: Batched): Size =>
  divide(perRow(dims[axis] as Size) as Size, repeats) as Size

/**
 * A batched tensor.
 * @throws {Stop} if a dimension besides the batch depends on N, or the batch is not k·N
 */
export function batched(dims: readonly Size[], axis: number): Batched {
  if (perRow(dims[axis] ?? ROWS) === undefined)
    throw new Stop(`dimension ${axis} has size ${show(dims[axis] as Size)}, not a multiple of N`)
  if (dims.some((size, i) => i !== axis && hasRows(size)))
    throw new Stop(`the batch would be in two dimensions of [${dims.map(show)}]`)
  return { dims, axis }
}

/**
 * A tensor of those dimensions that is the same for all rows.
 * @throws {Stop} if one depends on N
 */
export function constant(dims: readonly Size[]): Value {
  if (dims.some(hasRows))
    throw new Stop(
      `the rows would be in a dimension of [${dims.map(show)}] that is not the batch's`,
    )
  return { dims }
}

/** Batched if there is an axis, else constant. */
export const tensor = (dims: readonly Size[], axis: number | undefined): Value =>
  axis === undefined ? constant(dims) : batched(dims, axis)
