import type { OutgoingHttpHeaders } from 'node:http2'
import type { Refused } from '../answer.ts'
import { meaningOf, UNFORESEEN } from '../errors.ts'

/** The status with which a call ends (gRPC over HTTP/2, "Responses"). */
export interface Status {
  readonly code: number
  readonly message: string
  readonly metadata?: OutgoingHttpHeaders
}

export const OK: Status = { code: 0, message: '' }

export const DEADLINE_EXCEEDED = 4
export const NOT_FOUND = 5
export const UNIMPLEMENTED = 12
export const UNAVAILABLE = 14

/** In characters. Most clients accept up to 8 KiB of metadata. */
const LONGEST_MESSAGE = 800

/** The text of an unexpected error goes only to the log. */
export function statusOf(error: unknown): Status {
  const meaning = meaningOf(error)
  if (meaning === undefined)
    return {
      code: UNFORESEEN.grpc,
      message: 'the server failed on this request; see the server log',
    }
  const { grpc: code, retryAfter } = meaning
  const { message, headers } = error as Refused
  const challenge = headers?.['www-authenticate']
  return {
    code,
    message,
    metadata: {
      ...(challenge !== undefined && { 'www-authenticate': challenge }),
      // How long the client waits before it retries (gRPC proposal A6).
      ...(retryAfter !== undefined && { 'grpc-retry-pushback-ms': String(1000 * retryAfter) }),
    },
  }
}

export const trailersOf = ({ code, message, metadata }: Status): OutgoingHttpHeaders => ({
  'grpc-status': String(code),
  ...(message !== '' && { 'grpc-message': percentEncoded(message) }),
  ...metadata,
})

const percentEncoded = (message: string) =>
  message
    .slice(0, LONGEST_MESSAGE)
    .toWellFormed()
    .replaceAll(/[^\x20-\x24\x26-\x7e]+/g, encodeURIComponent)
