import type { InferenceErrorCode } from './protocol/errors.ts'
import type { FailureCause, RejectionReason } from './telemetry/metrics.ts'

/**
 * What an error means to those who are told of it. This table is the only place that says so: whoever meets an error looks it up by
 * its code.
 */
export interface Meaning {
  /** The status of an answer to a request. */
  readonly http: number
  /**
   * The status of an answer to an event. A Broker retries after 404, 408, 409, 429 and 5xx, and sends the event to the dead letter
   * sink after any other: so only what may succeed later is 5xx.
   */
  readonly event: number
  /** It is the event's own, so that in a batch it does not fail the other events: the reply to it says what was wrong. */
  readonly endsOneEvent?: true
  /** Seconds after which to try again. */
  readonly retryAfter?: number
  /** Counted as turned away without a run. */
  readonly rejected?: RejectionReason
  /** Counted as a failure, and not as turned away. */
  readonly failed?: Exclude<FailureCause, RejectionReason>
}

// biome-ignore format: one row an error reads best as a table
const INFERENCE = {
  BAD_REQUEST:     { http: 400, event: 400, endsOneEvent: true },
  TOO_LARGE:       { http: 413, event: 413, rejected: 'too_large' },
  MODEL_FAILED:    { http: 500, event: 422, endsOneEvent: true, failed: 'model' },
  OVERLOADED:      { http: 503, event: 503, retryAfter: 1, rejected: 'overloaded' },
  NOT_READY:       { http: 503, event: 503, retryAfter: 1, rejected: 'not_ready' },
  DEADLINE_PASSED: { http: 504, event: 504, rejected: 'deadline' },
} as const satisfies Readonly<Record<InferenceErrorCode, Meaning>>

/** HTTP's own refusals, for which the protocol has no word. */
// biome-ignore format: one row a refusal reads best as a table
const REFUSALS = {
  BAD_HTTP:               { http: 400, event: 400 },
  UNAUTHENTICATED:        { http: 401, event: 401, rejected: 'unauthenticated' },
  FORBIDDEN:              { http: 403, event: 403, rejected: 'forbidden' },
  NOT_FOUND:              { http: 404, event: 404 },
  METHOD_NOT_ALLOWED:     { http: 405, event: 405 },
  BODY_TOO_LARGE:         { http: 413, event: 413, rejected: 'too_large' },
  UNSUPPORTED_MEDIA_TYPE: { http: 415, event: 415 },
  EXPECTATION_FAILED:     { http: 417, event: 417 },
  KEYS_UNAVAILABLE:       { http: 503, event: 503 },
} as const satisfies Readonly<Record<string, Meaning>>

/** An error that nobody foresaw: our own mistake. Its text is for the log, not for the caller. */
export const UNFORESEEN: Meaning = { http: 500, event: 500, failed: 'server' }

export type RefusalCode = keyof typeof REFUSALS
export type ErrorCode = InferenceErrorCode | RefusalCode

export const MEANINGS: Readonly<Record<ErrorCode, Meaning>> = { ...INFERENCE, ...REFUSALS }

/** What an error means; undefined for one that nobody foresaw. */
export function meaningOf(error: unknown): Meaning | undefined {
  const code = (error as { readonly code?: unknown } | undefined)?.code
  return typeof code === 'string' && Object.hasOwn(MEANINGS, code)
    ? MEANINGS[code as ErrorCode]
    : undefined
}
