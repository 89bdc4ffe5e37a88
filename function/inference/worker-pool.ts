import type { Caller } from '../answer.ts'
import { DeadlinePassed, NotReady, RunTimedOut } from '../protocol/errors.ts'
import type { Signature, Tensor } from '../protocol/tensor.ts'
import type { CallSettings } from './call-messages.ts'
import type { Digests } from './digests.ts'
import { type Executor, runOnce } from './executor.ts'
import type { LargeRequest, LargeResponse } from './large.ts'
import { within } from './model-state.ts'
import type { Session } from './session.ts'
import type { ThreadCalls } from './thread-calls.ts'
import { buffersOf, detach, movable } from './transfer.ts'
import { type CallOptions, type Sent, WorkerThread } from './worker-thread.ts'

const NO_THREAD = 'the model could not be loaded again after its thread ended'

const RETRY_MS = 1_000

/** The limit for runs of inputs that no caller sent, even if other runs have no limit. */
const LONGEST_TRY_MS = 60_000

/** The share of the memory that further copies of the session leave to requests and responses. */
const KEPT_FREE = 0.25

export interface WorkerOptions {
  /** Digests of the files of the model's folder, if they are known. */
  readonly sha256?: Digests | undefined
  /** Throws an {Error} of one line if the files must not be loaded again. */
  readonly beforeLoad?: () => void
  /** ONNX Runtime's threads in each worker. */
  readonly threads: number
  /** As {@link RunSizes.followShapes}; true by default. */
  readonly followShapes?: boolean
  /** The most workers; fewer are started if their copies of the model would not fit the memory. */
  readonly workers: number
  /** The longest time of one run; 0 means no limit. */
  readonly runTimeoutMs: number
  /** Called for each thread that ended unexpectedly. */
  readonly onDeath: (reason: string) => void
  /** Called for each replacement that could not be started. */
  readonly onLoss: (reason: string) => void
  /** Called for each run that lasts too long, with the shapes of its inputs. */
  readonly onStuck: (shapes: string) => void
  /** The author's own code, which the threads run. */
  readonly calls?: CallOptions | undefined
}

/**
 * Runs the model in worker threads, so that the main thread stays free.
 * @throws {Error} of one line if the file is not a model that can be served
 */
export async function openWorkers(file: string, options: WorkerOptions): Promise<WorkerPool> {
  const pool = new WorkerPool(file, options)
  await pool.start()
  return pool
}

export interface TimedRun {
  readonly tensors: Tensor[]
  readonly cpuMs: number
}

/**
 * Runs as many requests at once as there are workers. When a thread dies, its run fails (see
 * worker-thread.ts), and the pool starts another. It also replaces a thread whose run lasts too
 * long, and leaves the old one alone. Large requests wait here; others wait in their queue, which
 * is notified when a thread is free (`whenFree`). If both wait, they get threads in turn.
 */
export class WorkerPool implements Executor {
  private readonly file: string
  private readonly options: WorkerOptions
  private readonly workers = new Set<WorkerThread>()
  private readonly stuck = new Set<WorkerThread>()
  /** Threads that are still ending. */
  private readonly ending = new Set<Promise<unknown>>()
  private readonly idle: WorkerThread[] = []
  private readonly waiting: PromiseWithResolvers<WorkerThread>[] = []
  private freed: PromiseWithResolvers<void> | undefined
  /** The last free thread went to a large request although the queue waited. */
  private isQueuesTurn = false
  private starting = 0
  private closed = false
  /** True from the first failure to replace the last thread until a thread is available. */
  private isLost = false
  private description: WorkerThread['description'] | undefined
  /** Settings for calls of the author's code, kept for threads that start later. */
  private settings: CallSettings | undefined
  /** Resolves when the next thread is available. */
  private started = Promise.withResolvers<void>()

  constructor(file: string, options: WorkerOptions) {
    this.file = file
    this.options = options
  }

  /** Starts the first worker, then as many more as the memory allows. */
  async start(): Promise<void> {
    const before = process.memoryUsage.rss()
    this.description = (await this.open()).description
    const fitting = 1 + copiesThatFit(process.memoryUsage.rss() - before)
    const more = Math.min(this.options.workers, fitting) - 1
    await Promise.all(Array.from({ length: more }, () => this.replace()))
  }

  get signature(): Signature {
    return (this.description as WorkerThread['description']).signature
  }

  get leftOut(): Session['leftOut'] {
    return (this.description as WorkerThread['description']).leftOut
  }

  /** The author's own code, as the first worker described it. */
  get transform(): WorkerThread['description']['transform'] {
    return this.description?.transform
  }

  /** The CPU time in which the first worker loaded the model. */
  get loadCpuMs(): number {
    return (this.description as WorkerThread['description']).loadCpuMs
  }

  get concurrency(): number {
    return Math.max(this.workers.size, 1)
  }

  get lost(): string | undefined {
    return this.isLost ? NO_THREAD : undefined
  }

  whenFree(): Promise<void> | undefined {
    if (this.idle.length > 0 || this.isLost || this.closed) return undefined
    this.freed ??= Promise.withResolvers()
    return this.freed.promise
  }

  warmUp(inputs: readonly Tensor[]): Promise<void> {
    const tryRun: Session['run'] = (...run) => this.tryRun(...run)
    return runOnce({ signature: this.signature, run: tryRun }, inputs)
  }

  async run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]> {
    return (await this.timedRun(inputs, outputs)).tensors
  }

  async tryRun(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]> {
    return (await this.tryTimedRun(inputs, outputs)).tensors
  }

  /** Like `run`, but also returns the thread's CPU time. */
  async timedRun(inputs: readonly Tensor[], outputs: readonly string[]): Promise<TimedRun> {
    const worker = await this.take()
    const sent = runOf(inputs, outputs, this.options.runTimeoutMs)
    return (await this.send(worker, sent)) as TimedRun
  }

  /** Like `tryRun`, but also returns the thread's CPU time. */
  async tryTimedRun(inputs: readonly Tensor[], outputs: readonly string[]): Promise<TimedRun> {
    const worker = await this.take()
    const sent = runOf(inputs, outputs, this.options.runTimeoutMs || LONGEST_TRY_MS)
    try {
      return (await worker.send(sent)) as TimedRun
    } finally {
      this.done(worker)
    }
  }

  async inferLarge(request: LargeRequest, caller: Caller): Promise<LargeResponse> {
    const worker = await this.take(caller)
    if (caller.gone) {
      this.release(worker)
      throw new DeadlinePassed('the caller hung up')
    }
    const body = movable(request.bytes.body)
    const large = { ...request, bytes: { ...request.bytes, body } }
    const transfer = buffersOf([body])
    const limitMs = this.options.runTimeoutMs
    return (await this.send(worker, { command: { large }, transfer, limitMs })) as LargeResponse
  }

  /** The thread with the fewest calls. @throws {NotReady|DeadlinePassed} */
  async forCalls({ deadline }: Caller): Promise<ThreadCalls> {
    for (;;) {
      if (this.closed) throw new NotReady('the process is ending')
      if (this.isLost) throw new NotReady(NO_THREAD)
      let least: ThreadCalls | undefined
      for (const { calls } of this.workers)
        if (calls !== undefined && calls.count < (least?.count ?? Infinity)) least = calls
      if (least !== undefined) return least
      await within(this.started.promise, deadline, 'a thread was free')
    }
  }

  /** Sends the settings to all threads, including those that start later. */
  setCalls(settings: CallSettings): void {
    this.settings = settings
    for (const { calls } of this.workers) calls?.send({ settings })
  }

  /** @throws {Error} if a run does not end */
  async close(): Promise<void> {
    this.closed = true
    this.wakeQueue()
    const closed = [...this.workers, ...this.stuck].map(worker => worker.close())
    await Promise.all([...closed, ...this.ending])
  }

  private async open(): Promise<WorkerThread> {
    const { sha256, threads, followShapes = true, beforeLoad, calls } = this.options
    this.starting++
    try {
      beforeLoad?.()
      const worker: WorkerThread = await WorkerThread.open(
        { file: this.file, sha256, threads, followShapes, calls },
        {
          onDeath: reason => this.died(worker, reason),
          onStuck: () => {
            this.options.onStuck(worker.runs)
            this.leave(worker)
          },
        },
      )
      if (this.closed) await worker.close()
      else {
        this.isLost = false
        this.workers.add(worker)
        if (this.settings !== undefined) worker.calls?.send({ settings: this.settings })
        this.release(worker)
        this.started.resolve()
        this.started = Promise.withResolvers()
      }
      return worker
    } finally {
      this.starting--
    }
  }

  private died(worker: WorkerThread, reason: string): void {
    this.workers.delete(worker)
    this.withoutIdle(worker)
    const { ending } = worker
    if (ending !== undefined) {
      this.ending.add(ending)
      void ending.then(() => this.ending.delete(ending))
    }
    if (this.closed) return
    this.options.onDeath(reason)
    void this.replace()
  }

  private async replace(): Promise<void> {
    try {
      await this.open()
    } catch (error) {
      this.options.onLoss((error as Error).message)
      this.isLost = this.workers.size + this.starting === 0
      if (this.isLost) {
        for (const { reject } of this.waiting.splice(0)) reject(new NotReady(NO_THREAD))
        this.wakeQueue()
      }
      setTimeout(() => this.closed || this.replace(), RETRY_MS).unref()
    }
  }

  /**
   * @param caller undefined waits without a deadline
   * @throws {DeadlinePassed} if no worker is idle by then
   */
  private async take(caller?: Caller): Promise<WorkerThread> {
    if (this.closed) throw new NotReady('the process is ending')
    const worker = this.idle.pop()
    if (worker !== undefined) return worker
    if (this.isLost) throw new NotReady(NO_THREAD)
    const next = Promise.withResolvers<WorkerThread>()
    this.waiting.push(next)
    if (caller === undefined) return next.promise
    const alarm = setTimeout(() => {
      this.waiting.splice(this.waiting.indexOf(next), 1)
      next.reject(new DeadlinePassed('the deadline passed before the run could begin'))
    }, caller.deadline - performance.now())
    return next.promise.finally(() => clearTimeout(alarm))
  }

  private release(worker: WorkerThread): void {
    this.idle.push(worker)
    this.serve()
  }

  /** Gives idle threads to the queue and to large requests, in turn if both wait. */
  private serve(): void {
    const { idle, waiting } = this
    const queueFirst = this.freed !== undefined && (this.isQueuesTurn || waiting.length === 0)
    const kept = queueFirst && idle.length > 0 ? 1 : 0
    if (kept === 1) this.wakeQueue()
    while (idle.length > kept && waiting.length > 0) {
      this.isQueuesTurn = true
      waiting.shift()?.resolve(idle.pop() as WorkerThread)
    }
    if (idle.length > kept) this.wakeQueue()
  }

  private wakeQueue(): void {
    if (this.freed === undefined) return
    this.freed.resolve()
    this.freed = undefined
    this.isQueuesTurn = false
    // The queue's requests may be over by now; then a large request gets the thread.
    setImmediate(() => this.serve())
  }

  private async send(worker: WorkerThread, sent: Sent): Promise<unknown> {
    try {
      return await worker.send(sent)
    } catch (error) {
      if (error instanceof RunTimedOut) this.options.onStuck(worker.runs)
      throw error
    } finally {
      this.done(worker)
    }
  }

  private done(worker: WorkerThread): void {
    if (!this.workers.has(worker)) return
    if (worker.isStuck) this.leave(worker)
    else this.release(worker)
  }

  /** Replaces a thread whose run does not end. */
  private leave(worker: WorkerThread): void {
    if (!this.workers.delete(worker)) return
    this.withoutIdle(worker)
    this.stuck.add(worker)
    if (!this.closed) void this.replace()
  }

  private withoutIdle(worker: WorkerThread): void {
    const at = this.idle.indexOf(worker)
    if (at !== -1) this.idle.splice(at, 1)
  }
}

/** A run whose inputs are transferred to the thread. */
function runOf(inputs: readonly Tensor[], outputs: readonly string[], limitMs: number): Sent {
  const { tensors, transfer } = detach(inputs)
  return { command: { inputs: tensors, outputs }, transfer, limitMs }
}

/** The number of further copies of this size that fit the remaining memory. */
export function copiesThatFit(
  bytes: number,
  available = process.availableMemory(),
  limit = process.constrainedMemory() || available,
): number {
  return Math.max(
    0,
    Math.floor((available - KEPT_FREE * Math.min(limit, available)) / Math.max(bytes, 1)),
  )
}
