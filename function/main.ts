import { readConfig } from './config/config.ts'
import { live } from './process.ts'

/** `npm start`. */
live(() => ({ config: readConfig(process.env) }))
