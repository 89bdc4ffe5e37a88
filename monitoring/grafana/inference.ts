import type { Dashboard, Row, Thresholds } from './panels.ts'
import { chosen, errorShare, failureShare, grown, quantile, RATE, requests } from './queries.ts'
import { MODEL, REVISION, SERVICE } from './variables.ts'

const SHARE_OF_ERRORS: Thresholds = [
  [null, 'green'],
  [0.01, 'yellow'],
  [0.05, 'red'],
]
const ANY_IS_BAD: Thresholds = [
  [null, 'green'],
  [1, 'red'],
]

const ATTENTION: Row = {
  title: 'At a glance',
  panels: [
    {
      title: 'Is it up?',
      description:
        'Processes whose model accepts requests, and processes that still load it or drain. If both are 0, the service sleeps, which is normal.',
      draw: 'stat',
      unit: 'none',
      width: 4,
      queries: [
        {
          expr: `sum(${chosen('model_ready')}) or vector(0)`,
          legend: 'ready',
          thresholds: [
            [null, 'blue'],
            [1, 'green'],
          ],
        },
        {
          expr: `count((${chosen('model_ready')}) == 0) or vector(0)`,
          legend: 'not ready',
          thresholds: ANY_IS_BAD,
        },
      ],
    },
    {
      title: 'How fast?',
      description:
        '95 % of successful answers took at most this long, from the request’s arrival in the function. Waking is not included: see Scale to zero.',
      draw: 'stat',
      unit: 's',
      width: 4,
      thresholds: [
        [null, 'green'],
        [0.1, 'yellow'],
        [0.5, 'red'],
      ],
      nothing: 'no requests',
      queries: [{ expr: quantile(0.95, 'le'), legend: '95th percentile' }],
    },
    {
      title: 'How often wrong?',
      description:
        'Errors: share of all answers, including errors of callers. Failures: share of requests that failed through no fault of the caller. The objective is at most 0.5 % failures.',
      draw: 'stat',
      unit: 'percentunit',
      width: 4,
      nothing: 'no requests',
      queries: [
        { expr: errorShare(), legend: 'errors', thresholds: SHARE_OF_ERRORS },
        {
          expr: failureShare(),
          legend: 'failures',
          thresholds: [
            [null, 'green'],
            [0.005, 'yellow'],
            [0.03, 'red'],
          ],
        },
      ],
    },
    {
      title: 'How many?',
      description: 'Answered requests and events a second.',
      draw: 'stat',
      unit: 'reqps',
      width: 4,
      thresholds: [[null, 'blue']],
      queries: [{ expr: `sum(${chosen(requests())}) or vector(0)`, legend: 'answered' }],
    },
    {
      title: 'How many turned away?',
      description:
        'Requests a second that were rejected without a run: 503 overloaded or not ready, 504 deadline passed, 413 too large. Callers may retry most of them.',
      draw: 'stat',
      unit: 'reqps',
      width: 4,
      thresholds: [
        [null, 'green'],
        [0.1, 'yellow'],
        [1, 'red'],
      ],
      queries: [
        {
          expr: `sum(${chosen(`rate(inference_rejected_total[${RATE}])`)}) or vector(0)`,
          legend: 'turned away',
        },
      ],
    },
    {
      title: 'What fires?',
      description:
        'Alerts of monitoring/prometheus/rules that fire now. docs/runbook.md has a section for each.',
      draw: 'stat',
      unit: 'none',
      width: 4,
      thresholds: ANY_IS_BAD,
      queries: [{ expr: 'count(ALERTS{alertstate="firing"}) or vector(0)', legend: 'firing' }],
    },
    {
      title: 'Alerts',
      description: 'The times at which each alert fired.',
      draw: 'timeline',
      unit: 'none',
      width: 24,
      height: 6,
      nothing: 'none fired',
      thresholds: ANY_IS_BAD,
      queries: [
        { expr: 'max by (alertname) (ALERTS{alertstate="firing"})', legend: '{{alertname}}' },
      ],
    },
  ],
}

const TRAFFIC: Row = {
  title: 'Requests',
  panels: [
    {
      title: 'Requests by answer',
      description: 'Answers a second, by protocol and status.',
      draw: 'stacked',
      unit: 'reqps',
      width: 12,
      queries: [
        {
          expr: `sum by (protocol, status) (${chosen(requests())})`,
          legend: '{{protocol}}, {{status}}',
        },
      ],
    },
    {
      title: 'Errors by revision',
      description: 'Share of each revision’s requests with an error.',
      draw: 'lines',
      unit: 'percentunit',
      width: 12,
      thresholds: SHARE_OF_ERRORS,
      queries: [{ expr: errorShare('by (revision) '), legend: '{{revision}}' }],
    },
    {
      title: 'Time to the answer',
      description:
        'Of successful requests, from arrival to answer, including the wait for other runs.',
      draw: 'lines',
      unit: 's',
      width: 12,
      queries: [0.5, 0.95, 0.99].map(share => ({
        expr: quantile(share, 'le'),
        legend: `${share * 100}th percentile`,
      })),
    },
    {
      title: 'Times to the answer',
      description:
        'Number of requests by duration. Two bands mean two kinds of requests, or of pods.',
      draw: 'heatmap',
      unit: 's',
      width: 12,
      queries: [
        {
          expr: `sum by (le) (${chosen(`increase(inference_request_duration_seconds_bucket{model=~"$model", status="success"}[${RATE}])`)})`,
          legend: '{{le}}',
        },
      ],
    },
  ],
}

const LOAD: Row = {
  title: 'Load',
  panels: [
    {
      title: 'Waiting, and in flight',
      description:
        'Rows waiting for a run, and unanswered requests. Rows that keep waiting exceed the pods’ capacity.',
      draw: 'lines',
      unit: 'none',
      width: 6,
      queries: [
        { expr: `sum(${chosen('inference_queue_rows')})`, legend: 'rows waiting' },
        { expr: `sum(${chosen('inference_requests_in_flight')})`, legend: 'requests in flight' },
      ],
    },
    {
      title: 'Rows a run',
      description:
        'Waiting requests share a run: more rows in each run mean more throughput in the same time.',
      draw: 'lines',
      unit: 'none',
      width: 6,
      queries: [
        {
          expr: `sum(${chosen(`rate(inference_batch_rows_sum[${RATE}])`)}) / sum(${chosen(`rate(inference_batch_rows_count[${RATE}])`)})`,
          legend: 'mean',
        },
        {
          expr: `histogram_quantile(0.95, sum by (le) (${chosen(`rate(inference_batch_rows_bucket[${RATE}])`)}))`,
          legend: '95th percentile',
        },
      ],
    },
    {
      title: 'Turned away, by reason',
      description:
        'overloaded: more rows waited than MAX_QUEUE_ROWS, or the memory was full. deadline: the time was up before the run. not_ready: no model was loaded. too_large: above MAX_BODY_BYTES.',
      draw: 'stacked',
      unit: 'reqps',
      width: 6,
      queries: [
        {
          expr: `sum by (reason) (${chosen(`rate(inference_rejected_total[${RATE}])`)})`,
          legend: '{{reason}}',
        },
      ],
    },
    {
      title: 'Failures, by cause',
      description:
        'Rejected requests (503, 504), failed runs of the model, failures of the transform or its dependencies, and bugs of the function (server).',
      draw: 'stacked',
      unit: 'reqps',
      width: 6,
      queries: [
        {
          expr: `sum by (cause) (${chosen(`rate(inference_failures_total[${RATE}])`)})`,
          legend: '{{cause}}',
        },
      ],
    },
    {
      title: 'Predictions',
      description: 'Share of each predicted label. A shift means other data, or another model.',
      draw: 'shares',
      unit: 'percentunit',
      width: 24,
      queries: [
        {
          expr: `sum by (label) (${chosen(`rate(inference_predictions_total[${RATE}])`)})`,
          legend: '{{label}}',
        },
      ],
    },
  ],
}

/** Deliveries by the Broker’s Triggers; its channel counts the same events once more, as a subscription’s. */
const deliveries = (labels: string) =>
  `kn_eventing_dispatch_duration_seconds_count{messaging_destination_name=~"trigger:.+", ${labels}}`

const EVENTS: Row = {
  title: 'Events',
  panels: [
    {
      title: 'How many events died?',
      description:
        'Events that the dead letter sink received in the time shown. refused: a retry would have failed as well. exhausted: every attempt failed. no_answer: the Broker got no answer. unreadable: not an event.',
      draw: 'stat',
      unit: 'none',
      width: 3,
      height: 8,
      thresholds: ANY_IS_BAD,
      nothing: 'no sink seen',
      queries: [{ expr: `sum by (reason) (${grown('dead_letters_total')})`, legend: '{{reason}}' }],
    },
    {
      title: 'Which event died?',
      description:
        'Deliveries in the time shown that a Broker does not retry: it sends the event to the dead letter sink. The sink’s log has a line with the event and the function’s answer.',
      draw: 'table',
      unit: 'none',
      width: 11,
      columns: {
        messaging_destination_name: 'Trigger',
        cloudevents_type: 'event type',
        http_response_status_code: 'status',
      },
      nothing: 'none died',
      queries: [
        {
          expr: `sum by (messaging_destination_name, cloudevents_type, http_response_status_code) (${grown(deliveries('http_response_status_code=~"4..", http_response_status_code!~"404|408|409|429"'))}) > 0`,
          legend: 'events',
        },
      ],
    },
    {
      title: 'Answers to events',
      description: 'Counted by the function. 503 and 504 are errors here, and are retried.',
      draw: 'stacked',
      unit: 'reqps',
      width: 5,
      queries: [
        {
          expr: `sum by (status) (${chosen(requests('protocol="cloudevent"'))})`,
          legend: '{{status}}',
        },
      ],
    },
    {
      title: 'Deliveries by status',
      description:
        'Deliveries a second, counted by the Broker, including the dead letter sink’s answers. 5xx, 404, 408, 409 and 429 are retried.',
      draw: 'stacked',
      unit: 'reqps',
      width: 5,
      queries: [
        {
          expr: `sum by (http_response_status_code) (rate(${deliveries('http_response_status_code!=""')}[${RATE}]))`,
          legend: '{{http_response_status_code}}',
        },
      ],
    },
    {
      title: 'The event itself',
      width: 24,
      height: 3,
      markdown:
        '`kubectl logs -n iris -l serving.knative.dev/service=iris-dead-letter -c user-container --tail=-1` shows a line for each lost event: its id, source, type and data, the status and the reason. No metric has an event’s id: there would be as many series as events.',
    },
  ],
}

const PROCESS: Row = {
  title: 'Processes',
  panels: [
    {
      title: 'Memory',
      description:
        'Resident memory of each process. A process that reaches the container’s limit is killed.',
      draw: 'lines',
      unit: 'bytes',
      width: 8,
      queries: [
        { expr: chosen('process_resident_memory_bytes'), legend: '{{instance}}' },
        { expr: `max(${chosen('function_memory_limit_bytes')})`, legend: 'limit' },
      ],
    },
    {
      title: 'CPU',
      description: 'Cores used by each process.',
      draw: 'lines',
      unit: 'none',
      width: 8,
      queries: [
        { expr: chosen(`rate(process_cpu_seconds_total[${RATE}])`), legend: '{{instance}}' },
      ],
    },
    {
      title: 'Event loop',
      description: 'Delay of the main thread, 99th percentile. Meanwhile probes and requests wait.',
      draw: 'lines',
      unit: 's',
      width: 8,
      thresholds: [
        [null, 'green'],
        [0.1, 'red'],
      ],
      queries: [{ expr: chosen('nodejs_eventloop_lag_p99_seconds'), legend: '{{instance}}' }],
    },
    {
      title: 'Worker deaths',
      description:
        'Worker threads of the model that ended unexpectedly and were replaced, in the time shown.',
      draw: 'stat',
      unit: 'none',
      width: 8,
      thresholds: ANY_IS_BAD,
      queries: [
        {
          expr: `sum(${chosen('increase(inference_worker_deaths_total[$__range])', { window: '$__range' })}) or vector(0)`,
          legend: 'deaths',
        },
      ],
    },
    {
      title: 'Running versions',
      description: 'Processes by service, revision and version of the function.',
      draw: 'table',
      unit: 'none',
      width: 16,
      height: 5,
      columns: { service: 'service', revision: 'revision', version: 'program' },
      queries: [
        {
          expr: 'count by (service, revision, version) (function_info{service=~"$service", revision=~"$revision"})',
          legend: 'processes',
        },
      ],
    },
  ],
}

const WORD_FOR_WORD: Row = {
  title: 'Word for word: four queries that many start with',
  panels: [
    {
      title: 'Time to the answer, 95th percentile of each series',
      description:
        'histogram_quantile of each series separately. "Time to the answer" above covers all series together.',
      draw: 'lines',
      unit: 's',
      width: 12,
      queries: [
        {
          expr: 'histogram_quantile(0.95, rate(inference_request_duration_seconds_bucket[5m]))',
          legend: '{{instance}} {{protocol}} {{status}}',
        },
      ],
    },
    {
      title: 'Requests answered well',
      description: 'Successful requests a second, for each series.',
      draw: 'lines',
      unit: 'reqps',
      width: 12,
      queries: [
        {
          expr: 'rate(inference_requests_total{status="success"}[1m])',
          legend: '{{instance}} {{protocol}}',
        },
      ],
    },
    {
      title: 'Errors in percent, as often written',
      description:
        'Wrong: Prometheus divides series with equal labels, and status is a label, so each error series is divided by itself. The result is 100 after a single error in the last minute, and NaN without errors. The next panel shows the correct error rate.',
      draw: 'lines',
      unit: 'percent',
      width: 8,
      queries: [
        {
          expr: '100 * rate(inference_requests_total{status="error"}[1m]) / rate(inference_requests_total[1m])',
          legend: '{{instance}} {{protocol}}',
        },
      ],
    },
    {
      title: 'Errors in percent of all requests',
      description: 'The same query, summed before the division.',
      draw: 'lines',
      unit: 'percent',
      width: 8,
      queries: [
        {
          expr: '100 * sum(rate(inference_requests_total{status="error"}[1m])) / sum(rate(inference_requests_total[1m]))',
          legend: 'errors',
        },
      ],
    },
    {
      title: 'Pods in the namespace',
      description:
        'All pods of the namespace, counted by kube-state-metrics; no value without pods.',
      draw: 'steps',
      unit: 'none',
      width: 8,
      queries: [{ expr: 'count(kube_pod_info{namespace="$namespace"})', legend: 'pods' }],
    },
  ],
}

export const inference: Dashboard = {
  uid: 'onnx-function-inference',
  title: 'Inference',
  description: 'Is it up, how fast, how often wrong, which event died?',
  variables: [
    SERVICE,
    REVISION,
    MODEL,
    {
      name: 'namespace',
      label: 'Namespace',
      description: 'Namespace whose pods are counted in the last panel.',
      query: 'label_values(kube_pod_info, namespace)',
      one: 'first',
    },
  ],
  rows: [ATTENTION, TRAFFIC, LOAD, EVENTS, PROCESS, WORD_FOR_WORD],
}
