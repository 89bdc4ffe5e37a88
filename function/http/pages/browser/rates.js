/**
 * Reads the counts from the metrics, summed over all labels.
 * @param {string} text metrics in Prometheus' format
 * @param {number} at the time of the request, in seconds
 * @typedef {{ at: number, started: number, requests: number, errors: number, seconds: number,
 *   buckets: Map<number, number> }} Sample
 * @returns {Sample}
 */
export function readSample(text, at) {
  const sample = { at, started: 0, requests: 0, errors: 0, seconds: 0, buckets: new Map() }
  for (const [, name, labels = '', written] of text.matchAll(/^(\w+)(\{.*\})? (\S+)$/gm)) {
    const value = Number(written)
    if (name === 'process_start_time_seconds') sample.started = value
    else if (name === 'inference_requests_total') {
      sample.requests += value
      if (labels.includes('status="error"')) sample.errors += value
    } else if (name === 'inference_request_duration_seconds_sum') sample.seconds += value
    else if (name === 'inference_request_duration_seconds_bucket') {
      const bound = /[{,]le="([^"]*)"/.exec(labels)?.[1]
      const le = bound === '+Inf' ? Number.POSITIVE_INFINITY : Number(bound)
      sample.buckets.set(le, (sample.buckets.get(le) ?? 0) + value)
    }
  }
  return sample
}

/** Whether both samples are from the same process. Another process starts its own counters. */
export const follows = (before, after) =>
  before.started === after.started && before.requests <= after.requests

/**
 * Calculates the rates between two samples of one process. A latency is undefined if no request was
 * answered.
 * @param {Sample} from
 * @param {Sample} to
 */
export function ratesBetween(from, to) {
  const seconds = to.at - from.at
  const requests = to.requests - from.requests
  return {
    perSecond: requests / seconds,
    errorsPerSecond: (to.errors - from.errors) / seconds,
    mean: requests === 0 ? undefined : (to.seconds - from.seconds) / requests,
    p95: quantile(0.95, from.buckets, to.buckets),
  }
}

/**
 * Estimates a quantile like Prometheus' histogram_quantile: linear within a bucket, and at most the
 * last bound.
 */
function quantile(share, from, to) {
  const buckets = [...to]
    .map(([le, count]) => ({ le, count: count - (from.get(le) ?? 0) }))
    .sort((a, b) => a.le - b.le)
  const rank = share * (buckets.at(-1)?.count ?? 0)
  if (rank === 0) return undefined
  const i = buckets.findIndex(({ count }) => count >= rank)
  const below = buckets[i - 1] ?? { le: 0, count: 0 }
  const { le, count } = buckets[i]
  return le === Number.POSITIVE_INFINITY
    ? below.le
    : below.le + (le - below.le) * ((rank - below.count) / (count - below.count))
}
