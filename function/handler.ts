import type { IncomingHttpHeaders } from 'node:http'
import {
  BadRequest,
  DeadlinePassed,
  ModelError,
  NotReady,
  Overloaded,
  TooLarge,
} from './protocol/errors.ts'

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

/** A body in one piece. */
export const bytesOf = (body: Answer['body'] | Uint8Array): Uint8Array =>
  typeof body === 'string'
    ? Buffer.from(body)
    : body instanceof Uint8Array
      ? body
      : Buffer.concat(body.map(part => bytesOf(part)))

/** In bytes. */
export const sizeOf = (body: Answer['body']): number =>
  typeof body === 'string'
    ? Buffer.byteLength(body)
    : body.reduce((sum, part) => sum + Buffer.byteLength(part), 0)

/** HTTP's own refusals, for which the protocol has no word: 404, 405, 413, 415 and the like. */
export class Refused extends Error {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>

  constructor(status: number, message: string, headers: Readonly<Record<string, string>> = {}) {
    super(message)
    this.status = status
    this.headers = headers
  }
}

export const json = (
  value: unknown,
  status = 200,
  headers: Readonly<Record<string, string>> = {},
): Answer => ({
  status,
  headers: { ...headers, 'content-type': 'application/json' },
  body: JSON.stringify(value),
})

/** @param modelErrorStatus 500 to an HTTP caller; an event that the model fails on must not be retried, which a 5xx would ask for */
export function errorAnswer(error: unknown, modelErrorStatus: 500 | 422 = 500): Answer {
  if (error instanceof Refused) return json({ error: error.message }, error.status, error.headers)
  const status = statusOf(error, modelErrorStatus)
  // What is no known refusal is our own mistake; its text is for the log, not for the caller.
  if (status === undefined)
    return json({ error: 'the server failed on this request; its log says why' }, 500)
  return json(
    { error: (error as Error).message },
    status,
    status === 503 ? { 'retry-after': '1' } : {},
  )
}

/**
 * The answer to an error that somebody foresaw.
 * @throws the error itself, where nobody did: whoever called knows the request, to log it with
 */
export function knownError(error: unknown, modelErrorStatus: 500 | 422): Answer {
  if (statusOf(error, modelErrorStatus) === undefined) throw error
  return errorAnswer(error, modelErrorStatus)
}

/** The status that tells the caller whose mistake it is, or undefined for an error nobody foresaw. */
export function statusOf(error: unknown, modelErrorStatus: 500 | 422 = 500): number | undefined {
  if (error instanceof BadRequest) return 400
  if (error instanceof TooLarge) return 413
  if (error instanceof ModelError) return modelErrorStatus
  if (error instanceof NotReady || error instanceof Overloaded) return 503
  if (error instanceof DeadlinePassed) return 504
  return error instanceof Refused ? error.status : undefined
}
