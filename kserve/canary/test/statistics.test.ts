import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { type Buckets, chiSquaredTail, distance, fisher, pearson, quantile } from '../statistics.ts'
import './seed.ts'
import reference from './reference.json' with { type: 'json' }

const close = (actual: number, expected: number) =>
  assert.ok(Math.abs(actual - expected) <= 1e-9 * expected + 1e-15, `${actual} is not ${expected}`)
const share = ([count, of]: number[]) => ({ count: count as number, of: of as number })

describe('the values equal SciPy’s (reference.py)', () => {
  for (const { old, new: fresh, p } of reference.fisher) {
    test(`for Fisher’s exact test of ${old.join('/')} and ${fresh.join('/')}`, () =>
      close(fisher(share(old), share(fresh)), p))
  }
  for (const { old, new: fresh, statistic, p } of reference.pearson) {
    test(`for Pearson’s test of [${old.join(', ')}] and [${fresh.join(', ')}]`, () => {
      const found = pearson(old, fresh)
      close(found?.statistic as number, statistic)
      close(found?.p as number, p)
    })
  }
  for (const { x, degrees, p } of reference.tails) {
    test(`for the tail of the χ² distribution at ${x} with ${degrees} degrees of freedom`, () =>
      close(chiSquaredTail(x, degrees), p))
  }
})

describe('Pearson’s test', () => {
  test('merges rare labels, so that each cell has an expected count of at least five', () => {
    assert.deepEqual(pearson([900, 90, 1, 0], [90, 8, 0, 2]), pearson([900, 91], [90, 10]))
  })

  test('returns undefined when all labels but one are rare', () =>
    assert.equal(pearson([990, 10], [100, 0]), undefined))

  test('returns p = 1 when both versions always predict the same label', () =>
    assert.equal(pearson([500, 0], [70, 0])?.p, 1))

  test('does not depend on the order of labels', () => {
    const rows = fc.array(
      fc.tuple(fc.integer({ min: 0, max: 500 }), fc.integer({ min: 0, max: 500 })),
      { minLength: 2, maxLength: 8 },
    )
    fc.assert(
      fc.property(rows, rows => {
        const p = (of: typeof rows) =>
          pearson(
            of.map(([a]) => a),
            of.map(([, b]) => b),
          )?.p ?? -1
        assert.ok(
          Math.abs(p(rows) - p(rows.toReversed())) < 1e-9 ||
            rows.every(([a]) => a === 0) ||
            rows.every(([, b]) => b === 0),
        )
      }),
    )
  })
})

test('Fisher’s p is between 0 and 1, and does not rise when another error is added', () => {
  const small = fc.integer({ min: 1, max: 300 })
  fc.assert(
    fc.property(
      small,
      small,
      fc.integer({ min: 0, max: 300 }),
      fc.integer({ min: 0, max: 299 }),
      (of, ofFresh, errors, more) => {
        const old = { count: Math.min(errors, of), of }
        const count = Math.min(more, ofFresh - 1)
        const [p, next] = [
          fisher(old, { count, of: ofFresh }),
          fisher(old, { count: count + 1, of: ofFresh }),
        ]
        assert.ok(p >= 0 && p <= 1 && next <= p + 1e-12, `${p}, then ${next}`)
      },
    ),
  )
})

test('the distance of two distributions is from 0 to 1, symmetric, and independent of the number of rows', () => {
  const row = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 3, maxLength: 3 })
  fc.assert(
    fc.property(row, row, fc.integer({ min: 1, max: 50 }), (a, b, times) => {
      const moved = distance(a, b)
      assert.ok(moved >= 0 && moved <= 1)
      assert.ok(
        Math.abs(
          moved -
            distance(
              b,
              a.map(count => count * times),
            ),
        ) < 1e-12,
      )
    }),
  )
  assert.equal(distance([1, 0], [0, 7]), 1)
})

describe('a quantile of buckets', () => {
  const buckets: Buckets = [
    [0.01, 0],
    [0.02, 90],
    [0.04, 100],
    [Number.POSITIVE_INFINITY, 104],
  ]

  test('equals that of histogram_quantile', () => {
    assert.equal(quantile(0.5, buckets), 0.01 + (0.01 * 52) / 90)
    assert.equal(quantile(0.95, buckets), 0.02 + (0.02 * (98.8 - 90)) / 10)
  })

  test('above the last finite bound is that bound', () =>
    assert.equal(quantile(0.99, buckets), 0.04))

  test('is within its bucket', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 0.96, noNaN: true }), q => {
        const at = quantile(q, buckets)
        assert.ok(at >= 0.01 && at <= 0.04)
      }),
    )
  })
})
