/**
 * The time in which the weight of finished runs halves. If there is no run for FORGET_MS, finished
 * runs no longer count.
 */
const HALF_LIFE_MS = 1_000
const FORGET_MS = 2_000

/** A run in progress. */
export interface Going {
  readonly rows: number
  readonly beganAt: number
}

/** Measures the current speed of runs. All times are on performance.now()'s clock. */
export class Pace {
  /** The weighted number of runs in the last seconds, their rows and their durations. */
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

  /** Removes a failed run, whose duration is not counted. */
  failed(run: Going): void {
    this.#going.delete(run)
  }

  /**
   * Returns the minimum time in milliseconds that the waiting runs take one after the other. A run
   * with more rows than recent runs takes at least as long as recent runs; a run with fewer rows
   * takes at least a proportional share of that time. Runs in progress count with their duration so
   * far.
   * @param runs the number of waiting runs
   * @param rows the total number of rows in these runs
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
