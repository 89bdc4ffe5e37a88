import type { Datatype, TensorData } from './datatypes.ts'

export type { TensorData } from './datatypes.ts'

/**
 * A text's bytes besides its characters: a JavaScript string, its array slot, and ONNX Runtime's
 * copy.
 */
export const TEXT_BYTES = 64

/** `data` is row-major and has exactly the elements of `shape`. */
export interface Tensor {
  readonly name: string
  readonly datatype: Datatype
  readonly shape: readonly number[]
  readonly data: TensorData
}

export interface TensorMetadata {
  readonly name: string
  readonly datatype: Datatype
  /** −1 is a variable dimension. */
  readonly shape: readonly number[]
  /** The graph's names of variable dimensions ('' without a name). Equal names mean equal sizes. */
  readonly dimensionNames: readonly string[]
  /** True if the graph gives no shape, so that any rank fits; `shape` is then [-1]. */
  readonly anyRank: boolean
  /** The graph's class names for an output, in the order of its last dimension. */
  readonly labels?: readonly string[]
}

/** The model's inputs and outputs, in graph order. */
export interface Signature {
  readonly inputs: readonly TensorMetadata[]
  readonly outputs: readonly TensorMetadata[]
}

/** 1 for a scalar's shape, []. */
export function elementCount(shape: readonly number[]): number {
  let count = 1
  for (const dimension of shape) count *= dimension
  return count
}

/** Whether every input begins with a variable dimension, so that requests can have several rows. */
export function isBatched({ inputs }: Signature): boolean {
  return inputs.length > 0 && inputs.every(({ shape, anyRank }) => shape[0] === -1 && !anyRank)
}

/** The tensors' names and shapes, for log lines. */
export const shapesOf = (tensors: readonly Tensor[]): string =>
  tensors.map(({ name, shape }) => `${name} [${shape}]`).join(', ')
