import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type Caller, hangUp } from '../../function/answer.ts'
import { roomFor } from '../../function/http/body.ts'
import { BodyMemory, Reservation } from '../../function/http/memory.ts'
import { DeadlinePassed, Overloaded } from '../../function/protocol/errors.ts'

const MIB = 2 ** 20

const callerFor = (ms = 60_000): Caller => ({
  arrived: performance.now(),
  deadline: performance.now() + ms,
  gone: false,
})

/** Creates a memory limit with room for 32 MiB of large responses. */
function open(free?: number) {
  const memory = new BodyMemory(16 * MIB, free === undefined ? undefined : () => free)
  const expect = (mebibytes: number, caller = callerFor()) => {
    const reservation = new Reservation(memory)
    let isAdmitted = false
    const admitted = Promise.resolve(reservation.expectAnswer(mebibytes * MIB, caller)).then(() => {
      isAdmitted = true
    })
    return { reservation, admitted, isAdmitted: () => isAdmitted }
  }
  return { memory, expect }
}

const turn = () => new Promise(resolve => setImmediate(resolve))

suite('memory for responses', () => {
  test('responses get memory in their order of arrival', async () => {
    const { expect } = open()
    const [first, second, third, fourth] = [expect(20), expect(12), expect(20), expect(1)]
    await Promise.all([first.admitted, second.admitted])
    await turn()
    assert.deepEqual([third.isAdmitted(), fourth.isAdmitted()], [false, false])
    second.reservation.release()
    await turn()
    // 12 MiB are free, but the third response has waited longer than the fourth.
    assert.deepEqual([third.isAdmitted(), fourth.isAdmitted()], [false, false])
    first.reservation.release()
    await Promise.all([third.admitted, fourth.admitted])
  })

  test('a response of any size is admitted if no other response needs memory', async () => {
    const { expect } = open()
    const first = expect(100)
    await first.admitted
    const second = expect(100)
    await turn()
    assert.equal(second.isAdmitted(), false)
    first.reservation.release()
    await second.admitted
  })

  test('a response waits until a client has read the previous response', async () => {
    const { expect } = open()
    const first = expect(30)
    await first.admitted
    first.reservation.becomeAnswer(30 * MIB)
    const second = expect(30)
    await turn()
    assert.equal(second.isAdmitted(), false)
    first.reservation.release()
    await second.admitted
  })

  test('a response waits until its deadline at most; then the next response gets the room', async t => {
    const { expect } = open()
    // This timer keeps the process alive, because the timers of deadlines do not.
    const alive = setTimeout(() => {}, 60_000)
    t.after(() => clearTimeout(alive))
    await expect(30).admitted
    const [late, next] = [expect(30, callerFor(1)), expect(2)]
    await assert.rejects(late.admitted, DeadlinePassed)
    await next.admitted
  })

  test('a response for a client that hangs up no longer waits, and the next response gets the room', async () => {
    const { expect } = open()
    await expect(20).admitted
    const caller = callerFor()
    const event: Caller = { ...callerFor(), sender: caller }
    const [gone, other, next] = [expect(30, caller), expect(30, event), expect(10)]
    hangUp(caller)
    await assert.rejects(gone.admitted, DeadlinePassed)
    await assert.rejects(other.admitted, DeadlinePassed)
    await next.admitted
    await assert.rejects(expect(30, caller).admitted, DeadlinePassed)
  })

  test('a response to a client that has hung up counts nothing', async () => {
    const { memory, expect } = open()
    const reservation = new Reservation(memory)
    reservation.release()
    await reservation.expectAnswer(30 * MIB, callerFor())
    await expect(30).admitted
    reservation.becomeAnswer(100 * MIB)
    memory.reserveForAnswer(1 * MIB)
  })

  test('a response may use a third of the memory that the model leaves free', async () => {
    const { expect } = open(30 * MIB)
    const [first, second] = [expect(8), expect(4)]
    await turn()
    assert.deepEqual([first.isAdmitted(), second.isAdmitted()], [true, false])
    first.reservation.release()
    await second.admitted
  })

  test('a response to a batch of events does not wait for room that the batch itself may use', async () => {
    const { expect } = open()
    await expect(1).admitted
    const batch = expect(20)
    await batch.admitted
    expect(16)
    // The other response waits for the batch, so the batch must not wait for it.
    assert.equal(batch.reservation.expectAnswer(4 * MIB, callerFor()), undefined)
    assert.throws(() => batch.reservation.expectAnswer(20 * MIB, callerFor()), Overloaded)
  })
})

test('roomFor returns memory in proportion to the bytes received, at most the size of the body', () => {
  for (const [bytes, most, room] of [
    [0, 2 ** 26, 2 ** 12],
    [100_000, 2 ** 26, 100_000 + 2 ** 14],
    [200_000, 2 ** 26, 400_000],
    [2 ** 25, 2 ** 26, 2 ** 26],
    [10, 20, 20],
  ] as const)
    assert.equal(roomFor(bytes, most), room)
})
