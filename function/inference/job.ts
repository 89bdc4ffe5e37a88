import { type Caller, senderOf } from '../answer.ts'
import { DeadlinePassed } from '../protocol/errors.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import type { Tensor } from '../protocol/tensor.ts'
import type { Kind } from './kinds.ts'
import { Place } from './line.ts'
import type { RequestTimes } from './statistics.ts'

export interface Work {
  readonly request: InferenceRequest
  readonly rows: number
  /**
   * How many rows the request counts for in the queue: at most the rows of one run, because byte
   * limits apply to larger requests.
   */
  readonly counted: number
  readonly bytes: number
  readonly joins: boolean
}

export class Job implements Work {
  readonly request: InferenceRequest
  readonly rows: number
  readonly counted: number
  readonly bytes: number
  readonly joins: boolean
  readonly caller: Caller
  /** The client, which all events of a batch share. */
  readonly sender: Caller
  readonly times: RequestTimes
  /** On performance.now()'s clock, like the deadline. */
  readonly queuedAt = performance.now()
  readonly deadline: number
  /** The job's place among all waiting jobs. */
  readonly place = new Place<Job>(this)
  /** The job's place among the jobs that it may join. */
  readonly placeOfKind = new Place<Job>(this)
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

/** Rejects a job whose caller no longer waits. Returns whether the job was rejected. */
export function isOver(job: Job, now: number): boolean {
  if (!job.caller.gone && now < job.deadline) return false
  job.reject(new DeadlinePassed('the deadline passed before the run could begin'))
  return true
}
