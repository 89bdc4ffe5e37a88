import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Labels } from './prometheus.ts'

/*
 * A STAND-IN for what only a cluster has: Knative's autoscaler, activator, queue-proxy and Broker, and kube-state-metrics. It carries
 * their names and labels as they document them, and what the demo tells it. Nothing here is Knative's.
 */

interface Family {
  readonly type: 'gauge' | 'histogram'
  readonly labels: readonly string[]
  /** Whose it is. */
  readonly of: string
}

const REVISION = [
  'kn_service_name',
  'kn_configuration_name',
  'kn_revision_name',
  'k8s_namespace_name',
]

/** Knative Serving 1.23 and Eventing 1.22, by their sources; kube-state-metrics 2. */
const FAMILIES = {
  kn_revision_pods_desired: { type: 'gauge', labels: REVISION, of: 'autoscaler' },
  kn_revision_pods_requested: { type: 'gauge', labels: REVISION, of: 'autoscaler' },
  kn_revision_pods_count: { type: 'gauge', labels: REVISION, of: 'autoscaler' },
  kn_revision_pods_not_ready_count: { type: 'gauge', labels: REVISION, of: 'autoscaler' },
  kn_revision_pods_pending_count: { type: 'gauge', labels: REVISION, of: 'autoscaler' },
  kn_revision_pods_terminating_count: { type: 'gauge', labels: REVISION, of: 'autoscaler' },
  kn_revision_concurrency_stable: { type: 'gauge', labels: REVISION, of: 'autoscaler' },
  kn_revision_concurrency_panic: { type: 'gauge', labels: REVISION, of: 'autoscaler' },
  kn_revision_concurrency_target: { type: 'gauge', labels: REVISION, of: 'autoscaler' },
  kn_revision_panic_mode: { type: 'gauge', labels: REVISION, of: 'autoscaler' },
  kn_revision_capacity_excess: { type: 'gauge', labels: REVISION, of: 'autoscaler' },
  kn_revision_request_queued: {
    type: 'gauge',
    labels: ['kn_revision_name', 'k8s_namespace_name'],
    of: 'activator',
  },
  // As resource attributes that Prometheus promotes, where the queue-proxy pushes.
  kn_serving_invocation_duration_seconds: {
    type: 'histogram',
    labels: [...REVISION, 'http_response_status_code'],
    of: 'queue-proxy',
  },
  kn_serving_queue_depth: { type: 'gauge', labels: REVISION, of: 'queue-proxy' },
  kn_eventing_dispatch_duration_seconds: {
    type: 'histogram',
    labels: [
      'messaging_destination_name',
      'messaging_operation_name',
      'messaging_system',
      'cloudevents_type',
      'kn_broker_name',
      'kn_broker_namespace',
      'http_response_status_code',
      'url_scheme',
    ],
    of: 'Broker filter',
  },
  kube_pod_info: {
    type: 'gauge',
    labels: ['namespace', 'pod', 'node', 'created_by_kind'],
    of: 'kube-state-metrics',
  },
} as const satisfies Readonly<Record<string, Family>>

export type Name = keyof typeof FAMILIES
type NameOf<Type extends Family['type']> = {
  [N in Name]: (typeof FAMILIES)[N]['type'] extends Type ? N : never
}[Name]
type LabelsOf<N extends Name> = Readonly<Record<(typeof FAMILIES)[N]['labels'][number], string>>

/** The queue-proxy's; the Broker's begin and end as these do. */
export const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]

export interface StandIn {
  readonly address: string
  set<N extends NameOf<'gauge'>>(name: N, labels: LabelsOf<N>, value: number): void
  remove<N extends NameOf<'gauge'>>(name: N, labels: LabelsOf<N>): void
  observe<N extends NameOf<'histogram'>>(name: N, labels: LabelsOf<N>, seconds: number): void
  stop(): void
}

export async function startStandIn(): Promise<StandIn> {
  const gauges = new Map<string, number>()
  const histograms = new Map<
    string,
    { name: string; labels: Labels; counts: number[]; sum: number }
  >()
  const server = createServer((_, response) => {
    response.setHeader('content-type', 'text/plain; version=0.0.4; charset=utf-8').end(text())
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')

  function text(): string {
    const lines = Object.entries(FAMILIES).flatMap(([name, { type, of }]) => [
      `# HELP ${name} A stand-in for the ${of}.`,
      `# TYPE ${name} ${type}`,
      ...[...gauges]
        .filter(([key]) => key.startsWith(`${name}{`))
        .map(([key, value]) => `${key} ${value}`),
      ...[...histograms.values()]
        .filter(histogram => histogram.name === name)
        .flatMap(histogramLines),
    ])
    return `${lines.join('\n')}\n`
  }

  return {
    address: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    set: (name, labels, value) => void gauges.set(series(name, labels), value),
    remove: (name, labels) => void gauges.delete(series(name, labels)),
    observe(name, labels, seconds) {
      const key = series(name, labels)
      const histogram = histograms.get(key) ?? {
        name,
        labels,
        counts: new Array<number>(BUCKETS.length + 1).fill(0),
        sum: 0,
      }
      const bucket = BUCKETS.findIndex(bound => seconds <= bound)
      const at = bucket < 0 ? BUCKETS.length : bucket
      histogram.counts[at] = (histogram.counts[at] ?? 0) + 1
      histogram.sum += seconds
      histograms.set(key, histogram)
    },
    stop() {
      server.close()
      server.closeAllConnections()
    },
  }
}

const series = (name: string, labels: Labels) =>
  `${name}{${Object.entries(labels)
    .map(([label, value]) => `${label}="${value}"`)
    .join(',')}}`

function histogramLines({
  name,
  labels,
  counts,
  sum,
}: {
  name: string
  labels: Labels
  counts: number[]
  sum: number
}): string[] {
  let total = 0
  const buckets = [...BUCKETS, '+Inf'].map((le, i) => {
    total += counts[i] ?? 0
    return `${series(`${name}_bucket`, { ...labels, le: String(le) })} ${total}`
  })
  return [
    ...buckets,
    `${series(`${name}_sum`, labels)} ${sum}`,
    `${series(`${name}_count`, labels)} ${total}`,
  ]
}
