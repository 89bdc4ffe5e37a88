import { readConfig } from './config.ts'
import { live } from './life.ts'

/** `npm start`. */
live(() => ({ config: readConfig(process.env) }))
