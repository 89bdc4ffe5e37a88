import fc from 'fast-check'

/**
 * The share of the examples of each property that a run executes: a tenth by default, 1 in CI, and
 * 10 in the nightly tests.
 */
const SHARE = Number(process.env.RUNS ?? 0.1)

export const runs = (all: number) => ({ numRuns: Math.ceil(all * SHARE) })

fc.configureGlobal({
  // Each run tests the same cases. `SEED=2 npm test` tests other cases.
  seed: Number(process.env.SEED ?? 1),
  // Shrinking a large example could take hours on a busy machine. After this time, fast-check
  // reports the smallest example that it has found.
  interruptAfterTimeLimit: 120_000 * Math.max(1, SHARE),
  markInterruptAsFailure: true,
})
