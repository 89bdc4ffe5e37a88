import { setTimeout as wait } from 'node:timers/promises'

/** The calls in progress, for a shutdown that waits for them. */
export class InProgress {
  readonly #calls = new Set<Promise<unknown>>()

  track<Result>(call: Promise<Result>): Promise<Result> {
    this.#calls.add(call)
    const end = () => this.#calls.delete(call)
    call.then(end, end)
    return call
  }

  /** Resolves once no call is in progress, at the latest after this time. */
  async ended(timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs
    while (this.#calls.size > 0 && performance.now() < deadline) {
      const late = wait(deadline - performance.now(), undefined, { ref: false })
      await Promise.race([Promise.allSettled(this.#calls), late])
    }
  }
}
