import {
  createMetrics,
  DEAD_LETTER_METRICS,
  type Declaration,
  METRICS,
} from '../../../function/telemetry/metrics.ts'
import { parsePromQL } from './promql.ts'

type Labels = Readonly<Record<string, readonly string[] | undefined>>

/** Prometheus adds these to each target: monitoring/prometheus/*.yml and operator/. */
const OF_THE_TARGET: Labels = labels(
  'job',
  'instance',
  'namespace',
  'pod',
  'container',
  'endpoint',
  'service',
  'revision',
)

const REVISION = [
  'k8s_namespace_name',
  'kn_service_name',
  'kn_configuration_name',
  'kn_revision_name',
]
const HTTP = ['http_request_method', 'http_response_status_code', 'kn_route_tag', 'url_scheme']
const DISPATCH = [
  'cloudevents_type',
  'http_response_status_code',
  'kn_broker_name',
  'kn_broker_namespace',
  'messaging_destination_name',
]

/**
 * Knative Serving 1.23 and Eventing 1.22 (from their source code, by OpenTelemetry name),
 * kube-state-metrics 2 and Prometheus itself.
 */
const OF_OTHERS: Readonly<Record<string, readonly string[]>> = {
  up: [],
  ALERTS: ['alertname', 'alertstate', 'severity', 'reason', 'version'],
  kube_pod_info: ['node', 'created_by_kind', 'created_by_name', 'host_ip', 'pod_ip', 'uid'],
  ...Object.fromEntries(
    [
      ...[
        'desired',
        'requested',
        'count',
        'not_ready_count',
        'pending_count',
        'terminating_count',
      ].map(what => `pods_${what}`),
      ...['concurrency_stable', 'concurrency_panic', 'concurrency_target'],
      ...[
        'rps_stable_per_second',
        'rps_panic_per_second',
        'rps_target_per_second',
        'panic_mode',
        'capacity_excess',
      ],
      'request_concurrency',
    ].map(name => [`kn_revision_${name}`, REVISION]),
  ),
  kn_revision_request_queued: ['k8s_namespace_name', 'kn_revision_name'],
  kn_revision_request_active: ['k8s_namespace_name', 'kn_revision_name'],
  kn_serving_queue_depth: REVISION,
  ...histogram('kn_serving_invocation_duration_seconds', [
    ...REVISION,
    'http_response_status_code',
  ]),
  ...histogram('http_server_request_duration_seconds', [...REVISION, ...HTTP]),
  ...histogram('kn_eventing_dispatch_duration_seconds', [
    ...DISPATCH,
    'messaging_operation_name',
    'messaging_system',
    'url_scheme',
  ]),
}

function histogram(name: string, labels: readonly string[]) {
  return {
    [`${name}_bucket`]: [...labels, 'le'],
    [`${name}_sum`]: labels,
    [`${name}_count`]: labels,
  }
}

function labels(...names: readonly string[]): Labels {
  return Object.fromEntries(names.map(name => [name, undefined]))
}

export interface Recorded {
  readonly record: string
  readonly expr: string
}

export async function knownSeries(
  recorded: readonly Recorded[],
): Promise<ReadonlyMap<string, Labels>> {
  const known = new Map<string, Labels>()
  const add = (name: string, own: Labels) => known.set(name, { ...OF_THE_TARGET, ...own })
  for (const name of await processMetrics()) add(name, {})
  for (const [name, declaration] of Object.entries<Declaration>({
    ...METRICS,
    ...DEAD_LETTER_METRICS,
  })) {
    const own = Object.fromEntries(
      Object.entries(declaration.labels).map(([label, values]) => [label, valuesIn(values)]),
    )
    if (declaration.type !== 'histogram') add(name, own)
    else
      for (const [part, its] of Object.entries(histogram(name, [])))
        add(part, { ...own, ...labels(...its) })
  }
  for (const [name, own] of Object.entries(OF_OTHERS)) add(name, labels(...own))
  // A recorded series has at most the labels of its sources.
  const left = new Set(recorded)
  for (let before = -1; left.size !== before; ) {
    before = left.size
    for (const rule of left) {
      const of = parsePromQL(rule.expr).selectors.map(({ name }) => known.get(name))
      if (of.includes(undefined)) continue
      add(rule.record, Object.assign({}, ...of))
      left.delete(rule)
    }
  }
  return known
}

const valuesIn = (values: readonly string[] | string) =>
  typeof values === 'string' ? undefined : values

async function processMetrics(): Promise<string[]> {
  const source = {
    model: '',
    version: '',
    labels: [],
    service: '',
    revision: '',
    functionVersion: '',
  }
  const text = await createMetrics(source, () => ({
    queuedRows: 0,
    ready: true,
    batching: { joins: true, reason: 'proven' },
  })).text()
  return [...text.matchAll(/^# TYPE ((?:process|nodejs)_\S+)/gm)].map(([, name]) => name as string)
}

export function unknownIn(expression: string, known: ReadonlyMap<string, Labels>): string[] {
  const { selectors, grouping } = parsePromQL(expression)
  const all = selectors.map(({ name }) => known.get(name))
  return [
    ...selectors.flatMap(({ name, matchers }) => {
      const its = known.get(name)
      if (its === undefined) return [`there is no series ${name}`]
      return matchers.flatMap(({ label, operator, value }) => {
        if (!(label in its)) return [`${name} has no label ${label}`]
        const values = its[label]
        const isOne = operator === '=' || operator === '!='
        return values === undefined || !isOne || value.startsWith('$') || values.includes(value)
          ? []
          : [`${name} has no ${label}="${value}"`]
      })
    }),
    ...grouping
      .filter(label => !all.some(its => its !== undefined && label in its))
      .map(label => `no series here has the label ${label}`),
  ]
}
