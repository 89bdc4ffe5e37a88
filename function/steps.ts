import { setImmediate as nextTurn } from 'node:timers/promises'

/** Work on the main thread in steps of a size, between which requests have their turns. */
export class Steps {
  readonly #most: number
  #done = 0

  /** @param most work of a step: bytes, elements or whatever is counted */
  constructor(most: number) {
    this.#most = most
  }

  /** So much more is done. @returns a promise of the next turn where the step is over */
  done(work: number): Promise<void> | undefined {
    this.#done += work
    if (this.#done < this.#most) return undefined
    this.#done = 0
    return nextTurn()
  }
}
