import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export type Protocol = 'http' | 'cloudevent'

/** Why a request was turned away unread or unrun. */
export type RejectionReason = 'overloaded' | 'deadline' | 'not_ready' | 'too_large'

/** The parts of a start, in their order: each lasts from the end of the one before. */
export type StartPhase = 'process' | 'import' | 'listen' | 'session' | 'warm-up' | 'first-answer'

/** What is counted and timed, and its text for Prometheus. */
export interface Metrics {
  /** A request or event that arrived. */
  began(): void
  /** One that had begun got its answer. @param seconds from its arrival */
  answered(protocol: Protocol, status: 'success' | 'error', seconds: number): void
  /** @param rows of one run */
  ran(rows: number): void
  rejected(reason: RejectionReason): void
  /** A worker thread of the model ended by itself. */
  workerDied(): void
  /** @param labels predicted, one a row; those the model folder does not name are not counted */
  predicted(labels: readonly string[]): void
  /** That phase of the start ends. @param at milliseconds since the process began; now, where not given */
  mark(phase: StartPhase, at?: number): void
  readonly contentType: string
  text(): Promise<string>
}

export interface MetricsSource {
  readonly model: string
  readonly version: string | undefined
  readonly labels: readonly string[]
  readonly service: string | undefined
  readonly revision: string | undefined
  readonly functionVersion: string
}

/** Read when Prometheus asks, so that keeping them costs a request nothing. */
export interface Live {
  readonly queuedRows: number
  readonly ready: boolean
}

/** Seconds: from a run without waiting (tens of microseconds) to the default deadline. */
const DURATION_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const ROW_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096]

/** @param live asked at each scrape */
export function createMetrics(source: MetricsSource, live: () => Live): Metrics {
  const registry = new Registry()
  const registers = [registry]
  collectDefaultMetrics({ register: registry })
  const requestLabels = ['model', 'version', 'protocol', 'status'] as const
  const requests = new Counter({
    name: 'inference_requests_total',
    help: 'Inference requests and events answered.',
    labelNames: requestLabels,
    registers,
  })
  const duration = new Histogram({
    name: 'inference_request_duration_seconds',
    help: 'Seconds from the arrival of a request or event to its answer.',
    labelNames: requestLabels,
    buckets: DURATION_BUCKETS,
    registers,
  })
  const batchRows = new Histogram({ name: 'inference_batch_rows', help: 'Rows of each run.', buckets: ROW_BUCKETS, registers })
  const rejections = new Counter({
    name: 'inference_rejected_total',
    help: 'Requests turned away without a run.',
    labelNames: ['reason'],
    registers,
  })
  const predictions = new Counter({
    name: 'inference_predictions_total',
    help: 'Rows by predicted label, for classifiers whose model.json names the labels.',
    labelNames: ['label', 'version'],
    registers,
  })
  const workerDeaths = new Counter({
    name: 'inference_worker_deaths_total',
    help: 'Worker threads of the model that ended by themselves and were replaced.',
    registers,
  })
  const coldStart = new Gauge({
    name: 'cold_start_seconds',
    help: 'Seconds each phase of this process\u2019s start took, in the order process, import, listen, session, warm-up, first-answer.',
    labelNames: ['phase'],
    registers,
  })
  gauge('inference_queue_rows', 'Rows waiting for a run.', () => live().queuedRows)
  gauge('inference_requests_in_flight', 'Requests and events not yet answered.', () => inFlight)
  gauge('model_ready', '1 while the model takes requests.', () => Number(live().ready))
  new Gauge({
    name: 'function_info',
    help: 'Always 1; what this process is.',
    labelNames: ['revision', 'service', 'version'],
    registers,
  }).set({ revision: source.revision ?? '', service: source.service ?? '', version: source.functionVersion }, 1)

  function gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(read())
      },
    })
  }

  const version = source.version ?? ''
  const known = new Set(source.labels)
  let phaseBegan = 0

  function mark(phase: StartPhase, at = performance.now()): void {
    coldStart.set({ phase }, (at - phaseBegan) / 1000)
    phaseBegan = at
  }

  let inFlight = 0
  let answeredBefore = false
  return {
    began() {
      inFlight++
    },
    answered(protocol, status, seconds) {
      inFlight--
      const labels = { model: source.model, version, protocol, status }
      requests.inc(labels)
      duration.observe(labels, seconds)
      if (answeredBefore) return
      answeredBefore = true
      // A process that was ready long before anybody asked did not start slowly.
      phaseBegan = Math.max(phaseBegan, performance.now() - seconds * 1000)
      mark('first-answer')
    },
    ran: rows => batchRows.observe(rows),
    rejected: reason => rejections.inc({ reason }),
    workerDied: () => workerDeaths.inc(),
    predicted(labels) {
      for (const label of labels) if (known.has(label)) predictions.inc({ label, version })
    },
    mark,
    contentType: registry.contentType,
    text: () => registry.metrics(),
  }
}
