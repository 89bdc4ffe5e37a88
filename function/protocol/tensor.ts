import type { Datatype } from './datatypes.ts'

/** FP16 is held as its bit pattern. BYTES elements are text: ONNX strings are UTF-8 (onnx.proto, TensorProto.string_data). */
export type TensorData =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | BigUint64Array
  | readonly string[]

/** What a text takes besides its own characters: a JavaScript string and its place, and ONNX Runtime's copy of it. */
export const TEXT_BYTES = 64

/** One tensor as the protocol names it. `data` is row-major and holds exactly the elements `shape` says. */
export interface Tensor {
  readonly name: string
  readonly datatype: Datatype
  readonly shape: readonly number[]
  readonly data: TensorData
}

/** What the model says of one input or output. */
export interface TensorMetadata {
  readonly name: string
  readonly datatype: Datatype
  /** −1 is a variable dimension. */
  readonly shape: readonly number[]
  /** The graph's name for each variable dimension ('' where it has none): equal names must have equal sizes. */
  readonly dimensionNames: readonly string[]
  /** The graph gives no shape at all, so any rank fits; `shape` then says [-1]. */
  readonly anyRank: boolean
}

/** The tensors a model takes and gives, in graph order. */
export interface Signature {
  readonly inputs: readonly TensorMetadata[]
  readonly outputs: readonly TensorMetadata[]
}

/** The number of elements in `shape`; 1 for a scalar's []. */
export function elementCount(shape: readonly number[]): number {
  let count = 1
  for (const dimension of shape) count *= dimension
  return count
}

/** Whether every input begins with a variable dimension, so that requests of several rows make sense. */
export function isBatched({ inputs }: Signature): boolean {
  return inputs.length > 0 && inputs.every(({ shape, anyRank }) => shape[0] === -1 && !anyRank)
}
