/** The predictor lets in whom `npm start` lets in, V1 included, and stands the same attacks. */
process.env.ON_PREDICTOR = 'yes'
await import('../security/authentication.long.ts')
await import('../security/browsers.test.ts')
await import('../security/framing.test.ts')
await import('../security/injection.test.ts')
await import('../security/metrics-port.test.ts')
