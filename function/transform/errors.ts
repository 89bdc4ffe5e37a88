import { BadRequest } from '../protocol/errors.ts'

export { BadRequest }

/*
 * Errors that a transform throws. The server recognises them by code, not by instanceof: a project
 * may have two copies of this package, and the class is lost between threads.
 */

/** Refuses a request with a 4xx status: the caller must change the request. */
export class Refused extends Error {
  readonly code = 'TRANSFORM_REFUSED'
  readonly status: number

  /** @throws {RangeError} if `status` is not between 400 and 499 */
  constructor(status: number, message: string, options?: ErrorOptions) {
    if (!isRefusalStatus(status))
      throw new RangeError(`Refused: the status is ${status}; it must be from 400 to 499`)
    super(message, options)
    this.status = status
  }
}

/** A dependency of the transform is down; the same request may succeed later. */
export class Unavailable extends Error {
  readonly code = 'TRANSFORM_UNAVAILABLE'
  /** Seconds until the caller may retry. */
  readonly retryAfter: number

  /** @throws {RangeError} if `retryAfter` is not a whole number of seconds */
  constructor(message: string, options: ErrorOptions & { readonly retryAfter?: number } = {}) {
    const { retryAfter = 1 } = options
    if (!isSeconds(retryAfter))
      throw new RangeError(
        `Unavailable: retryAfter is ${retryAfter}; it must be a whole number of seconds`,
      )
    super(message, options)
    this.retryAfter = retryAfter
  }
}

/** The transform failed. Only the log gets the cause, whose text could reveal internal details. */
export class TransformFailed extends Error {
  readonly code = 'TRANSFORM_FAILED'

  constructor(cause: unknown) {
    super('the transform failed on this request; see the server log', { cause })
  }
}

export class TransformTimedOut extends Error {
  readonly code = 'TRANSFORM_TIMED_OUT'
}

type Thrown = {
  readonly code?: unknown
  readonly message?: unknown
  readonly status?: unknown
  readonly retryAfter?: unknown
}

/**
 * Converts a thrown value to an error in the error table. Only errors of this file keep their
 * meaning: a library's `{ code: 'NOT_FOUND' }` must not become our 404.
 */
export function transformError(thrown: unknown): Error {
  try {
    return authorsOwn((thrown ?? {}) as Thrown) ?? new TransformFailed(thrown)
  } catch {
    // Reading members of the thrown value may run the transform's code, which may throw.
    return new TransformFailed(undefined)
  }
}

function authorsOwn({ code, message, status, retryAfter }: Thrown): Error | undefined {
  if (typeof message !== 'string') return undefined
  if (code === 'BAD_REQUEST') return new BadRequest(message)
  if (code === 'TRANSFORM_REFUSED' && isRefusalStatus(status)) return new Refused(status, message)
  if (code === 'TRANSFORM_UNAVAILABLE' && isSeconds(retryAfter))
    return new Unavailable(message, { retryAfter })
  return undefined
}

/** Like instanceof, but false for a proxy that hides its prototype. */
export function isA<Type>(
  value: unknown,
  type: abstract new (...given: never) => Type,
): value is Type {
  try {
    return value instanceof type
  } catch {
    return false
  }
}

const isRefusalStatus = (status: unknown): status is number =>
  Number.isInteger(status) && (status as number) >= 400 && (status as number) <= 499

const isSeconds = (seconds: unknown): seconds is number =>
  Number.isSafeInteger(seconds) && (seconds as number) >= 0
