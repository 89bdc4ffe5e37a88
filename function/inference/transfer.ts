import { isMarkedAsUntransferable } from 'node:worker_threads'
import { type EncodedMessage, type EncodedResponse, mapBytes } from '../protocol/encode.ts'
import type { Tensor } from '../protocol/tensor.ts'

export interface Detached {
  readonly tensors: readonly Tensor[]
  /** This thread cannot use these buffers after the transfer. */
  readonly transfer: ArrayBuffer[]
}

/** Returns the bytes in transferable memory. The rest of their buffer is transferred, too. */
export const movable = (view: Uint8Array): Uint8Array =>
  isMarkedAsUntransferable(view.buffer) ? copy.call(view) : view

/**
 * Returns the response in transferable memory. Node allocates small parts (less than half of
 * Buffer.poolSize), such as the labels of the last few rows, in a shared buffer.
 */
export function movableResponse(
  response: EncodedResponse | EncodedMessage,
): EncodedResponse | EncodedMessage {
  return 'json' in response ? mapBytes(response, movable) : response.map(movable)
}

/** Buffers that each belong to one body or response. */
const OWN = new WeakSet<ArrayBufferLike>()

/** Marks the buffers of one body or response, so that {@link freeOwn} may free them. */
export function own(parts: readonly (string | Uint8Array)[]): void {
  for (const part of parts) if (typeof part !== 'string') OWN.add(part.buffer)
}

/**
 * Frees a part's buffer, if {@link own} marked it and it has not moved to another thread. If
 * megabytes waited for the garbage collector, it would stop the process for 10 ms after every few
 * responses.
 */
export function freeOwn({ buffer }: Uint8Array): void {
  if (OWN.delete(buffer) && buffer.byteLength > 0) (buffer as ArrayBuffer).transfer(0)
}

/** Uint8Array's method copies; Buffer.slice() shares memory. */
const copy: (this: Uint8Array) => Uint8Array = Object.getPrototypeOf(Uint8Array.prototype).slice

const whole = (view: Float32Array<ArrayBuffer>) =>
  view.byteLength < view.buffer.byteLength ? view.slice() : view

/** Returns the distinct buffers of these parts. No other code may use these buffers. */
export const buffersOf = (parts: readonly Uint8Array[]): ArrayBuffer[] => [
  ...new Set(parts.map(({ buffer }) => buffer as ArrayBuffer)),
]

/**
 * Returns the tensors in transferable memory. Copies data that is part of a larger buffer, which
 * this thread needs, for example for later runs of the request. Copies empty data, which may be a
 * constant of this thread. The transfer copies strings.
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
