import type { IncomingHttpHeaders } from 'node:http'
import { type Meaning, meaningOf, type RefusalCode, UNFORESEEN } from './errors.ts'
import type { Trace } from './telemetry/trace.ts'

/** A complete, decompressed request of any HTTP version. */
export interface Request {
  readonly method: string
  /** Without the query. */
  readonly path: string
  /** Names are in lower case. */
  readonly headers: IncomingHttpHeaders
  readonly body: Uint8Array
}

export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** Parts are sent in order; text is encoded as UTF-8. */
  readonly body: string | readonly (string | Uint8Array)[]
}

export interface Caller {
  /** In milliseconds, on performance.now()'s clock. */
  readonly arrived: number
  /** No run begins after this time, on the same clock. */
  readonly deadline: number
  /** True after the client hung up ({@link hangUp}). No more work starts for this client. */
  gone: boolean
  /** Called when the client hangs up ({@link whenGone}). */
  onGone?: Set<() => void> | undefined
  /** The W3C trace context of the HTTP request, or else of the event. */
  traceparent?: string | undefined
  /** Undefined if no traces are sent. */
  readonly trace?: Trace | undefined
  /** For an event or a V1 instance: the client that sent the request. */
  readonly sender?: Caller
  /** Undefined if the response's memory is not counted. */
  memory?: AnswerMemory | undefined
}

/** All events and instances of a request share a client. */
export const senderOf = (caller: Caller): Caller => caller.sender ?? caller

/** Returns the caller of an event or a V1 instance. @param trace its times, if traces are sent */
export function callerWithin(caller: Caller, trace: Trace | undefined): Caller {
  const { arrived, deadline, memory, traceparent } = caller
  const sender = senderOf(caller)
  return {
    arrived,
    deadline,
    memory,
    traceparent,
    trace,
    sender,
    get gone() {
      return sender.gone
    },
  }
}

export function hangUp(caller: Caller): void {
  caller.gone = true
  if (caller.onGone !== undefined) for (const act of caller.onGone) act()
}

/** Calls `act` when the client hangs up. @returns a function that cancels the call of `act` */
export function whenGone(caller: Caller, act: () => void): () => void {
  const sender = senderOf(caller)
  sender.onGone ??= new Set()
  const { onGone } = sender
  onGone.add(act)
  return () => onGone.delete(act)
}

/** The memory of a response, counted from before its run until it is sent. */
export interface AnswerMemory {
  /**
   * Reserves memory for a response before its run. Waits while other responses use the memory.
   * @throws {DeadlinePassed} if the deadline passes or the caller hangs up first
   */
  expectAnswer(bytes: number, caller: Caller): Promise<void> | undefined
}

/** Refuses an HTTP request or a gRPC call, for example with status 404, 405 or 415. */
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

export function bytesOf(body: Answer['body'] | Uint8Array): Uint8Array {
  if (typeof body === 'string') return Buffer.from(body)
  return body instanceof Uint8Array ? body : Buffer.concat(body.map(part => bytesOf(part)))
}

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

/** @param to the status column of the error table */
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
 * Returns the response to an error with a code. Throws other errors, so that they are logged with
 * the request.
 */
export function knownError(error: unknown, to: 'http' | 'event'): Answer {
  if (meaningOf(error) === undefined) throw error
  return errorAnswer(error, to)
}
