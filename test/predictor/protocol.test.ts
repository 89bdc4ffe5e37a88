/** Runs the tests of the Open Inference Protocol on the predictor. */
process.env.ON_PREDICTOR = 'yes'
await import('../protocol.test.ts')
