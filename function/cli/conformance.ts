export { conformance } from '../../conformance/command.ts'
