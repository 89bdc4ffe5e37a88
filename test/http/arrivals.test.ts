import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { type Arrival, Arrivals } from '../../function/http/arrivals.ts'
import { BodyMemory, Reservation } from '../../function/http/memory.ts'
import { Overloaded } from '../../function/protocol/errors.ts'

const KIB = 1024
const MIB = 2 ** 20
const WHOLE = { lately: Number.POSITIVE_INFINITY, address: undefined }

/** The test advances the clock; each second has one sample. */
function open() {
  const arrivals = new Arrivals()
  let now = performance.now()
  const began = (name: string, bytes: number, address = '10.0.0.1') => {
    const events: string[] = []
    const source = {
      bytes,
      address,
      onStalled: () => void events.push(`${name} stalled`),
      onEvicted: () => void events.push(`${name} evicted`),
    }
    const arrival = arrivals.begin(source)
    arrival.add(bytes, Number.NaN)
    return { arrival, events }
  }
  const pass = (seconds: number, each: readonly [Arrival, number][] = []) => {
    for (let second = 0; second < seconds; second++) {
      for (const [arrival, bytes] of each) arrival.add(bytes, Number.NaN)
      now += 1_000
      arrivals.sample(now)
    }
  }
  return { arrivals, began, pass }
}

suite('Arrivals', () => {
  test('an arriving body is refused if less than 1 KB arrives in 5 s, but not if slightly more arrives', () => {
    const { began, pass } = open()
    const [slow, fast] = [began('slow', 100), began('fast', 100)]
    pass(20, [
      [slow.arrival, 170],
      [fast.arrival, 260],
    ])
    assert.deepEqual([slow.events, fast.events], [['slow stalled'], []])
  })

  test('an arriving body is evicted in favour of a body that makes more progress; the slowest body is evicted first', () => {
    const { arrivals, began, pass } = open()
    const [still, slow, fast] = [began('still', 9e4), began('slow', 9e4), began('fast', 10)]
    pass(3, [
      [slow.arrival, 2_000],
      [fast.arrival, 30_000],
    ])
    for (let i = 0; i < 3; i++) arrivals.evictFor(fast.arrival, () => true)
    assert.deepEqual(
      [still.events, slow.events, fast.events],
      [['still evicted'], ['slow evicted'], []],
    )
  })

  test('an arriving body is not evicted in favour of a body that is equally fast, or before its speed is known', () => {
    const { arrivals, began, pass } = open()
    const one = began('one', 9e4)
    assert.equal(
      arrivals.evictFor(WHOLE, () => true),
      false,
    )
    const other = began('other', 9e4)
    pass(3, [
      [one.arrival, 30_000],
      [other.arrival, 40_000],
    ])
    assert.equal(
      arrivals.evictFor(other.arrival, () => true),
      false,
    )
  })

  test('an arriving body is evicted if its address uses more than its share and another address needs room', () => {
    const { arrivals, began } = open()
    const many = Array.from({ length: 4 }, () => began('many', 1e5, '10.0.0.1'))
    const same = began('same', 1, '10.0.0.1')
    // All bodies arrive from one address, such as a proxy's, whose share is all of the memory.
    assert.equal(
      arrivals.evictFor(same.arrival, () => true),
      false,
    )
    const other = began('other', 1, '10.0.0.2')
    assert.equal(
      arrivals.evictFor(same.arrival, () => true),
      false,
    )
    assert.equal(
      arrivals.evictFor(other.arrival, () => true),
      true,
    )
    assert.equal(many.flatMap(({ events }) => events).length + same.events.length, 1)
  })
})

suite('BodyMemory', () => {
  const reserve = (memory: BodyMemory, bytes: number, needing = WHOLE) => {
    const reservation = new Reservation(memory)
    try {
      reservation.add(bytes, needing)
    } catch (error) {
      reservation.release()
      throw error
    }
    return reservation
  }

  test('memory for small bodies may include half of the room for large bodies while that room is unused', () => {
    const memory = new BodyMemory(16 * MIB)
    const large = reserve(memory, 24 * MIB)
    const small = Array.from({ length: (16 + 8) * 8 }, () => reserve(memory, 128 * KIB))
    assert.throws(() => reserve(memory, 1), Overloaded)
    large.release()
    small.push(...Array.from({ length: 8 * 8 }, () => reserve(memory, 128 * KIB)))
    assert.throws(() => reserve(memory, 128 * KIB), Overloaded)
    reserve(memory, 10 * MIB)
    assert.throws(() => reserve(memory, 10 * MIB), Overloaded)
  })

  test('memory for small bodies is partly reserved for complete bodies, so that slow senders cannot use all of it', () => {
    const memory = new BodyMemory(8 * MIB)
    const slow = { lately: 0, address: undefined }
    for (let i = 0; i < (14 + 8) * 8; i++) reserve(memory, 128 * KIB, slow)
    assert.throws(() => reserve(memory, 128 * KIB, slow), Overloaded)
    for (let i = 0; i < 2 * 8; i++) reserve(memory, 128 * KIB)
    assert.throws(() => reserve(memory, 128 * KIB), Overloaded)
  })

  test('memory for small bodies leaves room for responses, so that every request can be answered', async () => {
    const memory = new BodyMemory(16 * MIB)
    const bodies = Array.from({ length: (16 + 16) * 16 }, () => reserve(memory, 64 * KIB))
    assert.throws(() => reserve(memory, 64 * KIB), Overloaded)
    const caller = { arrived: 0, deadline: performance.now() + 60_000, gone: false }
    let answered = 0
    await Promise.all(
      bodies.map(async body => {
        await body.expectAnswer(20 * KIB, caller)
        body.release()
        answered++
      }),
    )
    assert.equal(answered, bodies.length)
  })
})
