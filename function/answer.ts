import type { IncomingHttpHeaders } from 'node:http'
import { type Meaning, meaningOf, type RefusalCode, UNFORESEEN } from './errors.ts'
import type { Trace } from './telemetry/trace.ts'

/** A request as handlers see it: complete, decompressed, and independent of the HTTP version. */
export interface Request {
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** Lower-case names. */
  readonly headers: IncomingHttpHeaders
  readonly body: Uint8Array
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Parts are sent in order; text is encoded as UTF-8. */
  readonly body: string | readonly (string | Uint8Array)[]
}

/** The client that waits for an answer, and its deadline. */
export interface Caller {
  /** On performance.now()'s clock, in milliseconds. */
  readonly arrived: number
  /** No run begins after this time (same clock). */
  readonly deadline: number
  /** True once the client hung up ({@link hangUp}): no more work is started for it. */
  gone: boolean
  /** Called when the client hangs up. Only the author's own code uses this. */
  onGone?: Set<() => void>
  /** The trace it belongs to (W3C Trace Context): its HTTP request's, else its event's. */
  traceparent?: string | undefined
  /** Records how the time is spent; undefined while no traces are sent. */
  readonly trace?: Trace | undefined
  /** The client that sent the whole batch, if this caller stands for one event of it. */
  readonly sender?: Caller
  /** Counts the memory of the answer; undefined if it is not counted. */
  memory?: AnswerMemory | undefined
}

/** The client of a caller; the events of one batch share it. */
export const senderOf = (caller: Caller): Caller => caller.sender ?? caller

/** The client hung up, or will not receive an answer. */
export function hangUp(caller: Caller): void {
  caller.gone = true
  if (caller.onGone !== undefined) for (const act of caller.onGone) act()
}

/** The memory of one answer, counted from before its run until it is sent. */
export interface AnswerMemory {
  /**
   * Reserves memory for an answer that is about to be made. Waits until other answers leave room.
   * @throws {DeadlinePassed} if there is no room before the deadline, or the caller hung up
   */
  expectAnswer(bytes: number, caller: Caller): Promise<void> | undefined
}

/** Refusals by HTTP itself: 404, 405, 415 and the like. */
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

/** Joins a body into one piece. */
export function bytesOf(body: Answer['body'] | Uint8Array): Uint8Array {
  if (typeof body === 'string') return Buffer.from(body)
  return body instanceof Uint8Array ? body : Buffer.concat(body.map(part => bytesOf(part)))
}

/** The size of a body in bytes. */
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

/** @param to selects the status column of the table of errors */
export function errorAnswer(error: unknown, to: 'http' | 'event' = 'http'): Answer {
  const meaning = meaningOf(error)
  if (meaning === undefined)
    return json({ error: 'the server failed on this request; its log says why' }, UNFORESEEN[to])
  const { message, headers } = error as Refused
  return json({ error: message }, meaning[to], headers ?? retryHeaders(meaning))
}

const retryHeaders = ({ retryAfter }: Meaning): Readonly<Record<string, string>> =>
  retryAfter === undefined ? NO_HEADERS : { 'retry-after': String(retryAfter) }

/**
 * The answer to an error that has a code.
 * @throws the error itself if it has no code: this function's caller knows the request, and logs
 * both
 */
export function knownError(error: unknown, to: 'http' | 'event'): Answer {
  if (meaningOf(error) === undefined) throw error
  return errorAnswer(error, to)
}
