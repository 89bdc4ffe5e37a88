/**
 * The errors of inference requests. A message says which value is wrong, where it is, and which
 * values are allowed. The code selects statuses and metrics; unlike the class, it survives the
 * transfer between threads.
 */

/** The caller must change the request. */
export class BadRequest extends Error {
  readonly code = 'BAD_REQUEST'
}

/** The request, its tensors or its response exceed the memory limit of a request. */
export class TooLarge extends Error {
  readonly code = 'TOO_LARGE'
}

export class ModelError extends Error {
  readonly code = 'MODEL_FAILED'
}

/**
 * For errors that many requests get at once under overload. They have no stack trace: nobody would
 * read it, and creating it takes longer than the rest of a refusal.
 */
class TurnedAway extends Error {
  constructor(message: string) {
    const { stackTraceLimit } = Error
    Error.stackTraceLimit = 0
    super(message)
    Error.stackTraceLimit = stackTraceLimit
  }
}

/** The same request may succeed later. */
export class Overloaded extends TurnedAway {
  readonly code = 'OVERLOADED'
}

/** The same request may succeed later or elsewhere. */
export class NotReady extends Error {
  readonly code = 'NOT_READY'
}

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

export function inferenceCodeOf(error: unknown): InferenceErrorCode | undefined {
  const code = (error as Partial<InferenceError> | undefined)?.code
  return code !== undefined && Object.hasOwn(CLASSES, code) ? code : undefined
}

export const inferenceError = (code: InferenceErrorCode, message: string): InferenceError =>
  new CLASSES[code](message)
