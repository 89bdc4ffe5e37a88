import fc from 'fast-check'

/** The same cases at each run, so that a failure is of the change at hand; `SEED=2 npm test` looks elsewhere. */
fc.configureGlobal({ seed: Number(process.env.SEED ?? 1) })
