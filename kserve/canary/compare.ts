import {
  type Buckets,
  distance,
  fisher,
  pearson,
  quantile,
  type Share,
  shareOf,
} from './statistics.ts'

/** Counts since the step began. */
export interface Sample {
  readonly requests: number
  readonly errors: number
  readonly durations: Buckets
  /**
   * The number of predictions of each label; undefined for a model without labels, such as a
   * regression.
   */
  readonly predictions: ReadonlyMap<string, number> | undefined
  /** The highest memory use of a pod, as a share of its limit. */
  readonly memory: number | undefined
  /** The highest p99 event loop lag of a pod, in seconds. */
  readonly lag: number | undefined
}

export type Verdict = 'better' | 'same' | 'worse' | 'too few' | 'no data' | 'not counted'

export interface Check {
  readonly check: 'errors' | 'latency' | 'predictions' | 'saturation'
  readonly old: string
  readonly new: string
  readonly test: string
  /** The size of the difference. A verdict requires a large difference and a small p. */
  readonly effect: string
  readonly p: number | undefined
  readonly verdict: Verdict
}

export interface Limits {
  /** How many requests each revision must have handled before it is judged. */
  readonly requests: number
  /** The significance level of each check at this look. */
  readonly alpha: number
  /** The share of predictions that may move to another label. */
  readonly drift: number
}

/**
 * The smallest differences that matter. The alerts CanaryFails and CanarySlow fire only above these
 * differences (monitoring/prometheus/rules/alerts.yml).
 */
export const MATTERS = {
  errors: 0.01,
  slower: { times: 1.5, seconds: 0.01 },
  memory: 0.9,
  lag: 0.1,
} as const

export const CHECKS_WITH_P = 3

export function compare(old: Sample, fresh: Sample, limits: Limits): Check[] {
  const counts = { old: `${old.requests} requests`, new: `${fresh.requests} requests` }
  const nothing = old.requests === 0 && fresh.requests === 0
  if (nothing || Math.min(old.requests, fresh.requests) < limits.requests) {
    const verdict = nothing ? 'no data' : 'too few'
    const effect = `of ${limits.requests}`
    return (['errors', 'latency', 'predictions'] as const)
      .map((check): Check => ({ check, ...counts, test: '–', effect, p: undefined, verdict }))
      .concat(saturation(old, fresh))
  }
  return [
    errors(old, fresh, limits),
    latency(old, fresh, limits),
    predictions(old, fresh, limits),
    saturation(old, fresh),
  ]
}

function errors(old: Sample, fresh: Sample, { alpha }: Limits): Check {
  const [before, after]: [Share, Share] = [
    { count: old.errors, of: old.requests },
    { count: fresh.errors, of: fresh.requests },
  ]
  const [more, fewer] = [fisher(before, after), fisher(after, before)]
  const difference = shareOf(after) - shareOf(before)
  const better = fewer < alpha && difference <= -MATTERS.errors
  return {
    check: 'errors',
    old: `${percent(shareOf(before))} of ${old.requests}`,
    new: `${percent(shareOf(after))} of ${fresh.requests}`,
    test: 'Fisher, one-sided',
    effect: `${signed(100 * difference)} points`,
    p: better ? fewer : more,
    verdict: verdictOf({ better, worse: more < alpha && difference >= MATTERS.errors }),
  }
}

/** A request is slow if it takes longer than 1.5 times the other revision's p95 plus 10 ms. */
const limitOf = (p95: number) => MATTERS.slower.times * p95 + MATTERS.slower.seconds

/**
 * Compares the shares of slow requests.
 * @returns p of the hypothesis that the shares are equal, and whether the difference matters
 */
function isSlower(
  one: Buckets,
  other: Buckets,
): { readonly p: number; readonly matters: boolean; readonly bound: number } {
  const limit = limitOf(quantile(0.95, other))
  // A histogram counts only at its bounds: use the last bound at or below the limit.
  const bound = one.findLast(([at]) => at <= limit && other.some(([same]) => same === at))?.[0] ?? 0
  const beyond = (buckets: Buckets): Share => {
    const of = buckets.at(-1)?.[1] ?? 0
    return { count: of - (buckets.find(([at]) => at === bound)?.[1] ?? 0), of }
  }
  return { p: fisher(beyond(other), beyond(one)), matters: quantile(0.95, one) > limit, bound }
}

function latency(old: Sample, fresh: Sample, { alpha }: Limits): Check {
  const slower = isSlower(fresh.durations, old.durations)
  const faster = isSlower(old.durations, fresh.durations)
  const better = faster.matters && faster.p < alpha
  const { p, bound } = better ? faster : slower
  const [before, after] = [quantile(0.95, old.durations), quantile(0.95, fresh.durations)]
  return {
    check: 'latency',
    old: `p95 ${milliseconds(before)}`,
    new: `p95 ${milliseconds(after)}`,
    test: `Fisher, share above ${milliseconds(bound)}`,
    effect: `× ${(after / before).toPrecision(3)}`,
    p,
    verdict: verdictOf({ better, worse: slower.matters && p < alpha }),
  }
}

function predictions(old: Sample, fresh: Sample, { alpha, drift, requests }: Limits): Check {
  if (old.predictions === undefined && fresh.predictions === undefined) {
    return {
      check: 'predictions',
      old: '–',
      new: '–',
      test: '–',
      effect: '–',
      p: undefined,
      verdict: 'not counted',
    }
  }
  const [before, after] = [
    old.predictions ?? new Map<string, number>(),
    fresh.predictions ?? new Map<string, number>(),
  ]
  const labels = [...new Set([...before.keys(), ...after.keys()])].sort()
  const row = (of: ReadonlyMap<string, number>) => labels.map(label => of.get(label) ?? 0)
  const shown = (of: ReadonlyMap<string, number>, all: number) =>
    labels.map(label => `${label} ${Math.round((100 * (of.get(label) ?? 0)) / all)}`).join(', ')
  const [ofOld, ofFresh] = [total(row(before)), total(row(after))]
  const sides = {
    old: ofOld === 0 ? '–' : shown(before, ofOld),
    new: ofFresh === 0 ? '–' : shown(after, ofFresh),
  }
  // Rows of one request are not independent, so together they count as one request.
  const weigh = (row: readonly number[], { requests, errors }: Sample) =>
    row.map(count => count * Math.min(1, (requests - errors) / Math.max(1, total(row))))
  const [a, b] = [weigh(row(before), old), weigh(row(after), fresh)]
  const tested = Math.min(total(a), total(b)) < requests ? undefined : pearson(a, b)
  if (tested === undefined)
    return {
      check: 'predictions',
      ...sides,
      test: '–',
      effect: '–',
      p: undefined,
      verdict: 'too few',
    }
  const moved = distance(a, b)
  return {
    check: 'predictions',
    ...sides,
    test: 'Pearson’s χ², homogeneity',
    effect: `${percent(moved)} moved`,
    p: tested.p,
    verdict: tested.p < alpha && moved > drift ? 'worse' : 'same',
  }
}

/**
 * Compares gauges with the limits of the alerts. The new revision is worse if only it is above a
 * limit.
 */
function saturation(old: Sample, fresh: Sample): Check {
  const shown = ({ memory, lag }: Sample) =>
    [
      memory === undefined ? [] : `memory ${percent(memory)}`,
      lag === undefined ? [] : `lag ${milliseconds(lag)}`,
    ]
      .flat()
      .join(', ') || '–'
  const full = ({ memory = 0, lag = 0 }: Sample) => memory > MATTERS.memory || lag > MATTERS.lag
  const unknown = fresh.memory === undefined && fresh.lag === undefined
  return {
    check: 'saturation',
    old: shown(old),
    new: shown(fresh),
    test: 'limits of the alerts',
    effect: '–',
    p: undefined,
    verdict: unknown
      ? 'no data'
      : verdictOf({ better: full(old) && !full(fresh), worse: full(fresh) && !full(old) }),
  }
}

function verdictOf({ better, worse }: { better: boolean; worse: boolean }): Verdict {
  if (better) return 'better'
  return worse ? 'worse' : 'same'
}

const total = (row: readonly number[]) => row.reduce((sum, count) => sum + count, 0)
const percent = (share: number) => `${(100 * share).toFixed(2)} %`
const signed = (points: number) => `${points < 0 ? '−' : '+'}${Math.abs(points).toFixed(2)}`
const milliseconds = (seconds: number) => `${Number((1000 * seconds).toPrecision(3))} ms`
