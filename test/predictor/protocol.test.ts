process.env.ON_PREDICTOR = 'yes'
await import('../protocol.test.ts')
