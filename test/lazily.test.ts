import assert from 'node:assert/strict'
import { test } from 'node:test'
import { lazily } from '../function/lazily.ts'

test('a lazy value is loaded once, at its first use', async () => {
  let loads = 0
  const one = lazily(async () => ++loads)
  assert.equal(loads, 0)
  assert.deepEqual(await Promise.all([one(), one()]), [1, 1])
  assert.equal(await one(), 1)
})

test('if a lazy value cannot be loaded, all waiting callers get the error, and the next call tries again', async () => {
  let loads = 0
  const second = lazily(async () => {
    if (++loads === 1) throw new Error('too many open files')
    return loads
  })
  for (const asked of [second(), second()])
    await assert.rejects(asked, { message: 'too many open files' })
  assert.equal(await second(), 2)
})
