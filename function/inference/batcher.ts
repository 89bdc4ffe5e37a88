import type { Caller } from '../answer.ts'
import { inferenceCodeOf, Overloaded } from '../protocol/errors.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import { join, split } from '../protocol/rows.ts'
import { isBatched, TEXT_BYTES, type Tensor } from '../protocol/tensor.ts'
import type { Executor } from './executor.ts'
import { isOver, Job } from './job.ts'
import { Pace } from './pace.ts'
import { Queue, type QueueLimits } from './queue.ts'
import { hasReplacement } from './replacement.ts'
import type { RunSizes } from './run-sizes.ts'
import type { RequestTimes, RunTimes } from './statistics.ts'

export interface BatcherOptions {
  readonly sizes: Pick<RunSizes, 'mostRows' | 'ran'>
  readonly executor: Pick<Executor, 'signature' | 'concurrency' | 'run' | 'whenFree'>
  readonly limits: QueueLimits
  /**
   * Whether rows are independent. Called for each request, because the answer is known only after
   * startup.
   */
  readonly mayJoin: () => boolean
  readonly onRun: (rows: number) => void
  readonly onRan: (times: RunTimes) => void
}

/**
 * Joins requests along the first dimension if rows are independent, runs them, and splits the
 * outputs. A run takes the requests that are waiting when the run begins, and does not wait for
 * more requests.
 */
export class Batcher {
  private readonly options: BatcherOptions
  private readonly executor: BatcherOptions['executor']
  private readonly queue: Queue
  private readonly pace = new Pace()
  private readonly isBatched: boolean
  private readonly takesTexts: boolean
  private running = 0
  /** True from a run's start until no request runs or waits. */
  private isBusy = false
  /** End times of runs after which the next run has not begun, although requests wait. */
  private readonly ended: number[] = []
  private scheduled = false
  /** True while large requests occupy all threads. */
  private waits = false
  private readonly startRuns = () => this.start()

  constructor(options: BatcherOptions) {
    this.options = options
    this.executor = options.executor
    this.queue = new Queue(options.limits, inputs => options.sizes.mostRows(inputs))
    const { signature } = options.executor
    this.isBatched = isBatched(signature)
    this.takesTexts = signature.inputs.some(({ datatype }) => datatype === 'BYTES')
  }

  get queuedRows(): number {
    return this.queue.rows
  }

  /**
   * Checks a request before it is read. Returns the error, because throwing the error takes longer.
   * @returns the error if the queue is full, or a new request would miss its deadline
   */
  noRoom(caller: Caller): Overloaded | undefined {
    if (this.queue.isEmpty) return undefined
    return this.queue.noRoom(1, 1, caller) ?? this.noTime(caller.arrived, caller.deadline)
  }

  /**
   * @param times receives the times of the run
   * @returns the outputs, in the order in which they were requested
   * @throws {Overloaded} immediately, if more than `maxQueueRows` or `maxBodyBytes` would wait, or
   * if the response would be late
   * @throws {DeadlinePassed} if the run did not begin in time
   * @throws {ModelError} if the model fails on this request
   */
  infer(request: InferenceRequest, caller: Caller, times: RequestTimes): Promise<Tensor[]> {
    caller.trace?.enter('queue')
    const rows = this.isBatched ? rowsOf(request) : 1
    const counted = Math.min(rows, this.options.limits.maxBatchRows)
    const joins =
      this.options.mayJoin() && hasRows(request) && !(this.takesTexts && hasOwnRun(request))
    const work = { request, rows, counted, bytes: bytesIn(request), joins }
    const job = new Job(work, caller, times)
    const refusal =
      this.queue.noRoom(counted, job.bytes, caller) ?? this.noTime(job.queuedAt, job.deadline)
    if (refusal !== undefined) throw refusal
    return new Promise((resolve, reject) => {
      job.resolve = resolve
      job.reject = reject
      this.queue.add(job)
      if (this.running < this.executor.concurrency && !this.waits) this.schedule()
      else this.queue.watchDeadlines()
    })
  }

  /**
   * Refuses a request whose response would be late. While nothing runs, accepts every request: the
   * next run shows how long runs take now.
   * @returns the error if the request is refused
   */
  private noTime(now: number, deadline: number): Overloaded | undefined {
    const { rows, runs } = this.queue
    // The request may join the only waiting run.
    if (!this.isBusy || runs < 2) return undefined
    const ms = (this.pace.leastMs(runs, rows) / this.executor.concurrency) * MARGIN
    if (now + ms <= deadline) return undefined
    return new Overloaded(
      `${rows} rows wait for ${runs} runs; at the current pace, a response may take ${seconds(ms)} s, and the deadline is in ${seconds(Math.max(deadline - now, 0))} s; try again later`,
    )
  }

  /**
   * Starts runs at the end of this turn of the event loop, so that requests of the same turn can
   * share a run.
   */
  private schedule(): void {
    if (this.scheduled) return
    this.scheduled = true
    setImmediate(this.startRuns)
  }

  private start(): void {
    this.scheduled = false
    this.waits = false
    while (this.running < this.executor.concurrency && !this.queue.isEmpty) {
      const free = this.executor.whenFree()
      if (free !== undefined) {
        // Large requests occupy all threads. The queue enforces deadlines meanwhile, and later
        // requests may join the run.
        this.waits = true
        void free.then(this.startRuns)
        break
      }
      const batch = this.queue.takeBatch()
      if (batch.length > 0) void this.run(batch)
    }
    if (this.queue.isEmpty) this.ended.length = 0
    this.queue.watchDeadlines()
  }

  private async run(batch: readonly Job[]): Promise<void> {
    this.running++
    this.isBusy = true
    for (const { caller } of batch)
      caller.trace?.enter('run', { 'inference.run.requests': batch.length })
    if (batch.length === 1) await this.runAlone(batch[0] as Job)
    else await this.runJoined(batch)
    this.running--
    if (!this.queue.isEmpty) {
      this.ended.push(performance.now())
      this.schedule()
    } else if (this.running === 0) this.isBusy = false
  }

  private async runAlone(job: Job): Promise<void> {
    const { request, rows, resolve, reject } = job
    this.options.onRun(rows)
    const began = performance.now()
    const run = this.pace.began(rows, this.ended.shift() ?? began)
    try {
      const { tensors: outputs, threadMs } = await this.executor.run(
        request.inputs,
        namesOf(request),
      )
      const ended = performance.now()
      this.pace.ended(run, ended)
      this.options.sizes.ran(request.inputs, outputs, threadMs)
      const times = { rows, input: 0, infer: ended - began, output: 0 }
      this.options.onRan(times)
      addTimes(job, began, times)
      resolve(outputs)
    } catch (error) {
      this.pace.failed(run)
      reject(error)
    }
  }

  private async runJoined(batch: readonly Job[]): Promise<void> {
    const rows = batch.map(job => job.rows)
    const total = rows.reduce((sum, count) => sum + count, 0)
    const { request } = batch[0] as Job
    let parts: Tensor[][]
    const began = performance.now()
    const run = this.pace.began(total, this.ended.shift() ?? began)
    try {
      const joined = request.inputs.map((_, i) =>
        join(batch.map(job => job.request.inputs[i] as Tensor)),
      )
      const start = performance.now()
      const { tensors: outputs, threadMs } = await this.executor.run(joined, namesOf(request))
      const end = performance.now()
      this.pace.ended(run, end)
      this.options.sizes.ran(joined, outputs, threadMs)
      parts = split(outputs, rows)
      this.options.onRun(total)
      const output = performance.now() - end
      const times = { rows: total, input: start - began, infer: end - start, output }
      this.options.onRan(times)
      for (const job of batch) addTimes(job, began, times)
    } catch (error) {
      this.pace.failed(run)
      if (inferenceCodeOf(error) === 'MODEL_FAILED') await this.runOneByOne(batch)
      else for (const { reject } of batch) reject(error)
      return
    }
    for (let i = 0; i < batch.length; i++) batch[i]?.resolve(parts[i] as Tensor[])
  }

  /**
   * Runs each request alone after their joined run failed, so that only the request with the bad
   * row fails.
   */
  private async runOneByOne(batch: readonly Job[]): Promise<void> {
    for (const job of batch) if (!isOver(job, performance.now())) await this.runAlone(job)
  }
}

/** In a joined run, each request counts the run's full times. */
function addTimes({ rows, queuedAt, times }: Job, began: number, ran: RunTimes): void {
  times.rows += rows
  times.queue += began - queuedAt
  times.input += ran.input
  times.infer += ran.infer
  times.output += ran.output
}

/** How many rows a request counts for. A tensor without elements counts as one row. */
function rowsOf({ inputs: [first] }: InferenceRequest): number {
  return first === undefined || first.data.length === 0 ? 1 : (first.shape[0] ?? 1)
}

function bytesIn({ inputs }: InferenceRequest): number {
  let bytes = 0
  for (const { data } of inputs)
    bytes += ArrayBuffer.isView(data) ? data.byteLength : data.length * TEXT_BYTES
  return bytes
}

/**
 * The longest text that may share a run, in characters. In the worst case, each character is a
 * word: 256 such texts take 32 MiB.
 */
const LONG_TEXT = 4_096

/**
 * A response may contain U+FFFD only if the input of its run does. In a shared run, a U+FFFD in one
 * request would hide invalid text in another request's response.
 */
const hasOwnRun = (request: InferenceRequest) =>
  hasReplacement(request.inputs) || hasLongText(request)

/** A joined run pads all rows to the number of words in the longest text. */
const hasLongText = ({ inputs }: InferenceRequest) =>
  inputs.some(
    ({ datatype, data }) =>
      datatype === 'BYTES' && (data as readonly string[]).some(({ length }) => length > LONG_TEXT),
  )

/**
 * The factor by which estimated waits are raised, because run times vary. Without it, half of the
 * requests that were admitted last got a late response or none. Waits may still use 80% of the time
 * until the deadline, so throughput does not suffer.
 */
const MARGIN = 1.25

const seconds = (ms: number) => (ms / 1_000).toFixed(ms < 10_000 ? 1 : 0)

const namesOf = ({ outputs }: InferenceRequest) => outputs.map(({ name }) => name)

function hasRows({ inputs }: InferenceRequest): boolean {
  const rows = inputs[0]?.shape[0]
  return (
    rows !== undefined && inputs.every(({ shape, data }) => shape[0] === rows && data.length > 0)
  )
}
