import type { Caller } from '../answer.ts'
import { partsOf } from '../protocol/encode.ts'
import { DeadlinePassed, NotReady, RunTimedOut } from '../protocol/errors.ts'
import type { Signature, Tensor } from '../protocol/tensor.ts'
import type { CallSettings } from './call-messages.ts'
import type { Digests } from './digests.ts'
import { type Executor, runOnce } from './executor.ts'
import { hungUp, whenGivenUp, within } from './give-up.ts'
import type { LargeRequest, LargeResponse } from './large.ts'
import { residentMemory } from './resident-memory.ts'
import type { Ran, Session } from './session.ts'
import type { ThreadCalls } from './thread-calls.ts'
import { buffersOf, detach, movable, own } from './transfer.ts'
import { type CallOptions, type Sent, WorkerThread } from './worker-thread.ts'

const NO_THREAD = 'the model could not be loaded again after its thread ended'

const LATE = 'the deadline passed before the run could begin'

const RETRY_MS = 1_000

/** The time limit for runs without a caller, even if other runs have no limit. */
const LONGEST_TRY_MS = 60_000

/** The share of the memory that more copies of the session must leave free. */
const KEPT_FREE = 0.25

export interface WorkerOptions {
  readonly sha256?: Digests | undefined
  /** Throws an {Error} if the files must not be loaded again. */
  readonly beforeLoad?: () => void
  readonly threads: number
  /** See {@link RunSizes.followShapes}. The default is true. */
  readonly followShapes?: boolean
  /**
   * The maximum number of workers. Fewer start if their copies of the model do not fit into the
   * memory.
   */
  readonly workers: number
  /** In milliseconds; 0 means no limit. */
  readonly runTimeoutMs: number
  /** Called for each thread that ended unexpectedly. */
  readonly onDeath: (reason: string) => void
  /** Called for each replacement that failed to start. */
  readonly onLoss: (reason: string) => void
  /** Receives the input shapes of a run that exceeds its time limit. */
  readonly onStuck: (shapes: string) => void
  readonly calls?: CallOptions | undefined
}

/**
 * Opens a pool of worker threads, so that the main thread stays free.
 * @throws {Error} if the file is not a model that can be served
 */
export async function openWorkers(file: string, options: WorkerOptions): Promise<WorkerPool> {
  const pool = new WorkerPool(file, options)
  await pool.start()
  return pool
}

export interface TimedRun extends Ran {
  readonly cpuMs: number
}

/**
 * Runs one request at a time in each worker. Replaces a thread that dies, and a thread whose run
 * exceeds its time limit, without terminating that thread. Large requests wait in the pool; other
 * requests wait in the queue, which learns of free threads through `whenFree`. If both wait, they
 * get threads alternately.
 */
export class WorkerPool implements Executor {
  private readonly file: string
  private readonly options: WorkerOptions
  private readonly workers = new Set<WorkerThread>()
  private readonly stuck = new Set<WorkerThread>()
  private readonly ending = new Set<Promise<unknown>>()
  private readonly idle: WorkerThread[] = []
  private readonly waiting: PromiseWithResolvers<WorkerThread>[] = []
  private freed: PromiseWithResolvers<void> | undefined
  /** True if a large request got the last free thread while the queue was waiting. */
  private isQueuesTurn = false
  private starting = 0
  private closed = false
  /** True from the first failure to replace the last thread until a thread is available. */
  private isLost = false
  private description: WorkerThread['description'] | undefined
  /** Also sent to threads that start later. */
  private settings: CallSettings | undefined
  private started = Promise.withResolvers<void>()

  constructor(file: string, options: WorkerOptions) {
    this.file = file
    this.options = options
  }

  /** Starts the first worker, and then as many more as the memory allows. */
  async start(): Promise<void> {
    const before = residentMemory().rss
    this.description = (await this.open()).description
    const fitting = 1 + copiesThatFit(residentMemory().rss - before)
    const more = Math.min(this.options.workers, fitting) - 1
    await Promise.all(Array.from({ length: more }, () => this.replace()))
  }

  get signature(): Signature {
    return (this.description as WorkerThread['description']).signature
  }

  get leftOut(): Session['leftOut'] {
    return (this.description as WorkerThread['description']).leftOut
  }

  get transform(): WorkerThread['description']['transform'] {
    return this.description?.transform
  }

  /** The first worker's CPU time for loading the model, in milliseconds. */
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

  run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Ran> {
    return this.timedRun(inputs, outputs)
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
      throw hungUp()
    }
    const body = movable(request.bytes.body)
    const large = { ...request, bytes: { ...request.bytes, body } }
    const transfer = buffersOf([body])
    const limitMs = this.options.runTimeoutMs
    const answer = (await this.send(worker, {
      command: { large },
      transfer,
      limitMs,
    })) as LargeResponse
    if (!('code' in answer.response)) own(partsOf(answer.response))
    return answer
  }

  /** Does nothing: each thread does this before its first large request. */
  async indexLabels(): Promise<boolean> {
    return false
  }

  /** Returns the thread with the fewest calls. @throws {NotReady|DeadlinePassed} */
  async forCalls(caller: Caller): Promise<ThreadCalls> {
    for (;;) {
      if (this.closed) throw new NotReady('the process is shutting down')
      if (this.isLost) throw new NotReady(NO_THREAD)
      let least: ThreadCalls | undefined
      for (const { calls } of this.workers)
        if (calls !== undefined && calls.count < (least?.count ?? Infinity)) least = calls
      if (least !== undefined) return least
      await within(this.started.promise, caller, 'a thread was free')
    }
  }

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
   * Waits for an idle worker and reserves it.
   * @param caller if absent, there is no deadline
   * @throws {DeadlinePassed} if no worker is idle by the caller's deadline
   */
  private async take(caller?: Caller): Promise<WorkerThread> {
    if (this.closed) throw new NotReady('the process is shutting down')
    const worker = this.idle.pop()
    if (worker !== undefined) return worker
    if (this.isLost) throw new NotReady(NO_THREAD)
    if (caller?.gone === true) throw hungUp()
    if (caller !== undefined && caller.deadline <= performance.now()) throw new DeadlinePassed(LATE)
    const next = Promise.withResolvers<WorkerThread>()
    this.waiting.push(next)
    if (caller === undefined) return next.promise
    const cancel = whenGivenUp(caller, LATE, error => {
      const at = this.waiting.indexOf(next)
      if (at !== -1) this.waiting.splice(at, 1)
      next.reject(error)
    })
    return next.promise.finally(cancel)
  }

  private release(worker: WorkerThread): void {
    this.idle.push(worker)
    this.serve()
  }

  /** Gives idle threads to the queue and to large requests, alternately if both wait. */
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
    // If the queue's requests have expired, a large request gets the thread.
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

  /** Replaces a thread with an endless run, without terminating it. */
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

function runOf(inputs: readonly Tensor[], outputs: readonly string[], limitMs: number): Sent {
  const { tensors, transfer } = detach(inputs)
  return { command: { inputs: tensors, outputs }, transfer, limitMs }
}

/** Returns how many more copies of this size fit into the memory. */
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
