/** A figure over the rounds. */
export interface Spread {
  readonly median: number
  readonly min: number
  readonly max: number
}

export function spread(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = (sorted.length - 1) / 2
  const at = (index: number) => sorted[index] as number
  return { median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2, min: at(0), max: at(sorted.length - 1) }
}

/** Round by round, and only then the median: what slowed the machine for a while slowed both. */
export const ratio = (values: readonly number[], over: readonly number[]): Spread =>
  spread(values.map((value, round) => value / (over[round] as number)))
