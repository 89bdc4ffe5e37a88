import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { NAMES, rowsOf } from './reliability/faults.ts'

/*
 * The short form of `npm run reliability --prefix test/system` asserts only the claims that other
 * programs on the machine cannot disturb.
 */

const seed = Number(process.env.SEED ?? 1)

describe('faults', { concurrency: false }, () => {
  for (const name of NAMES) {
    test(name, { timeout: 300_000 }, async t => {
      let rows = 0
      for await (const { fault, counts, claims, notRun } of rowsOf(name, {
        long: false,
        seed,
        progress: line => t.diagnostic(line),
      })) {
        rows++
        await t.test(fault, { skip: notRun ?? false }, t => {
          t.diagnostic(`seed ${seed}: ${JSON.stringify(counts)}`)
          for (const { what, measured, holds, measurement } of claims) {
            t.diagnostic(`${what}: ${measured}`)
            assert.ok(
              holds || measurement === true,
              `the claim "${what}" does not hold; measured: ${measured}`,
            )
          }
        })
      }
      assert.ok(rows > 0)
    })
  }
})
