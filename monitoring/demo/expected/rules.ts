import * as model from '../model.ts'
import { MEMORY_LIMIT, PODS } from '../pods.ts'
import { type Labels, SCRAPE_SECONDS } from '../prometheus.ts'
import { QUEUED } from '../stand-in.ts'
import type { Observation } from '../traffic.ts'

/* The expected series of each recording rule and alert, by moment. */

const { above, by, NO_LABEL, NOTHING, near, exactly, series, withOthers } = model
const { increase, longest, quantile, rate, select, share, total, within, countOf, gauge } = model

const [STABLE, CANARY] = [PODS.stable.revision, PODS.canary.revision]
const ALL = {}
const ERROR = { status: 'error' }
const REJECTED = { reason: 'overloaded' }
const SLOW = { service: 'slow' }
const NEW = { revision: CANARY }
const DEAD = { stream: 'dead letters' }
const DELIVERIES = { stream: 'deliveries' }
const STARTS = { stream: 'starts' }
const [M5, M15, H1] = [300, 900, 3600]
const P95 = quantile(0.95)

/** The target of the service garden gets no labels from service discovery. */
export const targetLabels = (labels: Labels): Labels => {
  const isTarget = labels.service !== PODS.garden.service
  return isTarget ? labels : { ...labels, service: NO_LABEL, revision: NO_LABEL }
}

/** Derives a measure of the other revisions of each revision's service. */
const ofOthers =
  (measure: model.Measure): model.Derive =>
  (all, at) => {
    const requests = select(all.observations, {})
    const keys = Object.keys(by('service revision', rate, ALL, M15)(all, at).is)
    const is = keys.flatMap(key => {
      const others = requests.filter(
        ({ labels: { service, revision } }) =>
          service === key.split(' ')[0] && revision !== key.split(' ')[1],
      )
      const range = measure(others, all.recorded.moments[at], M15)
      return range ? [[key, range]] : []
    })
    return { by: ['service', 'revision'], is: Object.fromEntries(is) }
  }

/**
 * A lower bound of the count that rate() measures. Each of Knative's series begins with its first
 * count, which rate() misses.
 */
const leastSeen = (list: readonly Observation[]) => {
  const first = Math.min(...list.map(({ at }) => at))
  return 0.9 * countOf(list.filter(({ at }) => at > first + 2 * SCRAPE_SECONDS))
}
const dispatches: model.Measure = (list, end, seconds) => {
  const found = within(list, end, seconds)
  return [leastSeen(found) / seconds, (1.1 * countOf(found)) / seconds]
}
const failing: model.Measure = (...window) => {
  const found = within(...window)
  const failed = found.filter(one => Number(one.labels.http_response_status_code) >= 300)
  return failed.length === 0 ? undefined : [leastSeen(failed) / countOf(found), 1]
}

const revisions = (values: Readonly<Record<string, number>>) => series('kn_revision_name', values)
const oneSink = series('service', { 'iris-dead-letter': 1 })
const failures = { overloaded: by('service', share(REJECTED), ALL, M5) }
const failureCount = { overloaded: by('service', increase, REJECTED, H1) }
const deadLetters = by('service reason', total, DEAD, M15)
const perRevision = (measure: model.Measure, where: Labels = ALL) => ({
  overloaded: by('service revision', measure, where, M15),
})
const perService = (measure: model.Measure) => ({ overloaded: by('service', measure, ALL, M5) })

export const RECORDS: Readonly<Record<string, model.Row>> = {
  'service:up:sum': {
    asleep: oneSink,
    canary: series('service', { 'iris-dead-letter': 1, 'iris-classifier': 2 }),
    stopped: oneSink,
  },
  'revision:inference_requests:rate5m': {
    overloaded: by('service revision version protocol status', rate, ALL, M5),
  },
  'service:inference_requests:rate5m': perService(rate),
  'service:inference_request_errors:ratio_rate5m': perService(share(ERROR)),
  'service:inference_request_duration_seconds:p50_rate5m': perService(quantile(0.5)),
  'service:inference_request_duration_seconds:p95_rate5m': perService(P95),
  'service:inference_request_duration_seconds:p99_rate5m': perService(quantile(0.99)),
  'service:inference_rejected:rate5m': { overloaded: by('service reason', rate, REJECTED, M5) },
  'service:inference_predictions:rate5m': {
    overloaded: by('service version label', rate, { stream: 'predictions' }, M5),
  },
  'service:inference_batch_rows:mean_rate5m': {
    // Few runs contain two requests. The canary's requests with 20,000 rows need several runs.
    load: series('service', { 'iris-classifier': [0.99, 1.5], [NO_LABEL]: [0.99, 1.5] }),
    overloaded: series('service', {
      slow: near(1, 0.01),
      'iris-classifier': [10, 20_000],
      [NO_LABEL]: [0.99, 1.5],
    }),
  },
  'service:inference_failures:ratio_rate5m': failures,
  'service:inference_failures:ratio_rate30m': failures,
  'service:inference_failures:ratio_rate1h': failures,
  'service:inference_failures:ratio_rate6h': failures,
  'service:inference_failures:increase1h': failureCount,
  'service:inference_failures:increase6h': failureCount,
  'revision:inference_requests:rate15m': perRevision(rate),
  'revision:inference_request_errors:rate15m': perRevision(rate, ERROR),
  'revision:inference_request_errors:ratio_rate15m': perRevision(share(ERROR)),
  'revision:inference_requests_of_others:rate15m': { overloaded: ofOthers(rate) },
  'revision:inference_request_errors_of_others:ratio_rate15m': {
    overloaded: ofOthers(share(ERROR)),
  },
  'revision:inference_request_duration_seconds:p95_rate15m': perRevision(P95),
  'pod:cold_start_seconds:sum': { overloaded: by('instance', longest, STARTS, M15) },
  'pod:process_resident_memory:ratio': {
    load: MEMORY_LIMIT ? by('instance', gauge(0.2), { stream: 'memory share' }) : NOTHING,
  },
  'pod:nodejs_eventloop_lag_p99_seconds:avg5m': {
    overloaded: withOthers(
      [0, 0.1],
      by('instance', () => [0.1, 1], SLOW, M5),
    ),
  },
  'service:dead_letters:increase15m': { died: deadLetters, overloaded: deadLetters },
  'revision:kn_revision_pods_requested:max': { waking: revisions({ [STABLE]: 1 }) },
  'revision:kn_revision_pods_ready:max': {
    waking: NOTHING,
    canary: revisions({ [STABLE]: 1, [CANARY]: 1 }),
  },
  'revision:kn_revision_request_queued:sum': {
    waking: revisions({ [STABLE]: QUEUED }),
    load: NOTHING,
  },
  'trigger:kn_eventing_dispatches:rate5m': {
    overloaded: by(
      'messaging_destination_name http_response_status_code',
      dispatches,
      DELIVERIES,
      M5,
    ),
  },
}

const QUIET = { asleep: NOTHING, load: NOTHING }
const CALM = { ...QUIET, stopped: NOTHING }
const burns = { ...CALM, overloaded: by('service', share(REJECTED), SLOW, M5) }
const canaryFails = by('revision', share(ERROR), NEW, M15)
const canarySlow = by('revision', quantile(0.95, 0.01), NEW, M15)
const slowStarts = above(2, by('revision', longest, STARTS, M15))
const failingTriggers = above(0.1, by('messaging_destination_name', failing, DELIVERIES, M5))

export const ALERTS: Readonly<Record<string, model.Row>> = {
  ErrorBudgetBurnsFast: burns,
  ErrorBudgetBurnsSlowly: burns,
  RequestsAnsweredWithErrors: {
    ...CALM,
    overloaded: above(0.05, by('service', share(ERROR), ALL, M5)),
  },
  RequestsRejected: { ...CALM, overloaded: by('service', rate, REJECTED, M5) },
  ColdStartSlow: { ...CALM, load: slowStarts, overloaded: slowStarts },
  EventsDeadLettered: { ...QUIET, died: deadLetters, overloaded: deadLetters },
  CanaryFails: { ...CALM, canary: canaryFails, overloaded: canaryFails },
  CanarySlow: { ...CALM, canary: canarySlow, overloaded: canarySlow },
  // The series has the value 0; its existence makes the alert fire.
  ModelNotReady: {
    ...CALM,
    draining: by('instance', () => exactly(0), { ...STARTS, service: NO_LABEL }, M15),
  },
  EventLoopBlocked: { ...CALM, overloaded: series('service', { slow: [0.1, 1] }) },
  MemoryNearLimit: { ...CALM, overloaded: NOTHING },
  RevisionWithoutReadyPod: { ...CALM, waking: revisions({ [STABLE]: 1 }) },
  RequestsWaitForPod: { ...CALM, waking: revisions({ [STABLE]: QUEUED }) },
  EventDeliveryFails: { ...QUIET, died: failingTriggers, overloaded: failingTriggers },
}

/** The minimum and maximum number of firing series of each alert after the overload. */
const firing = (all: model.Model) =>
  Object.entries(ALERTS).map(([name, { overloaded = NOTHING }]) => {
    const { is, may = {} } = model.resolve(overloaded, all, 'overloaded')
    return [name, Object.keys(is).length, Object.keys({ ...is, ...may }).length] as const
  })
const ONE: model.Range = [1, 1]
const onesOf = (alerts: readonly (readonly [name: string, ...unknown[]])[]) =>
  Object.fromEntries(alerts.map(([name]) => [name, ONE]))

export const FIRING: Readonly<Record<'count' | 'alerts', model.Derive>> = {
  count: all => {
    const range = firing(all).reduce<model.Range>(
      ([least, most], [, ...more]) => [least + more[0], most + more[1]],
      [0, 0],
    )
    return { by: [], is: { '': range } }
  },
  alerts: all => {
    const found = firing(all).filter(([, , most]) => most > 0)
    const [sure, possible] = [found.filter(([, least]) => least > 0), found]
    return { by: ['alertname'], is: onesOf(sure), may: onesOf(possible) }
  },
}
