import { BadRequest } from '../protocol/errors.ts'

export { BadRequest }

/*
 * Errors that an author throws in a transform. They are told apart by their code, never by
 * instanceof: a project may have two copies of this package, and the class does not cross threads.
 */

/** The author refuses this request with a status of 4xx: the caller must change something. */
export class Refused extends Error {
  readonly code = 'TRANSFORM_REFUSED'
  readonly status: number

  /** @throws {RangeError} when `status` is not from 400 to 499 */
  constructor(status: number, message: string, options?: ErrorOptions) {
    if (!isRefusalStatus(status))
      throw new RangeError(`Refused: the status is ${status}; it must be from 400 to 499`)
    super(message, options)
    this.status = status
  }
}

/** Something that the transform depends on is down; the same request may succeed later. */
export class Unavailable extends Error {
  readonly code = 'TRANSFORM_UNAVAILABLE'
  /** Seconds after which the caller may try again. */
  readonly retryAfter: number

  /** @throws {RangeError} when `retryAfter` is not a whole number of seconds */
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

/**
 * The author's code failed. The cause is for the log: its text may tell callers more than they
 * should know.
 */
export class TransformFailed extends Error {
  readonly code = 'TRANSFORM_FAILED'

  constructor(cause: unknown) {
    super('the transform failed on this request; the log says why', { cause })
  }
}

/** The author's code did not give its thread back in time. */
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
 * What a transform threw, as an error of the table of errors. Only the author's own errors keep
 * their meaning: a library's `{ code: 'NOT_FOUND' }` must not become our 404. It is one of ours in
 * any case, with members that cross threads and say the same each time.
 */
export function transformError(thrown: unknown): Error {
  try {
    return authorsOwn((thrown ?? {}) as Thrown) ?? new TransformFailed(thrown)
  } catch {
    // Its members may be the author's code, too.
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

/** Not so of a proxy that does not tell its prototype. */
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
