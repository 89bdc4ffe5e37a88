process.env.ON_PREDICTOR = 'yes'
await import('../events/any-event.long.ts')
await import('../events/batch.test.ts')
await import('../events/data.test.ts')
await import('../events/headers.test.ts')
await import('../events/malformed.test.ts')
await import('../events/modes.test.ts')
await import('../events/outcome.test.ts')
await import('../events/reply.test.ts')
