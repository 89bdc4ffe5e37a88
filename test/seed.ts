import fc from 'fast-check'

/** 1 runs every example of a property; `npm test` a tenth, CI all, each night ten times as many. */
const SHARE = Number(process.env.RUNS ?? 0.1)

/** How many examples of a property to run. */
export const runs = (all: number) => ({ numRuns: Math.ceil(all * SHARE) })

fc.configureGlobal({
  // The same cases at each run, so that a failure comes from the current change; `SEED=2 npm test`
  // tries others.
  seed: Number(process.env.SEED ?? 1),
  // Shrinking a large example on a busy machine would take hours; report the smallest one found so
  // far.
  interruptAfterTimeLimit: 120_000 * Math.max(1, SHARE),
  markInterruptAsFailure: true,
})
