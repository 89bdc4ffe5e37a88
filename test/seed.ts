import fc from 'fast-check'

/** 1 is every example that a property names; `npm test` asks a tenth of them, CI all, and each night ten times as many. */
const SHARE = Number(process.env.RUNS ?? 0.1)

/** How many examples a property is asked here. */
export const runs = (all: number) => ({ numRuns: Math.ceil(all * SHARE) })

fc.configureGlobal({
  // The same cases at each run, so that a failure is of the change at hand; `SEED=2 npm test` looks elsewhere.
  seed: Number(process.env.SEED ?? 1),
  // Shrinking a large example on a busy machine would take hours; what was found by then is told.
  interruptAfterTimeLimit: 120_000 * Math.max(1, SHARE),
  markInterruptAsFailure: true,
})
