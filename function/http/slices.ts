import type { Writable } from 'node:stream'
import { type Answer, bytesOf } from '../answer.ts'
import { freeOwn } from '../inference/transfer.ts'

/** Larger responses are written in slices of this size, to measure how fast the client reads. */
export const SLICE_BYTES = 256 * 1024

/**
 * Writes a body slice by slice, each after the kernel has accepted the previous slice, and then
 * frees its memory.
 * @param onWritten called after each slice
 */
export function writeInSlices(
  to: Writable,
  body: Answer['body'],
  onWritten: (bytes: number) => void,
): void {
  const slices = slicesOf(typeof body === 'string' ? [body] : body)
  const next = (): void => {
    const { done, value } = slices.next()
    if (done) to.end()
    else
      to.write(value, error => {
        // After an error, the stream closes, and the listener for 'close' runs.
        if (error) return
        onWritten(value.byteLength)
        next()
      })
  }
  next()
}

function* slicesOf(parts: readonly (string | Uint8Array)[]): Generator<Uint8Array, undefined> {
  for (const part of parts) {
    const bytes = bytesOf(part)
    for (let at = 0; at < bytes.byteLength; at += SLICE_BYTES)
      yield bytes.subarray(at, at + SLICE_BYTES)
  }
  for (const part of parts) if (typeof part !== 'string') freeOwn(part)
}
