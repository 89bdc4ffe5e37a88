import type { Caller } from '../answer.ts'
import type { Call, Reply } from '../transform/call.ts'
import type { DescribedTransform } from '../transform/described.ts'

/** Answers calls by the author's code and the model, on this thread or in workers. */
export interface Transformer {
  /** What documents and pages show of it. */
  readonly described: DescribedTransform
  /** Calls that are not answered yet. */
  readonly count: number
  /**
   * @throws {BadRequest|TooLarge|Overloaded|NotReady|DeadlinePassed|ModelError|RunTimedOut} and what
   * transform/errors.ts has
   */
  call(call: Call, caller: Caller): Promise<Reply>
  /** It is decided whether requests share runs. */
  decided(joins: boolean): void
  close(): Promise<void>
}
