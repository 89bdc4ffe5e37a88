import type { IncomingHttpHeaders } from 'node:http'
import { type Meaning, meaningOf, type RefusalCode, UNFORESEEN } from './errors.ts'
import type { Trace } from './telemetry/trace.ts'

/**
 * A request in the form that handlers receive: complete, decompressed, and independent of the HTTP
 * version.
 */
export interface Request {
  readonly method: string
  /** The path without the query. */
  readonly path: string
  /** The headers, with lower-case names. */
  readonly headers: IncomingHttpHeaders
  readonly body: Uint8Array
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** The body. Its parts are sent in order; text is encoded as UTF-8. */
  readonly body: string | readonly (string | Uint8Array)[]
}

/** The client that waits for a response, and its deadline. */
export interface Caller {
  /** The time of arrival in milliseconds, on performance.now()'s clock. */
  readonly arrived: number
  /** The time after which no run begins, on the same clock. */
  readonly deadline: number
  /** True after the client hung up ({@link hangUp}). No more work is started for this client. */
  gone: boolean
  /**
   * Functions that are called when the client hangs up. Only calls to the author's code use this
   * set.
   */
  onGone?: Set<() => void>
  /** The trace context (W3C) of the HTTP request; if the request has none, that of the event. */
  traceparent?: string | undefined
  /** Records the parts of the request's time; undefined if no traces are sent. */
  readonly trace?: Trace | undefined
  /** The client that sent the batch, if this caller represents one event in the batch. */
  readonly sender?: Caller
  /** Counts the memory of the response; undefined if this memory is not counted. */
  memory?: AnswerMemory | undefined
}

/** Returns the client of a caller. All events in one batch have the same client. */
export const senderOf = (caller: Caller): Caller => caller.sender ?? caller

/** Records that the client hung up or will not receive a response. */
export function hangUp(caller: Caller): void {
  caller.gone = true
  if (caller.onGone !== undefined) for (const act of caller.onGone) act()
}

/** The memory of one response, which is counted from before the run until the response is sent. */
export interface AnswerMemory {
  /**
   * Reserves memory for a response before its run. Waits until other responses have released enough
   * memory.
   * @throws {DeadlinePassed} if not enough memory is released before the deadline, or if the caller
   *   hangs up
   */
  expectAnswer(bytes: number, caller: Caller): Promise<void> | undefined
}

/** A refusal by the HTTP layer, for example 404, 405 or 415. */
export class Refused extends Error {
  readonly code: RefusalCode
  readonly headers: Readonly<Record<string, string>>

  constructor(
    code: RefusalCode,
    message: string,
    headers: Readonly<Record<string, string>> = NO_HEADERS,
  ) {
    super(message)
    this.code = code
    this.headers = headers
  }
}

const NO_HEADERS = {}

/** Returns a body as a single Uint8Array. */
export function bytesOf(body: Answer['body'] | Uint8Array): Uint8Array {
  if (typeof body === 'string') return Buffer.from(body)
  return body instanceof Uint8Array ? body : Buffer.concat(body.map(part => bytesOf(part)))
}

/** Returns the size of a body in bytes. */
export const sizeOf = (body: Answer['body']): number =>
  typeof body === 'string'
    ? Buffer.byteLength(body)
    : body.reduce((sum, part) => sum + Buffer.byteLength(part), 0)

export const json = (
  value: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Answer => ({
  status,
  headers: { ...headers, 'content-type': 'application/json' },
  body: JSON.stringify(value),
})

/** Returns the response to an error. @param to selects the status column in the error table */
export function errorAnswer(error: unknown, to: 'http' | 'event' = 'http'): Answer {
  const meaning = meaningOf(error)
  if (meaning === undefined)
    return json({ error: 'the server failed on this request; see the server log' }, UNFORESEEN[to])
  const { message, headers } = error as Refused
  return json({ error: message }, meaning[to], headers ?? retryHeaders(meaning))
}

const retryHeaders = ({ retryAfter }: Meaning): Readonly<Record<string, string>> =>
  retryAfter === undefined ? NO_HEADERS : { 'retry-after': String(retryAfter) }

/**
 * Returns the response to an error that has a code.
 * @throws the error itself if it has no code, so that the caller of this function can log the error
 * with its request
 */
export function knownError(error: unknown, to: 'http' | 'event'): Answer {
  if (meaningOf(error) === undefined) throw error
  return errorAnswer(error, to)
}
