import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzz, grewTooMuch } from './fuzz/fuzz.ts'

// One seed, so that the suite does the same every time; `npm run fuzz` tries others, and more of them.
test('1,500 requests, wrong in every way known here, each get the right kind of answer from a server that goes on', {
  timeout: 120_000,
}, async () => {
  const { failures, memory, counts } = await fuzz({ requests: 1_500, seed: 20_260, connections: 16, restMs: 0 })
  assert.deepEqual(failures, [])
  assert.deepEqual(memory.filter(grewTooMuch), [])
  for (const [kind, outcomes] of Object.entries(counts))
    assert.ok(
      Object.values(outcomes).some(count => count > 0),
      `no request of the kind ${kind} was sent`,
    )
  assert.ok(counts.json['2xx'] > 50, 'good requests are among them')
})
