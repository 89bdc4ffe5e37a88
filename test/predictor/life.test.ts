/** The predictor must start, fail, drain and exit like `npm start`. */
process.env.ON_PREDICTOR = 'yes'
await import('../process/life.test.ts')
