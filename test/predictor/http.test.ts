process.env.ON_PREDICTOR = 'yes'
await import('../http/bodies.test.ts')
await import('../http/broken.test.ts')
await import('../http/connections.test.ts')
await import('../http/errors.test.ts')
await import('../http/large.long.ts')
await import('../http/metrics.test.ts')
await import('../http/overload.long.ts')
await import('../http/versions.test.ts')
