import type { Caller } from '../answer.ts'
import { DeadlinePassed } from '../protocol/errors.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import type { Tensor } from '../protocol/tensor.ts'
import type { Kind } from './kinds.ts'
import { Place } from './line.ts'
import type { RequestTimes } from './statistics.ts'

/** What a request needs of a run. */
export interface Work {
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
}

/** A request on its way to a run. */
export class Job implements Work {
  readonly request: InferenceRequest
  readonly rows: number
  readonly counted: number
  readonly bytes: number
  readonly joins: boolean
  readonly caller: Caller
  /** The client; of events of one batch it is the same one. */
  readonly sender: Caller
  /** Takes those of the run. */
  readonly times: RequestTimes
  /** On performance.now()'s clock, as the deadline. */
  readonly queuedAt = performance.now()
  readonly deadline: number
  /** Among all that wait. */
  readonly place = new Place<Job>(this)
  /** Among those that it may be joined with. */
  readonly placeOfKind = new Place<Job>(this)
  /** Set by the queue while it waits. */
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

export const senderOf = (caller: Caller): Caller => caller.sender ?? caller

const deadlineOf = ({ timeoutMicroseconds }: InferenceRequest, { arrived, deadline }: Caller) =>
  timeoutMicroseconds === undefined
    ? deadline
    : Math.min(deadline, arrived + timeoutMicroseconds / 1000)

/** Whether no caller waits for the job any more. It rejects a job that waited too long. */
export function isOver(job: Job, now: number): boolean {
  if (!job.caller.gone && now < job.deadline) return false
  job.reject(new DeadlinePassed('the deadline passed before the run could begin'))
  return true
}
