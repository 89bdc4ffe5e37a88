import type { Dashboard, Row } from './panels.ts'
import { chosen, grown, quantile, RATE } from './queries.ts'
import { MODEL, REVISION, SERVICE } from './variables.ts'

/*
 * Most of Knative's own metrics have had these names since 1.19. `config-observability` must enable
 * them (docs/metrics.md).
 */

const KNATIVE = 'kn_service_name=~"$service", kn_revision_name=~"$revision"'
/** The activator's series have no service label. */
const ACTIVATOR = 'kn_revision_name=~"$revision"'

const PODS = `sum(kn_revision_pods_count{${KNATIVE}})`

/** All phases of a start except the first answer, which needs a request. */
const START = 'cold_start_seconds{phase!="first-answer"}'

/** Starts of each process in the time shown, at a new address or again at a known one. */
const STARTS =
  '(changes(process_start_time_seconds[$__range]) + (min_over_time(process_start_time_seconds[$__range]) > bool $__from / 1000))'

const ATTENTION: Row = {
  title: 'At a glance',
  panels: [
    {
      title: 'Did it wake?',
      description:
        'The steps of a start, from top to bottom: requests wait at the activator, the autoscaler wants pods, the pods exist, their models are ready. If requests keep waiting and no model gets ready, the start has failed.',
      draw: 'steps',
      unit: 'none',
      width: 16,
      height: 12,
      queries: [
        {
          expr: `sum(kn_revision_request_queued{${ACTIVATOR}})`,
          legend: 'requests waiting at the activator',
        },
        { expr: `sum(kn_revision_pods_desired{${KNATIVE}})`, legend: 'pods desired' },
        { expr: PODS, legend: 'pods there' },
        { expr: `sum(${chosen('model_ready')}) or vector(0)`, legend: 'models ready' },
      ],
    },
    {
      title: 'Awake now',
      description: 'Existing pods, counted by the autoscaler.',
      draw: 'stat',
      unit: 'none',
      width: 4,
      height: 4,
      thresholds: [
        [null, 'blue'],
        [1, 'green'],
      ],
      queries: [{ expr: `${PODS} or vector(0)`, legend: 'pods' }],
    },
    {
      title: 'Asleep',
      description: 'Share of the time shown without any pod: the saving from scale to zero.',
      draw: 'stat',
      unit: 'percentunit',
      width: 4,
      height: 4,
      thresholds: [[null, 'blue']],
      queries: [{ expr: `avg_over_time((${PODS} == bool 0)[$__range:])`, legend: 'asleep' }],
    },
    {
      title: 'Starts',
      description:
        'Processes that started in the time shown and lived until a scrape. Shorter ones are not counted.',
      draw: 'stat',
      unit: 'none',
      width: 4,
      height: 4,
      thresholds: [[null, 'blue']],
      queries: [
        {
          expr: `sum(${chosen(STARTS, { window: '$__range' })}) or vector(0)`,
          legend: 'starts',
        },
      ],
    },
    {
      title: 'Pod hours',
      description: 'Pod time used in the time shown, in hours.',
      draw: 'stat',
      unit: 'h',
      width: 4,
      height: 4,
      thresholds: [[null, 'blue']],
      queries: [
        {
          expr: `avg_over_time((${PODS} or vector(0))[$__range:]) * $__range_s / 3600`,
          legend: 'pod hours',
        },
      ],
    },
    {
      title: 'Longest start',
      description:
        'The longest time from process start to a model that accepts requests, in the time shown. Scheduling and pulling the image are not included.',
      draw: 'stat',
      unit: 's',
      width: 4,
      height: 4,
      thresholds: [
        [null, 'green'],
        [1, 'yellow'],
        [3, 'red'],
      ],
      nothing: 'no start',
      queries: [
        {
          expr: `max(sum by (job, instance) (${chosen(`max_over_time(${START}[$__range])`, { window: '$__range' })}))`,
          legend: 'longest start',
        },
      ],
    },
    {
      title: 'Failed on the way',
      description:
        '5xx answers at the queue-proxy in the time shown: the function’s own (503 overloaded, 504 deadline passed), and those for a pod that ended or did not answer.',
      draw: 'stat',
      unit: 'none',
      width: 4,
      height: 4,
      thresholds: [
        [null, 'green'],
        [1, 'red'],
      ],
      queries: [
        {
          expr: `sum(${grown(`kn_serving_invocation_duration_seconds_count{${KNATIVE}, http_response_status_code=~"5.."}`)}) or vector(0)`,
          legend: 'requests',
        },
      ],
    },
  ],
}

const START_ROW: Row = {
  title: 'Time of a start',
  panels: [
    {
      title: 'Phases of the start',
      description:
        'The longest of each phase in the time shown. process and import: Node; session: ONNX Runtime loads the model; warm-up: the first run; first-answer: the first request.',
      draw: 'bars',
      unit: 's',
      width: 12,
      thresholds: [
        [null, 'green'],
        [0.5, 'yellow'],
        [2, 'red'],
      ],
      queries: [
        {
          expr: `sort_desc(max by (phase) (${chosen('max_over_time(cold_start_seconds[$__range])', { window: '$__range' })}))`,
          legend: '{{phase}}',
        },
      ],
    },
    {
      title: 'Start of each process',
      description: 'Time from process start to a model that accepts requests.',
      draw: 'lines',
      unit: 's',
      width: 12,
      queries: [
        {
          expr: `sum by (instance, revision) (${chosen(START)})`,
          legend: '{{revision}} {{instance}}',
        },
      ],
    },
  ],
}

const AUTOSCALER: Row = {
  title: 'Autoscaler',
  panels: [
    {
      title: 'Concurrency and target',
      description:
        'Concurrent requests per pod over the stable window (60 s) and the panic window (6 s), and the autoscaler’s target. Above the target, pods are added.',
      draw: 'lines',
      unit: 'none',
      width: 12,
      queries: ['stable', 'panic', 'target'].map(kind => ({
        expr: `max by (kn_revision_name) (kn_revision_concurrency_${kind}{${KNATIVE}})`,
        legend: `{{kn_revision_name}} ${kind}`,
      })),
    },
    {
      title: 'Pods by state',
      description:
        'pending: waits for room in the cluster; not ready: its model does not accept requests yet; terminating: finishes its requests.',
      draw: 'stacked',
      unit: 'none',
      width: 12,
      queries: ['not_ready', 'pending', 'terminating'].map(state => ({
        expr: `sum(kn_revision_pods_${state}_count{${KNATIVE}})`,
        legend: state.replace('_', ' '),
      })),
    },
    {
      title: 'Panic',
      description:
        'Times at which the panic window wanted twice the existing pods; then pods are only added.',
      draw: 'timeline',
      unit: 'none',
      width: 12,
      height: 5,
      thresholds: [
        [null, 'green'],
        [1, 'red'],
      ],
      queries: [
        {
          expr: `max by (kn_revision_name) (kn_revision_panic_mode{${KNATIVE}})`,
          legend: '{{kn_revision_name}}',
        },
      ],
    },
    {
      title: 'Room for a burst',
      description:
        'Further concurrent requests that the existing pods can accept. Below zero, the activator stays on the path and holds the excess.',
      draw: 'lines',
      unit: 'none',
      width: 12,
      height: 5,
      queries: [
        {
          expr: `min by (kn_revision_name) (kn_revision_capacity_excess{${KNATIVE}})`,
          legend: '{{kn_revision_name}}',
        },
      ],
    },
  ],
}

const WAY: Row = {
  title: 'On the way to the function',
  panels: [
    {
      title: 'Time at the queue-proxy, and in the function',
      description:
        '95th percentiles. The difference is the wait for containerConcurrency and the transfer between the two.',
      draw: 'lines',
      unit: 's',
      width: 12,
      queries: [
        {
          expr: `histogram_quantile(0.95, sum by (le) (rate(kn_serving_invocation_duration_seconds_bucket{${KNATIVE}}[${RATE}])))`,
          legend: 'queue-proxy',
        },
        { expr: quantile(0.95, 'le'), legend: 'function' },
      ],
    },
    {
      title: 'Waiting at the queue-proxy',
      description: 'Requests above containerConcurrency, by revision.',
      draw: 'lines',
      unit: 'none',
      width: 12,
      queries: [
        {
          expr: `sum by (kn_revision_name) (kn_serving_queue_depth{${KNATIVE}})`,
          legend: '{{kn_revision_name}}',
        },
      ],
    },
  ],
}

export const scaleToZero: Dashboard = {
  uid: 'onnx-function-scale-to-zero',
  title: 'Scale to zero',
  description: 'Did it wake, how long did that take, and what did sleeping save?',
  variables: [SERVICE, REVISION, MODEL],
  rows: [ATTENTION, START_ROW, AUTOSCALER, WAY],
}
