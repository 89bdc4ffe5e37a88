process.env.ON_PREDICTOR = 'yes'
await import('../process/life.test.ts')
