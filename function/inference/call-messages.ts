import type { Half } from '../telemetry/metrics.ts'
import type { Part, SpanIds } from '../telemetry/trace.ts'
import type { Call, CallData, Reply } from '../transform/call.ts'
import type { RequestTimes, RunTimes } from './statistics.ts'

/*
 * What a thread that runs the author's code is told, and what it tells. Calls and answers of one turn
 * go together.
 */

/** To the thread. */
export type CallCommand =
  | { readonly calls: readonly CallMessage[] }
  /** Calls that nothing waits for any more, and why. */
  | { readonly ended: readonly { readonly id: number; readonly why: string }[] }
  | { readonly settings: CallSettings }
  /** Asks whether the thread goes on. */
  | { readonly ping: true }
  /** The author's close(). */
  | { readonly close: true }

/** What is known of the model once it is loaded. */
export interface CallSettings {
  /** Bytes that one run may take. */
  readonly runBytes: number
  /** Whether requests share runs; undefined until it is decided. */
  readonly joins: boolean | undefined
}

export interface CallMessage extends Omit<Call, 'headers' | 'data'> {
  readonly id: number
  /** In the shared memory. */
  readonly place: number
  /** Calls of one message that have the same number are of one client. */
  readonly sender: number
  /** Small bytes as Latin-1 text, which moves faster. */
  readonly data: CallData | { readonly latin1: string; readonly isJson?: boolean }
  /** As JSON: most calls do not ask for them. */
  readonly headers: string
  /** In milliseconds since 1970, a clock that threads share. */
  readonly arrivedAt: number
  readonly deadlineAt: number
  readonly traceparent: string | undefined
  /** Where its parts are traced, those of its span. */
  readonly trace: SpanIds | undefined
}

/** From the thread. */
export interface CallAnswers {
  readonly answers: readonly CallAnswer[]
  readonly ran: readonly RunTimes[]
  /** Rows by predicted label. */
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

/** What other threads need to know of an error. */
export interface CallError {
  readonly code: string | undefined
  readonly message: string
  readonly status?: number | undefined
  readonly retryAfter?: number | undefined
}

/** An error that another thread met. Its class did not cross; its code says what it is. */
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
