/**
 * The predictor must admit the same clients as `npm start`, and resist the same attacks, also over
 * V1.
 */
process.env.ON_PREDICTOR = 'yes'
await import('../security/authentication.long.ts')
await import('../security/browsers.test.ts')
await import('../security/framing.test.ts')
await import('../security/injection.test.ts')
await import('../security/metrics-port.test.ts')
