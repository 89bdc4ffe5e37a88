import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { differential } from './differential.ts'

describe('JSON, binary, typed or raw, HTTP/1.1, HTTP/2, gRPC or event, single or joined, inline or in a worker: the same question gets the same answer', () => {
  const seed = Number(process.env.SEED ?? 1)

  for (const model of ['iris', 'two-in-two-out', 'identity-bytes', 'identity-int64'] as const) {
    test(`of ${model}, whose requests are joined`, async () => {
      const { answered, refused, joinedRuns } = await differential(model, { questions: 24, seed })
      assert.ok(answered > 5 && refused > 5, `${answered} answered, ${refused} refused`)
      assert.ok(
        joinedRuns.runs < joinedRuns.requests,
        `${joinedRuns.requests} requests in ${joinedRuns.runs} runs`,
      )
    })
  }

  for (const model of ['middle', 'unknown-rank', 'fp16-out'] as const) {
    test(`of ${model}`, async () => {
      const { answered, refused } = await differential(model, { questions: 12, seed })
      assert.ok(answered > 0 && refused > 0, `${answered} answered, ${refused} refused`)
    })
  }
})
