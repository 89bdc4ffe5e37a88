/**
 * The errors that an inference request can cause. The message states which value is wrong, where it
 * is, and which values are allowed. The code is for programs: it selects statuses and metrics, and
 * it survives the transfer between threads, which the class does not.
 */

/** The request violates the protocol or does not fit the model: the caller must change it. */
export class BadRequest extends Error {
  readonly code = 'BAD_REQUEST'
}

/** The request, its tensors or its response exceed the memory limit of a request. */
export class TooLarge extends Error {
  readonly code = 'TOO_LARGE'
}

/** The model itself failed on a request that fits it. */
export class ModelError extends Error {
  readonly code = 'MODEL_FAILED'
}

/**
 * The base class of errors for requests that arrive at a bad time, perhaps many at once under
 * overload. These errors have no stack trace: creating it would take longer than the remaining work
 * of a refusal, and it would not be read.
 */
class TurnedAway extends Error {
  constructor(message: string) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message)
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** The server has no capacity now; the same request may succeed later. */
export class Overloaded extends TurnedAway {
  readonly code = 'OVERLOADED'
}

/**
 * The model is loading or has failed to load, or the process is shutting down. The same request may
 * succeed later or elsewhere.
 */
export class NotReady extends Error {
  readonly code = 'NOT_READY'
}

/** The request's deadline passed before its run began. */
export class DeadlinePassed extends TurnedAway {
  readonly code = 'DEADLINE_PASSED'
}

/** The run exceeded its time limit; the same request would most likely exceed the limit again. */
export class RunTimedOut extends Error {
  readonly code = 'RUN_TIMED_OUT'
}

export type InferenceError =
  | BadRequest
  | TooLarge
  | ModelError
  | Overloaded
  | NotReady
  | DeadlinePassed
  | RunTimedOut

export type InferenceErrorCode = InferenceError['code']

const CLASSES: { readonly [Code in InferenceErrorCode]: new (message: string) => InferenceError } =
  {
    BAD_REQUEST: BadRequest,
    TOO_LARGE: TooLarge,
    MODEL_FAILED: ModelError,
    OVERLOADED: Overloaded,
    NOT_READY: NotReady,
    DEADLINE_PASSED: DeadlinePassed,
    RUN_TIMED_OUT: RunTimedOut,
  }

/** Returns the code of an error that this file defines; undefined for any other error. */
export function inferenceCodeOf(error: unknown): InferenceErrorCode | undefined {
  const code = (error as Partial<InferenceError> | undefined)?.code
  return code !== undefined && Object.hasOwn(CLASSES, code) ? code : undefined
}

/** Recreates the error that another thread reported. */
export const inferenceError = (code: InferenceErrorCode, message: string): InferenceError =>
  new CLASSES[code](message)
