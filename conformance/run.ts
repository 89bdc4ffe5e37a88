import { conformance } from './command.ts'

await conformance(process.argv.slice(2))
