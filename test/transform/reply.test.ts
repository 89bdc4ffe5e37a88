import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TooLarge } from '../../function/protocol/errors.ts'
import { contentOf } from '../../function/transform/reply.ts'

const call = { kind: 'request', data: { value: 1 }, contentType: undefined, headers: {} } as const

test('the JSON limit applies to the UTF-8 bytes of a result', () => {
  const limits = { maxBytes: 2_000, maxJsonBytes: 1_000 }
  assert.deepEqual(contentOf('é'.repeat(499), call, limits), { json: `"${'é'.repeat(499)}"` })
  assert.throws(() => contentOf('é'.repeat(500), call, limits), TooLarge)
})
