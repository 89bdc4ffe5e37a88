import { isMarkedAsUntransferable } from 'node:worker_threads'
import type { Tensor } from '../protocol/tensor.ts'

/** Tensors on their way to another thread. */
export interface Detached {
  readonly tensors: readonly Tensor[]
  /** The memory that goes with them; here it is gone afterwards. */
  readonly transfer: ArrayBuffer[]
}

/**
 * The tensors with memory that can change threads: theirs as it is, but for what lies in Node's shared pool of small buffers,
 * which must stay and is copied. Strings are always copied.
 */
export function detach(tensors: readonly Tensor[]): Detached {
  const transfer = new Set<ArrayBuffer>()
  const movable = tensors.map(tensor => {
    if (Array.isArray(tensor.data)) return tensor
    const view = tensor.data as Float32Array<ArrayBuffer>
    const data = isMarkedAsUntransferable(view.buffer) ? view.slice() : view
    transfer.add(data.buffer)
    return { ...tensor, data }
  })
  return { tensors: movable, transfer: [...transfer] }
}
