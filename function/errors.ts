import type { InferenceErrorCode } from './protocol/errors.ts'
import type { FailureCause, Metrics, Mistake, RejectionReason } from './telemetry/metrics.ts'

/** The meaning of an error code for HTTP, events, gRPC and metrics. */
export interface Meaning {
  readonly http: number
  /**
   * A Broker retries after 404, 408, 409, 429 and 5xx, and sends other failed events to the dead
   * letter sink. Use 5xx only if a retry may succeed.
   */
  readonly event: number
  /**
   * See gRPC, "Status codes and their use". Clients retry automatically only after UNAVAILABLE
   * (14).
   */
  readonly grpc: number
  /** In a batch, the error fails only its own event, whose reply describes the error. */
  readonly endsOneEvent?: true
  /** Seconds until the client may try again. */
  readonly retryAfter?: number
  /** Set if the error counts as a rejection (no run). */
  readonly rejected?: RejectionReason
  readonly failed?: Exclude<FailureCause, RejectionReason>
  /** Whose mistake made a transform's call fail. */
  readonly mistakeOf?: Mistake
}

// biome-ignore format: one row per error is easiest to read
const INFERENCE = {
  BAD_REQUEST:     { http: 400, event: 400, grpc: 3, endsOneEvent: true, mistakeOf: 'caller' },
  TOO_LARGE:       { http: 413, event: 413, grpc: 8, rejected: 'too_large' },
  MODEL_FAILED:    { http: 500, event: 422, grpc: 13, endsOneEvent: true, failed: 'model' },
  OVERLOADED:      { http: 503, event: 503, grpc: 14, retryAfter: 1, rejected: 'overloaded' },
  NOT_READY:       { http: 503, event: 503, grpc: 14, retryAfter: 1, rejected: 'not_ready' },
  DEADLINE_PASSED: { http: 504, event: 504, grpc: 4, rejected: 'deadline' },
  // A retry would also block the process that replaces this one.
  RUN_TIMED_OUT:   { http: 504, event: 422, grpc: 4, endsOneEvent: true, failed: 'model' },
} as const satisfies Readonly<Record<InferenceErrorCode, Meaning>>

// biome-ignore format: one row per refusal is easiest to read
const REFUSALS = {
  BAD_HTTP:               { http: 400, event: 400, grpc: 3 },
  UNAUTHENTICATED:        { http: 401, event: 401, grpc: 16, rejected: 'unauthenticated' },
  FORBIDDEN:              { http: 403, event: 403, grpc: 7, rejected: 'forbidden' },
  NOT_FOUND:              { http: 404, event: 404, grpc: 5 },
  METHOD_NOT_ALLOWED:     { http: 405, event: 405, grpc: 12 },
  TOO_SLOW:               { http: 408, event: 408, grpc: 4, rejected: 'slow' },
  BODY_TOO_LARGE:         { http: 413, event: 413, grpc: 8, rejected: 'too_large' },
  UNSUPPORTED_MEDIA_TYPE: { http: 415, event: 415, grpc: 12 },
  EXPECTATION_FAILED:     { http: 417, event: 417, grpc: 3 },
  BAD_FRAME:              { http: 400, event: 400, grpc: 13 },
  UNKNOWN_METHOD:         { http: 404, event: 404, grpc: 12 },
  KEYS_UNAVAILABLE:       { http: 503, event: 503, grpc: 14, failed: 'dependency' },
} as const satisfies Readonly<Record<string, Meaning>>

// biome-ignore format: one row per error is easiest to read
const TRANSFORM = {
  // The error may set another status.
  TRANSFORM_REFUSED:     { http: 422, event: 422, grpc: 3, endsOneEvent: true, mistakeOf: 'caller' },
  // The error may set another delay. For a batch, the Broker sends all events again.
  TRANSFORM_UNAVAILABLE: { http: 503, event: 503, grpc: 14, retryAfter: 1, failed: 'dependency', mistakeOf: 'dependency' },
  TRANSFORM_FAILED:      { http: 500, event: 422, grpc: 13, endsOneEvent: true, failed: 'transform', mistakeOf: 'author' },
  // The pool terminated the thread. A retry would end the same way.
  TRANSFORM_TIMED_OUT:   { http: 504, event: 422, grpc: 4, endsOneEvent: true, failed: 'transform', mistakeOf: 'author' },
} as const satisfies Readonly<Record<string, Meaning>>

/**
 * An error without a code is a defect of this server. The message is logged, and not sent to the
 * caller.
 */
export const UNFORESEEN: Meaning = { http: 500, event: 500, grpc: 13, failed: 'server' }

export type RefusalCode = keyof typeof REFUSALS
export type TransformCode = keyof typeof TRANSFORM
export type ErrorCode = InferenceErrorCode | RefusalCode | TransformCode

export const MEANINGS: Readonly<Record<ErrorCode, Meaning>> = {
  ...INFERENCE,
  ...REFUSALS,
  ...TRANSFORM,
}

export function meaningOf(error: unknown): Meaning | undefined {
  const { code, status, retryAfter } = (error ?? {}) as Partial<AuthorsError>
  if (typeof code !== 'string' || !Object.hasOwn(MEANINGS, code)) return undefined
  const meaning = MEANINGS[code as ErrorCode]
  if (code === 'TRANSFORM_REFUSED' && status !== undefined)
    return { ...meaning, http: status, event: status }
  if (code === 'TRANSFORM_UNAVAILABLE' && retryAfter !== undefined)
    return { ...meaning, retryAfter }
  return meaning
}

/** Counts an error that reached no model, and returns its meaning. */
export function countRefusal(
  error: unknown,
  metrics: Pick<Metrics, 'rejected' | 'failed'>,
): Meaning | undefined {
  const meaning = meaningOf(error)
  if (meaning?.rejected !== undefined) metrics.rejected(meaning.rejected)
  if (meaning?.failed !== undefined) metrics.failed(meaning.failed)
  return meaning
}

interface AuthorsError {
  readonly code: string
  readonly status: number
  readonly retryAfter: number
}
