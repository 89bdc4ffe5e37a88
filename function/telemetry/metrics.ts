import type { Prometheus } from './prometheus.ts'

/*
 * Every metric is declared here. Recording is adding to a number: prom-client's inc() and observe() take 1.9 µs of CPU a request
 * (15.1.3, four metrics), of about 35 for all of an inference, and loading it would hold the first answer up. It is loaded when
 * Prometheus asks, and writes the text.
 */

export type Protocol = 'http' | 'cloudevent'

/** Why a request was turned away unread or unrun. */
export type RejectionReason = 'overloaded' | 'deadline' | 'not_ready' | 'too_large' | 'unauthenticated' | 'forbidden'

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
  /** @param label that so many rows got; one the model folder does not name is not counted */
  predicted(label: string, rows: number): void
  /** That phase of the start ends. @param at milliseconds since the process began; now, where not given */
  mark(phase: StartPhase, at?: number): void
  readonly contentType: string
  /** All metrics, with those of the Node.js process, in Prometheus' text format. */
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

/** One series' value, as prom-client writes it. */
export interface Sample {
  readonly metricName?: string
  readonly labels: Readonly<Record<string, string | number>>
  readonly value: number
}

export interface Family {
  readonly name: string
  readonly help: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly samples: () => Sample[]
}

/** Seconds: from a run without waiting (tens of microseconds) to the default deadline. */
const DURATION_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30]
const ROW_BUCKETS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 1024, 4096]

/** @param live asked at each scrape */
export function createMetrics(source: MetricsSource, live: () => Live): Metrics {
  const version = source.version ?? ''
  const families: Family[] = []
  let inFlight = 0
  let phaseBegan = 0
  let prometheus: Promise<Prometheus> | undefined

  const requestLabels = (key: string) => {
    const [protocol = '', status = ''] = key.split(' ')
    return { model: source.model, version, protocol, status }
  }
  const requests = counter('inference_requests_total', 'Inference requests and events answered.', requestLabels)
  const duration = histogram(
    'inference_request_duration_seconds',
    'Seconds from the arrival of a request or event to its answer.',
    DURATION_BUCKETS,
    requestLabels,
  )
  const batchRows = histogram('inference_batch_rows', 'Rows of each run.', ROW_BUCKETS, () => ({}), [''])
  const rejections = counter('inference_rejected_total', 'Requests turned away without a run.', reason => ({ reason }))
  const predictions = countingCells(
    'inference_predictions_total',
    'Rows by predicted label, for classifiers whose model.json names the labels.',
    label => ({ label, version }),
    source.labels,
  )
  const workerDeaths = counter(
    'inference_worker_deaths_total',
    'Worker threads of the model that ended by themselves and were replaced.',
    () => ({}),
    [''],
  )
  const coldStart = new Map<StartPhase, number>()
  gauge(
    'cold_start_seconds',
    'Seconds each phase of this process\u2019s start took, in the order process, import, listen, session, warm-up, first-answer.',
    () => [...coldStart].map(([phase, value]) => ({ labels: { phase }, value })),
  )
  gauge('inference_queue_rows', 'Rows waiting for a run.', () => single(live().queuedRows))
  gauge('inference_requests_in_flight', 'Requests and events not yet answered.', () => single(inFlight))
  gauge('model_ready', '1 while the model takes requests.', () => single(Number(live().ready)))
  gauge('function_info', 'Always 1; what this process is.', () => [
    { labels: { revision: source.revision ?? '', service: source.service ?? '', version: source.functionVersion }, value: 1 },
  ])

  /** @param keys of series that are there from the start, at 0 @returns what adds to the series of a key */
  function counter(name: string, help: string, labelsOf: (key: string) => Labels, keys: readonly string[] = []) {
    const cells = countingCells(name, help, labelsOf, keys)
    return (key = '') => {
      const cell = cells.get(key)
      if (cell === undefined) cells.set(key, { value: 1 })
      else cell.value++
    }
  }

  function countingCells(name: string, help: string, labelsOf: (key: string) => Labels, keys: readonly string[]) {
    const cells = new Map(keys.map(key => [key, { value: 0 }]))
    families.push({ name, help, type: 'counter', samples: () => [...cells].map(([key, { value }]) => ({ labels: labelsOf(key), value })) })
    return cells
  }

  /** @param bounds upper bounds of the buckets, ascending */
  function histogram(
    name: string,
    help: string,
    bounds: readonly number[],
    labelsOf: (key: string) => Labels,
    keys: readonly string[] = [],
  ) {
    const empty = () => ({ counts: new Array<number>(bounds.length + 1).fill(0), sum: 0 })
    const values = new Map(keys.map(key => [key, empty()]))
    families.push({
      name,
      help,
      type: 'histogram',
      samples: () => [...values].flatMap(([key, { counts, sum }]) => histogramSamples(name, labelsOf(key), bounds, counts, sum)),
    })
    return (value: number, key = '') => {
      let entry = values.get(key)
      if (entry === undefined) {
        entry = empty()
        values.set(key, entry)
      }
      let bucket = 0
      while (bucket < bounds.length && value > (bounds[bucket] as number)) bucket++
      entry.counts[bucket] = (entry.counts[bucket] as number) + 1
      entry.sum += value
    }
  }

  function gauge(name: string, help: string, samples: () => Sample[]): void {
    families.push({ name, help, type: 'gauge', samples })
  }

  function mark(phase: StartPhase, at = performance.now()): void {
    coldStart.set(phase, (at - phaseBegan) / 1000)
    phaseBegan = at
  }

  return {
    began() {
      inFlight++
    },
    answered(protocol, status, seconds) {
      inFlight--
      const key = `${protocol} ${status}`
      requests(key)
      duration(seconds, key)
      if (coldStart.has('first-answer')) return
      // A process that was ready long before anybody asked did not start slowly.
      phaseBegan = Math.max(phaseBegan, performance.now() - seconds * 1000)
      mark('first-answer')
    },
    ran: rows => batchRows(rows),
    rejected: rejections,
    workerDied: () => workerDeaths(),
    predicted(label, rows) {
      const cell = predictions.get(label)
      if (cell !== undefined) cell.value += rows
    },
    mark,
    contentType: 'text/plain; version=0.0.4; charset=utf-8',
    async text() {
      prometheus ??= import('./prometheus.ts').then(({ createPrometheus }) => createPrometheus(families))
      return (await prometheus).metrics()
    },
  }
}

type Labels = Readonly<Record<string, string>>

const single = (value: number): Sample[] => [{ labels: {}, value }]

/** A histogram as Prometheus counts it: each bucket holds the smaller ones too. */
function histogramSamples(name: string, labels: Labels, bounds: readonly number[], counts: readonly number[], sum: number): Sample[] {
  let total = 0
  const buckets = [...bounds, '+Inf'].map((le, i) => {
    total += counts[i] ?? 0
    return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: total }
  })
  return [...buckets, { metricName: `${name}_sum`, labels, value: sum }, { metricName: `${name}_count`, labels, value: total }]
}
