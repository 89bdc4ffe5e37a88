import type { Dashboard, Row } from './panels.ts'
import { chosen, grown, quantile, RATE } from './queries.ts'
import { MODEL, REVISION, SERVICE } from './variables.ts'

/*
 * Most of Knative's metrics have had these names since 1.19. `config-observability` must enable
 * them (docs/metrics.md).
 */

const KNATIVE = 'kn_service_name=~"$service", kn_revision_name=~"$revision"'
const ACTIVATOR = 'kn_revision_name=~"$revision"'

const PODS = `sum(kn_revision_pods_count{${KNATIVE}})`

/** All phases of a startup except the first response, which needs a request. */
const START = 'cold_start_seconds{phase!="first-answer"}'

/** How often each process started in the time range, at a new or a known address. */
const STARTS =
  '(changes(process_start_time_seconds[$__range]) + (min_over_time(process_start_time_seconds[$__range]) > bool $__from / 1000))'

const ATTENTION: Row = {
  title: 'Overview',
  panels: [
    {
      title: 'Wake-up from zero',
      description:
        'The steps of a wake-up, in order: requests wait at the activator, the autoscaler requests pods, the pods exist, their models are ready. If requests keep waiting and no model becomes ready, the wake-up has failed.',
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
        { expr: PODS, legend: 'pods existing' },
        { expr: `sum(${chosen('model_ready')}) or vector(0)`, legend: 'models ready' },
      ],
    },
    {
      title: 'Current pods',
      description: 'Number of existing pods, counted by the autoscaler.',
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
      title: 'Time at zero pods',
      description:
        'Share of the selected time range without any pod, which is what scale to zero saves.',
      draw: 'stat',
      unit: 'percentunit',
      width: 4,
      height: 4,
      thresholds: [[null, 'blue']],
      queries: [{ expr: `avg_over_time((${PODS} == bool 0)[$__range:])`, legend: 'time at zero' }],
    },
    {
      title: 'Process starts',
      description:
        'Number of processes that started in the selected time range. Processes that stopped before their first scrape are not counted.',
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
      description: 'Sum of the running times of all pods in the selected time range, in hours.',
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
      title: 'Longest startup',
      description:
        'The longest time from process start until the model accepted requests, in the selected time range. It does not include scheduling and pulling the image.',
      draw: 'stat',
      unit: 's',
      width: 4,
      height: 4,
      thresholds: [
        [null, 'green'],
        [1, 'yellow'],
        [3, 'red'],
      ],
      nothing: 'no process started',
      queries: [
        {
          expr: `max(sum by (job, instance) (${chosen(`max_over_time(${START}[$__range])`, { window: '$__range' })}))`,
          legend: 'longest startup',
        },
      ],
    },
    {
      title: '5xx responses at the queue-proxy',
      description:
        '5xx responses at the queue-proxy in the selected time range: those of the function (503 overloaded, 504 deadline passed), and those for a pod that stopped or did not respond.',
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
  title: 'Startup time',
  panels: [
    {
      title: 'Startup phases',
      description:
        'The longest duration of each phase in the selected time range. process and import: Node starts; session: ONNX Runtime loads the model; warm-up: the first run; first-answer: the first request.',
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
      title: 'Startup time of each process',
      description: 'Time from process start until the model accepted requests.',
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
        'Concurrent requests per pod, averaged over the stable window (60 s) and the panic window (6 s), and the autoscaler’s target. Above the target, the autoscaler adds pods.',
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
        'pending: the pod waits for capacity in the cluster; not ready: its model does not accept requests yet; terminating: the pod completes its requests.',
      draw: 'stacked',
      unit: 'none',
      width: 12,
      queries: ['not_ready', 'pending', 'terminating'].map(state => ({
        expr: `sum(kn_revision_pods_${state}_count{${KNATIVE}})`,
        legend: state.replace('_', ' '),
      })),
    },
    {
      title: 'Panic mode',
      description:
        'Times at which the panic window required twice the existing pods. In panic mode, the autoscaler only adds pods.',
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
      title: 'Excess burst capacity',
      description:
        'Number of additional concurrent requests that the existing pods can accept. Below zero, requests pass through the activator, which queues the excess.',
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
  title: 'Queue-proxy',
  panels: [
    {
      title: 'Response time at the queue-proxy and in the function',
      description:
        '95th percentiles of the response time. The difference is the wait for containerConcurrency and the transfer between the queue-proxy and the function.',
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
      title: 'Requests waiting at the queue-proxy',
      description: 'Number of requests that wait because of containerConcurrency, by revision.',
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
  description: 'Wake-ups from zero pods, startup times, and the pod time that scale to zero saves.',
  variables: [SERVICE, REVISION, MODEL],
  rows: [ATTENTION, START_ROW, AUTOSCALER, WAY],
}
