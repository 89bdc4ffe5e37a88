/**
 * The errors of an inference request, named by the side that has to act. The message tells the
 * caller what was wrong, where, and what would be right. The code is for programs: statuses and
 * metrics are looked up by it, and it crosses threads, which the class does not.
 */

/** The request breaks the protocol or does not fit the model: the caller must change it. */
export class BadRequest extends Error {
  readonly code = 'BAD_REQUEST'
}

/** The request, its tensors or its response take more memory than a request may. */
export class TooLarge extends Error {
  readonly code = 'TOO_LARGE'
}

/** The model itself failed on a request that fits it. */
export class ModelError extends Error {
  readonly code = 'MODEL_FAILED'
}

/**
 * Turns away a request that came at a bad time, many at once under overload. It has no stack trace:
 * that would cost more than all else of a refusal, and nobody reads it.
 */
class TurnedAway extends Error {
  constructor(message: string) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message)
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** No room now; the same request may succeed later. */
export class Overloaded extends TurnedAway {
  readonly code = 'OVERLOADED'
}

/**
 * The model is loading, has failed to load, or the process is ending; the same request may succeed
 * later, or elsewhere.
 */
export class NotReady extends Error {
  readonly code = 'NOT_READY'
}

/** The request's deadline passed before its run began. */
export class DeadlinePassed extends TurnedAway {
  readonly code = 'DEADLINE_PASSED'
}

/** The run lasted longer than a run may: the same request would most likely do so again. */
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

/** The code of an error of this file; undefined for any other. */
export function inferenceCodeOf(error: unknown): InferenceErrorCode | undefined {
  const code = (error as Partial<InferenceError> | undefined)?.code
  return code !== undefined && Object.hasOwn(CLASSES, code) ? code : undefined
}

/** Makes the error that another thread reported. */
export const inferenceError = (code: InferenceErrorCode, message: string): InferenceError =>
  new CLASSES[code](message)
