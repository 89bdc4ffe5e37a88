import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { RoundRobin } from '../../function/http/round-robin.ts'
import { busy } from './client.ts'

test('connections take turns, and each connection keeps its order', async () => {
  const robin = new RoundRobin()
  const begun: string[] = []
  const [first, second] = [{}, {}]
  for (const request of ['a1', 'a2', 'a3']) robin.add(first, () => begun.push(request))
  for (const request of ['b1', 'b2']) robin.add(second, () => begun.push(request))
  assert.deepEqual(begun, [])
  await nextTurn()
  await nextTurn()
  assert.deepEqual(begun, ['a1', 'b1', 'a2', 'b2', 'a3'])
})

test('requests that take long begin in several turns of the event loop, but each turn begins one', async () => {
  const robin = new RoundRobin()
  let begun = 0
  for (let i = 0; i < 3; i++)
    robin.add({}, () => {
      begun++
      busy(2)
    })
  const after: number[] = []
  while (begun < 3) {
    await nextTurn()
    after.push(begun)
  }
  assert.deepEqual(
    after.filter(count => count > 0),
    [1, 2, 3],
  )
})

test('the time of a request includes its work in microtasks', async () => {
  const robin = new RoundRobin()
  let begun = 0
  for (let i = 0; i < 2; i++)
    robin.add({}, () => {
      begun++
      void Promise.resolve().then(() => busy(2))
    })
  await nextTurn()
  assert.equal(begun, 1)
  await nextTurn()
  assert.equal(begun, 2)
})

test('a turn with a new connection begins only one request', async () => {
  const robin = new RoundRobin()
  let begun = 0
  for (let i = 0; i < 3; i++) robin.add({}, () => begun++)
  robin.accepted()
  await nextTurn()
  await Promise.resolve()
  assert.equal(begun, 1)
  await nextTurn()
  await nextTurn()
  assert.equal(begun, 3)
})

test('requests that arrive while others begin are begun, too', async () => {
  const robin = new RoundRobin()
  const begun: string[] = []
  const connection = {}
  robin.add(connection, () => {
    begun.push('first')
    robin.add(connection, () => begun.push('next'))
  })
  await nextTurn()
  await nextTurn()
  await nextTurn()
  assert.deepEqual(begun, ['first', 'next'])
})
