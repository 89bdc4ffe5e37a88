import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { readArguments, Usage } from '../../function/cli/usage.ts'
import { readConfig } from '../../function/config/config.ts'
import { checkModel } from './check.ts'
import { showJson, showText } from './show.ts'

const helpOf = (command: string) => `Checks a model before it is deployed.

  ${command} FOLDER_OR_FILE [--json]

FOLDER_OR_FILE  a model folder, as for MODEL_DIR, or a .onnx file
--json          prints the report as JSON; use npm run --silent to hide npm's own output
--help          prints this text

The report shows the interface for callers, a request that works and its response, measurements on this machine, and the
problems of the model with their fixes. The exit code is 0 if there are no errors (there may be warnings and hints),
1 if there is an error, and 2 if the command line is invalid.
`

interface Called {
  readonly command: string
  readonly from: string
}

/** Prints the report and sets the exit code. @throws {Usage} */
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
  if (path === undefined) throw new Usage('FOLDER_OR_FILE is missing')
  const folder = resolve(from, path)
  if (statSync(folder, { throwIfNoEntry: false }) === undefined)
    throw new Usage(`not found: ${folder}`)
  const report = await checkModel(readConfig({ MODEL_DIR: folder }))
  process.stdout.write(values.json ? showJson(report) : showText(report))
  process.exitCode = report.problems.some(({ level }) => level === 'error') ? 1 : 0
}
