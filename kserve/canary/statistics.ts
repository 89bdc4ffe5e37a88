/*
 * The statistical tests behind the decision. README.md lists their assumptions, and
 * test/statistics.test.ts compares them with SciPy.
 */

export interface Share {
  readonly count: number
  readonly of: number
}

export const shareOf = ({ count, of }: Share) => count / of

/**
 * Fisher's exact test, one-sided: the probability of at least `fresh.count` if both shares are
 * equal.
 */
export function fisher(old: Share, fresh: Share): number {
  const [all, kind, drawn] = [old.of + fresh.of, old.count + fresh.count, fresh.of]
  const least = Math.max(0, drawn - (all - kind))
  const most = Math.min(kind, drawn)
  if (least === most) return 1
  const start = (x: number) =>
    Math.exp(lnChoose(kind, x) + lnChoose(all - kind, drawn - x) - lnChoose(all, drawn))
  // Sums away from the mean, so the first term is the largest and no digits are lost.
  if (fresh.count > (drawn * kind) / all) {
    let [term, sum] = [start(fresh.count), 0]
    for (let x = fresh.count; x <= most && term > sum * 1e-17; x++) {
      sum += term
      term *= ((kind - x) * (drawn - x)) / ((x + 1) * (all - kind - drawn + x + 1))
    }
    return Math.min(1, sum)
  }
  if (fresh.count === least) return 1
  let [term, sum] = [start(fresh.count - 1), 0]
  for (let x = fresh.count - 1; x >= least && term > sum * 1e-17; x--) {
    sum += term
    term *= (x * (all - kind - drawn + x)) / ((kind - x + 1) * (drawn - x + 1))
  }
  return Math.max(0, 1 - sum)
}

/** The minimum expected count of a cell (Cochran's rule). */
const LEAST_EXPECTED = 5

/**
 * Pearson's chi-squared test of whether two rows of counts have the same distribution. Merges
 * columns with an expected count below five.
 * @returns undefined if only one column remains
 */
export function pearson(
  old: readonly number[],
  fresh: readonly number[],
): { readonly statistic: number; readonly p: number } | undefined {
  const total = (row: readonly number[]) => row.reduce((sum, count) => sum + count, 0)
  const [ofOld, ofFresh] = [total(old), total(fresh)]
  const needed = (LEAST_EXPECTED * (ofOld + ofFresh)) / Math.min(ofOld, ofFresh)
  const columns = old
    .map((count, i): Column => [count, fresh[i] ?? 0])
    .filter(column => sumOf(column) > 0)
  if (columns.length === 1) return { statistic: 0, p: 1 }
  for (;;) {
    columns.sort((a, b) => sumOf(a) - sumOf(b))
    const [smallest, next] = columns
    if (smallest === undefined || next === undefined) return undefined
    if (sumOf(smallest) >= needed) break
    columns.splice(0, 2, [smallest[0] + next[0], smallest[1] + next[1]])
  }
  let statistic = 0
  for (const column of columns) {
    for (const [i, row] of [ofOld, ofFresh].entries()) {
      const expected = (sumOf(column) * row) / (ofOld + ofFresh)
      statistic += ((column[i] as number) - expected) ** 2 / expected
    }
  }
  return { statistic, p: chiSquaredTail(statistic, columns.length - 1) }
}

type Column = readonly [old: number, fresh: number]
const sumOf = ([old, fresh]: Column) => old + fresh

/**
 * The total variation distance: the share of predictions that moved to another label. It does not
 * depend on the traffic split.
 */
export function distance(old: readonly number[], fresh: readonly number[]): number {
  const total = (row: readonly number[]) => row.reduce((sum, count) => sum + count, 0)
  const [ofOld, ofFresh] = [total(old), total(fresh)]
  return (
    old.reduce((sum, count, i) => sum + Math.abs(count / ofOld - (fresh[i] ?? 0) / ofFresh), 0) / 2
  )
}

/**
 * P(X > x) of a chi-squared variable: the regularised incomplete gamma function Q(degrees/2, x/2).
 */
export function chiSquaredTail(x: number, degrees: number): number {
  const [a, z] = [degrees / 2, x / 2]
  if (z === 0) return 1
  const scale = Math.exp(a * Math.log(z) - z - lnGamma(a))
  // The series converges fast below a + 1, and Lentz's continued fraction above it (Numerical
  // Recipes, 6.2).
  if (z < a + 1) {
    let [term, sum] = [1 / a, 1 / a]
    for (let n = a + 1; term > sum * 1e-17; n++) {
      term *= z / n
      sum += term
    }
    return 1 - scale * sum
  }
  let [b, c, d] = [z + 1 - a, Number.MAX_VALUE, 1 / (z + 1 - a)]
  let h = d
  for (let i = 1, step = 0; Math.abs(step - 1) > 1e-16 && i < 1000; i++) {
    const an = -i * (i - a)
    b += 2
    d = 1 / (an * d + b)
    c = b + an / c
    step = c * d
    h *= step
  }
  return scale * h
}

const lnChoose = (n: number, k: number) => lnGamma(n + 1) - lnGamma(k + 1) - lnGamma(n - k + 1)

/** ln Γ(x) for x > 0, with Stirling's series (Abramowitz & Stegun 6.1.41) from 10 upwards. */
function lnGamma(x: number): number {
  if (x < 10) return lnGamma(x + 1) - Math.log(x)
  const s = 1 / (x * x)
  const series = (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s / 1188)))) / x
  return (x - 0.5) * Math.log(x) - x + Math.log(2 * Math.PI) / 2 + series
}

/**
 * A Prometheus histogram: the cumulative count for each upper bound in seconds, ascending, with
 * +Inf last.
 */
export type Buckets = readonly (readonly [bound: number, count: number])[]

/**
 * The quantile as histogram_quantile computes it: interpolated within a bucket; above the last
 * finite bound, that bound.
 */
export function quantile(q: number, buckets: Buckets): number {
  const all = buckets.at(-1)?.[1] ?? 0
  const rank = q * all
  const i = buckets.findIndex(([, count]) => count >= rank)
  const [bound, count] = buckets[i] ?? [Number.NaN, 0]
  const [lower, below] = buckets[i - 1] ?? [0, 0]
  if (bound === Number.POSITIVE_INFINITY) return lower
  return lower + ((bound - lower) * (rank - below)) / (count - below)
}
