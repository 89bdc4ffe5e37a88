import type { Caller } from '../answer.ts'
import { DeadlinePassed, inferenceCodeOf, Overloaded } from '../protocol/errors.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import { isBatched, TEXT_BYTES, type Tensor } from '../protocol/tensor.ts'
import { join, split } from './rows.ts'
import type { Session } from './session.ts'

export interface BatchLimits {
  readonly maxBatchRows: number
  readonly maxQueueRows: number
  /** Also what waiting tensors may take together. */
  readonly maxBodyBytes: number
}

/** Requests on their way to a run: bounded, joined along the first dimension where that is sound, split again after. */
export interface Batcher {
  /** Rows waiting now. */
  readonly queuedRows: number
  /**
   * @returns the outputs asked for, in that order
   * @throws {Overloaded} at once, when more than `maxQueueRows` or `maxBodyBytes` would wait
   * @throws {DeadlinePassed} when the run had not begun in time
   * @throws {ModelError} when the model fails on this very request
   */
  infer(request: InferenceRequest, caller: Caller): Promise<Tensor[]>
}

interface Job {
  readonly request: InferenceRequest
  readonly rows: number
  /** What it takes of the queue: as much as one run, at most; how large it may be is for the limits of bytes to say. */
  readonly counted: number
  readonly bytes: number
  /** Its rows may share a run with those of others that ask for the same. */
  readonly joins: boolean
  readonly caller: Caller
  readonly resolve: (outputs: Tensor[]) => void
  readonly reject: (error: unknown) => void
}

/**
 * There is no delay window: a run takes what waits when it begins, so a lone request never waits for company.
 * @param mayJoin whether rows of this model are independent; asked at each request, because it is found out after the start
 * @param onRun told the rows of each run
 */
export function createBatcher(
  session: Session,
  limits: BatchLimits,
  mayJoin: () => boolean,
  onRun: (rows: number) => void,
): Batcher {
  let queue: Job[] = []
  let queuedRows = 0
  let queuedBytes = 0
  let running = 0
  let scheduled = false
  let alarm: NodeJS.Timeout | undefined
  let alarmAt = 0
  const batched = isBatched(session.signature)

  function infer(request: InferenceRequest, caller: Caller): Promise<Tensor[]> {
    caller.trace?.enter('queue')
    const rows = batched ? rowsOf(request) : 1
    const counted = Math.min(rows, limits.maxBatchRows)
    const bytes = bytesIn(request)
    if (isFull(counted, bytes)) makeRoom(counted, bytes, caller)
    return new Promise((resolve, reject) => {
      const joins = mayJoin() && hasRows(request)
      const job = { request, rows, counted, bytes, joins, caller, resolve, reject }
      queue.push(job)
      queuedRows += counted
      queuedBytes += bytes
      if (running < session.concurrency) schedule()
      else setAlarm(deadlineOf(job))
    })
  }

  /** Not at once: requests that have arrived by the end of this turn of the event loop join the same run. */
  function schedule(): void {
    if (scheduled) return
    scheduled = true
    setImmediate(startRuns)
  }

  /**
   * Who hung up, or waited too long, does not count against the others. And a request or batch of events that is larger than the
   * whole queue could never be taken, so it is while nobody else waits.
   */
  function makeRoom(rows: number, bytes: number, caller: Caller): void {
    dropLate()
    if (isFull(rows, bytes) && queue.some(job => senderOf(job.caller) !== senderOf(caller))) {
      throw new Overloaded(
        `${queuedRows} rows of ${queuedBytes} bytes are waiting already, and at most ${limits.maxQueueRows} of ${limits.maxBodyBytes} may; try again later`,
      )
    }
  }

  const isFull = (rows: number, bytes: number) =>
    queuedRows + rows > limits.maxQueueRows || queuedBytes + bytes > limits.maxBodyBytes

  function startRuns(): void {
    scheduled = false
    while (running < session.concurrency && queue.length > 0) {
      const batch = takeBatch()
      if (batch.length > 0) void run(batch)
    }
    if (queue.length > 0) setAlarm(earliestDeadline())
  }

  async function run(batch: readonly Job[]): Promise<void> {
    running++
    for (const { caller } of batch)
      caller.trace?.enter('run', { 'inference.run.requests': batch.length })
    if (batch.length === 1) await runAlone(batch[0] as Job)
    else await runJoined(batch)
    running--
    if (queue.length > 0) schedule()
  }

  /** Answers who waits behind a long run when their time is up, not when the run is over. */
  function setAlarm(at: number): void {
    if (alarm !== undefined && alarmAt <= at) return
    clearTimeout(alarm)
    alarmAt = at
    alarm = setTimeout(
      onAlarm,
      Math.min(Math.max(at - performance.now(), 0) + 1, LONGEST_TIMER_MS),
    ).unref()
  }

  function onAlarm(): void {
    alarm = undefined
    dropLate()
    if (queue.length > 0) setAlarm(earliestDeadline())
  }

  function dropLate(): void {
    keep(queue.filter(job => !isOver(job)))
  }

  function keep(jobs: Job[]): void {
    queue = jobs
    queuedRows = 0
    queuedBytes = 0
    for (const { counted, bytes } of jobs) {
      queuedRows += counted
      queuedBytes += bytes
    }
  }

  const earliestDeadline = () =>
    queue.reduce((earliest, job) => Math.min(earliest, deadlineOf(job)), Number.POSITIVE_INFINITY)

  /** The oldest request and those that may be joined to it, up to the limit; the rest keep their order. */
  function takeBatch(): Job[] {
    const batch: Job[] = []
    const rest: Job[] = []
    let rows = 0
    for (const job of queue) {
      if (isOver(job)) continue
      const first = batch[0]
      if (
        first === undefined ||
        (job.joins &&
          first.joins &&
          rows + job.rows <= limits.maxBatchRows &&
          asksTheSame(job, first))
      ) {
        batch.push(job)
        rows += job.rows
      } else rest.push(job)
    }
    keep(rest)
    return batch
  }

  async function runAlone({ request, rows, resolve, reject }: Job): Promise<void> {
    onRun(rows)
    try {
      resolve(await session.run(request.inputs, namesOf(request)))
    } catch (error) {
      reject(error)
    }
  }

  async function runJoined(batch: readonly Job[]): Promise<void> {
    const rows = batch.map(job => job.rows)
    const { request } = batch[0] as Job
    let parts: Tensor[][]
    try {
      const joined = request.inputs.map((_, i) =>
        join(batch.map(job => job.request.inputs[i] as Tensor)),
      )
      parts = split(await session.run(joined, namesOf(request)), rows)
      onRun(rows.reduce((sum, count) => sum + count, 0))
    } catch (error) {
      if (inferenceCodeOf(error) === 'MODEL_FAILED') await runOneByOne(batch)
      else for (const { reject } of batch) reject(error)
      return
    }
    for (let i = 0; i < batch.length; i++) batch[i]?.resolve(parts[i] as Tensor[])
  }

  /** One bad row fails the whole run; alone, each request gets what is its own. */
  async function runOneByOne(batch: readonly Job[]): Promise<void> {
    for (const job of batch) if (!isOver(job)) await runAlone(job)
  }

  return {
    infer,
    get queuedRows() {
      return queuedRows
    },
  }
}

/** setTimeout's own limit. */
const LONGEST_TIMER_MS = 2 ** 31 - 1

/** What the request counts for in the queue: a tensor without elements as one row. */
function rowsOf({ inputs: [first] }: InferenceRequest): number {
  return first === undefined || first.data.length === 0 ? 1 : (first.shape[0] ?? 1)
}

function bytesIn({ inputs }: InferenceRequest): number {
  let bytes = 0
  for (const { data } of inputs)
    bytes += ArrayBuffer.isView(data) ? data.byteLength : data.length * TEXT_BYTES
  return bytes
}

const senderOf = (caller: Caller) => caller.sender ?? caller

const deadlineOf = ({ request, caller }: Job) =>
  request.timeoutMicroseconds === undefined
    ? caller.deadline
    : Math.min(caller.deadline, caller.arrived + request.timeoutMicroseconds / 1000)

/** Whether nobody waits for this any more; who waits too long is told. */
function isOver(job: Job): boolean {
  if (!job.caller.gone && performance.now() < deadlineOf(job)) return false
  job.reject(new DeadlinePassed('the deadline passed before the run could begin'))
  return true
}

const namesOf = ({ outputs }: InferenceRequest) => outputs.map(({ name }) => name)

/** Whether every input has as many rows as the first, and some. */
function hasRows({ inputs }: InferenceRequest): boolean {
  const rows = inputs[0]?.shape[0]
  return (
    rows !== undefined && inputs.every(({ shape, data }) => shape[0] === rows && data.length > 0)
  )
}

/** Whether one run can answer both: the same outputs, and inputs of the same dimensions but for the first. */
const asksTheSame = ({ request: a }: Job, { request: b }: Job): boolean =>
  (a.outputs === b.outputs ||
    haveEqual(a.outputs, b.outputs, (one, other) => one.name === other.name)) &&
  haveEqual(a.inputs, b.inputs, (one, other) =>
    haveEqual(one.shape, other.shape, (length, as, i) => i === 0 || length === as),
  )

function haveEqual<T>(
  all: readonly T[],
  others: readonly T[],
  equal: (one: T, other: T, i: number) => boolean,
): boolean {
  return all.length === others.length && all.every((one, i) => equal(one, others[i] as T, i))
}
