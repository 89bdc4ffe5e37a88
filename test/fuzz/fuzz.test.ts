import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzz, grewTooMuch, somePairs } from './fuzz.ts'

// A fixed seed makes every run the same; `node test/fuzz/run.ts` uses other seeds and more cases.
test('1,500 random requests and 500 random events get valid responses, and the servers keep running', {
  timeout: 120_000,
}, async () => {
  const { failures, memory, byKind, byMode } = await fuzz({
    requests: 1_500,
    events: 500,
    seed: 20_260,
    connections: 16,
    pairs: somePairs(),
    restMs: 0,
  })
  assert.deepEqual(failures, [])
  assert.deepEqual(memory.filter(grewTooMuch), [])
  for (const [kind, counts] of Object.entries(byKind))
    if (!['large', 'message', 'message framing', 'frames'].includes(kind))
      assert.ok(counts.size > 0, `no request of the kind ${kind} was sent`)
  for (const [mode, counts] of Object.entries(byMode))
    assert.ok((counts.get(200) ?? 0) > 10, `fewer than 11 valid requests in the mode ${mode}`)
  assert.ok((byKind.event.get(200) ?? 0) > 20, 'fewer than 21 valid events were sent')
})

test('1,000 random gRPC calls and HTTP/2 connections get valid responses, and the servers keep running', {
  timeout: 120_000,
}, async () => {
  const pairs = somePairs().filter(({ mode }) => mode !== 'auto-single')
  const { failures, memory, byKind } = await fuzz({
    requests: 0,
    http2: 1_000,
    seed: 17,
    connections: 16,
    pairs,
    restMs: 0,
  })
  assert.deepEqual(failures, [])
  assert.deepEqual(memory.filter(grewTooMuch), [])
  assert.ok((byKind.message.get(0) ?? 0) > 100, 'fewer than 101 valid calls were sent')
  assert.ok((byKind.message.get(3) ?? 0) > 100, 'fewer than 101 invalid calls were sent')
  assert.ok((byKind['message framing'].get(13) ?? 0) > 5, 'fewer than 6 truncated messages')
  assert.ok((byKind.frames.get(200) ?? 0) > 20, 'fewer than 21 valid requests in frames')
})

test('large bodies up to one byte more than the limit get valid responses', {
  timeout: 120_000,
}, async () => {
  const pairs = [
    { model: 'iris', mode: 'inline' },
    { model: 'identity-bytes', mode: 'worker' },
  ] as const
  const { failures, byKind } = await fuzz({
    requests: 0,
    large: 8,
    seed: 4,
    connections: 2,
    pairs,
    restMs: 0,
  })
  assert.deepEqual(failures, [])
  assert.ok(
    (byKind.large.get(200) ?? 0) > 1 && (byKind.large.get(413) ?? 0) > 0,
    'expected at least two valid bodies and at least one that is too large',
  )
})
