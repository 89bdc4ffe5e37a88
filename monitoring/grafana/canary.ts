import type { Dashboard, Row } from './panels.ts'
import { chosen, durations, errorShare, quantile, RATE, requests } from './queries.ts'
import { MODEL, SERVICE } from './variables.ts'

/** Both. */
const REVISIONS = '$revision|$baseline'
const both = { revision: REVISIONS }
/** Long enough to judge a revision with a tenth of the traffic. */
const WINDOW = '15m'

const share = (revision: string) => errorShare('', { revision, window: WINDOW })
const p95 = (revision: string) => quantile(0.95, 'le', { revision, window: WINDOW })

/** The share of each label in a revision's predictions. */
const labels = (revision: string) => {
  const of = (by: string) =>
    `sum ${by}(${chosen(`rate(inference_predictions_total[${WINDOW}])`, { revision, window: WINDOW })})`
  return `${of('by (label) ')} / on () group_left () (${of('')} > 0)`
}

const VERDICT: Row = {
  title: 'Is the new version worse?',
  panels: [
    {
      title: 'More errors?',
      description:
        'Error rate of the new revision minus that of the other, over the last 15 minutes, in percentage points. The alert CanaryFails fires above twice the others’ error rate plus one point.',
      draw: 'stat',
      unit: 'percentunit',
      width: 6,
      thresholds: [
        [null, 'green'],
        [0.005, 'yellow'],
        [0.01, 'red'],
      ],
      nothing: 'no requests to one of them',
      queries: [
        { expr: `(${share('$revision')}) - (${share('$baseline')})`, legend: 'more errors' },
      ],
    },
    {
      title: 'Slower?',
      description:
        '95th percentile of successful answers: the new revision’s divided by the other’s, over the last 15 minutes. Ignore the first minutes: a pod that has just started is slower.',
      draw: 'stat',
      unit: 'suffix:×',
      width: 6,
      thresholds: [
        [null, 'green'],
        [1.2, 'yellow'],
        [1.5, 'red'],
      ],
      nothing: 'no good answers of one of them',
      queries: [{ expr: `${p95('$revision')} / ${p95('$baseline')}`, legend: 'times as slow' }],
    },
    {
      title: 'Other predictions?',
      description:
        'Percentage of rows that would need another label to give both revisions equal shares, over the last 15 minutes. If the new training does not explain it, look for a fault.',
      draw: 'stat',
      unit: 'percentunit',
      width: 6,
      thresholds: [
        [null, 'green'],
        [0.05, 'yellow'],
        [0.15, 'red'],
      ],
      nothing: 'no predictions of one of them',
      queries: [
        {
          expr: `sum(abs((${labels('$revision')}) - (${labels('$baseline')}))) / 2`,
          legend: 'moved',
        },
      ],
    },
    {
      title: 'Share of the traffic',
      description:
        'The new revision’s share of the requests to both. Wait for some hundreds of requests before you judge.',
      draw: 'stat',
      unit: 'percentunit',
      width: 6,
      thresholds: [[null, 'blue']],
      queries: [
        {
          expr: `sum(${chosen(requests())}) / sum(${chosen(requests(), both)})`,
          legend: 'of requests',
        },
      ],
    },
    {
      title: 'Side by side',
      description: 'Both revisions over the last 15 minutes.',
      draw: 'table',
      unit: 'none',
      rows: 'revision',
      columns: { revision: 'revision' },
      width: 24,
      height: 4,
      queries: [
        {
          expr: `sum by (revision) (${chosen(`increase(inference_requests_total{model=~"$model"}[${WINDOW}])`, { ...both, window: WINDOW })})`,
          legend: 'requests',
        },
        {
          expr: errorShare('by (revision) ', { ...both, window: WINDOW }),
          legend: 'errors',
          unit: 'percentunit',
          thresholds: [
            [null, 'green'],
            [0.01, 'yellow'],
            [0.05, 'red'],
          ],
        },
        ...[0.5, 0.95, 0.99].map(at => ({
          expr: quantile(at, 'revision, le', { ...both, window: WINDOW }),
          legend: `${at * 100}th percentile`,
          unit: 's',
        })),
        {
          expr: `max by (revision) (sum by (job, instance, revision) (${chosen('cold_start_seconds{phase!="first-answer"}', both)}))`,
          legend: 'longest start',
          unit: 's',
        },
        {
          expr: `max by (revision) (${chosen('process_resident_memory_bytes', both)})`,
          legend: 'largest process',
          unit: 'bytes',
        },
        { expr: `count by (revision) (${chosen('model_ready', both)})`, legend: 'processes' },
      ],
    },
  ],
}

const COURSE: Row = {
  title: 'How it went',
  panels: [
    {
      title: 'Requests',
      description:
        'Answers a second of each revision: shows whether the canary’s percentage arrives.',
      draw: 'stacked',
      unit: 'reqps',
      width: 12,
      queries: [
        { expr: `sum by (revision) (${chosen(requests(), both)})`, legend: '{{revision}}' },
      ],
    },
    {
      title: 'Errors',
      description: 'Share of each revision’s requests with an error.',
      draw: 'lines',
      unit: 'percentunit',
      width: 12,
      queries: [{ expr: errorShare('by (revision) ', both), legend: '{{revision}}' }],
    },
    {
      title: 'Time to the answer, 95th percentile',
      description: 'Of successful requests, by revision.',
      draw: 'lines',
      unit: 's',
      width: 12,
      queries: [{ expr: quantile(0.95, 'revision, le', both), legend: '{{revision}}' }],
    },
    {
      title: 'By version of the model',
      description:
        '95th percentile by model version: compares versions without revisions, as in KServe’s Standard mode.',
      draw: 'lines',
      unit: 's',
      width: 12,
      queries: [
        {
          expr: `histogram_quantile(0.95, sum by (version, le) (${chosen(durations(), { revision: '.*' })}))`,
          legend: '{{version}}',
        },
      ],
    },
    {
      title: 'Predictions of the new revision',
      description: 'Share of each predicted label.',
      draw: 'shares',
      unit: 'percentunit',
      width: 12,
      queries: [
        {
          expr: `sum by (label) (${chosen(`rate(inference_predictions_total[${RATE}])`)})`,
          legend: '{{label}}',
        },
      ],
    },
    {
      title: 'Predictions of the other',
      description: 'Share of each predicted label.',
      draw: 'shares',
      unit: 'percentunit',
      width: 12,
      queries: [
        {
          expr: `sum by (label) (${chosen(`rate(inference_predictions_total[${RATE}])`, { revision: '$baseline' })})`,
          legend: '{{label}}',
        },
      ],
    },
  ],
}

export const canary: Dashboard = {
  uid: 'onnx-function-canary',
  title: 'Canary',
  description: 'Is the new version worse?',
  variables: [
    SERVICE,
    {
      name: 'revision',
      label: 'New revision',
      description: 'The revision to judge; by default the last by name.',
      query: 'label_values(function_info{service=~"$service"}, revision)',
      one: 'last',
    },
    {
      name: 'baseline',
      label: 'Compared with',
      description: 'The revision that it replaces; by default the first by name.',
      query: 'label_values(function_info{service=~"$service"}, revision)',
      one: 'first',
    },
    MODEL,
  ],
  rows: [VERDICT, COURSE],
}
