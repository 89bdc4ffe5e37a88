import { readConfig } from './config/config.ts'
import { runProcess } from './process.ts'

/** `npm start`. */
runProcess(() => ({ config: readConfig(process.env) }))
