import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { differential } from './differential.ts'

describe('a question gets the same response in every format and protocol, joined or not, inline or in a worker', () => {
  const seed = Number(process.env.SEED ?? 1)

  for (const model of ['iris', 'two-in-two-out', 'identity-bytes', 'identity-int64'] as const) {
    test(`${model}, with joined requests`, async () => {
      const { answered, refused, joinedRuns } = await differential(model, { questions: 24, seed })
      assert.ok(answered > 5 && refused > 5, `${answered} succeeded, ${refused} were refused`)
      assert.ok(
        joinedRuns.runs < joinedRuns.requests,
        `${joinedRuns.requests} requests in ${joinedRuns.runs} runs`,
      )
    })
  }

  for (const model of ['middle', 'unknown-rank', 'fp16-out'] as const) {
    test(`${model}`, async () => {
      const { answered, refused } = await differential(model, { questions: 12, seed })
      assert.ok(answered > 0 && refused > 0, `${answered} succeeded, ${refused} were refused`)
    })
  }
})
