import * as model from '../model.ts'
import { MEMORY_LIMIT, NAMESPACE, PODS } from '../pods.ts'
import type { Labels } from '../prometheus.ts'
import { AT_QUEUE_PROXY, BUCKETS, CONCURRENCY, QUEUED } from '../stand-in.ts'
import type { Observation } from '../traffic.ts'
import { FIRING } from './rules.ts'

/*
 * The expected result of each query of each panel, by moment. A panel has a row for each query, in
 * the same order, and another row for each run with other variables.
 */

type Panels = Readonly<Record<string, readonly (model.Row | readonly model.Row[])[]>>

const { all, by, NOTHING, near, exactly, series, withOthers } = model
const { gauge, increase, longest, quantile, rate, share, total } = model
const { within, countOf, quantileOf, upperBound } = model

const [STABLE, CANARY] = [PODS.stable.revision, PODS.canary.revision]
const OK = { status: 'success' }
const ERROR = { status: 'error' }
const REJECTED = { reason: 'overloaded' }
const DEAD = { stream: 'dead letters' }
const DELIVERIES = { stream: 'deliveries' }
const REFUSED = { ...DELIVERIES, http_response_status_code: '400' }
const STARTS = { stream: 'starts' }
const WHOLE = Number.POSITIVE_INFINITY
const P95 = quantile(0.95)
const errors = all(share(ERROR))
const blocked = (): model.Range => [0.15, 1.5]
const diedByReason = by('reason', total, DEAD, WHOLE)
const ofStable = (value: number) => series('kn_revision_name', { [STABLE]: value })
const bothTargets = { [STABLE]: CONCURRENCY.target, [CANARY]: CONCURRENCY.target }

const INFERENCE: Panels = {
  'Ready processes': [
    { asleep: 0, load: 2, draining: 3, stopped: 0, again: 1 },
    { load: 0, draining: 1, stopped: 0 },
  ],
  'Response time (p95)': [
    { asleep: NOTHING, load: all(P95, OK), overload: all(quantile(0.95, 0.05), OK) },
  ],
  'Error rate and failure rate': [
    { asleep: NOTHING, load: 0, errors, overload: errors },
    { load: 0, errors: 0, overload: all(share(REJECTED)) },
  ],
  'Request rate': [
    [
      { asleep: 0, load: all(rate), stopped: 0 },
      { load: all(rate, { service: 'garden' }), variables: { service: 'garden' } },
      { load: all(rate, { service: 'garden' }), variables: { revision: 'garden-00001' } },
      { load: 0, variables: { model: 'another' } },
    ],
  ],
  'Rejection rate': [{ load: 0, overload: all(rate, REJECTED) }],
  'Firing alerts': [{ asleep: 0, overloaded: FIRING.count }],
  'Alert history': [{ overloaded: FIRING.alerts }],
  'Requests by protocol and status': [
    {
      load: by('protocol status', rate),
      // The window may still contain earlier deliveries.
      overload: withOthers([0, 30], by('protocol status', rate, { protocol: 'http' })),
    },
  ],
  'Error rate by revision': [
    { errors: by('revision', share(ERROR)), canary: by('revision', share(ERROR)) },
  ],
  'Response time percentiles': [0.5, 0.95, 0.99].map(q => ({ load: all(quantile(q), OK) })),
  'Response time distribution': [{ load: withOthers([0, WHOLE], by('le', increase, OK)) }],
  'Waiting rows and requests in flight': [
    { overload: [1, 4], stopped: NOTHING },
    { overload: [1, 60], stopped: NOTHING },
  ],
  // The 95th percentile is interpolated in the bucket up to 1.
  'Rows per run': [{ overload: near(1, 0.01) }, { overload: near(0.95, 0.01) }],
  'Rejections by reason': [{ load: NOTHING, overload: by('reason', rate, REJECTED) }],
  'Failures by cause': [{ errors: NOTHING, overload: by('cause', rate, REJECTED) }],
  'Predictions by label': [{ load: by('label', rate, { stream: 'predictions' }) }],
  'Dead letters by reason': [{ load: NOTHING, died: diedByReason, overloaded: diedByReason }],
  'Failed deliveries without retry': [
    {
      load: NOTHING,
      died: by(
        'messaging_destination_name cloudevents_type http_response_status_code',
        total,
        REFUSED,
        WHOLE,
      ),
    },
  ],
  'Event responses by status': [{ load: by('status', rate, { protocol: 'cloudevent' }) }],
  'Deliveries by status': [{ load: by('http_response_status_code', rate, DELIVERIES) }],
  Memory: [
    { load: by('instance', gauge(0.2), { stream: 'memory' }) },
    { load: MEMORY_LIMIT ?? NOTHING },
  ],
  CPU: [{ load: by('instance', gauge(0.4, 0.05), { stream: 'cores' }) }],
  'Event loop lag': [
    { blocked: withOthers([0, 0.3], by('instance', blocked, { service: 'slow' })) },
  ],
  'Worker deaths': [{ overload: 0 }],
  'Running versions': [{ canary: by('service revision', total, STARTS, WHOLE) }],
  'Response time (p95) of each series': [{ load: by('instance protocol status', P95, {}, 300) }],
  'Successful requests of each series': [{ load: by('instance protocol', rate, OK, 60) }],
  'Error percentage, wrong query': [
    { load: NOTHING, errors: by('instance protocol', () => exactly(100), ERROR, 60) },
  ],
  'Error percentage, correct query': [{ load: 0, errors: all(share(ERROR, 100), {}, 60) }],
  // The dead letter sink is one of the pods.
  'Pods in the namespace': [{ load: 3, stopped: 1 }],
}

/** The queue-proxy's histogram measures the client's time in its own buckets. */
const throughQueueProxy: model.Measure = (...window) => {
  const found = within(...window)
  const least = BUCKETS.findLast(bound => bound < quantileOf(found, 0.9)) ?? 0
  return [least + 1e-5, upperBound(quantileOf(found, 0.98), BUCKETS)]
}

const PERIODS = { stream: 'pod periods' }
const asleep: model.Measure = periods => {
  const zero = periods.filter(({ count }) => count === 0)
  return near(secondsOf(zero) / secondsOf(periods), 0.1, 0.03)
}
const podHours: model.Measure = periods =>
  near(add(periods.map(({ count, seconds }) => count * seconds)) / 3600, 0.1, 2 / 3600)
const secondsOf = (list: readonly Observation[]) => add(list.map(({ seconds }) => seconds))
const add = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0)

const SCALE_TO_ZERO: Panels = {
  'Wake-up from zero': [
    { waking: QUEUED, awake: 0 },
    { asleep: 0, waking: 1 },
    { waking: 0, awake: 1, canary: 2, stopped: 0 },
    { waking: 0, awake: 2, stopped: 0 },
  ],
  'Current pods': [{ asleep: 0, canary: 2, stopped: 0 }],
  'Time at zero pods': [{ again: all(asleep, PERIODS) }],
  'Process starts': [{ asleep: 0, load: 2, again: 5 }],
  'Pod hours': [{ again: all(podHours, PERIODS) }],
  'Longest startup': [{ again: all(longest, STARTS, WHOLE) }],
  '5xx responses at the queue-proxy': [{ load: 0, overloaded: all(total, REJECTED, WHOLE) }],
  'Startup phases': [{ again: by('phase', longest, { stream: 'phases' }, WHOLE) }],
  'Startup time of each process': [{ overload: by('revision', longest, STARTS, WHOLE) }],
  'Concurrency and target': [
    { load: ofStable(CONCURRENCY.stable) },
    { load: ofStable(CONCURRENCY.panic) },
    { load: series('kn_revision_name', bothTargets) },
  ],
  'Pods by state': [{ load: 0 }, { waking: 1, load: 0 }, { draining: 2 }],
  'Panic mode': [{ waking: ofStable(1), load: NOTHING }],
  'Excess burst capacity': [{ load: ofStable(CONCURRENCY.target - CONCURRENCY.stable) }],
  'Response time at the queue-proxy and in the function': [
    { load: all(throughQueueProxy) },
    { load: all(P95) },
  ],
  'Requests waiting at the queue-proxy': [{ load: ofStable(AT_QUEUE_PROXY) }],
}

const RECENT = 15 * 60
const REVISIONS = { service: PODS.stable.service }
const ANSWERED = { ...REVISIONS, ...OK }
const PREDICTIONS = { stream: 'predictions', ...REVISIONS }

const shareOf = (window: Parameters<model.Measure>, revision: string, label: Labels) => {
  const found = within(...window).filter(({ labels }) => labels.revision === revision)
  const [[name, value] = []] = Object.entries(label)
  const part = found.filter(({ labels }) => labels[name ?? ''] === value)
  return countOf(part) / countOf(found)
}
const moreErrors: model.Measure = (...window) =>
  near(shareOf(window, CANARY, ERROR) - shareOf(window, STABLE, ERROR), 0.05, 0.03)
/** The total variation distance of the predictions of both revisions. */
const otherPredictions: model.Measure = (...window) => {
  const labels = [...new Set(window[0].map(one => one.labels.label ?? ''))]
  const difference = (label: string) =>
    Math.abs(shareOf(window, CANARY, { label }) - shareOf(window, STABLE, { label }))
  return near(add(labels.map(difference)) / 2, 0.03, 0.02)
}

const CANARY_PANELS: Panels = {
  'Error rate difference': [{ canary: all(moreErrors, REVISIONS, RECENT) }],
  'Response time ratio (p95)': [{ canary: [1.5, 10_000] }],
  'Prediction shift': [{ canary: all(otherPredictions, PREDICTIONS, RECENT) }],
  'Traffic share of the new revision': [{ canary: all(share({ revision: CANARY }), REVISIONS) }],
  'Both revisions': [
    { canary: by('revision', increase, REVISIONS, RECENT) },
    { canary: by('revision', share(ERROR), REVISIONS, RECENT) },
    ...[0.5, 0.95, 0.99].map(q => ({ canary: by('revision', quantile(q), ANSWERED, RECENT) })),
    { canary: by('revision', longest, { ...STARTS, ...REVISIONS }, WHOLE) },
    { canary: by('revision', gauge(0.3), { stream: 'memory', ...REVISIONS }) },
    { canary: by('revision', total, { ...STARTS, ...REVISIONS }, WHOLE) },
  ],
  'Requests by revision': [{ canary: by('revision', rate, REVISIONS) }],
  'Error rate by revision': [{ canary: by('revision', share(ERROR), REVISIONS) }],
  'Response time (p95) by revision': [{ canary: by('revision', P95, ANSWERED) }],
  'Response time (p95) by model version': [{ canary: by('version', P95, ANSWERED) }],
  'Predictions of the new revision': [
    { canary: by('label', rate, { ...PREDICTIONS, revision: CANARY }) },
  ],
  'Predictions of the baseline revision': [
    { canary: by('label', rate, { ...PREDICTIONS, revision: STABLE }) },
  ],
}

export const DASHBOARDS: Readonly<Record<string, { panels: Panels; variables?: Labels }>> = {
  Inference: { panels: INFERENCE },
  'Scale to zero': { panels: SCALE_TO_ZERO },
  Canary: {
    panels: CANARY_PANELS,
    variables: { ...REVISIONS, revision: CANARY, baseline: STABLE },
  },
}

export const VARIABLES: Readonly<Record<string, string>> = {
  'label_values(function_info, service)': 'garden, iris-classifier, slow',
  'label_values(function_info{service=~".*"}, revision)': `garden-00001, ${STABLE}, ${CANARY}, slow-00001`,
  'label_values(inference_requests_total, model)': 'iris-classifier, slow',
  'label_values(kube_pod_info, namespace)': NAMESPACE,
}
