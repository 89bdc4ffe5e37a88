import { setImmediate as nextTurn } from 'node:timers/promises'

/** Divides work on the main thread into steps, so that requests are handled between steps. */
export class Steps {
  readonly #most: number
  #done = 0

  /** @param most work per step, in bytes, elements or another unit */
  constructor(most: number) {
    this.#most = most
  }

  /** @returns a promise for the next turn of the event loop if the step is over */
  done(work: number): Promise<void> | undefined {
    this.#done += work
    if (this.#done < this.#most) return undefined
    this.#done = 0
    return nextTurn()
  }
}
