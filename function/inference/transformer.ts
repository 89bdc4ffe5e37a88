import type { Caller } from '../answer.ts'
import type { Call, Reply } from '../transform/call.ts'
import type { DescribedTransform } from '../transform/described.ts'

/** Handles calls with a transform and the model, on this thread or in workers. */
export interface Transformer {
  readonly described: DescribedTransform
  readonly count: number
  /**
   * @throws {BadRequest|TooLarge|Overloaded|NotReady|DeadlinePassed|ModelError|RunTimedOut} and the
   * errors of transform/errors.ts
   */
  call(call: Call, caller: Caller): Promise<Reply>
  /** Called when it is decided whether requests share runs. */
  decided(joins: boolean): void
  close(): Promise<void>
}
