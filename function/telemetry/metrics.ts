import { lazily } from '../lazily.ts'
import { secondsBeforeNode } from './before-node.ts'
import type { Described, Family, Sample } from './family.ts'

/*
 * Declares and records every metric. Recording only adds to a number: prom-client would take 1.9 µs
 * of CPU per request (version 15.1.3, four metrics), besides about 35 µs for an inference. It is
 * loaded at Prometheus' first scrape, because loading it would delay the first response.
 */

const PROTOCOLS = ['http', 'cloudevent', 'grpc'] as const
export type Protocol = (typeof PROTOCOLS)[number]

const STATUSES = ['success', 'error'] as const
export type Status = (typeof STATUSES)[number]

/** Why a request was rejected before it was read or run. */
const REJECTION_REASONS = [
  'overloaded',
  'deadline',
  'not_ready',
  'too_large',
  'slow',
  'unauthenticated',
  'forbidden',
] as const
export type RejectionReason = (typeof REJECTION_REASONS)[number]

/**
 * Closed to stay within MAX_CONNECTIONS: an idle connection, a TLS handshake, a new connection
 * because no other could be dropped, or an HTTP/2 stream.
 */
const DROP_REASONS = ['idle', 'handshake', 'refused', 'stream'] as const
export type DropReason = (typeof DROP_REASONS)[number]

/** Why a request failed through no fault of its caller. */
const FAILURE_CAUSES = [
  'overloaded',
  'deadline',
  'not_ready',
  'model',
  'transform',
  'dependency',
  'server',
] as const
export type FailureCause = (typeof FAILURE_CAUSES)[number]

/** The phases of startup. Each begins at the end of the previous phase. */
const START_PHASES = ['process', 'import', 'listen', 'session', 'warm-up', 'first-answer'] as const
export type StartPhase = (typeof START_PHASES)[number]

/**
 * Why a Broker gave up on an event: a retry would have failed, all retries failed, the Broker
 * reported no response, or the sink could not read the event.
 */
const DEAD_LETTER_REASONS = ['refused', 'exhausted', 'no_answer', 'unreadable'] as const
export type DeadLetterReason = (typeof DEAD_LETTER_REASONS)[number]

/** Why requests may share a run, or not. */
const BATCHING_REASONS = [
  'proven',
  'model_json',
  'fixed_dimension',
  'not_proven',
  'sizes_by_values',
  'sample_differs',
  'undecided',
] as const
export type BatchingReason = (typeof BATCHING_REASONS)[number]

/**
 * Upper bounds in seconds, from a run without waiting (tens of microseconds) to the default
 * deadline.
 */
const DURATION_BUCKETS = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
]
const ROW_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096]

const HALVES = ['preprocess', 'postprocess'] as const
export type Half = (typeof HALVES)[number]

/** Whose mistake made a transform's call fail. */
const MISTAKES = ['caller', 'author', 'dependency'] as const
export type Mistake = (typeof MISTAKES)[number]

/** A metric's declaration, for Prometheus' text and docs/metrics.md. */
export interface Declaration {
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  /** Each label with its values or their description. */
  readonly labels: Readonly<Record<string, readonly string[] | string>>
  readonly buckets?: readonly number[]
}

const REQUEST_LABELS = {
  model: 'the served name of the model',
  version: 'the version of the model, or empty',
  protocol: PROTOCOLS,
  status: STATUSES,
} as const

export const METRICS = {
  inference_requests_total: {
    type: 'counter',
    help: 'Answered inference requests and events.',
    labels: REQUEST_LABELS,
  },
  inference_request_duration_seconds: {
    type: 'histogram',
    help: 'Seconds from the arrival of a request or event to its answer.',
    labels: REQUEST_LABELS,
    buckets: DURATION_BUCKETS,
  },
  inference_batch_rows: {
    type: 'histogram',
    help: 'Rows in each run.',
    labels: {},
    buckets: ROW_BUCKETS,
  },
  inference_rejected_total: {
    type: 'counter',
    help: 'Requests rejected without a run.',
    labels: { reason: REJECTION_REASONS },
  },
  inference_connections_dropped_total: {
    type: 'counter',
    help: 'Connections and streams closed to stay within MAX_CONNECTIONS.',
    labels: { reason: DROP_REASONS },
  },
  inference_failures_total: {
    type: 'counter',
    help: 'Requests and events that failed through no fault of the caller.',
    labels: { cause: FAILURE_CAUSES },
  },
  inference_predictions_total: {
    type: 'counter',
    help: 'Rows by predicted label, for classifiers with labels in model.json.',
    labels: { label: 'the labels in model.json', version: REQUEST_LABELS.version },
  },
  inference_worker_deaths_total: {
    type: 'counter',
    help: 'Worker threads of the model that ended unexpectedly and were replaced.',
    labels: {},
  },
  transform_duration_seconds: {
    type: 'histogram',
    help: 'Seconds that a call spent in preprocess or postprocess of the transform.',
    labels: { half: HALVES },
    buckets: DURATION_BUCKETS,
  },
  transform_errors_total: {
    type: 'counter',
    help: 'Calls that the transform did not answer, by the party at fault.',
    labels: { by: MISTAKES },
  },
  cold_start_seconds: {
    type: 'gauge',
    help: 'Seconds that each phase of startup took.',
    labels: { phase: START_PHASES },
  },
  inference_batching_info: {
    type: 'gauge',
    help: 'Always 1. The labels state whether requests may share a run, and why.',
    labels: { joined: ['true', 'false'], reason: BATCHING_REASONS },
  },
  inference_queue_rows: {
    type: 'gauge',
    help: 'Rows waiting for a run.',
    labels: {},
  },
  inference_requests_in_flight: {
    type: 'gauge',
    help: 'Unanswered requests and events.',
    labels: {},
  },
  model_ready: {
    type: 'gauge',
    help: '1 while the model accepts requests, else 0.',
    labels: {},
  },
  function_info: {
    type: 'gauge',
    help: 'Always 1. Identifies the process.',
    labels: {
      revision: 'K_REVISION',
      service: 'K_SERVICE or INFERENCE_SERVICE_NAME',
      version: 'the version of this function',
    },
  },
  function_memory_limit_bytes: {
    type: 'gauge',
    help: 'Memory limit of the process; absent if there is no limit.',
    labels: {},
  },
} as const satisfies Readonly<Record<string, Declaration>>

/** The metrics of knative/consumer.ts. */
export const DEAD_LETTER_METRICS = {
  dead_letters_total: {
    type: 'counter',
    help: 'Events that a Broker gave up on and sent to this sink.',
    labels: { reason: DEAD_LETTER_REASONS },
  },
} as const satisfies Readonly<Record<string, Declaration>>

export interface Metrics extends Scraped {
  began(): void
  /** @param seconds the time since the arrival of the request or event */
  answered(protocol: Protocol, status: Status, seconds: number): void
  ran(rows: number): void
  rejected(reason: RejectionReason): void
  /** Counts a connection or stream closed to stay within MAX_CONNECTIONS. */
  dropped(reason: DropReason): void
  /** Counts an accepted request that failed through no fault of its caller. */
  failed(cause: Exclude<FailureCause, RejectionReason>): void
  workerDied(): void
  transformTook(half: Half, seconds: number): void
  transformFailed(by: Mistake): void
  /** Counts rows by predicted label. @param label ignored if the model folder does not name it */
  predicted(label: string, rows: number): void
  /**
   * Marks the end of a phase of startup. @param at milliseconds since the process began; default:
   * now
   */
  mark(phase: StartPhase, at?: number): void
}

export interface Scraped {
  readonly contentType: string
  /** All metrics, with those of the Node.js process, in Prometheus' text format. */
  text(): Promise<string>
  read(): Promise<readonly Reading[]>
}

export interface MetricsSource {
  readonly model: string
  readonly version: string | undefined
  readonly labels: readonly string[]
  readonly service: string | undefined
  readonly revision: string | undefined
  readonly functionVersion: string
}

/** Values that are read at each scrape, so that requests spend no time on them. */
export interface Live {
  readonly queuedRows: number
  readonly ready: boolean
  readonly batching: { readonly joins: boolean; readonly reason: BatchingReason }
}

export interface Reading extends Described {
  readonly values: readonly Sample[]
}

export function createMetrics(source: MetricsSource, live: () => Live): Metrics {
  const version = source.version ?? ''
  const { counter, countingCells, histogram, gauge, scraped } = createFamilies(METRICS)
  const start = new ColdStart()
  let inFlight = 0

  // Every possible series exists from startup on, with the value 0: a series that Prometheus first
  // sees at 1 has no rate. In a pod that soon scales to zero, that would be most series.
  const requestLabels = requestLabelsOf(source)
  const requests = counter('inference_requests_total', requestLabels, REQUEST_KEYS)
  const duration = histogram('inference_request_duration_seconds', requestLabels, REQUEST_KEYS)
  const batchRows = histogram('inference_batch_rows', () => ({}), [''])
  const rejections = counter('inference_rejected_total', reason => ({ reason }), REJECTION_REASONS)
  const drops = counter('inference_connections_dropped_total', reason => ({ reason }), DROP_REASONS)
  const failures = counter('inference_failures_total', cause => ({ cause }), FAILURE_CAUSES)
  const predictions = countingCells(
    'inference_predictions_total',
    label => ({ label, version }),
    source.labels,
  )
  const workerDeaths = counter('inference_worker_deaths_total', () => ({}), [''])
  const halves = histogram('transform_duration_seconds', half => ({ half }), HALVES)
  const mistakes = counter('transform_errors_total', by => ({ by }), MISTAKES)
  gauge('cold_start_seconds', () => start.samples())
  gauge('inference_batching_info', () => {
    const { joins, reason } = live().batching
    return [{ labels: { joined: String(joins), reason }, value: 1 }]
  })
  gauge('inference_queue_rows', () => single(live().queuedRows))
  gauge('inference_requests_in_flight', () => single(inFlight))
  gauge('model_ready', () => single(Number(live().ready)))
  gauge('function_info', () => [{ labels: infoLabels(source), value: 1 }])
  gauge('function_memory_limit_bytes', memoryLimit)

  return {
    began() {
      inFlight++
    },
    answered(protocol, status, seconds) {
      inFlight--
      const key = `${protocol} ${status}`
      requests(key)
      duration(seconds, key)
      start.answered(seconds)
    },
    ran: rows => batchRows(rows),
    rejected(reason) {
      rejections(reason)
      if (isFailure(reason)) failures(reason)
    },
    dropped: drops,
    failed: failures,
    workerDied: () => workerDeaths(),
    transformTook: (half, seconds) => halves(seconds, half),
    transformFailed: mistakes,
    predicted(label, rows) {
      const cell = predictions.get(label)
      if (cell !== undefined) cell.value += rows
    },
    mark: (phase, at) => start.mark(phase, at),
    ...scraped,
  }
}

const REQUEST_KEYS = PROTOCOLS.flatMap(protocol => STATUSES.map(status => `${protocol} ${status}`))

const requestLabelsOf =
  ({ model, version = '' }: MetricsSource) =>
  (key: string) => {
    const [protocol = '', status = ''] = key.split(' ')
    return { model, version, protocol, status }
  }

const infoLabels = ({ revision = '', service = '', functionVersion }: MetricsSource) => ({
  revision,
  service,
  version: functionVersion,
})

class ColdStart {
  private readonly seconds = new Map<StartPhase, number>()
  private phaseBegan = 0
  private beforeNode: number | undefined

  mark(phase: StartPhase, at = performance.now()): void {
    this.seconds.set(phase, (at - this.phaseBegan) / 1000)
    this.phaseBegan = at
  }

  /** @param seconds the duration of the first request, with which the phase begins */
  answered(seconds: number): void {
    if (this.seconds.has('first-answer')) return
    this.phaseBegan = Math.max(this.phaseBegan, performance.now() - seconds * 1000)
    this.mark('first-answer')
  }

  samples() {
    // Read only at the first scrape, to keep startup short.
    this.beforeNode ??= secondsBeforeNode()
    return [...this.seconds].map(([phase, seconds]) => ({
      labels: { phase },
      value: phase === 'process' ? seconds + (this.beforeNode as number) : seconds,
    }))
  }
}

function memoryLimit(): Sample[] {
  const limit = process.constrainedMemory()
  // Without a limit, Node returns 0 or 2^64.
  return limit > 0 && Number.isSafeInteger(limit) ? single(limit) : []
}

/** Whether a rejection is a failure of the function, not a mistake of the caller. */
const isFailure = (reason: string): reason is FailureCause =>
  (FAILURE_CAUSES as readonly string[]).includes(reason)

export function createDeadLetterMetrics(): Scraped & {
  readonly lost: (reason: DeadLetterReason) => void
} {
  const { counter, scraped } = createFamilies(DEAD_LETTER_METRICS)
  return {
    lost: counter('dead_letters_total', reason => ({ reason }), DEAD_LETTER_REASONS),
    ...scraped,
  }
}

function createFamilies<Declared extends Readonly<Record<string, Declaration>>>(
  declared: Declared,
) {
  type Name = keyof Declared & string
  type LabelsOf<N extends Name> = (
    key: string,
  ) => Readonly<Record<keyof Declared[N]['labels'], string>>
  const families: Family[] = []
  function add(name: Name, samples: () => Sample[]): void {
    const { type, help } = declared[name] as Declaration
    families.push({ name, help, type, samples })
  }

  /**
   * @param keys the series that exist from startup on, with the value 0 @returns a function that
   * adds 1 to a series
   */
  function counter<N extends Name>(name: N, labelsOf: LabelsOf<N>, keys: readonly string[]) {
    const cells = countingCells(name, labelsOf, keys)
    return (key = '') => {
      const cell = cells.get(key)
      if (cell === undefined) cells.set(key, { value: 1 })
      else cell.value++
    }
  }

  function countingCells<N extends Name>(name: N, labelsOf: LabelsOf<N>, keys: readonly string[]) {
    const cells = new Map(keys.map(key => [key, { value: 0 }]))
    add(name, () => [...cells].map(([key, { value }]) => ({ labels: labelsOf(key), value })))
    return cells
  }

  function histogram<N extends Name>(name: N, labelsOf: LabelsOf<N>, keys: readonly string[]) {
    const { buckets = [] } = declared[name] as Declaration
    const cells = new HistogramCells(buckets, keys)
    add(name, () => cells.samples(name, labelsOf))
    return (value: number, key = '') => cells.observe(value, key)
  }

  function gauge<N extends Name>(
    name: N,
    samples: () => { labels: ReturnType<LabelsOf<N>>; value: number }[],
  ): void {
    add(name, samples)
  }

  const registry = lazily(async () => (await import('./prometheus.ts')).createPrometheus(families))

  const scraped: Scraped = {
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    text: async () => (await registry()).metrics(),
    read: async () =>
      (await (await registry()).getMetricsAsJSON()) as unknown as readonly Reading[],
  }
  return { counter, countingCells, histogram, gauge, scraped }
}

const single = (value: number): Sample[] => [{ labels: {}, value }]

interface HistogramCell {
  /** The count of each bucket, not cumulative. The last counts values above all bounds. */
  readonly counts: number[]
  sum: number
}

class HistogramCells {
  private readonly bounds: readonly number[]
  private readonly cells: Map<string, HistogramCell>

  /** @param keys the series that exist from startup on, with the value 0 */
  constructor(bounds: readonly number[], keys: readonly string[]) {
    this.bounds = bounds
    this.cells = new Map(keys.map(key => [key, this.empty()]))
  }

  observe(value: number, key: string): void {
    let cell = this.cells.get(key)
    if (cell === undefined) {
      cell = this.empty()
      this.cells.set(key, cell)
    }
    let bucket = 0
    while (bucket < this.bounds.length && value > (this.bounds[bucket] as number)) bucket++
    cell.counts[bucket] = (cell.counts[bucket] as number) + 1
    cell.sum += value
  }

  /** Returns cumulative samples, as in Prometheus: each bucket includes all smaller buckets. */
  samples(name: string, labelsOf: (key: string) => Sample['labels']): Sample[] {
    return [...this.cells].flatMap(([key, { counts, sum }]) => {
      const labels = labelsOf(key)
      let total = 0
      const buckets = [...this.bounds, '+Inf'].map((le, i) => {
        total += counts[i] ?? 0
        return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: total }
      })
      return [
        ...buckets,
        { metricName: `${name}_sum`, labels, value: sum },
        { metricName: `${name}_count`, labels, value: total },
      ]
    })
  }

  private empty(): HistogramCell {
    return { counts: new Array<number>(this.bounds.length + 1).fill(0), sum: 0 }
  }
}
