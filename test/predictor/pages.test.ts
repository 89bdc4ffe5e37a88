process.env.ON_PREDICTOR = 'yes'
await import('../pages/openapi.long.ts')
await import('../pages/pages.test.ts')
