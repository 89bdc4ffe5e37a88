import { Usage } from '../../function/cli/usage.ts'
import { check } from './command.ts'

const command = 'npm run check-model --'
// npm starts scripts in the project's folder, whatever the current folder.
const from = process.env.npm_lifecycle_event === 'check-model' ? process.env.INIT_CWD : undefined

check(process.argv.slice(2), { command, from: from ?? '.' }).catch((error: Error) => {
  const usage = error instanceof Usage
  process.stderr.write(`${error.message.split('\n')[0]}${usage ? `; see ${command} --help` : ''}\n`)
  process.exitCode = usage ? 2 : 1
})
