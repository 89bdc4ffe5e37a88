/*
 * The first Knative version with each series of the rules and dashboards. Source: the code of
 * Serving at the tags knative-v1.19.0 to knative-v1.23.0, and of Eventing at knative-v1.19.0 to
 * knative-v1.22.0 and its module v0.50.0 (1.23).
 */

export interface Since {
  readonly part: 'Serving' | 'Eventing'
  /** The major and minor version, such as 1.19. */
  readonly version: string
}

const serving = (version: string): Since => ({ part: 'Serving', version })
const eventing = (version: string): Since => ({ part: 'Eventing', version })

export const KNATIVE_SERIES: Readonly<Record<string, Since>> = {
  kn_revision_pods_desired: serving('1.19'),
  kn_revision_pods_requested: serving('1.19'),
  kn_revision_pods_count: serving('1.19'),
  kn_revision_pods_not_ready_count: serving('1.19'),
  kn_revision_pods_pending_count: serving('1.19'),
  kn_revision_pods_terminating_count: serving('1.19'),
  kn_revision_concurrency_stable: serving('1.19'),
  kn_revision_concurrency_panic: serving('1.19'),
  kn_revision_concurrency_target: serving('1.19'),
  kn_revision_panic_mode: serving('1.19'),
  kn_revision_capacity_excess: serving('1.19'),
  // Earlier versions call them kn.queueproxy.app.duration and kn.queueproxy.depth.
  kn_serving_invocation_duration_seconds: serving('1.21'),
  kn_serving_queue_depth: serving('1.21'),
  kn_revision_request_queued: serving('1.22'),
  kn_eventing_dispatch_duration_seconds: eventing('1.19'),
}

/**
 * The versions of Knative's series in an expression.
 * @throws {Error} with the name of a series that is not in the list
 */
export function knativeSeries(expression: string): Since[] {
  // Removes labels: the text in braces, and the lists after by, on, without and ignoring.
  const bare = expression
    .replaceAll(/\{[^}]*\}/g, '{}')
    .replaceAll(/\b(?:by|on|without|ignoring)\s*\([^)]*\)/g, '')
  const names = [...bare.matchAll(/(?<![\w:])kn_\w+/g)].map(([name]) => name)
  return [...new Set(names)].map(name => {
    const since = KNATIVE_SERIES[name] ?? KNATIVE_SERIES[name.replace(/_(bucket|sum|count)$/, '')]
    if (since === undefined)
      throw new Error(
        `${name}: add the first Knative version with this series to monitoring/knative-series.ts`,
      )
    return since
  })
}

/**
 * The first version that has all the series, as `Knative Serving 1.22 or later`; undefined without
 * series.
 */
export function sinceAll(series: readonly Since[]): string | undefined {
  const [latest] = series.toSorted((a, b) => minor(b) - minor(a))
  return latest && `Knative ${latest.part} ${latest.version} or later`
}

export const minor = ({ version }: Since): number => Number(version.split('.')[1])
