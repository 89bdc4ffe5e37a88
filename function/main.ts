import { readConfig } from './config/config.ts'
import { live } from './life.ts'

/** `npm start`. */
live(() => ({ config: readConfig(process.env) }))
