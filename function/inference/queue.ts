import type { Caller } from '../answer.ts'
import { DeadlinePassed, Overloaded } from '../protocol/errors.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import type { Tensor } from '../protocol/tensor.ts'
import type { RequestTimes } from './statistics.ts'

/** A request on its way to a run. */
export interface Job {
  readonly request: InferenceRequest
  readonly rows: number
  /**
   * The rows it counts for in the queue: those of one run at most, because the byte limits bound a
   * larger request.
   */
  readonly counted: number
  readonly bytes: number
  /** Its rows may share a run with those of others that ask for the same. */
  readonly joins: boolean
  readonly caller: Caller
  /** On performance.now()'s clock. */
  readonly queuedAt: number
  /** Takes those of the run. */
  readonly times: RequestTimes
  readonly resolve: (outputs: Tensor[]) => void
  readonly reject: (error: unknown) => void
}

export interface QueueLimits {
  readonly maxBatchRows: number
  readonly maxQueueRows: number
  /** Also limits the bytes of all waiting tensors together. */
  readonly maxBodyBytes: number
}

/** Rows of one run that the memory allows, of inputs such as these. */
type MostRows = (inputs: InferenceRequest['inputs']) => number

/**
 * Requests that wait for a run, the oldest first: bounded, and each no longer than its deadline.
 */
export class Queue {
  private readonly limits: QueueLimits
  private readonly mostRows: MostRows
  private jobs: Job[] = []
  private rowCount = 0
  private byteCount = 0
  private alarm: NodeJS.Timeout | undefined
  private alarmAt = 0
  private readonly onAlarm = () => {
    this.alarm = undefined
    this.dropLate()
    this.watchDeadlines()
  }

  constructor(limits: QueueLimits, mostRows: MostRows = () => Number.POSITIVE_INFINITY) {
    this.limits = limits
    this.mostRows = mostRows
  }

  /** Rows waiting now. */
  get rows(): number {
    return this.rowCount
  }

  get isEmpty(): boolean {
    return this.jobs.length === 0
  }

  add(job: Job): void {
    this.jobs.push(job)
    this.rowCount += job.counted
    this.byteCount += job.bytes
  }

  /**
   * Callers that hung up or waited too long do not count against the others. And a request or batch
   * of events that is larger than the whole queue could never be taken, so it is taken while no
   * other caller waits.
   * @throws {Overloaded} where there is no room
   */
  makeRoom(rows: number, bytes: number, caller: Caller): void {
    if (!this.isFull(rows, bytes)) return
    this.dropLate()
    const sender = senderOf(caller)
    if (this.isFull(rows, bytes) && this.jobs.some(job => senderOf(job.caller) !== sender)) {
      throw new Overloaded(
        `${this.rowCount} rows of ${this.byteCount} bytes are waiting already, and at most ${this.limits.maxQueueRows} of ${this.limits.maxBodyBytes} may; try again later`,
      )
    }
  }

  /**
   * The oldest request and those that may be joined to it, up to the limits of rows and memory; the
   * rest keep their order.
   */
  takeBatch(): Job[] {
    const batch: Job[] = []
    const rest: Job[] = []
    let rows = 0
    let most = 0
    for (const job of this.jobs) {
      if (isOver(job)) continue
      const first = batch[0]
      const fits = first === undefined || (rows + job.rows <= most && canJoin(job, first))
      if (fits) {
        if (first === undefined) most = this.mostRowsWith(job)
        batch.push(job)
        rows += job.rows
      } else rest.push(job)
    }
    this.keep(rest)
    return batch
  }

  /** Answers callers behind a long run when their time is up, not when the run is over. */
  watchDeadlines(jobs: readonly Job[] = this.jobs): void {
    if (jobs.length === 0) return
    const at = jobs.reduce((earliest, job) => Math.min(earliest, deadlineOf(job)), Infinity)
    if (this.alarm !== undefined && this.alarmAt <= at) return
    clearTimeout(this.alarm)
    this.alarmAt = at
    const ms = Math.min(Math.max(at - performance.now(), 0) + 1, LONGEST_TIMER_MS)
    this.alarm = setTimeout(this.onAlarm, ms).unref()
  }

  private mostRowsWith({ joins, request }: Job): number {
    return joins ? Math.min(this.limits.maxBatchRows, this.mostRows(request.inputs)) : 0
  }

  private isFull(rows: number, bytes: number): boolean {
    const { maxQueueRows, maxBodyBytes } = this.limits
    return this.rowCount + rows > maxQueueRows || this.byteCount + bytes > maxBodyBytes
  }

  private dropLate(): void {
    this.keep(this.jobs.filter(job => !isOver(job)))
  }

  private keep(jobs: Job[]): void {
    this.jobs = jobs
    this.rowCount = 0
    this.byteCount = 0
    for (const { counted, bytes } of jobs) {
      this.rowCount += counted
      this.byteCount += bytes
    }
  }
}

/** setTimeout's own limit. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

const senderOf = (caller: Caller) => caller.sender ?? caller

const deadlineOf = ({ request, caller }: Job) =>
  request.timeoutMicroseconds === undefined
    ? caller.deadline
    : Math.min(caller.deadline, caller.arrived + request.timeoutMicroseconds / 1000)

/** Whether no caller waits for the job any more. It rejects a job that waited too long. */
export function isOver(job: Job): boolean {
  if (!job.caller.gone && performance.now() < deadlineOf(job)) return false
  job.reject(new DeadlinePassed('the deadline passed before the run could begin'))
  return true
}

/**
 * Whether one run can answer both: the same outputs, and inputs of the same dimensions but for the
 * first.
 */
const canJoin = (a: Job, b: Job): boolean =>
  a.joins &&
  b.joins &&
  (a.request.outputs === b.request.outputs ||
    haveEqual(a.request.outputs, b.request.outputs, (one, other) => one.name === other.name)) &&
  haveEqual(a.request.inputs, b.request.inputs, (one, other) =>
    haveEqual(one.shape, other.shape, (length, as, i) => i === 0 || length === as),
  )

function haveEqual<T>(
  all: readonly T[],
  others: readonly T[],
  equal: (one: T, other: T, i: number) => boolean,
): boolean {
  return all.length === others.length && all.every((one, i) => equal(one, others[i] as T, i))
}
