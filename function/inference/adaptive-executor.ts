import type { Caller } from '../answer.ts'
import { NotReady, RunTimedOut } from '../protocol/errors.ts'
import type { Signature, Tensor } from '../protocol/tensor.ts'
import type { Log } from '../telemetry/log.ts'
import { type Executor, InlineExecutor } from './executor.ts'
import type { LargeRequest, LargeResponse } from './large.ts'
import { cpuMs, elementsOf, RunCosts, SLOW_RUN_MS } from './run-costs.ts'
import type { Ran, Session } from './session.ts'
import type { TimedRun, WorkerPool } from './worker-pool.ts'

/** The maximum CPU time of a load on the main thread. Slower models stay in a worker. */
const MOST_LOAD_MS = 100

export interface PoolSize {
  readonly threads: number
  readonly workers: number
}

export interface AdaptiveOptions {
  readonly openSession: () => Promise<Session>
  readonly openWorkers: (size: PoolSize) => Promise<WorkerPool>
  readonly size: PoolSize
  /** The file's size if the file is small and has only plain operators; otherwise undefined. */
  readonly plainBytes: number | undefined
  readonly log: Log
}

/**
 * Runs a model whose cost depends only on input shapes: on the main thread if runs are fast,
 * otherwise in workers (docs/architecture.md, "Threads"). Beside the main thread, one worker
 * handles large requests, and runs with more elements than all previous runs.
 */
export async function openAdaptive(options: AdaptiveOptions): Promise<Executor> {
  if (options.plainBytes !== undefined)
    return new AdaptiveExecutor(new InlineExecutor(await options.openSession()), options)
  return new AdaptiveExecutor(await options.openWorkers({ threads: 1, workers: 1 }), options)
}

class AdaptiveExecutor implements Executor {
  readonly signature: Signature
  readonly leftOut: Session['leftOut']
  private readonly options: AdaptiveOptions
  private readonly costs: RunCosts
  private current: InlineExecutor | WorkerPool
  private aside: Promise<WorkerPool> | undefined
  private runsAside = 0
  private largeAside = 0
  /** Resolves when the worker that is not needed after a move has ended. */
  private retiring: Promise<void> | undefined
  private moving: Promise<void> | undefined
  /** True if the last run took long: the CPU time of the next run is then measured. */
  private wasLong = false

  /**
   * @param first the executor that loaded the model; if it is a worker, the warm-up decides whether
   * the model moves to the main thread
   */
  constructor(first: InlineExecutor | WorkerPool, options: AdaptiveOptions) {
    this.signature = first.signature
    this.leftOut = first.leftOut
    this.options = options
    this.costs = new RunCosts(options.plainBytes)
    this.current = first
  }

  get concurrency(): number {
    return this.current.concurrency + Math.min(this.runsAside, 1)
  }

  get lost(): string | undefined {
    return this.current.lost
  }

  whenFree(): Promise<void> | undefined {
    return this.current.whenFree()
  }

  async warmUp(inputs: readonly Tensor[]): Promise<void> {
    const { current } = this
    if (current instanceof InlineExecutor) {
      await this.runInline(current, inputs, namesOf(this.signature))
      return
    }
    try {
      const isSlow = current.loadCpuMs > MOST_LOAD_MS || (await this.isSlow(current, inputs))
      if (isSlow) await this.move()
      else await (await this.enterMainThread(current)).warmUp(inputs)
    } catch (error) {
      // A failed warm-up does not show the cost of a run. The first request will.
      if (!(error instanceof RunTimedOut)) await this.enterMainThread(current)
      throw error
    }
  }

  tryRun(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]> {
    return this.current.tryRun(inputs, outputs)
  }

  run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Ran> {
    const { current } = this
    if (!(current instanceof InlineExecutor)) return current.run(inputs, outputs)
    return this.costs.isUnknown(elementsOf(inputs))
      ? this.runAside(current, inputs, outputs)
      : this.runInline(current, inputs, outputs)
  }

  indexLabels(): Promise<boolean> {
    return this.current.indexLabels()
  }

  async inferLarge(request: LargeRequest, caller: Caller): Promise<LargeResponse> {
    // Each worker has its own `sizes`; the parameter describes runs on the main thread.
    if (!(this.current instanceof InlineExecutor)) return this.current.inferLarge(request, caller)
    this.largeAside++
    try {
      return await (await this.openAsideForLarge()).inferLarge(request, caller)
    } finally {
      this.largeAside--
      this.retireAside()
    }
  }

  private async openAsideForLarge(): Promise<WorkerPool> {
    try {
      return await this.openAside()
    } catch (error) {
      throw new NotReady(`cannot start a thread for a large request: ${(error as Error).message}`)
    }
  }

  async close(): Promise<void> {
    await this.moving
    await this.retiring
    await (await this.aside?.catch(() => undefined))?.close()
    await this.current.close()
  }

  /** Warms the model up, twice if the first run was fast. Returns whether the model is slow. */
  private async isSlow(trial: WorkerPool, inputs: readonly Tensor[]): Promise<boolean> {
    for (let runs = 0; runs < 2; runs++) {
      const { cpuMs } = await trial.tryTimedRun(structuredClone(inputs), namesOf(this.signature))
      if (this.costs.showsSlow(elementsOf(inputs), cpuMs)) return true
    }
    return false
  }

  private async enterMainThread(trial: WorkerPool): Promise<InlineExecutor> {
    const inline = new InlineExecutor(await this.options.openSession())
    this.current = inline
    this.aside = Promise.resolve(trial)
    return inline
  }

  private runInline(
    inline: InlineExecutor,
    inputs: readonly Tensor[],
    outputs: readonly string[],
  ): Promise<Ran> {
    const elements = elementsOf(inputs)
    if (this.costs.isPlain(elements) && !this.wasLong) {
      // Measuring CPU time takes a system call, which costs too much for models such as iris.
      const beganAt = performance.now()
      const ran = inline.run(inputs, outputs)
      this.wasLong = performance.now() - beganAt > SLOW_RUN_MS
      this.costs.ran()
      return ran
    }
    this.wasLong = false
    const began = cpuMs()
    // This call blocks until the run has ended.
    const ran = inline.run(inputs, outputs)
    this.judge(elements, cpuMs() - began)
    return ran
  }

  private async runAside(
    inline: InlineExecutor,
    inputs: readonly Tensor[],
    outputs: readonly string[],
  ): Promise<Ran> {
    const elements = elementsOf(inputs)
    this.runsAside++
    try {
      const worker = await this.openAside().catch(() => undefined)
      // If no worker can start, run here: the input shapes limit the run's time.
      if (worker === undefined) return await this.runInline(inline, inputs, outputs)
      const timed: TimedRun = await worker.timedRun(inputs, outputs)
      this.judge(elements, timed.cpuMs)
      return timed
    } finally {
      this.runsAside--
      this.retireAside()
    }
  }

  /** After the model has moved, ends the worker for large requests, to release its memory. */
  private retireAside(): void {
    const { aside } = this
    const isUsed = this.current instanceof InlineExecutor || this.runsAside + this.largeAside > 0
    if (isUsed || aside === undefined) return
    this.aside = undefined
    this.retiring = aside.then(worker => worker.close())
    // close() waits for this promise, which rejects if a run does not end.
    this.retiring.catch(() => {})
  }

  private openAside(): Promise<WorkerPool> {
    this.aside ??= this.options.openWorkers({ threads: 1, workers: 1 }).catch(error => {
      this.aside = undefined
      throw error
    })
    return this.aside
  }

  private judge(elements: number, cpuMs: number): void {
    if (this.costs.showsSlow(elements, cpuMs)) this.moving ??= this.move()
  }

  /** Moves the model to workers. Runs in progress finish on the main thread. */
  private async move(): Promise<void> {
    const { openWorkers, size, log } = this.options
    const left = this.current
    try {
      this.current = await openWorkers(size)
    } catch (error) {
      log.error(`runs are slow, but worker threads failed to start: ${(error as Error).message}`)
      this.moving = undefined
      return
    }
    log.info(`the model runs in worker threads: its runs take more than ${SLOW_RUN_MS} ms`)
    this.retireAside()
    await left.close()
  }
}

const namesOf = ({ outputs }: Signature) => outputs.map(({ name }) => name)
