import { type Caller, senderOf } from '../answer.ts'
import { DeadlinePassed } from '../protocol/errors.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import type { Tensor } from '../protocol/tensor.ts'
import type { Kind } from './kinds.ts'
import { Place } from './line.ts'
import type { RequestTimes } from './statistics.ts'

/** The properties of a request that determine its run. */
export interface Work {
  readonly request: InferenceRequest
  readonly rows: number
  /**
   * The number of rows that the request occupies in the queue. The number is at most the number of
   * rows in one run, because byte limits apply to a larger request.
   */
  readonly counted: number
  readonly bytes: number
  /** Whether the request may share a run with other requests of the same kind. */
  readonly joins: boolean
}

/** A request that waits for a run or is running. */
export class Job implements Work {
  readonly request: InferenceRequest
  readonly rows: number
  readonly counted: number
  readonly bytes: number
  readonly joins: boolean
  readonly caller: Caller
  /** The client. All events in one batch have the same sender. */
  readonly sender: Caller
  /** Receives the durations of the run. */
  readonly times: RequestTimes
  /**
   * The time at which the request was queued. Like the deadline, it is a time on
   * performance.now()'s clock.
   */
  readonly queuedAt = performance.now()
  readonly deadline: number
  /** The job's place among all waiting jobs. */
  readonly place = new Place<Job>(this)
  /** The job's place among the jobs with which it may be joined. */
  readonly placeOfKind = new Place<Job>(this)
  /** Set by the queue while the job waits. */
  kind: Kind<Job> | undefined
  resolve!: (outputs: Tensor[]) => void
  reject!: (error: unknown) => void

  constructor({ request, rows, counted, bytes, joins }: Work, caller: Caller, times: RequestTimes) {
    this.request = request
    this.rows = rows
    this.counted = counted
    this.bytes = bytes
    this.joins = joins
    this.caller = caller
    this.sender = senderOf(caller)
    this.times = times
    this.deadline = deadlineOf(request, caller)
  }
}

const deadlineOf = ({ timeoutMicroseconds }: InferenceRequest, { arrived, deadline }: Caller) =>
  timeoutMicroseconds === undefined
    ? deadline
    : Math.min(deadline, arrived + timeoutMicroseconds / 1000)

/** Rejects a job for which the caller no longer waits. Returns whether the job was rejected. */
export function isOver(job: Job, now: number): boolean {
  if (!job.caller.gone && now < job.deadline) return false
  job.reject(new DeadlinePassed('the deadline passed before the run could begin'))
  return true
}
