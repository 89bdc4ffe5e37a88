import fc from 'fast-check'

/** `SEED=2 npm test` uses other random cases. */
fc.configureGlobal({ seed: Number(process.env.SEED ?? 1) })
