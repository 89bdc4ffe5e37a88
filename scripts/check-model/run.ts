import { Usage } from '../../function/cli/usage.ts'
import { check } from './command.ts'

const command = 'npm run check-model --'
// npm runs scripts in the project's folder; INIT_CWD is the folder in which the user called npm.
const from = process.env.npm_lifecycle_event === 'check-model' ? process.env.INIT_CWD : undefined

check(process.argv.slice(2), { command, from: from ?? '.' }).catch((error: Error) => {
  const usage = error instanceof Usage
  process.stderr.write(`${error.message.split('\n')[0]}${usage ? `; see ${command} --help` : ''}\n`)
  process.exitCode = usage ? 2 : 1
})
