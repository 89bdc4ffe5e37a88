import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { readConfig } from '../../function/config/config.ts'
import { checkModel } from './check.ts'
import { showJson, showText } from './show.ts'

const HELP = `What to know of a model before it is deployed.

  npm run check-model -- FOLDER_OR_FILE [--json]

FOLDER_OR_FILE  a model folder, as MODEL_DIR takes it, or a .onnx file
--json          the report as JSON; with npm run --silent, nothing else is printed
--help          this

It tells what callers will see, gives a request that works and its answer, measures on this machine, and lists what is wrong, with
what to do about it. The exit code is 0 where there is no error (warnings and hints may be there), 1 where there is one, and 2 where
the command itself is wrong.
`

class Usage extends Error {}

async function main(): Promise<void> {
  const { json, help, path } = readArguments()
  if (help) {
    process.stdout.write(HELP)
    return
  }
  const report = await checkModel(readConfig({ MODEL_DIR: path }))
  process.stdout.write(json ? showJson(report) : showText(report))
  process.exitCode = report.problems.some(({ level }) => level === 'error') ? 1 : 0
}

function readArguments(): { json: boolean; help: boolean; path: string } {
  let parsed: { values: { json?: boolean; help?: boolean }; positionals: string[] }
  try {
    parsed = parseArgs({
      allowPositionals: true,
      options: { json: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    })
  } catch (error) {
    throw new Usage((error as Error).message)
  }
  const { values, positionals } = parsed
  const { json = false, help = false } = values
  if (help) return { json, help, path: '' }
  if (positionals.length !== 1)
    throw new Usage(`one folder or file is checked, not ${positionals.length}`)
  // npm starts scripts in the project's folder, wherever it was called.
  const from = process.env.npm_lifecycle_event === 'check-model' ? process.env.INIT_CWD : undefined
  const path = resolve(from ?? '.', positionals[0] as string)
  if (statSync(path, { throwIfNoEntry: false }) === undefined)
    throw new Usage(`there is no ${path}`)
  return { json, help, path }
}

main().catch((error: Error) => {
  const usage = error instanceof Usage
  process.stderr.write(
    `${error.message.split('\n')[0]}${usage ? '; npm run check-model -- --help tells more' : ''}\n`,
  )
  process.exitCode = usage ? 2 : 1
})
