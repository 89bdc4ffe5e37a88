import assert from 'node:assert/strict'
import { mock, suite, test } from 'node:test'
import fc from 'fast-check'
import { type Caller, hangUp } from '../../function/answer.ts'
import { Job, type Work } from '../../function/inference/job.ts'
import { Queue } from '../../function/inference/queue.ts'
import { noTimes } from '../../function/inference/statistics.ts'
import { DeadlinePassed, Overloaded } from '../../function/protocol/errors.ts'
import { runs } from '../seed.ts'

const LIMITS = { maxBatchRows: 8, maxQueueRows: 32, maxBodyBytes: 1_000 }

class Seen {
  /** How often the queue checked whether a caller hung up. */
  looks = 0
  readonly jobs: TestJob[] = []
}

interface TestJob {
  readonly job: Job
  readonly kind: number
  readonly caller: Caller
  state: 'waits' | 'taken' | 'over'
}

interface Asked {
  /** A job with a negative kind has its own run. */
  readonly kind: number
  readonly rows: number
  readonly bytes: number
  readonly lastsMs: number
  readonly sender: number
}

const SENDERS: readonly Caller[] = [0, 1, 2].map(() => ({
  arrived: 0,
  deadline: Number.POSITIVE_INFINITY,
  gone: false,
}))

function jobOf({ kind, rows, bytes, lastsMs, sender }: Asked, seen: Seen): TestJob {
  let isGone = false
  const caller: Caller = {
    arrived: performance.now(),
    deadline: performance.now() + lastsMs,
    sender: SENDERS[sender] as Caller,
    get gone() {
      seen.looks++
      return isGone
    },
    set gone(gone) {
      isGone = gone
    },
  }
  const inputs = [{ name: 'x', datatype: 'FP32', shape: [rows, kind], data: [] }] as const
  const outputs = [{ name: kind % 2 ? 'y' : 'z', binary: false }]
  const work: Work = { request: { inputs, outputs }, rows, counted: rows, bytes, joins: kind >= 0 }
  const job = new Job(work, caller, noTimes())
  const one: TestJob = { job, kind, caller, state: 'waits' }
  job.reject = error => {
    assert.ok(error instanceof DeadlinePassed)
    assert.equal(one.state, 'waits', 'a job is rejected once')
    one.state = 'over'
  }
  return one
}

/** Stops performance.now() and timers. Only the returned function advances them. */
function stopClock(t: { after(end: () => void): void }) {
  let now = 1_000
  const clock = mock.method(performance, 'now', () => now)
  mock.timers.enable({ apis: ['setTimeout'] })
  t.after(() => {
    clock.mock.restore()
    mock.timers.reset()
  })
  return (ms: number) => {
    now += ms
    mock.timers.tick(ms)
  }
}

const isOver = ({ job, caller }: TestJob) => caller.gone || performance.now() >= job.deadline

/** The expected next batch, found by a simple scan of all waiting jobs. */
function expectedBatch(waiting: readonly TestJob[]): TestJob[] {
  const alive = waiting.filter(one => !isOver(one))
  const [first] = alive
  if (first === undefined) return []
  const batch = [first]
  let { rows } = first.job
  if (first.kind < 0) return batch
  for (const one of alive.slice(1).filter(({ kind }) => kind === first.kind)) {
    rows += one.job.rows
    if (rows > LIMITS.maxBatchRows) break
    batch.push(one)
  }
  return batch
}

const asked: fc.Arbitrary<Asked> = fc.record({
  kind: fc.integer({ min: -1, max: 3 }),
  rows: fc.integer({ min: 1, max: 8 }),
  bytes: fc.integer({ min: 0, max: 400 }),
  lastsMs: fc.constantFrom(0, 5, 50, 500, 1e9),
  sender: fc.nat(2),
})

type Step =
  | { readonly do: 'ask'; readonly asked: Asked }
  | { readonly do: 'take' }
  | { readonly do: 'wait'; readonly ms: number }
  | { readonly do: 'hang up'; readonly at: number }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant('ask' as const), asked }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('take' as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('wait' as const), ms: fc.nat(100) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('hang up' as const), at: fc.nat(9) }) },
)

class Beside {
  readonly queue = new Queue(LIMITS)
  readonly seen = new Seen()
  readonly #wait: (ms: number) => void

  constructor(wait: (ms: number) => void) {
    this.#wait = wait
  }

  get waiting(): TestJob[] {
    return this.seen.jobs.filter(({ state }) => state === 'waits')
  }

  do(next: Step): void {
    if (next.do === 'ask') this.#ask(next.asked)
    else if (next.do === 'take') this.#take()
    else if (next.do === 'wait') this.#letPass(next.ms)
    else {
      const one = this.waiting[next.at]
      if (one !== undefined) one.caller.gone = true
    }
    this.#compare()
  }

  #ask(wanted: Asked): void {
    const one = jobOf(wanted, this.seen)
    const { rows, bytes, sender } = one.job
    const waiting = this.waiting
    const sum = (of: (job: Job) => number) => waiting.reduce((all, { job }) => all + of(job), 0)
    const isFull =
      sum(job => job.rows) + rows > LIMITS.maxQueueRows ||
      sum(job => job.bytes) + bytes > LIMITS.maxBodyBytes
    const others = waiting.some(({ job }) => job.sender !== sender)
    this.seen.looks = 0
    const refusal = this.queue.noRoom(rows, bytes, one.caller)
    assert.equal(refusal instanceof Overloaded, isFull && others)
    if (refusal === undefined) {
      this.queue.add(one.job)
      this.queue.watchDeadlines()
      this.seen.jobs.push(one)
    }
    assert.equal(
      this.seen.looks,
      0,
      'the queue must not check other callers when it accepts or refuses a job',
    )
  }

  #take(): void {
    const expected = expectedBatch(this.waiting)
    const before = this.waiting.length
    this.seen.looks = 0
    const batch = this.queue.takeBatch()
    const { looks } = this.seen
    assert.deepEqual(
      batch,
      expected.map(({ job }) => job),
    )
    for (const one of expected) one.state = 'taken'
    assert.equal(
      looks,
      before - this.waiting.length,
      'the queue must check only the callers of jobs that leave',
    )
  }

  /** The queue must reject a job at most 2 ms after its deadline. */
  #letPass(ms: number): void {
    for (let i = 0; i < ms; i++) this.#wait(1)
    const late = this.waiting.filter(({ job }) => performance.now() >= job.deadline + 2)
    assert.deepEqual(late, [])
  }

  #compare(): void {
    const waiting = this.waiting
    const rows = waiting.reduce((all, { job }) => all + job.rows, 0)
    assert.equal(this.queue.rows, rows)
    assert.equal(this.queue.isEmpty, waiting.length === 0)
    const kinds = Map.groupBy(waiting, one => (one.kind < 0 ? one : one.kind))
    const least = [...kinds.values()].map(all =>
      Math.ceil(all.reduce((sum, { job }) => sum + job.rows, 0) / LIMITS.maxBatchRows),
    )
    assert.equal(
      this.queue.runs,
      least.reduce((sum, count) => sum + count, 0),
    )
  }
}

suite('the queue', () => {
  test('keeps order and limits in any sequence of steps, and checks only jobs that leave', t => {
    const wait = stopClock(t)
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), steps => {
        const beside = new Beside(wait)
        for (const next of steps) beside.do(next)
        while (!beside.queue.isEmpty) beside.do({ do: 'take' })
        assert.ok(beside.seen.jobs.every(({ state }) => state !== 'waits'))
      }),
      runs(1_000),
    )
  })

  test('removes a job whose client hangs up, long before its deadline', t => {
    const wait = stopClock(t)
    const queue = new Queue(LIMITS)
    const caller: Caller = { arrived: 0, deadline: Number.POSITIVE_INFINITY, gone: false }
    const request = { inputs: [], outputs: [] }
    const job = new Job(
      { request, rows: 1, counted: 1, bytes: 0, joins: false },
      { ...caller, sender: caller },
      noTimes(),
    )
    let error: unknown
    job.reject = thrown => {
      error = thrown
    }
    queue.add(job)
    Object.assign(job.caller, { gone: true })
    hangUp(caller)
    wait(2)
    assert.ok(error instanceof DeadlinePassed)
    assert.equal(queue.isEmpty, true)
  })

  test('takes a batch at the same cost, whatever the number of kinds of waiting jobs', t => {
    stopClock(t)
    const queue = new Queue({ ...LIMITS, maxQueueRows: 1e6, maxBodyBytes: 1e9 })
    const seen = new Seen()
    const ask = { rows: 1, bytes: 1, lastsMs: 1e9, sender: 0 }
    for (let i = 0; i < 1_000; i++)
      for (let kind = 0; kind < 4; kind++) queue.add(jobOf({ ...ask, kind }, seen).job)
    assert.deepEqual([queue.rows, queue.runs], [4_000, 500])
    seen.looks = 0
    assert.equal(queue.takeBatch().length, 8)
    assert.equal(seen.looks, 8)
  })

  test('removes the jobs of callers that hung up, soon after the queue was full', t => {
    const wait = stopClock(t)
    const beside = new Beside(wait)
    const ask = { kind: 0, rows: 8, bytes: 1, lastsMs: 1e9 }
    for (let i = 0; i < 4; i++) beside.do({ do: 'ask', asked: { ...ask, sender: 0 } })
    beside.do({ do: 'hang up', at: 0 })
    const other = { ...ask, sender: 1 }
    const newcomer = jobOf(other, beside.seen).caller
    assert.ok(beside.queue.noRoom(8, 1, newcomer) instanceof Overloaded)
    wait(2)
    assert.equal(beside.queue.noRoom(8, 1, newcomer), undefined)
  })

  test('refuses a job with an error without a stack trace', t => {
    stopClock(t)
    const queue = new Queue(LIMITS)
    const seen = new Seen()
    const ask = { kind: 0, rows: 32, bytes: 1, lastsMs: 1e9 }
    queue.add(jobOf({ ...ask, sender: 0 }, seen).job)
    const { caller } = jobOf({ ...ask, sender: 1 }, seen)
    const { stack, message } = queue.noRoom(1, 1, caller) as Overloaded
    assert.ok(message.startsWith('32 rows (1 bytes in total)') && !stack?.includes('\n'))
  })
})
