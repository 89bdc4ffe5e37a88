export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const at = (index: number) => sorted[index] as number
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    min: at(0),
    max: at(sorted.length - 1),
  }
}

/** The median of the rounds' ratios. A slow phase of the machine affects both sides of a round. */
export const ratio = (values: readonly number[], over: readonly number[]): Spread =>
  spread(values.map((value, round) => value / (over[round] as number)))

/**
 * Estimates how much a series grew from its first to its last value. The Theil–Sen slope is the
 * median of the slopes between all pairs, so a few outliers do not change it. `min` and `max` are
 * the 95 % confidence interval based on Kendall's tau, for independent neighbouring values.
 */
export function growth(values: readonly number[]): Spread {
  const n = values.length
  const slopes = values
    .flatMap((value, i) => values.slice(i + 1).map((later, j) => (later - value) / (j + 1)))
    .sort((a, b) => a - b)
  const { median } = spread(slopes)
  const off = (1.96 * Math.sqrt((n * (n - 1) * (2 * n + 5)) / 18)) / 2
  const at = (index: number) => slopes[Math.min(Math.max(index, 0), slopes.length - 1)] as number
  const whole = (slope: number) => slope * (n - 1)
  return {
    median: whole(median),
    min: whole(at(Math.floor(slopes.length / 2 - off))),
    max: whole(at(Math.ceil(slopes.length / 2 + off))),
  }
}
