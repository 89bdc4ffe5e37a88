/** The predictor keeps every point of the Open Inference Protocol. */
process.env.ON_PREDICTOR = 'yes'
await import('../protocol.test.ts')
