import { setImmediate as nextTurn } from 'node:timers/promises'

const SLICE_MS = 5

/** Work on the main thread in slices, between which requests have their turns. */
export class Slices {
  #began = performance.now()

  get isOver(): boolean {
    return performance.now() - this.#began >= SLICE_MS
  }

  async next(): Promise<void> {
    await nextTurn()
    this.#began = performance.now()
  }

  /** Goes through work that is made of steps. */
  async through(steps: Iterable<void>): Promise<void> {
    for (const _ of steps) if (this.isOver) await this.next()
  }
}
