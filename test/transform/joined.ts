import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { runs } from '../seed.ts'
import { type Server, startServer } from '../server.ts'
import { author } from './table.ts'

/*
 * Callers whose rows share runs get what they would get alone, however many rows the author's code makes of each call.
 */

const measure = fc.double({ min: 0.1, max: 8, noNaN: true })
const rows = fc.array(fc.tuple(measure, measure, measure, measure), { maxLength: 40 })

async function ask({ url }: Server, data: unknown): Promise<readonly number[]> {
  const headers = { 'content-type': 'application/json' }
  const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(data) })
  return (await answer.json()) as number[]
}

const runsOf = async ({ service }: Server) =>
  service.model.statistics.read('iris', '1').execution_count

export function testJoined(execution: 'inline' | 'worker'): void {
  describe(`joined calls, EXECUTION=${execution}`, () => {
    let server: Server
    before(async () => {
      server = await startServer({ TRANSFORM: author('any.ts'), EXECUTION: execution })
    })
    after(() => server.stop())

    test('answers are those that each call gets alone', async () => {
      let calls = 0
      const before = await runsOf(server)
      const asked = fc.array(fc.record({ rows, waits: fc.option(fc.nat(2), { nil: undefined }) }), {
        minLength: 1,
        maxLength: 30,
      })
      await fc.assert(
        fc.asyncProperty(asked, async all => {
          const alone: (readonly number[])[] = []
          const give = 'probabilities'
          for (const each of all) alone.push(await ask(server, { ...each, give, waits: undefined }))
          const joined = await Promise.all(all.map(each => ask(server, { ...each, give })))
          calls += 2 * all.length
          for (const [i, answer] of joined.entries())
            assertClose(answer, alone[i] as readonly number[])
        }),
        runs(100),
      )
      assert.ok((await runsOf(server)) - before < calls, 'no call shared a run')
    })
  })
}

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length)
  for (const [i, value] of actual.entries())
    assert.ok(Math.abs(value - (expected[i] as number)) < 1e-5, `${value} is not ${expected[i]}`)
}
