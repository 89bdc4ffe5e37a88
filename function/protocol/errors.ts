/**
 * The errors of inference requests. The message says which value is wrong, where it is, and which
 * values are allowed. The code selects statuses and metrics, and survives the transfer between
 * threads, unlike the class.
 */

/** The request violates the protocol or does not fit the model: the caller must change it. */
export class BadRequest extends Error {
  readonly code = 'BAD_REQUEST'
}

/** The request, its tensors or its response exceed the memory limit of a request. */
export class TooLarge extends Error {
  readonly code = 'TOO_LARGE'
}

/** The model failed on a request that fits it. */
export class ModelError extends Error {
  readonly code = 'MODEL_FAILED'
}

/**
 * The base class of errors that many requests get at once under overload. They have no stack trace:
 * nobody would read it, and creating it takes longer than the rest of a refusal.
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
 * The model is loading or failed to load, or the process is shutting down. The same request may
 * succeed later or elsewhere.
 */
export class NotReady extends Error {
  readonly code = 'NOT_READY'
}

/** The request's deadline passed before its run began. */
export class DeadlinePassed extends TurnedAway {
  readonly code = 'DEADLINE_PASSED'
}

/** The run exceeded its time limit; the same request would probably do so again. */
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

/** Undefined for errors of other files. */
export function inferenceCodeOf(error: unknown): InferenceErrorCode | undefined {
  const code = (error as Partial<InferenceError> | undefined)?.code
  return code !== undefined && Object.hasOwn(CLASSES, code) ? code : undefined
}

/** Recreates another thread's error. */
export const inferenceError = (code: InferenceErrorCode, message: string): InferenceError =>
  new CLASSES[code](message)
