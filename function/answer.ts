import type { IncomingHttpHeaders } from 'node:http'
import { type Meaning, meaningOf, type RefusalCode, UNFORESEEN } from './errors.ts'
import type { Trace } from './telemetry/trace.ts'

/** A request as handlers see it: whole, inflated, and of no particular HTTP version. */
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
  /** Parts are sent one after the other; text as UTF-8. */
  readonly body: string | readonly (string | Uint8Array)[]
}

/** The client that waits for an answer, and until when. */
export interface Caller {
  /** On performance.now()'s clock, in milliseconds. */
  readonly arrived: number
  /** After this the run is not begun, same clock. */
  readonly deadline: number
  /** True once the client hung up ({@link hangUp}): nothing is run for it any more. */
  gone: boolean
  /** Called when it hangs up. Only the author's own code waits for that. */
  onGone?: Set<() => void>
  /** The trace it belongs to (W3C Trace Context): its HTTP request's, else its event's. */
  traceparent?: string | undefined
  /** Where its time goes; undefined while no traces are sent. */
  readonly trace?: Trace | undefined
  /** The client that sent all the events of which this caller's is one. */
  readonly sender?: Caller
  /** Counts the memory of its answer; undefined where it is not counted. */
  memory?: AnswerMemory | undefined
}

/** The client hung up, or gets no answer any more. */
export function hangUp(caller: Caller): void {
  caller.gone = true
  if (caller.onGone !== undefined) for (const act of caller.onGone) act()
}

/** The memory of one answer, which is counted from before its run until it is sent. */
export interface AnswerMemory {
  /**
   * Counts bytes of an answer that is about to be made, once others leave room for them.
   * @throws {DeadlinePassed} when they do not in time, or the caller hung up
   */
  expectAnswer(bytes: number, caller: Caller): Promise<void> | undefined
}

/** HTTP's own refusals: 404, 405, 415 and the like. */
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

/** A body in one piece. */
export function bytesOf(body: Answer['body'] | Uint8Array): Uint8Array {
  if (typeof body === 'string') return Buffer.from(body)
  return body instanceof Uint8Array ? body : Buffer.concat(body.map(part => bytesOf(part)))
}

/** In bytes. */
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

/** @param to which column of the table of errors says the status */
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
 * @throws the error itself where it has none: the caller of this function knows the request, and
 * logs it with the error
 */
export function knownError(error: unknown, to: 'http' | 'event'): Answer {
  if (meaningOf(error) === undefined) throw error
  return errorAnswer(error, to)
}
