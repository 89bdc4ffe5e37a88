/**
 * The times of one request in milliseconds, divided as in Triton's statistics extension. The times
 * of its runs are added up.
 */
export interface RequestTimes {
  rows: number
  /** Waiting until the run began. */
  queue: number
  /** Decoding the request and joining it with other requests. */
  input: number
  /** ONNX Runtime's runs. */
  infer: number
  /** Splitting and encoding the outputs. */
  output: number
}

export type RunTimes = Readonly<Omit<RequestTimes, 'queue'>>

export const noTimes = (): RequestTimes => ({ rows: 0, queue: 0, input: 0, infer: 0, output: 0 })

export interface StatisticDuration {
  readonly count: number
  readonly ns: number
}

interface Computed<Duration> {
  readonly compute_input: Duration
  readonly compute_infer: Duration
  readonly compute_output: Duration
}

/** See Triton's statistics extension, "Statistics Response JSON Object". */
export interface ModelStatistics {
  readonly name: string
  /** A whole number, as in Triton. */
  readonly version: string
  /** The last request, in milliseconds since 1970; 0 before the first. */
  readonly last_inference: number
  /** Rows of successful requests. */
  readonly inference_count: number
  /** Successful runs. */
  readonly execution_count: number
  readonly inference_stats: Computed<StatisticDuration> & {
    readonly success: StatisticDuration
    readonly fail: StatisticDuration
    readonly queue: StatisticDuration
    readonly cache_hit: StatisticDuration
    readonly cache_miss: StatisticDuration
  }
  readonly batch_stats: readonly ({ readonly batch_size: number } & Computed<StatisticDuration>)[]
  readonly memory_usage: readonly never[]
}

/** Callers choose the rows of a request, so only this many batch sizes are listed. */
const MOST_BATCH_SIZES = 1_000

export class Statistics {
  #lastInference = 0
  #rows = 0
  #runs = 0
  readonly #success = new Sum()
  readonly #fail = new Sum()
  readonly #queue = new Sum()
  readonly #requests = new ComputedSums()
  readonly #bySize = new Map<number, ComputedSums>()

  /** @param ms from the request's arrival to its response */
  succeeded(ms: number, times: RequestTimes): void {
    this.#lastInference = Date.now()
    this.#rows += times.rows
    this.#success.add(ms)
    this.#queue.add(times.queue)
    this.#requests.add(times)
  }

  /** @param ms from the request's arrival to its refusal */
  failed(ms: number): void {
    this.#lastInference = Date.now()
    this.#fail.add(ms)
  }

  ran(times: RunTimes): void {
    this.#runs++
    let sums = this.#bySize.get(times.rows)
    if (sums === undefined) {
      if (this.#bySize.size >= MOST_BATCH_SIZES) return
      sums = new ComputedSums()
      this.#bySize.set(times.rows, sums)
    }
    sums.add(times)
  }

  read(name: string, version: string | undefined): ModelStatistics {
    return {
      name,
      version: tritonVersion(version),
      last_inference: this.#lastInference,
      inference_count: this.#rows,
      execution_count: this.#runs,
      inference_stats: {
        success: this.#success.read(),
        fail: this.#fail.read(),
        queue: this.#queue.read(),
        ...this.#requests.read(),
        // Triton lists these fields even without a cache.
        cache_hit: NONE,
        cache_miss: NONE,
      },
      batch_stats: [...this.#bySize]
        .sort(([one], [other]) => one - other)
        .map(([size, sums]) => ({ batch_size: size, ...sums.read() })),
      memory_usage: [],
    }
  }
}

/**
 * Returns the first number of a version, or 1. Triton's versions are numbers, and perf_analyzer
 * ends with a C++ exception (`stoll`) for any other version. 18 digits fit into the 64 bits that
 * `stoll` returns.
 */
const tritonVersion = (version = ''): string => String(BigInt(/\d{1,18}/.exec(version)?.[0] ?? 1))

const NONE: StatisticDuration = { count: 0, ns: 0 }

class Sum {
  #count = 0
  #ms = 0

  add(ms: number): void {
    this.#count++
    this.#ms += ms
  }

  read(): StatisticDuration {
    return { count: this.#count, ns: Math.round(this.#ms * 1e6) }
  }
}

class ComputedSums {
  readonly #input = new Sum()
  readonly #infer = new Sum()
  readonly #output = new Sum()

  add({ input, infer, output }: RunTimes): void {
    this.#input.add(input)
    this.#infer.add(infer)
    this.#output.add(output)
  }

  read(): Computed<StatisticDuration> {
    return {
      compute_input: this.#input.read(),
      compute_infer: this.#infer.read(),
      compute_output: this.#output.read(),
    }
  }
}
