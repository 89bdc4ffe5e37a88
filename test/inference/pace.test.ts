import assert from 'node:assert/strict'
import { mock, suite, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Caller } from '../../function/answer.ts'
import { Batcher } from '../../function/inference/batcher.ts'
import { noTimes } from '../../function/inference/statistics.ts'
import { DeadlinePassed, Overloaded } from '../../function/protocol/errors.ts'
import type { InferenceRequest } from '../../function/protocol/request.ts'
import type { Signature, Tensor } from '../../function/protocol/tensor.ts'

const TENSOR = { name: 'x', datatype: 'FP32', shape: [-1], dimensionNames: [''], anyRank: false }
const SIGNATURE = { inputs: [TENSOR], outputs: [TENSOR] } as Signature

/** A batcher. Only the test ends its runs and advances its clock. */
class Stand {
  readonly batcher: Batcher
  #end: (() => void) | undefined
  readonly began: number[] = []
  #now = 1e6

  constructor(t: { after(end: () => void): void }, { joins }: { joins: boolean }) {
    const clock = mock.method(performance, 'now', () => this.#now)
    t.after(() => clock.mock.restore())
    this.batcher = new Batcher({
      sizes: { mostRows: () => Number.POSITIVE_INFINITY, ran: () => {} },
      executor: {
        signature: SIGNATURE,
        concurrency: 1,
        whenFree: () => undefined,
        run: async inputs => ({ tensors: await this.#run(inputs), threadMs: 1 }),
      },
      limits: { maxBatchRows: 4, maxQueueRows: 100, maxBodyBytes: 1e6 },
      mayJoin: () => joins,
      onRun: () => {},
      onRan: () => {},
    })
  }

  #run(inputs: readonly Tensor[]): Promise<Tensor[]> {
    this.began.push(inputs[0]?.shape[0] as number)
    return new Promise(resolve => {
      this.#end = () => resolve([...inputs])
    })
  }

  /**
   * Requests a run of one row, with a deadline in this many seconds.
   * @returns 'answered', or the text of the refusal
   */
  ask(seconds: number): Promise<string> {
    const caller: Caller = { arrived: this.#now, deadline: this.#now + seconds * 1e3, gone: false }
    const request: InferenceRequest = {
      inputs: [{ name: 'x', datatype: 'FP32', shape: [1], data: new Float32Array(1) }],
      outputs: [{ name: 'x', binary: false }],
    }
    const outcome = async () => {
      const refusal = this.batcher.noRoom(caller)
      if (refusal !== undefined) throw refusal
      await this.batcher.infer(request, caller, noTimes())
      return 'answered'
    }
    return outcome().catch(error => {
      assert.ok(error instanceof Overloaded || error instanceof DeadlinePassed)
      return error.message
    })
  }

  pass(seconds: number): void {
    this.#now += seconds * 1e3
  }

  async turn(): Promise<void> {
    await nextTurn()
    await nextTurn()
  }

  /** Waits until the next run has begun. */
  async endAfter(seconds: number): Promise<void> {
    this.pass(seconds)
    const end = this.#end
    this.#end = undefined
    end?.()
    await this.turn()
  }

  /** Ends the current run, and waits until the next run has begun, this many seconds later. */
  async endBeforePause(seconds: number): Promise<void> {
    this.#end?.()
    // The batcher records the end of the run in microtasks, and begins the next run afterwards.
    await new Promise<void>(resolve => process.nextTick(resolve))
    await this.endAfter(seconds)
  }

  async endAll(): Promise<void> {
    while (this.#end !== undefined) await this.endAfter(0)
  }
}

suite('requests that would miss their deadline', () => {
  test('a request is refused immediately with the estimated time, based on finished runs', async t => {
    const stand = new Stand(t, { joins: false })
    const answers = [stand.ask(60), stand.ask(60)]
    await stand.turn()
    await stand.endAfter(10)
    // The second request is running. Two runs of 10 s, plus a margin of 25%, end within 25 s.
    for (let i = 0; i < 3; i++) answers.push(stand.ask(25))
    assert.equal(
      await stand.ask(15),
      '3 rows wait for 3 runs; at the current pace, a response may take 38 s, and the deadline is in 15 s; try again later',
    )
    answers.push(stand.ask(38))
    await stand.endAll()
    assert.deepEqual([...new Set(await Promise.all(answers))], ['answered'])
  })

  test('the estimated time includes the time between two runs', async t => {
    const stand = new Stand(t, { joins: false })
    const answers = Array.from({ length: 6 }, () => stand.ask(200))
    await stand.turn()
    stand.pass(10)
    await stand.endBeforePause(6)
    await stand.endAfter(10)
    const late = stand.ask(50)
    await stand.endAll()
    assert.match(await late, /^3 rows wait for 3 runs; .* may take 60 s/)
    assert.deepEqual([...new Set(await Promise.all(answers))], ['answered'])
  })

  test('a request is refused because of the duration of the current run, before any run has ended', async t => {
    const stand = new Stand(t, { joins: false })
    const answers = [stand.ask(60)]
    await stand.turn()
    for (let i = 0; i < 3; i++) answers.push(stand.ask(60))
    stand.pass(10)
    assert.match(await stand.ask(37), /may take 38 s/)
    answers.push(stand.ask(38))
    await stand.endAll()
    assert.deepEqual([...new Set(await Promise.all(answers))], ['answered'])
  })

  test('a request is not refused if it can join the next run', async t => {
    const stand = new Stand(t, { joins: true })
    const answers = [stand.ask(60)]
    await stand.turn()
    for (let i = 0; i < 3; i++) answers.push(stand.ask(15))
    stand.pass(14)
    answers.push(stand.ask(15))
    await stand.endAfter(0)
    await stand.endAll()
    assert.deepEqual([...new Set(await Promise.all(answers))], ['answered'])
    assert.deepEqual(stand.began, [1, 4])
  })

  test('a request is accepted while no run is in progress', async t => {
    const stand = new Stand(t, { joins: false })
    const first = stand.ask(60)
    await stand.turn()
    await stand.endAfter(50)
    const answers = Array.from({ length: 9 }, () => stand.ask(20))
    await stand.turn()
    assert.match(await stand.ask(20), /may take 500 s/)
    await stand.endAll()
    assert.deepEqual([...new Set(await Promise.all([first, ...answers]))], ['answered'])
  })

  test('a request is accepted again within seconds of the last run', async t => {
    const stand = new Stand(t, { joins: false })
    const first = stand.ask(60)
    await stand.turn()
    await stand.endAfter(50)
    await first
    stand.pass(3)
    const answers = Array.from({ length: 9 }, () => stand.ask(20))
    await stand.turn()
    answers.push(stand.ask(20))
    await stand.endAll()
    assert.deepEqual([...new Set(await Promise.all(answers))], ['answered'])
  })

  test('a request is refused because of runs in the last seconds, not because of older runs', async t => {
    const stand = new Stand(t, { joins: false })
    const answers = Array.from({ length: 60 }, () => stand.ask(60))
    await stand.turn()
    await stand.endAfter(10)
    assert.match(await stand.ask(20), /may take 725 s/)
    for (let i = 0; i < 50; i++) await stand.endAfter(0.2)
    answers.push(stand.ask(20))
    await stand.endAll()
    assert.deepEqual([...new Set(await Promise.all(answers))], ['answered'])
  })
})
