import { METRICS } from '../../function/telemetry/metrics.ts'
import { type Labels, SCRAPE_SECONDS } from './prometheus.ts'
import { type Moment, type Recorded, windowOf } from './scenario.ts'
import type { Observation } from './traffic.ts'

/* Derives the expected result of a query only from recorded observations. */

export type Range = readonly [least: number, most: number]

export interface Expected {
  readonly by: readonly string[]
  /**
   * The ranges by the values of the labels, joined with a space. Every other series must be 0 or
   * NaN.
   */
  readonly is: Readonly<Record<string, Range>>
  readonly may?: Readonly<Record<string, Range>>
  readonly others?: Range
}

export type Derive = (model: Model, at: Moment) => Expected
/** A number or a range is the value of a single series without labels. */
export type Cell = number | Range | Expected | Derive
export type Row = Readonly<Partial<Record<Moment, Cell>>> & { readonly variables?: Labels }

export interface Model {
  readonly recorded: Recorded
  readonly observations: readonly Observation[]
}

/** @param relabel converts an observation's labels to those that the queries see */
export const modelOf = (recorded: Recorded, relabel: (labels: Labels) => Labels): Model => ({
  recorded,
  observations: recorded.observations.map(one => ({ ...one, labels: relabel(one.labels) })),
})

export function resolve(cell: Cell, model: Model, at: Moment): Expected {
  if (typeof cell === 'number') return one(exactly(cell))
  if (typeof cell === 'function') return cell(model, at)
  return 'is' in cell ? cell : one(cell)
}

const one = (range: Range | undefined): Expected => ({ by: [], is: range ? { '': range } : {} })
export const NOTHING = one(undefined)

export const series = (by: string, values: Readonly<Record<string, number | Range>>): Expected => ({
  by: by.split(' '),
  is: mapValues(values, value => (typeof value === 'number' ? exactly(value) : value)),
})

/** All values in the demo are at least 0. */
export const near = (value: number, share = 0.1, more = 0): Range => [
  Math.max(0, value * (1 - share) - more),
  value * (1 + share) + more,
]
export const exactly = (value: number): Range => near(value, 1e-6, 1e-9)

/**
 * Computes a value from the observations in the `seconds` before `end`; undefined without
 * observations.
 */
export type Measure = (
  observations: readonly Observation[],
  end: number,
  seconds: number,
) => Range | undefined

/** @param over the query's window in seconds; default: the dashboards' window */
export const all =
  (measure: Measure, where: Labels = {}, over?: number): Derive =>
  ({ recorded, observations }, at) =>
    one(measure(select(observations, where), recorded.moments[at], over ?? windowOf(recorded)))

/** A value for each group that these labels form, if it has observations in the window. */
export const by =
  (labels: string, measure: Measure, where: Labels = {}, over?: number): Derive =>
  ({ recorded, observations }, at) => {
    const names = labels.split(' ')
    const [end, seconds] = [recorded.moments[at], over ?? windowOf(recorded)]
    const groups = Object.groupBy(select(observations, where), one => keyOf(one.labels, names))
    const is = Object.entries(groups).flatMap(([key, list = []]) => {
      const range = within(list, end, seconds).length > 0 && measure(list, end, seconds)
      return range ? [[key, range] as const] : []
    })
    return { by: names, is: Object.fromEntries(is) }
  }

export const withOthers =
  (others: Range, derive: Derive): Derive =>
  (model, at) => ({ ...derive(model, at), others })

/** Series fire if their range is above the threshold, and may fire if it includes the threshold. */
export const above =
  (threshold: number, derive: Derive): Derive =>
  (model, at) => {
    const { by, is } = derive(model, at)
    const beyond = (bound: 0 | 1) =>
      Object.fromEntries(Object.entries(is).filter(([, range]) => range[bound] > threshold))
    return { by, is: beyond(0), may: beyond(1) }
  }

export const select = (observations: readonly Observation[], where: Labels) => {
  const labels = Object.entries({ stream: 'requests', ...where })
  return observations.filter(one => labels.every(([name, value]) => one.labels[name] === value))
}
/** Replaces a label that a series does not have. */
export const NO_LABEL = '–'
const keyOf = (labels: Labels, names: readonly string[]) =>
  names.map(name => labels[name] ?? NO_LABEL).join(' ')
export const within = (list: readonly Observation[], end: number, seconds: number) =>
  list.filter(({ at }) => at <= end && at > end - seconds)
export const countOf = (list: readonly Observation[]) =>
  list.reduce((sum, { count }) => sum + count, 0)

const DELAYS = [0, 0.5, 1, 1.5]

/**
 * The range of the value over all windows that Prometheus may use: scrapes are late and discrete.
 */
function hull(
  [end, seconds]: readonly [number, number],
  value: (end: number, seconds: number) => number,
): Range | undefined {
  const values = DELAYS.flatMap(delay =>
    [0, 1].map(less => value(end - delay * SCRAPE_SECONDS, seconds - less * SCRAPE_SECONDS)),
  ).filter(value => !Number.isNaN(value))
  return values.length === 0 ? undefined : [Math.min(...values), Math.max(...values)]
}

const widened = ([least, most]: Range, share: number, more: number): Range =>
  most === 0 ? exactly(0) : [near(least, share, more)[0], near(most, share, more)[1]]

/** `rate()` extrapolates to the ends of the window. */
export const rate: Measure = (list, end, seconds) => {
  const found = hull([end, seconds], (...window) => countOf(within(list, ...window)) / window[1])
  const seen = within(list, end, seconds + 2 * SCRAPE_SECONDS)
  const largest = Math.max(0, ...seen.map(({ count }) => count))
  return found && widened(found, 0.12, Math.max(3, largest) / seconds)
}

/** `increase()` is `rate()` times the window. */
export const increase: Measure = (list, end, seconds) => {
  const [least, most] = rate(list, end, seconds) ?? [0, 0]
  return [least * seconds, most * seconds]
}
/** A counter's growth without extrapolation, or a number of processes. */
export const total: Measure = (...window) => exactly(countOf(within(...window)))

/** The share of observations with these labels. @param scale 100 for percent */
export const share =
  (part: Labels, scale = 1): Measure =>
  (list, end, seconds) => {
    const parts = select(list, part)
    const found = hull(
      [end, seconds],
      (...window) => countOf(within(parts, ...window)) / countOf(within(list, ...window)),
    )
    return found && widened([scale * found[0], scale * found[1]], 0.1, scale * 0.02)
  }

export const upperBound = (
  seconds: number,
  bounds: readonly number[] = METRICS.inference_request_duration_seconds.buckets,
) => bounds.find(bound => seconds <= bound) ?? Number.POSITIVE_INFINITY

export function quantileOf(list: readonly Observation[], q: number): number {
  const seconds = list.map(one => one.seconds).sort((a, b) => a - b)
  return seconds[Math.min(seconds.length - 1, Math.floor(q * seconds.length))] ?? Number.NaN
}

/**
 * The function's time is part of the client's, so its quantile is in the client's bucket or a lower
 * one. The function counts a response before the client receives it, so the measure includes the
 * client's next response.
 */
export const quantile =
  (q: number, least = 1e-5): Measure =>
  (list, end, seconds) => {
    const found = within(list, end + SCRAPE_SECONDS, seconds + SCRAPE_SECONDS)
    if (found.length === 0) return undefined
    return [least, upperBound(quantileOf(found, q + 1 / found.length))]
  }

/** A range: at least `least`, and at most the time measured from outside the process. */
export const longest: Measure = (...window) => {
  const found = within(...window)
  return [
    Math.max(...found.map(({ least = 1e-5 }) => least)),
    Math.max(...found.map(({ seconds }) => seconds)),
  ]
}

export const gauge =
  (tolerance: number, more = 0): Measure =>
  (...window) =>
    near(within(...window).at(-1)?.count ?? Number.NaN, tolerance, more)

export const mapValues = <V, W>(
  values: Readonly<Record<string, V>>,
  f: (value: V) => W,
): Record<string, W> =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [key, f(value)]))
