import { isMarkedAsUntransferable } from 'node:worker_threads'
import { type EncodedMessage, type EncodedResponse, mapBytes } from '../protocol/encode.ts'
import type { Tensor } from '../protocol/tensor.ts'

/** Tensors that will be transferred to another thread. */
export interface Detached {
  readonly tensors: readonly Tensor[]
  /** The buffers of the tensors. This thread cannot use them after the transfer. */
  readonly transfer: ArrayBuffer[]
}

/**
 * Returns the same bytes in memory that can be transferred. All other bytes in the same buffer are
 * transferred, too.
 */
export const movable = (view: Uint8Array): Uint8Array =>
  isMarkedAsUntransferable(view.buffer) ? copy.call(view) : view

/**
 * Returns the response in memory that can be transferred. Node allocates small parts (less than
 * half of Buffer.poolSize), such as the labels of the last few rows, in a shared buffer.
 */
export function movableResponse(
  response: EncodedResponse | EncodedMessage,
): EncodedResponse | EncodedMessage {
  return 'json' in response ? mapBytes(response, movable) : response.map(movable)
}

/** Copies bytes. Uint8Array's method is needed, because Buffer.slice() shares memory. */
const copy: (this: Uint8Array) => Uint8Array = Object.getPrototypeOf(Uint8Array.prototype).slice

const whole = (view: Float32Array<ArrayBuffer>) =>
  view.byteLength < view.buffer.byteLength ? view.slice() : view

/** Returns the distinct buffers of these parts. No other code may use these buffers. */
export const buffersOf = (parts: readonly Uint8Array[]): ArrayBuffer[] => [
  ...new Set(parts.map(({ buffer }) => buffer as ArrayBuffer)),
]

/**
 * Returns the tensors in memory that can be transferred. Data that is only a part of its buffer is
 * copied, because this thread still needs the other parts, for example for later runs of the
 * request. Empty data is also copied, because it may be a constant of this thread. Strings are
 * always copied.
 */
export function detach(tensors: readonly Tensor[]): Detached {
  const transfer = new Set<ArrayBuffer>()
  const moved = tensors.map(tensor => {
    if (Array.isArray(tensor.data)) return tensor
    const data = whole(tensor.data as Float32Array<ArrayBuffer>)
    if (data.byteLength > 0) transfer.add(data.buffer)
    return { ...tensor, data }
  })
  return { tensors: moved, transfer: [...transfer] }
}
