/**
 * What can go wrong with one inference request, named by whose turn it is to act.
 * The message tells the caller what was wrong, where, and what would be right; the HTTP status is chosen once, at the edge.
 */

/** The request breaks the protocol or does not fit the model: the caller must change it. */
export class BadRequest extends Error {}

/** The request, what is read from it or the answer to it takes more memory than one may. */
export class TooLarge extends Error {}

/** The model itself failed on a request that fits it. */
export class ModelError extends Error {}

/** No room now; the same request may succeed later. */
export class Overloaded extends Error {}

/** The model is loading, has failed to load, or the process is ending; the same request may succeed later, or elsewhere. */
export class NotReady extends Error {}

/** The request's deadline passed before its run began. */
export class DeadlinePassed extends Error {}
