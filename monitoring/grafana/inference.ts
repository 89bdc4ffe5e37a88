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
        'Processes whose model takes requests, and those whose model does not: it loads, or it drains. None of either is a service at zero, which is well.',
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
        'Nineteen of twenty good answers took no longer, from the request’s arrival in the function. What waking costs is not in it: see Scale to zero.',
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
        'All errors, of all answers: the callers’ mistakes too. Failures: what nobody but the function is to blame for, of what it is answerable for. The objective is 0.5 % of failures.',
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
      description: 'Requests and events answered a second.',
      draw: 'stat',
      unit: 'reqps',
      width: 4,
      thresholds: [[null, 'blue']],
      queries: [{ expr: `sum(${chosen(requests())}) or vector(0)`, legend: 'answered' }],
    },
    {
      title: 'How many turned away?',
      description:
        'Requests a second that were refused without a run: 503 overloaded or not ready, 504 too late, 413 too large. Callers may try most of them again.',
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
        'Alerts of monitoring/prometheus/rules that fire now. Each has its paragraph in docs/runbook.md.',
      draw: 'stat',
      unit: 'none',
      width: 4,
      thresholds: ANY_IS_BAD,
      queries: [{ expr: 'count(ALERTS{alertstate="firing"}) or vector(0)', legend: 'firing' }],
    },
    {
      title: 'Alerts',
      description: 'When which alert fired.',
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
      description: 'Answered a second, by what they came as and whether it was an error.',
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
      description: 'Share of each revision’s requests that were answered with an error.',
      draw: 'lines',
      unit: 'percentunit',
      width: 12,
      thresholds: SHARE_OF_ERRORS,
      queries: [{ expr: errorShare('by (revision) '), legend: '{{revision}}' }],
    },
    {
      title: 'Time to the answer',
      description:
        'Of requests answered well, from arrival to answer: waiting for other runs is in it.',
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
        'How many took how long. Two bands are two kinds of requests, or two kinds of pods.',
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
        'Rows that wait for a run, and requests not yet answered. Rows that stay are more than the pods can do.',
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
        'Requests that wait are joined: more rows a run is more load taken without more time.',
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
        'overloaded: more rows waited than MAX_QUEUE_ROWS. deadline: the time was up before the run. not_ready: the model could not be loaded. too_large: beyond MAX_BODY_BYTES.',
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
        'What was turned away (but for too large), runs that the model failed in, and what nobody foresaw (server).',
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
      description:
        'Shares of the labels that rows were given. A share that moves is other data, or another model.',
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
        'Dead letters that the sink was sent, in the time shown. refused: another try would have ended the same. exhausted: all tries were answered with a failure. no_answer: nobody answered. unreadable: no event.',
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
        'Deliveries that a Broker does not try again, in the time shown: it sends the event to the dead letter sink. The event itself, with the function’s own words, is a line in that sink’s log.',
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
      title: 'What the function answered to events',
      description: 'Counted by the function. 503 and 504 are errors here, and are delivered again.',
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
        'A second, counted by the Broker, the dead letter sink’s own answers among them. 5xx, 404, 408, 409 and 429 are tried again.',
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
        '`kubectl logs -n iris -l serving.knative.dev/service=iris-dead-letter -c user-container --tail=-1` shows a line for each event that died: its id, source and type, its data, the status, and why. No metric names an event: there would be as many series as events.',
    },
  ],
}

const PROCESS: Row = {
  title: 'Processes',
  panels: [
    {
      title: 'Memory',
      description: 'Resident, of each process. The container’s limit ends it.',
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
      description: 'Cores that each process uses.',
      draw: 'lines',
      unit: 'none',
      width: 8,
      queries: [
        { expr: chosen(`rate(process_cpu_seconds_total[${RATE}])`), legend: '{{instance}}' },
      ],
    },
    {
      title: 'Event loop',
      description:
        'How late the main thread comes to what is due, 99th percentile: while it is late, probes and requests wait too.',
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
        'Worker threads of the model that ended by themselves and were replaced, in the time shown.',
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
      title: 'What runs',
      description: 'Processes by service, revision and the function’s own version.',
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
        'histogram_quantile over every series by itself. "Time to the answer" above is of all together.',
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
      description: 'A second, of each series.',
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
        'The division goes label by label, and status is a label: each series of errors is divided by itself. So it is 100 whenever there was an error in the last minute, however few, and nothing where there was none. The panel beside it says how many of a hundred requests failed.',
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
      description: 'The same, summed before it is divided.',
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
        'All of them, whatever they are, as kube-state-metrics counts them; nothing where there are none.',
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
      description: 'Of the panel that counts pods.',
      query: 'label_values(kube_pod_info, namespace)',
      one: 'first',
    },
  ],
  rows: [ATTENTION, TRAFFIC, LOAD, EVENTS, PROCESS, WORD_FOR_WORD],
}
