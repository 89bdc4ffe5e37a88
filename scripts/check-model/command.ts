import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { readArguments, Usage } from '../../function/cli/usage.ts'
import { readConfig } from '../../function/config/config.ts'
import { checkModel } from './check.ts'
import { showJson, showText } from './show.ts'

const helpOf = (command: string) => `What to know about a model before it is deployed.

  ${command} FOLDER_OR_FILE [--json]

FOLDER_OR_FILE  a model folder, as MODEL_DIR takes it, or a .onnx file
--json          the report as JSON; with npm run --silent, nothing else is printed
--help          this

It tells what callers will see, gives a request that works and its answer, measures on this machine, and lists what is wrong, with
what to do about it. The exit code is 0 where there is no error (warnings and hints may be there), 1 where there is one, and 2 where
the command itself is wrong.
`

/** How the command was invoked. */
interface Called {
  /** As its user writes it. */
  readonly command: string
  /** The base of relative paths. */
  readonly from: string
}

/** Prints the report on a model and sets the exit code. @throws {Usage} */
export async function check(args: readonly string[], { command, from }: Called): Promise<void> {
  const { values, positionals } = readArguments(args, {
    options: { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    positionals: 1,
  })
  if (values.help) {
    process.stdout.write(helpOf(command))
    return
  }
  const [path] = positionals
  if (path === undefined) throw new Usage('name the folder or file to check')
  const folder = resolve(from, path)
  if (statSync(folder, { throwIfNoEntry: false }) === undefined)
    throw new Usage(`not found: ${folder}`)
  const report = await checkModel(readConfig({ MODEL_DIR: folder }))
  process.stdout.write(values.json ? showJson(report) : showText(report))
  process.exitCode = report.problems.some(({ level }) => level === 'error') ? 1 : 0
}
