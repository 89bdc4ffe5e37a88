/**
 * Runs the security tests on the predictor, including V1. The predictor must admit the same clients
 * as `npm start`, and resist the same attacks.
 */
process.env.ON_PREDICTOR = 'yes'
await import('../security/authentication.long.ts')
await import('../security/browsers.test.ts')
await import('../security/framing.test.ts')
await import('../security/injection.test.ts')
await import('../security/metrics-port.test.ts')
