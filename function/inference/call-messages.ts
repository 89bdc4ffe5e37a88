import type { Half } from '../telemetry/metrics.ts'
import type { Part, SpanIds } from '../telemetry/trace.ts'
import type { Call, CallData, Reply } from '../transform/call.ts'
import type { RequestTimes, RunTimes } from './statistics.ts'

/*
 * Messages to and from a thread that runs a transform. One message carries all calls or results of
 * a turn of the event loop.
 */

export type CallCommand =
  | { readonly calls: readonly CallMessage[] }
  /** Ends calls whose results no caller needs any more. */
  | { readonly ended: readonly { readonly id: number; readonly why: string }[] }
  | { readonly settings: CallSettings }
  | { readonly ping: true }
  | { readonly close: true }

export interface CallSettings {
  readonly runBytes: number
  /** Whether requests share runs; undefined until this is decided. */
  readonly joins: boolean | undefined
}

export interface CallMessage extends Omit<Call, 'headers' | 'data'> {
  readonly id: number
  /** The index of the call's entry in the shared memory. */
  readonly place: number
  /** Equal for calls in one message from the same client. */
  readonly sender: number
  /** Small bodies travel as Latin-1 text, which is faster than bytes. */
  readonly data: CallData | { readonly latin1: string; readonly isJson?: boolean }
  /** JSON, because most transforms never read the headers. */
  readonly headers: string
  /** Milliseconds since 1970: all threads share this clock. */
  readonly arrivedAt: number
  readonly deadlineAt: number
  readonly traceparent: string | undefined
  readonly trace: SpanIds | undefined
}

export interface CallAnswers {
  readonly answers: readonly CallAnswer[]
  readonly ran: readonly RunTimes[]
  readonly predicted: readonly (readonly [label: string, rows: number])[]
  readonly took: readonly (readonly [half: Half, seconds: number])[]
  readonly succeeded: readonly (readonly [ms: number, times: RequestTimes])[]
}

export interface CallAnswer {
  readonly id: number
  readonly reply?: Reply
  readonly error?: CallError
  readonly parts?: readonly { readonly name: Part; readonly beganAt: number }[] | undefined
}

export interface CallError {
  readonly code: string | undefined
  readonly message: string
  readonly status?: number | undefined
  readonly retryAfter?: number | undefined
}

/** An error that another thread threw. The code is kept, but not the class. */
export class ThreadError extends Error {
  readonly code: string | undefined
  readonly status: number | undefined
  readonly retryAfter: number | undefined

  constructor({ code, message, status, retryAfter }: CallError) {
    super(message)
    this.code = code
    this.status = status
    this.retryAfter = retryAfter
  }
}

export function toCallError(error: unknown): CallError {
  const { code, message, status, retryAfter } = error as Partial<ThreadError>
  return { code, message: String(message), status, retryAfter }
}
