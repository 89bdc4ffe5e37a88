import type { Dashboard, Row } from './panels.ts'
import { chosen, durations, errorShare, quantile, RATE, requests } from './queries.ts'
import { MODEL, SERVICE } from './variables.ts'

const REVISIONS = '$revision|$baseline'
const both = { revision: REVISIONS }
/** Long enough to judge a revision that receives a tenth of the traffic. */
const WINDOW = '15m'

const share = (revision: string) => errorShare('', { revision, window: WINDOW })
const p95 = (revision: string) => quantile(0.95, 'le', { revision, window: WINDOW })

const labels = (revision: string) => {
  const of = (by: string) =>
    `sum ${by}(${chosen(`rate(inference_predictions_total[${WINDOW}])`, { revision, window: WINDOW })})`
  return `${of('by (label) ')} / on () group_left () (${of('')} > 0)`
}

const VERDICT: Row = {
  title: 'Comparison with the baseline',
  panels: [
    {
      title: 'Error rate difference',
      description:
        'Error rate of the new revision minus that of the baseline, over the last 15 minutes, in percentage points. The alert CanaryFails fires above twice the baseline’s error rate plus one percentage point.',
      draw: 'stat',
      unit: 'percentunit',
      width: 6,
      thresholds: [
        [null, 'green'],
        [0.005, 'yellow'],
        [0.01, 'red'],
      ],
      nothing: 'no requests to one revision',
      queries: [
        { expr: `(${share('$revision')}) - (${share('$baseline')})`, legend: 'difference' },
      ],
    },
    {
      title: 'Response time ratio (p95)',
      description:
        '95th percentile of the response time of successful requests: the new revision’s divided by the baseline’s, over the last 15 minutes. Ignore the first minutes, because a pod that has just started is slower.',
      draw: 'stat',
      unit: 'suffix:×',
      width: 6,
      thresholds: [
        [null, 'green'],
        [1.2, 'yellow'],
        [1.5, 'red'],
      ],
      nothing: 'no successful requests to one revision',
      queries: [{ expr: `${p95('$revision')} / ${p95('$baseline')}`, legend: 'ratio' }],
    },
    {
      title: 'Prediction shift',
      description:
        'Percentage of rows that would need another label to give both revisions the same distribution, over the last 15 minutes. If the new training does not explain the shift, look for a fault.',
      draw: 'stat',
      unit: 'percentunit',
      width: 6,
      thresholds: [
        [null, 'green'],
        [0.05, 'yellow'],
        [0.15, 'red'],
      ],
      nothing: 'no predictions of one revision',
      queries: [
        {
          expr: `sum(abs((${labels('$revision')}) - (${labels('$baseline')}))) / 2`,
          legend: 'moved',
        },
      ],
    },
    {
      title: 'Traffic share of the new revision',
      description:
        'The new revision’s share of all requests to both revisions. Wait for a few hundred requests before you judge the new revision.',
      draw: 'stat',
      unit: 'percentunit',
      width: 6,
      thresholds: [[null, 'blue']],
      queries: [
        {
          expr: `sum(${chosen(requests())}) / sum(${chosen(requests(), both)})`,
          legend: 'share',
        },
      ],
    },
    {
      title: 'Both revisions',
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
          legend: 'longest startup',
          unit: 's',
        },
        {
          expr: `max by (revision) (${chosen('process_resident_memory_bytes', both)})`,
          legend: 'maximum memory',
          unit: 'bytes',
        },
        { expr: `count by (revision) (${chosen('model_ready', both)})`, legend: 'processes' },
      ],
    },
  ],
}

const COURSE: Row = {
  title: 'History',
  panels: [
    {
      title: 'Requests by revision',
      description:
        'Requests per second to each revision. They show whether the canary gets its percentage of the traffic.',
      draw: 'stacked',
      unit: 'reqps',
      width: 12,
      queries: [
        { expr: `sum by (revision) (${chosen(requests(), both)})`, legend: '{{revision}}' },
      ],
    },
    {
      title: 'Error rate by revision',
      description: 'Share of each revision’s requests that got an error.',
      draw: 'lines',
      unit: 'percentunit',
      width: 12,
      queries: [{ expr: errorShare('by (revision) ', both), legend: '{{revision}}' }],
    },
    {
      title: 'Response time (p95) by revision',
      description: '95th percentile of the response time of successful requests, by revision.',
      draw: 'lines',
      unit: 's',
      width: 12,
      queries: [{ expr: quantile(0.95, 'revision, le', both), legend: '{{revision}}' }],
    },
    {
      title: 'Response time (p95) by model version',
      description:
        '95th percentile of the response time by model version. Use this panel without revisions, as in KServe’s Standard mode.',
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
      title: 'Predictions of the baseline revision',
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
  description: 'Compares a new revision with a baseline revision.',
  variables: [
    SERVICE,
    {
      name: 'revision',
      label: 'New revision',
      description: 'The revision to judge. The default is the last revision by name.',
      query: 'label_values(function_info{service=~"$service"}, revision)',
      one: 'last',
    },
    {
      name: 'baseline',
      label: 'Baseline revision',
      description:
        'The revision that the new one replaces. The default is the first revision by name.',
      query: 'label_values(function_info{service=~"$service"}, revision)',
      one: 'first',
    },
    MODEL,
  ],
  rows: [VERDICT, COURSE],
}
