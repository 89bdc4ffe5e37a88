import type { Half } from '../telemetry/metrics.ts'
import type { Part, SpanIds } from '../telemetry/trace.ts'
import type { Call, CallData, Reply } from '../transform/call.ts'
import type { RequestTimes, RunTimes } from './statistics.ts'

/*
 * Messages to and from a thread that runs the author's code. All calls or results in one turn of
 * the event loop are sent in one message.
 */

/** A message from the main thread to the author's thread. */
export type CallCommand =
  | { readonly calls: readonly CallMessage[] }
  /** Ends calls whose results no caller needs any more. `why` is the reason. */
  | { readonly ended: readonly { readonly id: number; readonly why: string }[] }
  | { readonly settings: CallSettings }
  /** Checks whether the thread still responds. */
  | { readonly ping: true }
  /** Runs the author's close(). */
  | { readonly close: true }

/** Settings that are known only after the model is loaded. */
export interface CallSettings {
  /** The number of bytes that one run may use. */
  readonly runBytes: number
  /** Whether requests share runs; undefined until this is decided. */
  readonly joins: boolean | undefined
}

export interface CallMessage extends Omit<Call, 'headers' | 'data'> {
  readonly id: number
  /** The index of the call's entry in the shared memory. */
  readonly place: number
  /** Calls in one message with the same number belong to the same client. */
  readonly sender: number
  /** Small bodies are sent as Latin-1 text, which is transferred faster than bytes. */
  readonly data: CallData | { readonly latin1: string; readonly isJson?: boolean }
  /** The headers as JSON, because most calls never read the headers. */
  readonly headers: string
  /** The time of arrival in milliseconds since 1970: all threads share this clock. */
  readonly arrivedAt: number
  readonly deadlineAt: number
  readonly traceparent: string | undefined
  /** The ids of the call's span, if it is traced. */
  readonly trace: SpanIds | undefined
}

/** A message from the author's thread to the main thread. */
export interface CallAnswers {
  readonly answers: readonly CallAnswer[]
  readonly ran: readonly RunTimes[]
  /** The number of rows for each predicted label. */
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

/** The fields of an error that other threads need. */
export interface CallError {
  readonly code: string | undefined
  readonly message: string
  readonly status?: number | undefined
  readonly retryAfter?: number | undefined
}

/**
 * An error from another thread. The transfer loses the error's class, so only the code identifies
 * the error.
 */
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
