import type { Caller } from '../answer.ts'
import type { Config } from '../config/config.ts'
import type { Codec, RequestBytes } from '../protocol/codec.ts'
import { Overloaded } from '../protocol/errors.ts'
import type { Signature, Tensor } from '../protocol/tensor.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Trace } from '../telemetry/trace.ts'
import { Batcher } from './batcher.ts'
import { type Batching, UNDECIDED } from './batching.ts'
import type { Executor } from './executor.ts'
import type { LargeResponse } from './large.ts'
import { infer, type ModelIdentity, type Runner } from './pipeline.ts'
import type { Statistics } from './statistics.ts'

/**
 * So much JSON takes 2 ms, in which nothing else is answered; handing it to a thread costs 0.1 ms
 * (docs/performance.md).
 */
const LARGE_BODY_BYTES = 128 * 1024

export interface LoadedModelOptions {
  readonly executor: Executor
  /** Inputs that suit the model. */
  readonly example: readonly Tensor[]
  readonly folder: ModelIdentity
  readonly limits: Pick<Config, 'maxBatchRows' | 'maxQueueRows' | 'maxBodyBytes' | 'maxJsonBytes'>
  readonly metrics: Metrics
  readonly statistics: Statistics
}

/** The model once it is loaded and warmed up. */
export class LoadedModel {
  readonly signature: Signature
  /** Inputs that suit the model. */
  readonly example: readonly Tensor[]
  /** Decided after the model is ready. */
  batching: Batching = UNDECIDED
  private readonly options: LoadedModelOptions
  private readonly batcher: Batcher
  private readonly runner: Runner
  private readonly identity: ModelIdentity
  private largeRequests = 0

  constructor(options: LoadedModelOptions) {
    const { executor, example, folder, limits, metrics, statistics } = options
    const { name, version, labels } = folder
    this.identity = { name, version, labels }
    this.signature = executor.signature
    this.example = example
    this.options = options
    const mayJoin = () => this.batching.joins
    const batcher = new Batcher({
      executor,
      limits,
      mayJoin,
      onRun: metrics.ran,
      onRan: times => statistics.ran(times),
    })
    this.batcher = batcher
    this.runner = {
      signature: executor.signature,
      runsOf: request => [request],
      run: (request, caller, times) => batcher.infer(request, caller, times),
      predicted: metrics.predicted,
      succeeded: (times, { arrived }) => statistics.succeeded(performance.now() - arrived, times),
    }
  }

  /** Runs that can go on at the same time. */
  get concurrency(): number {
    return this.options.executor.concurrency
  }

  get maxBatchRows(): number {
    return this.options.limits.maxBatchRows
  }

  /** Rows waiting for a run, and large requests, each as one. */
  get queuedRows(): number {
    return this.batcher.queuedRows + this.largeRequests
  }

  /**
   * Answers one request; a large one is read, run and answered in a thread of its own.
   * @throws {BadRequest|TooLarge|Overloaded|DeadlinePassed|ModelError}
   */
  infer<Encoded>(codec: Codec<Encoded>, caller: Caller): Promise<Encoded> {
    const { bytes } = codec
    if (bytes !== undefined && bytes.body.byteLength > LARGE_BODY_BYTES)
      // The other thread writes the same response as this codec would.
      return this.inferLarge(bytes, caller) as Promise<Encoded>
    return infer(codec, this.identity, this.runner, caller)
  }

  private async inferLarge(
    bytes: RequestBytes,
    caller: Caller,
  ): Promise<LargeResponse['response']> {
    const { executor, limits } = this.options
    if (this.queuedRows >= limits.maxQueueRows)
      throw new Overloaded(`${this.queuedRows} rows are waiting already; try again later`)
    this.largeRequests++
    caller.trace?.enter('queue')
    const began = performance.now()
    try {
      const maxBytes = limits.maxBodyBytes
      const large = await executor.inferLarge(
        {
          bytes,
          limits: { maxBytes, maxJsonBytes: Math.min(maxBytes, limits.maxJsonBytes) },
          arrivedAt: performance.timeOrigin + caller.arrived,
          mayDivide: this.batching.joins,
          maxBatchRows: limits.maxBatchRows,
          model: this.identity,
        },
        caller,
      )
      if (caller.trace !== undefined) enterParts(caller.trace, large)
      this.count(large, performance.now() - began, caller)
      return large.response
    } finally {
      this.largeRequests--
    }
  }

  /** @param ms that another thread took to answer, and the request waited for that thread */
  private count({ runs, predicted, times }: LargeResponse, ms: number, { arrived }: Caller): void {
    const { metrics, statistics } = this.options
    for (const run of runs) {
      metrics.ran(run.rows)
      statistics.ran(run)
    }
    for (const [label, rows] of predicted) metrics.predicted(label, rows)
    times.queue = Math.max(ms - times.input - times.infer - times.output, 0)
    statistics.succeeded(performance.now() - arrived, times)
  }
}

/** Records the parts that another thread has done. */
function enterParts(trace: Trace, { parts, runs }: LargeResponse): void {
  for (const { name, beganAt } of parts) {
    const attributes = name === 'run' ? { 'inference.request.runs': runs.length } : undefined
    trace.enter(name, attributes, beganAt - performance.timeOrigin)
  }
}
