/** The predictor must implement the Open Inference Protocol. */
process.env.ON_PREDICTOR = 'yes'
await import('../protocol.test.ts')
