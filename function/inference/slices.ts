import { setImmediate as nextTurn } from 'node:timers/promises'

const SLICE_MS = 5

/**
 * Divides work on the main thread into time slices, so that requests are handled between slices.
 */
export class Slices {
  #began = performance.now()

  get isOver(): boolean {
    return performance.now() - this.#began >= SLICE_MS
  }

  async next(): Promise<void> {
    await nextTurn()
    this.#began = performance.now()
  }

  async through(steps: Iterable<void>): Promise<void> {
    for (const _ of steps) if (this.isOver) await this.next()
  }
}
