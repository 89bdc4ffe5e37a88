import { setImmediate as nextTurn } from 'node:timers/promises'

const SLICE_MS = 5

/** Divides work on the main thread into slices of time; requests get their turns between them. */
export class Slices {
  #began = performance.now()

  get isOver(): boolean {
    return performance.now() - this.#began >= SLICE_MS
  }

  async next(): Promise<void> {
    await nextTurn()
    this.#began = performance.now()
  }

  /** Does work that consists of steps. */
  async through(steps: Iterable<void>): Promise<void> {
    for (const _ of steps) if (this.isOver) await this.next()
  }
}
