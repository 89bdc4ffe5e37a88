import { setImmediate as nextTurn } from 'node:timers/promises'

/** Divides work on the main thread into steps; requests get their turns between them. */
export class Steps {
  readonly #most: number
  #done = 0

  /** @param most work per step: bytes, elements or any other unit */
  constructor(most: number) {
    this.#most = most
  }

  /** Adds finished work. @returns a promise of the next turn if the step is over */
  done(work: number): Promise<void> | undefined {
    this.#done += work
    if (this.#done < this.#most) return undefined
    this.#done = 0
    return nextTurn()
  }
}
