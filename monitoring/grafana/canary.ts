import type { Dashboard, Row } from './panels.ts'
import { chosen, durations, errorShare, quantile, RATE, requests } from './queries.ts'
import { MODEL, SERVICE } from './variables.ts'

/** Both. */
const REVISIONS = '$revision|$baseline'
const both = { revision: REVISIONS }
/** Long enough for a tenth of the traffic to say something. */
const WINDOW = '15m'

const share = (revision: string) => errorShare('', { revision, window: WINDOW })
const p95 = (revision: string) => quantile(0.95, 'le', { revision, window: WINDOW })

/** Of a revision's predictions, the share of each label. */
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
        'Share of requests with an error: the new revision’s less the other’s, in the last 15 minutes, in points of a percent. The alert CanaryFails fires at twice the others’ share and one point.',
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
        '95th percentile of good answers: how many times the other’s the new revision’s is, in the last 15 minutes. Leave out the first minutes: a pod that has just woken is slower.',
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
        'Of a hundred rows, how many would have to change their label for both revisions to have the same shares, in the last 15 minutes. What the new training does not explain is a fault.',
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
        'Requests to the new revision, of those to both. Some hundreds at least before you judge.',
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
      description: 'The last 15 minutes of each.',
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
        'Answered a second by each revision: what the canary’s percent makes of the traffic.',
      draw: 'stacked',
      unit: 'reqps',
      width: 12,
      queries: [
        { expr: `sum by (revision) (${chosen(requests(), both)})`, legend: '{{revision}}' },
      ],
    },
    {
      title: 'Errors',
      description: 'Share of each revision’s requests that were answered with an error.',
      draw: 'lines',
      unit: 'percentunit',
      width: 12,
      queries: [{ expr: errorShare('by (revision) ', both), legend: '{{revision}}' }],
    },
    {
      title: 'Time to the answer, 95th percentile',
      description: 'Of requests answered well.',
      draw: 'lines',
      unit: 's',
      width: 12,
      queries: [{ expr: quantile(0.95, 'revision, le', both), legend: '{{revision}}' }],
    },
    {
      title: 'By version of the model',
      description:
        'The same by model version, which also tells the two apart where there are no revisions, as in KServe’s Standard mode.',
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
      description: 'Shares of the labels that its rows were given.',
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
      description: 'Shares of the labels that its rows were given.',
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
      description: 'The one to judge; at first the last by name.',
      query: 'label_values(function_info{service=~"$service"}, revision)',
      one: 'last',
    },
    {
      name: 'baseline',
      label: 'Compared with',
      description: 'The one it is to replace; at first the first by name.',
      query: 'label_values(function_info{service=~"$service"}, revision)',
      one: 'first',
    },
    MODEL,
  ],
  rows: [VERDICT, COURSE],
}
