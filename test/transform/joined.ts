import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import fc from 'fast-check'
import { runs } from '../seed.ts'
import { type Server, startServer } from '../server.ts'
import { author } from './table.ts'

/*
 * Callers whose rows share a run must get the same results as if each call ran alone, however many
 * rows the author's code creates per call.
 */

const measure = fc.double({ min: 0.1, max: 8, noNaN: true })
const rows = fc.array(fc.tuple(measure, measure, measure, measure), { maxLength: 40 })

const send = ({ url }: Server, data: unknown) =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(data),
  })

const ask = async (server: Server, data: unknown) =>
  (await (await send(server, data)).json()) as readonly number[]

const MANY = Array.from({ length: 32 }, (_, i) => i)

const runsOf = async ({ service }: Server) =>
  service.model.statistics.read('iris', '1').execution_count

export function testJoined(execution: 'inline' | 'worker'): void {
  describe(`joined calls (EXECUTION=${execution})`, () => {
    let server: Server
    before(async () => {
      server = await startServer({ TRANSFORM: author('any.ts'), EXECUTION: execution })
    })
    after(() => server.stop())

    test('get the same results as separate calls', async () => {
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
      assert.ok((await runsOf(server)) - before < calls, 'no calls shared a run')
    })

    test('get their own results if the author reuses one array for inputs', async () => {
      const data = MANY.map(i => ({ give: 'probabilities', fills: [7 - i / 8, 3, 1 + i / 8, 1] }))
      const alone: (readonly number[])[] = []
      for (const each of data) alone.push(await ask(server, each))
      const together = await Promise.all(data.map(each => ask(server, each)))
      for (const [i, answer] of together.entries())
        assertClose(answer, alone[i] as readonly number[])
    })
    test('get their own results if the author reuses one array for response bodies', async () => {
      const answers = MANY.map(async value => {
        const answer = await send(server, { give: 'body', value })
        return [...new Uint8Array(await answer.arrayBuffer())]
      })
      assert.deepEqual(
        await Promise.all(answers),
        MANY.map(value => new Array(8).fill(value)),
      )
    })
    test('get outputs whose memory contains no rows of other callers', async () => {
      const answers = await Promise.all(MANY.map(() => ask(server, { give: 'memory' })))
      assert.deepEqual(new Set(answers), new Set([true]))
    })
  })
}

function assertClose(actual: readonly number[], expected: readonly number[]): void {
  assert.equal(actual.length, expected.length)
  for (const [i, value] of actual.entries())
    assert.ok(
      Math.abs(value - (expected[i] as number)) < 1e-5,
      `got ${value}, expected ${expected[i]}`,
    )
}
