/**
 * Finished runs lose half of their weight in HALF_LIFE_MS, and all of it after FORGET_MS without a
 * run.
 */
const HALF_LIFE_MS = 1_000
const FORGET_MS = 2_000

export interface Going {
  readonly rows: number
  readonly beganAt: number
}

/** Measures how fast runs are now. All times are on performance.now()'s clock. */
export class Pace {
  /** Weighted sums over the last seconds: runs, rows and durations. */
  #runs = 0
  #rows = 0
  #ms = 0
  #endedAt = 0
  readonly #going = new Set<Going>()

  began(rows: number, beganAt: number): Going {
    if (this.#going.size === 0 && beganAt - this.#endedAt > FORGET_MS) this.#forget(0)
    const run = { rows, beganAt }
    this.#going.add(run)
    return run
  }

  ended(run: Going, endedAt: number): void {
    this.#going.delete(run)
    this.#forget(2 ** ((this.#endedAt - endedAt) / HALF_LIFE_MS))
    this.#runs++
    this.#rows += run.rows
    this.#ms += endedAt - run.beganAt
    this.#endedAt = endedAt
  }

  failed(run: Going): void {
    this.#going.delete(run)
  }

  /**
   * Returns the minimum milliseconds that the waiting runs take one after the other. A run with
   * more rows than recent runs takes at least as long; with fewer rows, at least a proportional
   * share. Runs in progress count with their duration so far.
   * @param runs the waiting runs
   * @param rows the rows of all these runs
   */
  leastMs(runs: number, rows: number): number {
    let ms = 0
    if (this.#runs > 0) ms = this.#ms * Math.min(runs / this.#runs, rows / this.#rows)
    if (this.#going.size === 0) return ms
    const now = performance.now()
    for (const run of this.#going)
      ms = Math.max(ms, (now - run.beganAt) * Math.min(runs, rows / run.rows))
    return ms
  }

  #forget(share: number): void {
    this.#runs *= share
    this.#rows *= share
    this.#ms *= share
  }
}
