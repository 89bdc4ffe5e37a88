/** The predictor has the same pages. */
process.env.ON_PREDICTOR = 'yes'
await import('../pages/openapi.test.ts')
await import('../pages/pages.test.ts')
