import { isMarkedAsUntransferable } from 'node:worker_threads'
import type { Tensor } from '../protocol/tensor.ts'

/** Tensors on their way to another thread. */
export interface Detached {
  readonly tensors: readonly Tensor[]
  /** Buffers that move with them; this thread has them no longer afterwards. */
  readonly transfer: ArrayBuffer[]
}

/**
 * The same elements, in memory that can move to another thread; everything that shares the memory
 * moves along.
 */
export const movable = (view: Uint8Array): Uint8Array =>
  isMarkedAsUntransferable(view.buffer) ? copy.call(view) : view

/** Not the view's own: a Buffer's slice() shares its memory. */
const copy: (this: Uint8Array) => Uint8Array = Object.getPrototypeOf(Uint8Array.prototype).slice

const whole = (view: Float32Array<ArrayBuffer>) =>
  view.byteLength < view.buffer.byteLength ? view.slice() : view

/** The distinct buffers of bytes that no other code uses. */
export const buffersOf = (parts: readonly Uint8Array[]): ArrayBuffer[] => [
  ...new Set(parts.map(({ buffer }) => buffer as ArrayBuffer)),
]

/**
 * The tensors, in memory that can move to another thread. Data that is a part of a buffer is copied:
 * the other parts are still needed here, such as those of a request's later runs. Strings are always
 * copied.
 */
export function detach(tensors: readonly Tensor[]): Detached {
  const transfer = new Set<ArrayBuffer>()
  const moved = tensors.map(tensor => {
    if (Array.isArray(tensor.data)) return tensor
    const data = whole(tensor.data as Float32Array<ArrayBuffer>)
    transfer.add(data.buffer)
    return { ...tensor, data }
  })
  return { tensors: moved, transfer: [...transfer] }
}
