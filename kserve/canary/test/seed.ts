import fc from 'fast-check'

/** Each run has the same cases; `SEED=2 npm test` has others. */
fc.configureGlobal({ seed: Number(process.env.SEED ?? 1) })
