/** The longest delay that setTimeout supports, in milliseconds. */
export const LONGEST_TIMER_MS = 2 ** 31 - 1

/**
 * Returns a delay for setTimeout after which the time `at` on performance.now()'s clock has passed.
 */
export const delayUntil = (at: number): number =>
  Math.min(Math.max(at - performance.now(), 0) + 1, LONGEST_TIMER_MS)
