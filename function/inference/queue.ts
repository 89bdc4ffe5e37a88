import { type Caller, senderOf, whenGone } from '../answer.ts'
import { Overloaded } from '../protocol/errors.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import { delayUntil } from '../timer.ts'
import { isOver, type Job } from './job.ts'
import { Kind, Kinds } from './kinds.ts'
import { Line } from './line.ts'

export interface QueueLimits {
  readonly maxBatchRows: number
  readonly maxQueueRows: number
  /** The limit for one body, and for all waiting tensors together. */
  readonly maxBodyBytes: number
}

type MostRows = (inputs: InferenceRequest['inputs']) => number

/**
 * The pause after a check of all deadlines, per job. A check takes about ten nanoseconds per job,
 * so checks take about 1% of the time.
 */
const PAUSE_MS = 1e-3

/**
 * Requests that wait for a run, in order of arrival. Limits their number, and rejects each at its
 * deadline, at a cost that does not depend on the queue's length.
 */
export class Queue {
  private readonly limits: QueueLimits
  private readonly mostRows: MostRows
  private readonly all = new Line<Job>()
  private readonly kinds = new Kinds<Job>()
  private rowCount = 0
  private byteCount = 0
  private runCount = 0
  /** How many jobs have another sender than the job before them. */
  private senderChanges = 0
  /** A lower bound of all deadlines. */
  private earliest = Number.POSITIVE_INFINITY
  private nextLook = 0
  private alarm: NodeJS.Timeout | undefined
  private alarmAt = 0
  private readonly dropGone = () => {
    this.earliest = 0
    this.watchDeadlines()
  }
  private readonly onAlarm = () => {
    this.alarm = undefined
    this.dropLate()
    this.watchDeadlines()
  }

  constructor(limits: QueueLimits, mostRows: MostRows = () => Number.POSITIVE_INFINITY) {
    this.limits = limits
    this.mostRows = mostRows
  }

  get rows(): number {
    return this.rowCount
  }

  get runs(): number {
    return this.runCount
  }

  get isEmpty(): boolean {
    return this.all.isEmpty
  }

  /**
   * Admits a request or batch of events larger than the queue while no other client waits:
   * otherwise, such a request could never be admitted.
   * @returns the error if the queue has no room
   */
  noRoom(rows: number, bytes: number, caller: Caller): Overloaded | undefined {
    const { maxQueueRows, maxBodyBytes } = this.limits
    const fits = this.rowCount + rows <= maxQueueRows && this.byteCount + bytes <= maxBodyBytes
    if (fits || this.isAllOf(senderOf(caller))) return undefined
    // Remove jobs whose callers hung up, so that they do not block other callers for long.
    this.dropGone()
    return new Overloaded(
      `${this.rowCount} rows (${this.byteCount} bytes in total) are already waiting; the limits are ${maxQueueRows} rows (MAX_QUEUE_ROWS) and ${maxBodyBytes} bytes (MAX_BODY_BYTES); try again later`,
    )
  }

  add(job: Job): void {
    const kind = job.joins ? this.kinds.of(job.request) : new Kind<Job>()
    job.kind = kind
    this.senderChanges += changes(this.all.newest?.item, job)
    this.all.add(job.place)
    kind.add(job.placeOfKind)
    this.count(job, kind, 1)
    this.earliest = Math.min(this.earliest, job.deadline)
    whenGone(job.sender, this.dropGone)
  }

  /**
   * Takes the oldest request and the requests that may join it, in order of arrival, within the
   * limits of rows and memory.
   */
  takeBatch(): Job[] {
    const batch: Job[] = []
    const now = performance.now()
    let rows = 0
    let most = 0
    let next = this.all.oldest?.item
    while (next !== undefined) {
      const job = next
      const kind = job.kind as Kind<Job>
      if (batch.length > 0 && rows + job.rows > most) break
      this.remove(job)
      if (!isOver(job, now)) {
        if (batch.length === 0) most = this.mostRowsWith(job)
        batch.push(job)
        rows += job.rows
      }
      next = (batch.length === 0 ? this.all : kind).oldest?.item
    }
    return batch
  }

  /** Sets a timer that rejects requests at their deadline, even during a long run. */
  watchDeadlines(): void {
    if (this.isEmpty) return
    const at = Math.max(this.earliest, this.nextLook)
    if (this.alarm !== undefined && this.alarmAt <= at) return
    clearTimeout(this.alarm)
    this.alarmAt = at
    this.alarm = setTimeout(this.onAlarm, delayUntil(at)).unref()
  }

  private mostRowsWith({ joins, request }: Job): number {
    return joins ? Math.min(this.limits.maxBatchRows, this.mostRows(request.inputs)) : 0
  }

  private isAllOf(sender: Caller): boolean {
    const { oldest } = this.all
    return oldest === undefined || (this.senderChanges === 0 && oldest.item.sender === sender)
  }

  private dropLate(): void {
    const now = performance.now()
    let looked = 0
    this.earliest = Number.POSITIVE_INFINITY
    for (let place = this.all.oldest; place !== undefined; looked++) {
      const { item: job, newer } = place
      if (isOver(job, now)) this.remove(job)
      else this.earliest = Math.min(this.earliest, job.deadline)
      place = newer
    }
    this.nextLook = now + looked * PAUSE_MS
  }

  private remove(job: Job): void {
    const kind = job.kind as Kind<Job>
    const older = job.place.older?.item
    const newer = job.place.newer?.item
    this.senderChanges += changes(older, newer) - changes(older, job) - changes(job, newer)
    this.all.remove(job.place)
    kind.remove(job.placeOfKind)
    this.count(job, kind, -1)
    job.kind = undefined
    if (kind.isEmpty) this.kinds.forgetIfEmpty(kind)
    if (this.isEmpty) this.earliest = Number.POSITIVE_INFINITY
  }

  private count({ counted, bytes }: Job, kind: Kind<Job>, sign: 1 | -1): void {
    this.rowCount += sign * counted
    this.byteCount += sign * bytes
    const before = this.runsOf(kind)
    kind.rows += sign * counted
    this.runCount += this.runsOf(kind) - before
  }

  private runsOf({ rows }: Kind<Job>): number {
    return Math.ceil(rows / this.limits.maxBatchRows)
  }
}

const changes = (older: Job | undefined, newer: Job | undefined): number =>
  older !== undefined && newer !== undefined && older.sender !== newer.sender ? 1 : 0
