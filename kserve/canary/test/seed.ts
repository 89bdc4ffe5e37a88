import fc from 'fast-check'

/** Every run uses the same random cases. `SEED=2 npm test` uses others. */
fc.configureGlobal({ seed: Number(process.env.SEED ?? 1) })
