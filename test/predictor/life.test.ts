/** The predictor starts, fails, drains and ends as `npm start` does. */
process.env.ON_PREDICTOR = 'yes'
await import('../process/life.test.ts')
