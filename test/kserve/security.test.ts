/** The predictor lets in whom `npm start` lets in, V1 included, and stands the same attacks. */
process.env.ON_PREDICTOR = 'yes'
await import('../security/authentication.test.ts')
