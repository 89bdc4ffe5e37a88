import { isMarkedAsUntransferable } from 'node:worker_threads'
import type { Tensor } from '../protocol/tensor.ts'

/** Tensors on their way to another thread. */
export interface Detached {
  readonly tensors: readonly Tensor[]
  /** The memory that goes with them; here it is gone afterwards. */
  readonly transfer: ArrayBuffer[]
}

/** The same elements, in memory that can change threads; all that shares it goes along. */
export const movable = <A extends Uint8Array | Float32Array>(view: A): A =>
  isMarkedAsUntransferable(view.buffer) ? (view.slice() as A) : view

/** The distinct memory of bytes that are nobody else's. */
export const buffersOf = (parts: readonly Uint8Array[]): ArrayBuffer[] => [
  ...new Set(parts.map(({ buffer }) => buffer as ArrayBuffer)),
]

/**
 * The tensors with memory that can change threads: theirs as it is, but for what lies in Node's shared pool of small buffers,
 * which must stay and is copied. Strings are always copied.
 */
export function detach(tensors: readonly Tensor[]): Detached {
  const transfer = new Set<ArrayBuffer>()
  const moved = tensors.map(tensor => {
    if (Array.isArray(tensor.data)) return tensor
    const data = movable(tensor.data as Float32Array<ArrayBuffer>)
    transfer.add(data.buffer)
    return { ...tensor, data }
  })
  return { tensors: moved, transfer: [...transfer] }
}
