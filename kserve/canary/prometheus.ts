import type { Sample } from './compare.ts'
import type { Look } from './decide.ts'

export class PrometheusError extends Error {}

const TIMEOUT_MS = 10_000

type Series = {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [number, string]
}

async function query(url: string, expression: string, at: Date): Promise<Series[]> {
  const address = new URL('api/v1/query', url.endsWith('/') ? url : `${url}/`)
  address.search = new URLSearchParams({
    query: expression,
    time: String(at.getTime() / 1000),
  }).toString()
  const answer = await fetch(address, { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(
    (error: Error) => {
      throw new PrometheusError(
        `Prometheus at ${url} does not respond: ${(error.cause as Error | undefined)?.message ?? error.message}`,
      )
    },
  )
  const body = (await answer.json().catch(() => undefined)) as
    | { data?: { result: Series[] }; error?: string }
    | undefined
  if (!answer.ok || body?.data === undefined) {
    throw new PrometheusError(
      `Prometheus at ${url} responded with status ${answer.status}: ${body?.error ?? 'the body is not a Prometheus API response'}`,
    )
  }
  return body.data.result
}

/**
 * The counts of one revision from the start of the step until the look.
 * @param series PromQL matchers of the revision
 * @throws {PrometheusError}
 */
export async function sample(url: string, series: string, { at, seconds }: Look): Promise<Sample> {
  const ask = (expression: string) => query(url, expression, at)
  // Uses each pod's scraped counters, because increase() extrapolates to the ends of the window,
  // and a statistical test needs real counts. If a counter was reset, max - min counts only part of
  // its requests.
  const counted = async (metric: string, by: string) => {
    const range = `${metric}{${series}}[${seconds}s]`
    const found = await ask(`sum by (${by}) (max_over_time(${range}) - min_over_time(${range}))`)
    return new Map(
      found.map(({ metric, value }): [string, number] => [metric[by] ?? '', Number(value[1])]),
    )
  }
  const gauge = async (expression: string) => {
    const [found] = await ask(expression)
    return found === undefined ? undefined : Number(found.value[1])
  }
  const recent = Math.min(seconds, 300)
  const [statuses, buckets, labels, memory, lag] = await Promise.all([
    counted('inference_requests_total', 'status'),
    counted('inference_request_duration_seconds_bucket', 'le'),
    counted('inference_predictions_total', 'label'),
    gauge(
      `max(max by (pod) (max_over_time(process_resident_memory_bytes{${series}}[${recent}s])) / max by (pod) (max_over_time(function_memory_limit_bytes{${series}}[${recent}s])))`,
    ),
    gauge(`max(avg_over_time(nodejs_eventloop_lag_p99_seconds{${series}}[${recent}s]))`),
  ])
  return {
    requests: [...statuses.values()].reduce((sum, count) => sum + count, 0),
    errors: statuses.get('error') ?? 0,
    durations: [...buckets]
      .map(([bound, count]) => [bound === '+Inf' ? Infinity : Number(bound), count] as const)
      .sort(([a], [b]) => a - b),
    predictions: labels.size === 0 ? undefined : labels,
    memory,
    lag,
  }
}
