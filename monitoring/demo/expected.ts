import { METRICS } from '../../function/telemetry/metrics.ts'
import {
  AT_QUEUE_PROXY,
  CONCURRENCY,
  IRIS,
  type Life,
  type Moment,
  QUEUED,
  SLOW_START_SECONDS,
  windowOf,
} from './life.ts'
import { NAMESPACE, type Pod } from './pods.ts'
import { SCRAPE_SECONDS } from './prometheus.ts'
import { BUCKETS } from './stand-in.ts'
import type { Answered, Delivery } from './traffic.ts'

/*
 * What every query must say, made of the record of the script and of nothing that Prometheus says.
 */

export type Range = readonly [least: number, most: number]

export interface Expectation {
  readonly at: Moment
  /** Labels that tell the series apart; none: there is one. */
  readonly by?: readonly string[]
  /** By the labels' values, joined by a blank. Every other series must be 0 or not a number. */
  readonly is: Readonly<Record<string, Range>>
  /** What may be there too, by the same. */
  readonly may?: Readonly<Record<string, Range>>
  /** What all others may be. */
  readonly others?: Range
  /** In the place of the dashboard's variables. */
  readonly variables?: Readonly<Record<string, string>>
}

export interface Expectations {
  /** By dashboard and panel, the queries in their order. */
  readonly panels: Readonly<
    Record<string, Readonly<Record<string, readonly (readonly Expectation[])[]>>>
  >
  readonly records: Readonly<Record<string, readonly Expectation[]>>
  readonly alerts: Readonly<Record<string, readonly Expectation[]>>
  /** Values of the dashboards' variables, by their query. */
  readonly variables: Readonly<Record<string, readonly string[]>>
}

/** Nothing that is asked for can be below 0. */
const near = (value: number, share = 0.1, more = 0): Range => [
  Math.max(0, value * (1 - share) - more),
  value * (1 + share) + more,
]
const exactly = (value: number): Range => near(value, 1e-6, 1e-9)
const only = (range: Range) => ({ '': range })
const none = only(exactly(0))

const DURATION_BUCKETS = METRICS.inference_request_duration_seconds.buckets
const upperBound = (seconds: number, bounds: readonly number[]) =>
  bounds.find(bound => seconds <= bound) ?? Number.POSITIVE_INFINITY
const lowerBound = (seconds: number, bounds: readonly number[]) =>
  bounds.findLast(bound => bound < seconds) ?? 0

/** Series that are scraped without labels have none. */
const NO_LABEL = '–'

export function expect(life: Life): Expectations {
  const { moments, pods, traffic, podsFrom, coresAtLoad, residentBytes, began } = life
  const { stable, garden, canary, slow, again, sink } = pods
  const window = windowOf(life)

  // ── What was answered ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  type Which = Partial<Pick<Answered, 'pod' | 'protocol'>> & {
    ok?: boolean
    statuses?: (status: number) => boolean
  }
  const answered = (
    at: Moment,
    seconds: number,
    { pod, protocol, ok, statuses = () => true }: Which = {},
  ) =>
    traffic.answers.filter(
      answer =>
        answer.at <= moments[at] &&
        answer.at > moments[at] - seconds &&
        (pod === undefined || answer.pod === pod) &&
        (protocol === undefined || answer.protocol === protocol) &&
        (ok === undefined || (answer.status === 200) === ok) &&
        statuses(answer.status),
    )
  const count = (at: Moment, seconds: number, which: Which = {}) =>
    answered(at, seconds, which).length
  const turnedAway = (status: number) => status === 503
  /** A rate over that many seconds: what was scraped may be a scrape old at either end. */
  const rate = (at: Moment, seconds: number, which: Which = {}): Range =>
    rateOf(count(at, seconds, which), seconds)
  const rateOf = (events: number, seconds: number): Range =>
    events === 0 ? exactly(0) : near(events / seconds, 0.1, 6 / seconds)
  const share = (at: Moment, seconds: number, part: Which, whole: Which = {}): Range => {
    const parts = count(at, seconds, part)
    return parts === 0 ? exactly(0) : near(parts / count(at, seconds, whole), 0.12, 0.02)
  }
  const labels = (at: Moment, seconds: number, which: Which) => {
    const rows: Record<string, number> = {}
    for (const answer of answered(at, seconds, which))
      for (const [label, n] of Object.entries(answer.labels)) rows[label] = (rows[label] ?? 0) + n
    return rows
  }
  const sumOf = (values: Readonly<Record<string, number>>) =>
    Object.values(values).reduce((sum, value) => sum + value, 0)
  const mapped = <V, W>(values: Readonly<Record<string, V>>, f: (value: V, key: string) => W) =>
    Object.fromEntries(Object.entries(values).map(([key, value]) => [key, f(value, key)]))
  const quantileOf = (answers: readonly Answered[], at: number) => {
    const seconds = answers.map(answer => answer.seconds).sort((a, b) => a - b)
    return seconds[Math.min(seconds.length - 1, Math.floor(at * seconds.length))] ?? Number.NaN
  }
  /** The function's own time is within the caller's, so its percentile is no later than the end of the caller's bucket. */
  const within = (answers: readonly Answered[], at: number, least = 1e-5): Range => [
    least,
    upperBound(quantileOf(answers, at), DURATION_BUCKETS),
  ]
  const whole = 1e9

  // ── Starts, pods ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

  const started = ({ startedIn }: Pod, least = 0.001): Range => [least, startedIn]
  const slowStart = started(slow, SLOW_START_SECONDS)
  const allPods = [stable, garden, canary, slow, again]
  const until = (at: Moment) => {
    const changes = [
      ...podsFrom.filter(change => change.at < moments[at]),
      { at: moments[at], count: 0 },
    ]
    return changes.slice(0, -1).map(({ count }, i) => ({
      count,
      seconds: (changes[i + 1]?.at ?? 0) - (changes[i]?.at ?? 0),
    }))
  }
  const podSeconds = (at: Moment) =>
    until(at).reduce((sum, { count, seconds }) => sum + count * seconds, 0)
  const asleepSeconds = (at: Moment) =>
    until(at).reduce((sum, { count, seconds }) => sum + (count === 0 ? seconds : 0), 0)
  const limit = process.constrainedMemory()
  const limited = limit > 0 && Number.isSafeInteger(limit)

  // ── Events ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  const dead = (at: Moment, reason: 'refused' | 'exhausted') =>
    traffic.dead.filter(event => event.reason === reason && event.at <= moments[at]).length
  const deliveries = (at: Moment, seconds: number) =>
    traffic.deliveries.filter(
      delivery => delivery.at <= moments[at] && delivery.at > moments[at] - seconds,
    )
  const groupedBy = <T>(list: readonly T[], key: (item: T) => string) =>
    Object.groupBy(list, key) as Record<string, T[]>
  const destination = (trigger: string) => `trigger:${trigger}.${NAMESPACE}`

  // ── Alerts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  const errorsOf = (pod: Pod, at: Moment) => share(at, whole, { pod, ok: false }, { pod })
  const serviceShare = (list: readonly Pod[], at: Moment, which: Which): Range => {
    const sum = (more: Which) =>
      list.reduce((total, pod) => total + count(at, whole, { ...more, pod }), 0)
    return near(sum(which) / sum({}), 0.1, 0.01)
  }
  /** Knative's series begin at their first count, and a rate misses what the first scrape brings. @returns what it sees at least */
  const seen = (list: readonly Delivery[]) =>
    list.filter(({ at }) => at > Math.min(...list.map(({ at }) => at)) + 2 * SCRAPE_SECONDS).length
  const failing = (at: Moment) =>
    Object.fromEntries(
      Object.entries(groupedBy(deliveries(at, 300), ({ trigger }) => destination(trigger))).flatMap(
        ([key, all]) => {
          const failed = all.filter(({ status }) => status >= 300)
          return failed.length === 0 ? [] : [[key, [(0.9 * seen(failed)) / all.length, 1] as Range]]
        },
      ),
    )
  const slowly = Object.fromEntries(
    allPods
      .filter(pod => pod.startedIn > 2 && pod !== slow)
      .map(pod => [pod.revision, [2, pod.startedIn] as Range]),
  )
  const quiet: Expectation[] = [
    { at: 'asleep', is: {} },
    { at: 'load', is: {} },
  ]
  const calm: Expectation = { at: 'stopped', is: {} }
  const burns: Expectation[] = [
    ...quiet,
    {
      at: 'overloaded',
      by: ['service'],
      is: { slow: share('overloaded', whole, { pod: slow, ok: false }, { pod: slow }) },
    },
    calm,
  ]
  const canaryFails: Expectation[] = ['canary' as const, 'overloaded' as const].map(at => ({
    at,
    by: ['revision'],
    is: { [IRIS.canary]: errorsOf(canary, at) },
  }))
  const canarySlow: Expectation[] = ['canary' as const, 'overloaded' as const].map(at => ({
    at,
    by: ['revision'],
    is: { [IRIS.canary]: within(answered(at, whole, { pod: canary }), 0.95, 0.01) },
  }))
  const deadNow = {
    refused: exactly(dead('overloaded', 'refused')),
    exhausted: exactly(dead('overloaded', 'exhausted')),
  }
  const alerts: Expectations['alerts'] = {
    ErrorBudgetBurnsFast: burns,
    ErrorBudgetBurnsSlowly: burns,
    RequestsAnsweredWithErrors: [
      ...quiet,
      {
        at: 'overloaded',
        by: ['service'],
        is: {
          [IRIS.service]: serviceShare([stable, canary], 'overloaded', { ok: false }),
          slow: serviceShare([slow], 'overloaded', { ok: false }),
        },
      },
      calm,
    ],
    RequestsRejected: [
      ...quiet,
      {
        at: 'overloaded',
        by: ['service'],
        is: {
          slow: near(
            count('overloaded', whole, { pod: slow, statuses: turnedAway }) / 300,
            0.12,
            0.01,
          ),
        },
      },
      calm,
    ],
    ColdStartSlow: [
      { at: 'asleep', is: {} },
      { at: 'load', by: ['revision'], is: {}, may: slowly },
      { at: 'overloaded', by: ['revision'], is: { 'slow-00001': slowStart }, may: slowly },
      calm,
    ],
    EventsDeadLettered: [
      ...quiet,
      {
        at: 'died',
        by: ['service', 'reason'],
        is: { 'iris-dead-letter refused': exactly(dead('died', 'refused')) },
      },
      { at: 'overloaded', by: ['reason'], is: deadNow },
    ],
    CanaryFails: [...quiet, ...canaryFails, calm],
    CanarySlow: [...quiet, ...canarySlow, calm],
    // Its value is 0: that it is there is what fires.
    ModelNotReady: [
      ...quiet,
      { at: 'draining', by: ['instance'], is: { [garden.address]: exactly(0) } },
      calm,
    ],
    EventLoopBlocked: [
      ...quiet,
      { at: 'overloaded', by: ['service'], is: { slow: [0.1, 1] } },
      calm,
    ],
    MemoryNearLimit: [...quiet, { at: 'overloaded', is: {} }, calm],
    RevisionWithoutReadyPod: [
      ...quiet,
      { at: 'waking', by: ['kn_revision_name'], is: { [IRIS.stable]: exactly(1) } },
      calm,
    ],
    RequestsWaitForPod: [
      ...quiet,
      { at: 'waking', by: ['kn_revision_name'], is: { [IRIS.stable]: exactly(QUEUED) } },
      calm,
    ],
    EventDeliveryFails: [
      ...quiet,
      { at: 'died', by: ['messaging_destination_name'], is: failing('died') },
      { at: 'overloaded', by: ['messaging_destination_name'], is: failing('overloaded') },
    ],
  }
  /** At the worst moment. */
  const firing = Object.entries(alerts).flatMap(([name, list]) =>
    list
      .filter(({ at }) => at === 'overloaded')
      .map(({ is, may = {} }) => ({
        name,
        least: Object.keys(is).length,
        more: Object.keys(may).length,
      })),
  )
  const fires = firing.filter(({ least }) => least > 0)
  const firingSeries = fires.reduce((sum, { least }) => sum + least, 0)
  const mayFire = firing.reduce((sum, { more }) => sum + more, 0)

  // ── Dashboards ─────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  const ok = { ok: true }
  const protocols = ['http', 'cloudevent'] as const
  const inferencePanels = {
    'Is it up?': [
      [
        { at: 'asleep', is: none },
        { at: 'load', is: only(exactly(2)) },
        { at: 'draining', is: only(exactly(3)) },
        { at: 'stopped', is: none },
        { at: 'again', is: only(exactly(1)) },
      ],
      [
        { at: 'load', is: none },
        { at: 'draining', is: only(exactly(1)) },
        { at: 'stopped', is: none },
      ],
    ],
    'How fast?': [
      [
        { at: 'asleep', is: {} },
        { at: 'load', is: only(within(answered('load', window, ok), 0.95)) },
        { at: 'overload', is: only(within(answered('overload', window, ok), 0.95, 0.05)) },
      ],
    ],
    'How often wrong?': [
      [
        { at: 'asleep', is: {} },
        { at: 'load', is: none },
        { at: 'errors', is: only(share('errors', window, { ok: false })) },
        { at: 'overload', is: only(share('overload', window, { ok: false })) },
      ],
      [
        { at: 'load', is: none },
        { at: 'errors', is: none },
        { at: 'overload', is: only(share('overload', window, { statuses: turnedAway })) },
      ],
    ],
    'How many?': [
      [
        { at: 'asleep', is: none },
        { at: 'load', is: only(rate('load', window)) },
        {
          at: 'load',
          is: only(rate('load', window, { pod: garden })),
          variables: { service: 'garden', revision: 'garden-00001' },
        },
        { at: 'load', is: none, variables: { model: 'another' } },
        { at: 'stopped', is: none },
      ],
    ],
    'How many turned away?': [
      [
        { at: 'load', is: none },
        { at: 'overload', is: only(rate('overload', window, { statuses: turnedAway })) },
      ],
    ],
    'What fires?': [
      [
        { at: 'asleep', is: none },
        { at: 'overloaded', is: only([firingSeries, firingSeries + mayFire]) },
      ],
    ],
    Alerts: [
      [
        {
          at: 'overloaded',
          by: ['alertname'],
          is: Object.fromEntries(fires.map(({ name }) => [name, exactly(1)])),
        },
      ],
    ],
    'Requests by answer': [
      [
        {
          at: 'load',
          by: ['protocol', 'status'],
          is: Object.fromEntries(
            protocols.map(protocol => [`${protocol} success`, rate('load', window, { protocol })]),
          ),
        },
        {
          at: 'overload',
          by: ['protocol', 'status'],
          is: {
            'http success': rate('overload', window, { protocol: 'http', ok: true }),
            'http error': rate('overload', window, { protocol: 'http', ok: false }),
          },
          others: [0, 30],
        },
      ],
    ],
    'Errors by revision': [
      [
        {
          at: 'errors',
          by: ['revision'],
          is: {
            [IRIS.stable]: share('errors', window, { pod: stable, ok: false }, { pod: stable }),
          },
        },
        {
          at: 'canary',
          by: ['revision'],
          is: {
            [IRIS.canary]: share('canary', window, { pod: canary, ok: false }, { pod: canary }),
          },
        },
      ],
    ],
    'Time to the answer': [0.5, 0.95, 0.99].map(at => [
      { at: 'load', is: only(within(answered('load', window, ok), at)) },
    ]),
    'Times to the answer': [
      [
        {
          at: 'load',
          by: ['le'],
          is: { '+Inf': near(count('load', window, ok), 0.1, 2) },
          others: [0, count('load', window, ok) * 1.1 + 2],
        },
      ],
    ],
    'Waiting, and in flight': [
      [
        { at: 'overload', is: only([1, 4]) },
        { at: 'stopped', is: {} },
      ],
      [
        { at: 'overload', is: only([1, 60]) },
        { at: 'stopped', is: {} },
      ],
    ],
    'Rows a run': [
      [{ at: 'overload', is: only(near(1, 0.01)) }],
      // All of them in the bucket up to 1.
      [{ at: 'overload', is: only(near(0.95, 0.01)) }],
    ],
    'Turned away, by reason': [
      [
        { at: 'load', by: ['reason'], is: {} },
        {
          at: 'overload',
          by: ['reason'],
          is: { overloaded: rate('overload', window, { statuses: turnedAway }) },
        },
      ],
    ],
    'Failures, by cause': [
      [
        { at: 'errors', by: ['cause'], is: {} },
        {
          at: 'overload',
          by: ['cause'],
          is: { overloaded: rate('overload', window, { statuses: turnedAway }) },
        },
      ],
    ],
    Predictions: [
      [
        {
          at: 'load',
          by: ['label'],
          is: mapped(labels('load', window, {}), rows => rateOf(rows, window)),
        },
      ],
    ],
    'How many events died?': [
      [
        { at: 'load', by: ['reason'], is: {} },
        { at: 'died', by: ['reason'], is: { refused: exactly(dead('died', 'refused')) } },
        { at: 'overloaded', by: ['reason'], is: deadNow },
      ],
    ],
    'Which event died?': [
      [
        { at: 'load', is: {} },
        {
          at: 'died',
          by: ['messaging_destination_name', 'cloudevents_type', 'http_response_status_code'],
          is: {
            [`${destination('iris-ping')} dev.knative.sources.ping 400`]: exactly(
              dead('died', 'refused'),
            ),
          },
        },
      ],
    ],
    'What the function answered to events': [
      [
        {
          at: 'load',
          by: ['status'],
          is: { success: rate('load', window, { protocol: 'cloudevent' }) },
        },
      ],
    ],
    'Deliveries by status': [
      [
        {
          at: 'load',
          by: ['http_response_status_code'],
          is: { 200: rateOf(deliveries('load', window).length, window) },
        },
      ],
    ],
    Memory: [
      [
        {
          at: 'load',
          by: ['instance'],
          is: Object.fromEntries(
            [...residentBytes.load].map(([pod, bytes]) => [pod.address, near(bytes, 0.2)]),
          ),
        },
      ],
      [{ at: 'load', is: limited ? only(exactly(limit)) : {} }],
    ],
    CPU: [
      [
        {
          at: 'load',
          by: ['instance'],
          is: Object.fromEntries(
            [...coresAtLoad].map(([pod, cores]) => [pod.address, near(cores, 0.4, 0.05)]),
          ),
        },
      ],
    ],
    'Event loop': [
      [{ at: 'overload', by: ['instance'], is: { [slow.address]: [0.15, 1.5] }, others: [0, 0.3] }],
    ],
    'Worker deaths': [[{ at: 'overload', is: none }]],
    'What runs': [
      [
        {
          at: 'canary',
          by: ['service', 'revision'],
          is: Object.fromEntries(
            [stable, garden, canary].map(pod => [`${pod.service} ${pod.revision}`, exactly(1)]),
          ),
        },
      ],
    ],
    'Time to the answer, 95th percentile of each series': [
      [
        {
          at: 'load',
          by: ['instance', 'protocol', 'status'],
          is: {
            [`${stable.address} http success`]: within(
              answered('load', 300, { pod: stable, protocol: 'http' }),
              0.95,
            ),
            [`${stable.address} cloudevent success`]: within(
              answered('load', 300, { pod: stable, protocol: 'cloudevent' }),
              0.95,
            ),
            [`${garden.address} http success`]: within(
              answered('load', 300, { pod: garden }),
              0.95,
            ),
          },
        },
      ],
    ],
    'Requests answered well': [
      [
        {
          at: 'load',
          by: ['instance', 'protocol'],
          is: {
            [`${stable.address} http`]: rate('load', 60, { pod: stable, protocol: 'http' }),
            [`${stable.address} cloudevent`]: rate('load', 60, {
              pod: stable,
              protocol: 'cloudevent',
            }),
            [`${garden.address} http`]: rate('load', 60, { pod: garden }),
          },
        },
      ],
    ],
    'Errors in percent, as often written': [
      [
        { at: 'load', is: {} },
        {
          at: 'errors',
          by: ['instance', 'protocol'],
          is: {
            [`${stable.address} http`]: exactly(100),
            [`${stable.address} cloudevent`]: exactly(100),
          },
        },
      ],
    ],
    'Errors in percent of all requests': [
      [
        { at: 'load', is: none },
        {
          at: 'errors',
          is: only(near((100 * count('errors', 60, { ok: false })) / count('errors', 60), 0.12, 2)),
        },
      ],
    ],
    'Pods in the namespace': [
      [
        { at: 'load', is: only(exactly([sink, stable, garden].length)) },
        { at: 'stopped', is: only(exactly([sink].length)) },
      ],
    ],
  } satisfies Readonly<Record<string, readonly (readonly Expectation[])[]>>

  const scaleToZeroPanels = {
    'Did it wake?': [
      [
        { at: 'waking', is: only(exactly(QUEUED)) },
        { at: 'awake', is: none },
      ],
      [
        { at: 'asleep', is: none },
        { at: 'waking', is: only(exactly(1)) },
      ],
      [
        { at: 'waking', is: none },
        { at: 'awake', is: only(exactly(1)) },
        { at: 'canary', is: only(exactly(2)) },
        { at: 'stopped', is: none },
      ],
      [
        { at: 'waking', is: none },
        { at: 'awake', is: only(exactly(2)) },
        { at: 'stopped', is: none },
      ],
    ],
    'Awake now': [
      [
        { at: 'asleep', is: none },
        { at: 'canary', is: only(exactly(2)) },
        { at: 'stopped', is: none },
      ],
    ],
    Asleep: [
      [
        {
          at: 'again',
          is: only(near(asleepSeconds('again') / (moments.again - began), 0.1, 0.03)),
        },
      ],
    ],
    Starts: [
      [
        { at: 'asleep', is: none },
        { at: 'load', is: only(exactly(2)) },
        { at: 'again', is: only(exactly(allPods.length)) },
      ],
    ],
    'Pod hours': [[{ at: 'again', is: only(near(podSeconds('again') / 3600, 0.1, 2 / 3600)) }]],
    'Longest start': [[{ at: 'again', is: only(slowStart) }]],
    'Failed on the way': [
      [
        { at: 'load', is: none },
        {
          at: 'overloaded',
          is: only(exactly(count('overloaded', whole, { statuses: status => status >= 500 }))),
        },
      ],
    ],
    'Phases of the start': [
      [
        {
          at: 'again',
          by: ['phase'],
          is: {
            import: slowStart,
            ...Object.fromEntries(
              ['process', 'listen', 'session', 'warm-up'].map(phase => [
                phase,
                [1e-5, Math.max(...allPods.map(pod => pod.startedIn))] as Range,
              ]),
            ),
            'first-answer': [1e-5, Math.max(...traffic.answers.map(({ seconds }) => seconds))],
          },
        },
      ],
    ],
    'Start of each process': [
      [
        {
          at: 'overload',
          by: ['revision'],
          is: {
            ...Object.fromEntries(
              [stable, garden, canary].map(pod => [pod.revision, started(pod)]),
            ),
            'slow-00001': slowStart,
          },
        },
      ],
    ],
    'Concurrency and target': [
      [
        {
          at: 'load',
          by: ['kn_revision_name'],
          is: { [IRIS.stable]: exactly(CONCURRENCY.stable) },
        },
      ],
      [{ at: 'load', by: ['kn_revision_name'], is: { [IRIS.stable]: exactly(CONCURRENCY.panic) } }],
      [
        {
          at: 'load',
          by: ['kn_revision_name'],
          is: {
            [IRIS.stable]: exactly(CONCURRENCY.target),
            [IRIS.canary]: exactly(CONCURRENCY.target),
          },
        },
      ],
    ],
    'Pods by state': [
      [{ at: 'load', is: none }],
      [
        { at: 'waking', is: only(exactly(1)) },
        { at: 'load', is: none },
      ],
      [{ at: 'draining', is: only(exactly(2)) }],
    ],
    Panic: [
      [
        { at: 'waking', by: ['kn_revision_name'], is: { [IRIS.stable]: exactly(1) } },
        { at: 'load', by: ['kn_revision_name'], is: {} },
      ],
    ],
    'Room for a burst': [
      [
        {
          at: 'load',
          by: ['kn_revision_name'],
          is: { [IRIS.stable]: exactly(CONCURRENCY.target - CONCURRENCY.stable) },
        },
      ],
    ],
    'Time at the queue-proxy, and in the function': [
      [
        {
          at: 'load',
          is: only([
            lowerBound(quantileOf(answered('load', window), 0.9), BUCKETS) + 1e-5,
            upperBound(quantileOf(answered('load', window), 0.98), BUCKETS),
          ]),
        },
      ],
      [{ at: 'load', is: only(within(answered('load', window), 0.95)) }],
    ],
    'Waiting at the queue-proxy': [
      [{ at: 'load', by: ['kn_revision_name'], is: { [IRIS.stable]: exactly(AT_QUEUE_PROXY) } }],
    ],
  } satisfies Readonly<Record<string, readonly (readonly Expectation[])[]>>

  const variables = { service: IRIS.service, revision: IRIS.canary, baseline: IRIS.stable }
  const atCanary = { at: 'canary', variables } as const
  const both = [stable, canary]
  const byRevision = (of: (pod: Pod) => Range) =>
    Object.fromEntries(both.map(pod => [pod.revision, of(pod)]))
  const recent = 15 * 60
  const shares = (pod: Pod) => {
    const rows = labels('canary', recent, { pod })
    return mapped(rows, n => n / sumOf(rows))
  }
  const [newShares, oldShares] = [shares(canary), shares(stable)]
  const moved =
    [...new Set([...Object.keys(newShares), ...Object.keys(oldShares)])].reduce(
      (sum, label) => sum + Math.abs((newShares[label] ?? 0) - (oldShares[label] ?? 0)),
      0,
    ) / 2
  const errorShare = (pod: Pod) =>
    count('canary', recent, { pod, ok: false }) / count('canary', recent, { pod })
  const canaryPanels = {
    'More errors?': [
      [{ ...atCanary, is: only(near(errorShare(canary) - errorShare(stable), 0.05, 0.03)) }],
    ],
    'Slower?': [[{ ...atCanary, is: only([1.5, 10_000]) }]],
    'Other predictions?': [[{ ...atCanary, is: only(near(moved, 0.03, 0.02)) }]],
    'Share of the traffic': [
      [
        {
          ...atCanary,
          is: only(
            near(
              count('canary', window, { pod: canary }) /
                both.reduce((n, pod) => n + count('canary', window, { pod }), 0),
              0.1,
              0.03,
            ),
          ),
        },
      ],
    ],
    'Side by side': [
      [
        {
          ...atCanary,
          by: ['revision'],
          is: byRevision(pod => near(count('canary', recent, { pod }), 0.05, 5)),
        },
      ],
      [{ ...atCanary, by: ['revision'], is: byRevision(pod => near(errorShare(pod), 0.05, 0.02)) }],
      ...[0.5, 0.95, 0.99].map(at => [
        {
          ...atCanary,
          by: ['revision'],
          is: byRevision(pod => within(answered('canary', recent, { pod, ok: true }), at)),
        },
      ]),
      [{ ...atCanary, by: ['revision'], is: byRevision(pod => started(pod)) }],
      [
        {
          ...atCanary,
          by: ['revision'],
          is: byRevision(pod => near(residentBytes.canary.get(pod) ?? 0, 0.3)),
        },
      ],
      [{ ...atCanary, by: ['revision'], is: byRevision(() => exactly(1)) }],
    ],
    Requests: [
      [{ ...atCanary, by: ['revision'], is: byRevision(pod => rate('canary', window, { pod })) }],
    ],
    Errors: [
      [
        {
          ...atCanary,
          by: ['revision'],
          is: byRevision(pod => share('canary', window, { pod, ok: false }, { pod })),
        },
      ],
    ],
    'Time to the answer, 95th percentile': [
      [
        {
          ...atCanary,
          by: ['revision'],
          is: byRevision(pod => within(answered('canary', window, { pod, ok: true }), 0.95)),
        },
      ],
    ],
    'By version of the model': [
      [
        {
          ...atCanary,
          by: ['version'],
          is: {
            'v1.0.0': within(answered('canary', window, { pod: stable, ok: true }), 0.95),
            'v2.0.0': within(answered('canary', window, { pod: canary, ok: true }), 0.95, 0.005),
          },
        },
      ],
    ],
    'Predictions of the new revision': [
      // One request of 20,000 rows more or less, at the window's edges.
      [
        {
          ...atCanary,
          by: ['label'],
          is: mapped(labels('canary', window, { pod: canary }), n =>
            near(n / window, 0.2, 20_000 / window),
          ),
        },
      ],
    ],
    'Predictions of the other': [
      [
        {
          ...atCanary,
          by: ['label'],
          is: mapped(labels('canary', window, { pod: stable }), n => rateOf(n, window)),
        },
      ],
    ],
  } satisfies Readonly<Record<string, readonly (readonly Expectation[])[]>>

  // ── Rules ──────────────────────────────────────────────────────────────────────────────────────────────────────────────────────

  const at = 'overloaded'
  /** By the labels that service discovery gave; garden has none. */
  const targets = [stable, garden, canary, slow]
  const serviceOf = (pod: Pod) => (pod === garden ? NO_LABEL : pod.service)
  const revisionOf = (pod: Pod) =>
    pod === garden ? `${NO_LABEL} ${NO_LABEL}` : `${pod.service} ${pod.revision}`
  const versions = new Map([
    [stable, 'v1.0.0'],
    [garden, 'v1.0.0'],
    [canary, 'v2.0.0'],
    [slow, '1'],
  ])
  const versionOf = (pod: Pod) => versions.get(pod) ?? NO_LABEL
  const services = Object.groupBy(targets, serviceOf) as Record<string, Pod[]>
  const inService = (list: readonly Pod[], which: Which, seconds = whole) =>
    list.flatMap(pod => answered(at, seconds, { ...which, pod }))
  const byService = (of: (list: readonly Pod[]) => Range | undefined) =>
    Object.fromEntries(
      Object.entries(services).flatMap(([service, list]) =>
        of(list) === undefined ? [] : [[service, of(list) as Range]],
      ),
    )
  /** A rate adds up to a scrape at each end, which is much for a pod that lived for some seconds. */
  const perSecond = (n: number, seconds: number): Range =>
    n === 0 ? exactly(0) : near(n / seconds, 0.12, 3 / seconds)
  const service = { at, by: ['service'] } as const
  const revision = { at, by: ['service', 'revision'] } as const
  const quantiles = (q: number): Expectation[] => [
    { ...service, is: byService(list => within(inService(list, {}), q)) },
  ]
  const failures: Expectation[] = [
    { ...service, is: { slow: serviceShare([slow], at, { statuses: turnedAway }) } },
  ]
  const failureCount: Expectation[] = [
    {
      ...service,
      is: { slow: near(count(at, whole, { pod: slow, statuses: turnedAway }), 0.12, 3) },
    },
  ]
  const others = (pod: Pod) =>
    targets.filter(other => other !== pod && serviceOf(other) === serviceOf(pod))
  const byTarget = (of: (pod: Pod) => Range) =>
    Object.fromEntries(targets.map(pod => [revisionOf(pod), of(pod)]))
  const objective = (minutes: string) =>
    [`service:inference_failures:ratio_rate${minutes}`, failures] as const
  const records: Expectations['records'] = {
    'service:up:sum': [
      { at: 'asleep', by: ['service'], is: { 'iris-dead-letter': exactly(1) } },
      {
        at: 'canary',
        by: ['service'],
        is: { 'iris-dead-letter': exactly(1), [IRIS.service]: exactly(2) },
      },
      { at: 'stopped', by: ['service'], is: { 'iris-dead-letter': exactly(1) } },
    ],
    'revision:inference_requests:rate5m': [
      {
        at,
        by: ['service', 'revision', 'version', 'protocol', 'status'],
        is: Object.fromEntries(
          targets.flatMap(pod =>
            protocols.flatMap(protocol =>
              [true, false].map(ok => [
                `${revisionOf(pod)} ${versionOf(pod)} ${protocol} ${ok ? 'success' : 'error'}`,
                perSecond(count(at, whole, { pod, protocol, ok }), 300),
              ]),
            ),
          ),
        ),
      },
    ],
    'service:inference_requests:rate5m': [
      { ...service, is: byService(list => perSecond(inService(list, {}).length, 300)) },
    ],
    'service:inference_request_errors:ratio_rate5m': [
      { ...service, is: byService(list => serviceShare(list, at, { ok: false })) },
    ],
    'service:inference_request_duration_seconds:p50_rate5m': quantiles(0.5),
    'service:inference_request_duration_seconds:p95_rate5m': quantiles(0.95),
    'service:inference_request_duration_seconds:p99_rate5m': quantiles(0.99),
    'service:inference_rejected:rate5m': [
      {
        at,
        by: ['service', 'reason'],
        is: {
          'slow overloaded': perSecond(count(at, whole, { pod: slow, statuses: turnedAway }), 300),
        },
      },
    ],
    'service:inference_predictions:rate5m': [
      {
        at,
        by: ['service', 'version', 'label'],
        is: Object.fromEntries(
          targets.flatMap(pod =>
            Object.entries(labels(at, whole, { pod })).map(([label, n]) => [
              `${serviceOf(pod)} ${versionOf(pod)} ${label}`,
              perSecond(n, 300),
            ]),
          ),
        ),
      },
    ],
    'service:inference_batch_rows:mean_rate5m': [
      // Few of the runs have two requests in them.
      { at: 'load', by: ['service'], is: { [IRIS.service]: [0.99, 1.5], [NO_LABEL]: [0.99, 1.5] } },
      // And a request of very many rows has several.
      {
        ...service,
        is: { slow: near(1, 0.01), [IRIS.service]: [10, 20_000] },
        others: [0.99, 1.5],
      },
    ],
    ...Object.fromEntries(['5m', '30m', '1h', '6h'].map(objective)),
    'service:inference_failures:increase1h': failureCount,
    'service:inference_failures:increase6h': failureCount,
    'revision:inference_requests:rate15m': [
      { ...revision, is: byTarget(pod => perSecond(count(at, whole, { pod }), recent)) },
    ],
    'revision:inference_request_errors:rate15m': [
      { ...revision, is: byTarget(pod => perSecond(count(at, whole, { pod, ok: false }), recent)) },
    ],
    'revision:inference_request_errors:ratio_rate15m': [
      { ...revision, is: byTarget(pod => serviceShare([pod], at, { ok: false })) },
    ],
    'revision:inference_requests_of_others:rate15m': [
      { ...revision, is: byTarget(pod => perSecond(inService(others(pod), {}).length, recent)) },
    ],
    'revision:inference_request_errors_of_others:ratio_rate15m': [
      {
        ...revision,
        is: Object.fromEntries(
          both.map(pod => [revisionOf(pod), serviceShare(others(pod), at, { ok: false })]),
        ),
      },
    ],
    'revision:inference_request_duration_seconds:p95_rate15m': [
      { ...revision, is: byTarget(pod => within(answered(at, whole, { pod }), 0.95)) },
    ],
    'pod:cold_start_seconds:sum': [
      {
        at,
        by: ['instance'],
        is: Object.fromEntries(
          targets.map(pod => [pod.address, pod === slow ? slowStart : started(pod)]),
        ),
      },
    ],
    'pod:process_resident_memory:ratio': [
      {
        at: 'load',
        by: ['instance'],
        is: limited
          ? Object.fromEntries(
              [...residentBytes.load].map(([pod, bytes]) => [
                pod.address,
                near(bytes / limit, 0.2),
              ]),
            )
          : {},
      },
    ],
    'pod:nodejs_eventloop_lag_p99_seconds:avg5m': [
      { at, by: ['instance'], is: { [slow.address]: [0.1, 1] }, others: [0, 0.1] },
    ],
    'service:dead_letters:increase15m': [
      {
        at: 'died',
        by: ['service', 'reason'],
        is: { 'iris-dead-letter refused': exactly(dead('died', 'refused')) },
      },
      { at, by: ['reason'], is: deadNow },
    ],
    'revision:kn_revision_pods_requested:max': [
      { at: 'waking', by: ['kn_revision_name'], is: { [IRIS.stable]: exactly(1) } },
    ],
    'revision:kn_revision_pods_ready:max': [
      { at: 'waking', by: ['kn_revision_name'], is: {} },
      {
        at: 'canary',
        by: ['kn_revision_name'],
        is: { [IRIS.stable]: exactly(1), [IRIS.canary]: exactly(1) },
      },
    ],
    'revision:kn_revision_request_queued:sum': [
      { at: 'waking', by: ['kn_revision_name'], is: { [IRIS.stable]: exactly(QUEUED) } },
      { at: 'load', by: ['kn_revision_name'], is: {} },
    ],
    'trigger:kn_eventing_dispatches:rate5m': [
      {
        at,
        by: ['messaging_destination_name', 'http_response_status_code'],
        is: mapped(
          groupedBy(
            deliveries(at, 300),
            ({ trigger, status }) => `${destination(trigger)} ${status}`,
          ),
          (list): Range => [(0.9 * seen(list)) / 300, (1.1 * list.length) / 300],
        ),
      },
    ],
  }

  return {
    panels: {
      Inference: inferencePanels,
      'Scale to zero': scaleToZeroPanels,
      Canary: canaryPanels,
    } as Expectations['panels'],
    records,
    alerts,
    variables: {
      'label_values(function_info, service)': ['garden', IRIS.service, 'slow'],
      'label_values(function_info{service=~".*"}, revision)': [
        'garden-00001',
        IRIS.stable,
        IRIS.canary,
        'slow-00001',
      ],
      'label_values(inference_requests_total, model)': ['iris-classifier', 'slow'],
      'label_values(kube_pod_info, namespace)': [NAMESPACE],
    },
  }
}
