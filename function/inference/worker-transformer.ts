import type { Caller } from '../answer.ts'
import type { DeadlinePassed } from '../protocol/errors.ts'
import type { Call, Reply } from '../transform/call.ts'
import { type CallLimits, Calls, type StartedCall } from './calls.ts'
import { hungUp } from './give-up.ts'
import type { Transformer } from './transformer.ts'
import type { WorkerPool } from './worker-pool.ts'

export class WorkerTransformer implements Transformer {
  readonly #pool: WorkerPool
  readonly #calls: Calls
  readonly #runBytes: number

  constructor(pool: WorkerPool, limits: CallLimits, runBytes: number) {
    this.#pool = pool
    this.#calls = new Calls(limits)
    this.#runBytes = runBytes
    pool.setCalls({ runBytes, joins: undefined })
  }

  get described(): Transformer['described'] {
    return this.#pool.transform as Transformer['described']
  }

  get count(): number {
    return this.#calls.count
  }

  call(call: Call, caller: Caller): Promise<Reply> {
    return this.#calls.run(call, caller, () => {
      let started: StartedCall | undefined
      const start = async () => {
        const thread = await this.#pool.forCalls(caller)
        if (caller.gone) throw hungUp()
        started = thread.start(call, caller)
        return started.reply
      }
      // While no thread is available, forCalls() enforces the deadline.
      return { reply: start(), end: (error: DeadlinePassed) => started?.end(error) ?? true }
    })
  }

  decided(joins: boolean): void {
    this.#pool.setCalls({ runBytes: this.#runBytes, joins })
  }

  /** Not needed: WorkerPool.close() closes the transform in each thread. */
  async close(): Promise<void> {}
}
