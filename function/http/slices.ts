import type { Writable } from 'node:stream'
import { type Answer, bytesOf } from '../answer.ts'

/** A larger answer is written in slices, so that it is seen how fast its client reads. */
export const SLICE_BYTES = 256 * 1024

/**
 * Writes a body slice by slice, each when the one before has been given to the kernel.
 * @param onWritten is told of each
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
        // Else it is closed, which others look after.
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
}
