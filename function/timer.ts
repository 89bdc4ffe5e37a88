const LONGEST_TIMER_MS = 2 ** 31 - 1

/** Returns setTimeout's delay until `at`, on performance.now()'s clock. */
export const delayUntil = (at: number): number =>
  Math.min(Math.max(at - performance.now(), 0) + 1, LONGEST_TIMER_MS)
