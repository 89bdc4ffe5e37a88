import type { Caller } from '../answer.ts'
import type { Config } from '../config/config.ts'
import type { Codec, RequestBytes } from '../protocol/codec.ts'
import type { EncodedMessage, EncodedResponse, ResponseLimits } from '../protocol/encode.ts'
import { inferenceError, Overloaded } from '../protocol/errors.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import type { Signature, Tensor } from '../protocol/tensor.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Trace } from '../telemetry/trace.ts'
import { Admission, type AnswerSize, LARGE_JSON_ELEMENTS } from './admission.ts'
import { Batcher } from './batcher.ts'
import { type Batching, UNDECIDED } from './batching.ts'
import type { Executor } from './executor.ts'
import type { FeatureNames } from './features.ts'
import { within } from './give-up.ts'
import type { LargeResponse } from './large.ts'
import { infer, type ModelIdentity, type Runner } from './pipeline.ts'
import type { RunSizes } from './run-sizes.ts'
import type { Statistics } from './statistics.ts'

/**
 * Reading this much JSON blocks the main thread for 2 ms. Passing the body to a worker costs 0.1 ms
 * (docs/performance.md).
 */
const LARGE_BODY_BYTES = 128 * 1024

export interface LoadedModelOptions {
  readonly executor: Executor
  readonly example: readonly Tensor[]
  readonly features: Readonly<Record<string, FeatureNames>>
  readonly folder: ModelIdentity
  readonly limits: Pick<Config, 'maxBatchRows' | 'maxQueueRows' | 'maxBodyBytes' | 'maxJsonBytes'>
  readonly metrics: Pick<Metrics, 'ran' | 'predicted'>
  readonly statistics: Pick<Statistics, 'ran' | 'succeeded'>
  readonly sizes: RunSizes
  /** Resolves when `batching` has been decided or the decision has failed. */
  readonly whenDecided: Promise<void>
}

export class LoadedModel {
  readonly signature: Signature
  readonly example: readonly Tensor[]
  readonly features: LoadedModelOptions['features']
  #batching: Batching = UNDECIDED
  private readonly options: LoadedModelOptions
  private readonly batcher: Batcher
  private readonly admission: Admission
  private readonly runner: Runner
  private readonly identity: ModelIdentity
  private readonly limits: ResponseLimits
  /** Larger bodies are handled in another thread, which checks MAX_JSON_BYTES. */
  private readonly largeBytes: number
  private largeRequests = 0
  private undecidedRequests = 0
  private mayDecide = true

  constructor(options: LoadedModelOptions) {
    const { executor, example, folder, limits, metrics, sizes } = options
    const { name, version, labels } = folder
    this.identity = { name, version, labels }
    this.signature = executor.signature
    this.example = example
    this.features = options.features
    this.options = options
    this.limits = { maxBytes: limits.maxBodyBytes, maxJsonBytes: limits.maxJsonBytes }
    this.largeBytes = Math.min(LARGE_BODY_BYTES, limits.maxJsonBytes)
    this.batcher = new Batcher({
      executor,
      limits,
      mayJoin: () => this.batching.joins,
      onRun: metrics.ran,
      onRan: times => options.statistics.ran(times),
      sizes,
    })
    this.admission = new Admission(executor.signature, sizes, this.limits)
    this.runner = this.createRunner(this.admission)
    void options.whenDecided.then(() => {
      this.mayDecide = false
    })
  }

  private createRunner(admission: Admission): Runner {
    const { metrics, statistics, sizes } = this.options
    return {
      signature: this.signature,
      limits: this.limits,
      labels: this.identity.labels,
      isPlain: ({ inputs }) => sizes.isPlain(inputs),
      answerElsewhere: (request, bytes, caller) =>
        this.answerElsewhere(admission.sizeOf(request), bytes, caller),
      runsOf: (request, caller) => this.runsOf(request, caller),
      run: (request, caller, times) => this.batcher.infer(request, caller, times),
      predicted: metrics.predicted,
      succeeded: (times, { arrived }, ended) => statistics.succeeded(ended - arrived, times),
    }
  }

  /** Decided after the model is ready. */
  get batching(): Batching {
    return this.#batching
  }

  set batching(batching: Batching) {
    this.#batching = batching
    this.options.sizes.areRowsIndependent = batching.joins
  }

  get concurrency(): number {
    return this.options.executor.concurrency
  }

  get maxBatchRows(): number {
    return this.options.limits.maxBatchRows
  }

  /**
   * How many rows wait for a run. Large requests and requests that wait for memory count as one row
   * each.
   */
  get queuedRows(): number {
    const waiting = this.undecidedRequests + this.admission.waiting
    return this.batcher.queuedRows + this.largeRequests + waiting
  }

  /**
   * Refuses a request before it is read.
   * @returns the error if the queue is full, or a new request would miss its deadline
   */
  noRoom(caller: Caller): Overloaded | undefined {
    return this.batcher.noRoom(caller)
  }

  /**
   * Handles one request. A worker decodes, runs and encodes a large request.
   * @throws {BadRequest|TooLarge|Overloaded|DeadlinePassed|ModelError}
   */
  infer<Encoded>(codec: Codec<Encoded>, caller: Caller): Promise<Encoded> {
    const { bytes } = codec
    if (bytes !== undefined && bytes.body.byteLength > this.largeBytes)
      // The worker's response has the encoding of this codec.
      return this.inferLarge(withOwnBuffer(bytes), caller) as Promise<Encoded>
    return infer(codec, this.identity, this.runner, caller)
  }

  private runsOf(request: InferenceRequest, caller: Caller): AsyncIterable<InferenceRequest> {
    this.checkQueue()
    const { sizes } = this.options
    const isLarge = sizes.rowsOf(request.inputs) > sizes.mostRows(request.inputs)
    return this.mayDecide && isLarge
      ? this.runsOnceDecided(request, caller)
      : this.admission.runs(request, caller)
  }

  private async *runsOnceDecided(request: InferenceRequest, caller: Caller) {
    await this.untilDecided(caller)
    yield* this.admission.runs(request, caller)
  }

  /**
   * Waits until it is known whether rows are independent: until then, a request that needs too much
   * memory for one run cannot be divided.
   * @throws {DeadlinePassed}
   */
  private async untilDecided(caller: Caller): Promise<void> {
    this.undecidedRequests++
    caller.trace?.enter('queue')
    try {
      await within(this.options.whenDecided, caller, 'the run could begin')
    } finally {
      this.undecidedRequests--
    }
  }

  private checkQueue(): void {
    if (this.queuedRows >= this.options.limits.maxQueueRows)
      throw new Overloaded(`${this.queuedRows} rows are already waiting; try again later`)
  }

  /** Passes a request to a worker if writing its JSON here would delay other responses. */
  private answerElsewhere(
    size: AnswerSize | undefined,
    bytes: RequestBytes,
    caller: Caller,
  ): Promise<EncodedResponse | EncodedMessage> | undefined {
    if (size === undefined || size.jsonElements <= LARGE_JSON_ELEMENTS) return undefined
    return this.inferAdmitted(size, bytes, caller)
  }

  private async inferAdmitted(
    size: AnswerSize,
    bytes: RequestBytes,
    caller: Caller,
  ): Promise<EncodedResponse | EncodedMessage> {
    this.checkQueue()
    await this.admission.admit(size, caller)
    return this.inferLarge(withOwnBuffer(bytes), caller)
  }

  private async inferLarge(
    bytes: RequestBytes,
    caller: Caller,
  ): Promise<EncodedResponse | EncodedMessage> {
    const { executor, limits } = this.options
    this.checkQueue()
    if (this.mayDecide) await this.untilDecided(caller)
    this.largeRequests++
    caller.trace?.enter('queue')
    const began = performance.now()
    try {
      const large = await executor.inferLarge(
        {
          bytes,
          limits: this.limits,
          runBytes: this.options.sizes.budget,
          arrivedAt: performance.timeOrigin + caller.arrived,
          mayDivide: this.batching.joins,
          maxBatchRows: limits.maxBatchRows,
          model: this.identity,
        },
        caller,
        this.options.sizes,
      )
      if (caller.trace !== undefined) enterParts(caller.trace, large)
      this.count(large, performance.now() - began, caller)
      const { response } = large
      if ('code' in response) throw inferenceError(response.code, response.message)
      return response
    } finally {
      this.largeRequests--
    }
  }

  /**
   * Records metrics and statistics.
   * @param ms the milliseconds of waiting for the worker and of its work
   */
  private count(
    { response, runs, predicted, times }: LargeResponse,
    ms: number,
    { arrived }: Caller,
  ): void {
    const { metrics, statistics } = this.options
    for (const run of runs) {
      metrics.ran(run.rows)
      statistics.ran(run)
    }
    for (const [label, rows] of predicted) metrics.predicted(label, rows)
    if ('code' in response) return
    times.queue = Math.max(ms - times.input - times.infer - times.output, 0)
    statistics.succeeded(performance.now() - arrived, times)
  }
}

/** Copies a small body: several share the buffer into which Node reads. */
const withOwnBuffer = (bytes: RequestBytes): RequestBytes =>
  bytes.body.byteLength > LARGE_BODY_BYTES ? bytes : { ...bytes, body: Uint8Array.from(bytes.body) }

function enterParts(trace: Trace, { parts, runs }: LargeResponse): void {
  for (const { name, beganAt } of parts) {
    const attributes = name === 'run' ? { 'inference.request.runs': runs.length } : undefined
    trace.enter(name, attributes, beganAt - performance.timeOrigin)
  }
}
