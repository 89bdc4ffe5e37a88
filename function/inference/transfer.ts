import { isMarkedAsUntransferable } from 'node:worker_threads'
import type { EncodedMessage, EncodedResponse } from '../protocol/encode.ts'
import type { Tensor } from '../protocol/tensor.ts'

/** Tensors that are to be transferred to another thread. */
export interface Detached {
  readonly tensors: readonly Tensor[]
  /** Their buffers, which this thread loses in the transfer. */
  readonly transfer: ArrayBuffer[]
}

/**
 * The same elements in memory that can be transferred. Everything in the same buffer is
 * transferred, too.
 */
export const movable = (view: Uint8Array): Uint8Array =>
  isMarkedAsUntransferable(view.buffer) ? copy.call(view) : view

/**
 * The response in memory that can be transferred. Node keeps bytes of less than half of
 * Buffer.poolSize, such as the labels of a request's last few rows, in a buffer that it shares.
 */
export function movableResponse(
  response: EncodedResponse | EncodedMessage,
): EncodedResponse | EncodedMessage {
  if (!('json' in response)) return response.map(movable)
  const { json, binary } = response
  return {
    json: typeof json === 'string' ? json : json.map(movable),
    ...(binary && { binary: { ...binary, parts: binary.parts.map(movable) } }),
  }
}

/** Not the view's own method: Buffer.slice() shares memory. */
const copy: (this: Uint8Array) => Uint8Array = Object.getPrototypeOf(Uint8Array.prototype).slice

const whole = (view: Float32Array<ArrayBuffer>) =>
  view.byteLength < view.buffer.byteLength ? view.slice() : view

/** The distinct buffers of bytes that no other code uses. */
export const buffersOf = (parts: readonly Uint8Array[]): ArrayBuffer[] => [
  ...new Set(parts.map(({ buffer }) => buffer as ArrayBuffer)),
]

/**
 * The tensors in memory that can be transferred. Data that is part of a buffer is copied, because
 * this thread still needs the other parts, for example for later runs of the request. Strings are
 * always copied, and so is empty data, which may be a constant of this thread.
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
