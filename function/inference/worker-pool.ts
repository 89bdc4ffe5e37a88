import type { Caller } from '../answer.ts'
import { DeadlinePassed, NotReady } from '../protocol/errors.ts'
import type { Signature, Tensor } from '../protocol/tensor.ts'
import type { Digests } from './digests.ts'
import { type Executor, runOnce } from './executor.ts'
import type { LargeRequest, LargeResponse } from './large.ts'
import { buffersOf, detach, movable } from './transfer.ts'
import type { Command } from './worker.ts'
import { WorkerThread } from './worker-thread.ts'

const NO_THREAD = 'the model could not be loaded again after its thread ended'

const RETRY_MS = 1_000

/** Further copies of the session leave this share of the memory to requests and responses. */
const KEPT_FREE = 0.25

export interface WorkerOptions {
  /** Digests of the files of the model's folder, if they are known. */
  readonly sha256?: Digests | undefined
  /** Throws an {Error} of one line if the files must not be loaded again. */
  readonly beforeLoad?: () => void
  /** Of ONNX Runtime, in each worker. */
  readonly threads: number
  /** At most so many workers; fewer if their copies of the model would not fit the memory. */
  readonly workers: number
  /** Called for each thread that ended by itself. */
  readonly onDeath: (reason: string) => void
  /** Called for each replacement that could not be started. */
  readonly onLoss: (reason: string) => void
}

/**
 * The model in worker threads, so that the main thread is free while it runs.
 * @throws {Error} of one line, when the file is no model that can be served
 */
export async function openWorkers(file: string, options: WorkerOptions): Promise<WorkerPool> {
  const pool = new WorkerPool(file, options)
  await pool.start()
  return pool
}

/**
 * As many runs at once as there are workers. When a thread dies, its run fails (worker-thread.ts
 * says how), and the pool starts another.
 */
export class WorkerPool implements Executor {
  private readonly file: string
  private readonly options: WorkerOptions
  private readonly workers = new Set<WorkerThread>()
  private readonly idle: WorkerThread[] = []
  /** Tasks that wait for an idle worker. */
  private readonly waiting: PromiseWithResolvers<WorkerThread>[] = []
  private starting = 0
  private closed = false
  private description: WorkerThread['description'] | undefined

  constructor(file: string, options: WorkerOptions) {
    this.file = file
    this.options = options
  }

  /** Starts the first worker, and beside it as many more as there is memory for. */
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

  get leftOut(): readonly string[] {
    return (this.description as WorkerThread['description']).leftOut
  }

  get concurrency(): number {
    return Math.max(this.workers.size, 1)
  }

  get lost(): string | undefined {
    return this.isLost ? NO_THREAD : undefined
  }

  warmUp(inputs: readonly Tensor[]): Promise<void> {
    return runOnce(this, inputs)
  }

  async run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]> {
    const worker = await this.take()
    const { tensors, transfer } = detach(inputs)
    return (await this.runOn(worker, { inputs: tensors, outputs }, transfer)) as Tensor[]
  }

  async inferLarge(request: LargeRequest, caller: Caller): Promise<LargeResponse> {
    const worker = await this.take(caller.deadline)
    if (caller.gone) {
      this.release(worker)
      throw new DeadlinePassed('the caller hung up')
    }
    const body = movable(request.bytes.body)
    const large = { ...request, bytes: { ...request.bytes, body } }
    return (await this.runOn(worker, { large }, buffersOf([body]))) as LargeResponse
  }

  async close(): Promise<void> {
    this.closed = true
    await Promise.all([...this.workers].map(worker => worker.close()))
  }

  private get isLost(): boolean {
    return this.workers.size + this.starting === 0
  }

  private async open(): Promise<WorkerThread> {
    const { sha256, threads, beforeLoad } = this.options
    this.starting++
    try {
      beforeLoad?.()
      const worker: WorkerThread = await WorkerThread.open(
        { file: this.file, sha256, threads },
        reason => this.died(worker, reason),
      )
      if (this.closed) await worker.close()
      else {
        this.workers.add(worker)
        this.release(worker)
      }
      return worker
    } finally {
      this.starting--
    }
  }

  private died(worker: WorkerThread, reason: string): void {
    this.workers.delete(worker)
    const at = this.idle.indexOf(worker)
    if (at !== -1) this.idle.splice(at, 1)
    if (this.closed) return
    this.options.onDeath(reason)
    void this.replace()
  }

  private async replace(): Promise<void> {
    try {
      await this.open()
    } catch (error) {
      this.options.onLoss((error as Error).message)
      if (this.isLost)
        for (const { reject } of this.waiting.splice(0)) reject(new NotReady(NO_THREAD))
      setTimeout(() => this.closed || this.replace(), RETRY_MS).unref()
    }
  }

  /**
   * @param deadline on performance.now()'s clock
   * @throws {DeadlinePassed} when no worker is idle by then
   */
  private async take(deadline = Number.POSITIVE_INFINITY): Promise<WorkerThread> {
    if (this.closed) throw new NotReady('the process is ending')
    const worker = this.idle.pop()
    if (worker !== undefined) return worker
    if (this.isLost) throw new NotReady(NO_THREAD)
    const next = Promise.withResolvers<WorkerThread>()
    this.waiting.push(next)
    if (deadline === Number.POSITIVE_INFINITY) return next.promise
    const alarm = setTimeout(() => {
      this.waiting.splice(this.waiting.indexOf(next), 1)
      next.reject(new DeadlinePassed('the deadline passed before the run could begin'))
    }, deadline - performance.now())
    return next.promise.finally(() => clearTimeout(alarm))
  }

  private release(worker: WorkerThread): void {
    const next = this.waiting.shift()
    if (next === undefined) this.idle.push(worker)
    else next.resolve(worker)
  }

  private async runOn(
    worker: WorkerThread,
    command: Command,
    transfer: readonly ArrayBuffer[],
  ): Promise<unknown> {
    try {
      return await worker.send(command, transfer)
    } finally {
      if (this.workers.has(worker)) this.release(worker)
    }
  }
}

/** The number of further copies of so many bytes that fit the memory that is left. */
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
