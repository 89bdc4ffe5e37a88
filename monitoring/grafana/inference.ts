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
  title: 'Overview',
  panels: [
    {
      title: 'Ready processes',
      description:
        'Processes whose model accepts requests, and processes that are loading their model or draining. Both are 0 while the service is scaled to zero, which is normal.',
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
      title: 'Response time (p95)',
      description:
        '95th percentile of the response time of successful requests, measured in the function. It does not include the wait for a pod to start: see the dashboard Scale to zero.',
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
      title: 'Error rate and failure rate',
      description:
        'Errors: share of all responses that are errors, including errors that callers caused. Failures: share of requests that failed through no fault of the caller. The objective is at most 0.5 % failures.',
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
      title: 'Request rate',
      description: 'Requests and events per second that got a response.',
      draw: 'stat',
      unit: 'reqps',
      width: 4,
      thresholds: [[null, 'blue']],
      queries: [{ expr: `sum(${chosen(requests())}) or vector(0)`, legend: 'requests' }],
    },
    {
      title: 'Rejection rate',
      description:
        'Requests per second that were rejected before the model ran: 503 (overloaded or not ready), 504 (deadline passed) or 413 (too large). Callers may retry requests that got 503 or 504.',
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
          legend: 'rejected',
        },
      ],
    },
    {
      title: 'Firing alerts',
      description:
        'Number of alerts that are firing now. docs/runbook.md has a section for each alert.',
      draw: 'stat',
      unit: 'none',
      width: 4,
      thresholds: ANY_IS_BAD,
      queries: [{ expr: 'count(ALERTS{alertstate="firing"}) or vector(0)', legend: 'firing' }],
    },
    {
      title: 'Alert history',
      description: 'The times at which each alert fired.',
      draw: 'timeline',
      unit: 'none',
      width: 24,
      height: 6,
      nothing: 'no alert fired',
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
      title: 'Requests by protocol and status',
      description: 'Requests per second that got a response, by protocol and status.',
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
      title: 'Error rate by revision',
      description: 'Share of each revision’s requests that got an error.',
      draw: 'lines',
      unit: 'percentunit',
      width: 12,
      thresholds: SHARE_OF_ERRORS,
      queries: [{ expr: errorShare('by (revision) '), legend: '{{revision}}' }],
    },
    {
      title: 'Response time percentiles',
      description:
        'Response time of successful requests, from arrival to response, including the wait for earlier runs.',
      draw: 'lines',
      unit: 's',
      width: 12,
      queries: [0.5, 0.95, 0.99].map(share => ({
        expr: quantile(share, 'le'),
        legend: `${share * 100}th percentile`,
      })),
    },
    {
      title: 'Response time distribution',
      description:
        'Number of requests by response time. Two bands indicate two kinds of requests or of pods.',
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
      title: 'Waiting rows and requests in flight',
      description:
        'Rows that wait for a run of the model, and requests without a response yet. If rows wait all the time, the pods do not have enough capacity.',
      draw: 'lines',
      unit: 'none',
      width: 6,
      queries: [
        { expr: `sum(${chosen('inference_queue_rows')})`, legend: 'rows waiting' },
        { expr: `sum(${chosen('inference_requests_in_flight')})`, legend: 'requests in flight' },
      ],
    },
    {
      title: 'Rows per run',
      description:
        'Number of rows in each run of the model. Waiting requests share a run, so more rows per run mean a higher throughput.',
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
      title: 'Rejections by reason',
      description:
        'overloaded: more than MAX_QUEUE_ROWS rows were waiting, or the memory was full. deadline: the deadline passed before the run. not_ready: no model was loaded. too_large: the body was larger than MAX_BODY_BYTES.',
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
      title: 'Failures by cause',
      description:
        'Failures per second: rejected requests (503, 504), failed runs of the model, failures of the transform or its dependencies, and bugs in the function (server).',
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
      title: 'Predictions by label',
      description:
        'Share of each predicted label. A shift means that the input data or the model has changed.',
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

/**
 * The deliveries of the Broker's Triggers, without those of the channel's subscription, which
 * counts the same events again.
 */
const deliveries = (labels: string) =>
  `kn_eventing_dispatch_duration_seconds_count{messaging_destination_name=~"trigger:.+", ${labels}}`

const EVENTS: Row = {
  title: 'Events',
  panels: [
    {
      title: 'Dead letters by reason',
      description:
        'Events that the dead letter sink received in the selected time range. refused: a retry would have failed as well. exhausted: every attempt failed. no_answer: the Broker got no response. unreadable: the request was not an event.',
      draw: 'stat',
      unit: 'none',
      width: 3,
      height: 8,
      thresholds: ANY_IS_BAD,
      nothing: 'no dead letter sink found',
      queries: [{ expr: `sum by (reason) (${grown('dead_letters_total')})`, legend: '{{reason}}' }],
    },
    {
      title: 'Failed deliveries without retry',
      description:
        'Deliveries in the selected time range that the Broker does not retry. The Broker sends their events to the dead letter sink, which logs the event and the function’s response.',
      draw: 'table',
      unit: 'none',
      width: 11,
      columns: {
        messaging_destination_name: 'Trigger',
        cloudevents_type: 'event type',
        http_response_status_code: 'status',
      },
      nothing: 'no such delivery',
      queries: [
        {
          expr: `sum by (messaging_destination_name, cloudevents_type, http_response_status_code) (${grown(deliveries('http_response_status_code=~"4..", http_response_status_code!~"404|408|409|429"'))}) > 0`,
          legend: 'events',
        },
      ],
    },
    {
      title: 'Event responses by status',
      description:
        'Responses to events per second, counted by the function. The Broker retries events that get 503 or 504, which count as errors here.',
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
        'Deliveries per second, counted by the Broker, including deliveries to the dead letter sink. The Broker retries after 5xx, 404, 408, 409 and 429.',
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
      title: 'How to find a lost event',
      width: 24,
      height: 3,
      markdown:
        '`kubectl logs -n iris -l serving.knative.dev/service=iris-dead-letter -c user-container --tail=-1` shows one line per lost event: its id, source, type and data, the status and the reason. Metrics do not contain event ids, because each event would create a new series.',
    },
  ],
}

const PROCESS: Row = {
  title: 'Processes',
  panels: [
    {
      title: 'Memory',
      description:
        'Resident memory of each process. The kernel kills a process that reaches the container’s limit.',
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
      description: 'Number of CPU cores that each process uses.',
      draw: 'lines',
      unit: 'none',
      width: 8,
      queries: [
        { expr: chosen(`rate(process_cpu_seconds_total[${RATE}])`), legend: '{{instance}}' },
      ],
    },
    {
      title: 'Event loop lag',
      description:
        '99th percentile of the delay of the main thread. Probes and requests wait during this delay.',
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
        'Number of worker threads of the model that ended unexpectedly and were replaced, in the selected time range.',
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
      description: 'Number of processes by service, revision and version of the function.',
      draw: 'table',
      unit: 'none',
      width: 16,
      height: 5,
      columns: { service: 'service', revision: 'revision', version: 'function version' },
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
  title: 'Common queries',
  panels: [
    {
      title: 'Response time (p95) of each series',
      description:
        'histogram_quantile of each series separately. The panel Response time percentiles covers all series together.',
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
      title: 'Successful requests of each series',
      description: 'Successful requests per second, for each series.',
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
      title: 'Error percentage, wrong query',
      description:
        'A common query that is wrong. Prometheus divides series with equal labels, and status is a label, so each error series is divided by itself. The result is 100 after a single error in the last minute, and NaN without errors. The next panel shows the correct error rate.',
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
      title: 'Error percentage, correct query',
      description: 'The query of the previous panel, summed before the division.',
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
        'Number of pods in the namespace, counted by kube-state-metrics. There is no value without pods.',
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
  description: 'Availability, response times, errors and lost events of the function.',
  variables: [
    SERVICE,
    REVISION,
    MODEL,
    {
      name: 'namespace',
      label: 'Namespace',
      description: 'The namespace whose pods the last panel counts.',
      query: 'label_values(kube_pod_info, namespace)',
      one: 'first',
    },
  ],
  rows: [ATTENTION, TRAFFIC, LOAD, EVENTS, PROCESS, WORD_FOR_WORD],
}
