import { statSync } from 'node:fs'
import { type Config, readConfig } from '../config/config.ts'
import { runProcess } from '../process.ts'
import { readArguments, Usage } from './usage.ts'

const HELP = `Serves a model.

  onnx-function [serve] [MODEL] [--port N] [--watch]

MODEL      a .onnx file, or a folder with one; default: MODEL_DIR if set, else the folder model or
           the file model.onnx in the current folder, else the iris classifier
--port N   the port; 0 selects a free port; default: PORT if set, else 8080
--watch    when the model or the transform changes, serves the new version once it is ready
--help     shows this help

All other settings are environment variables: see docs/configuration.md.
`

export async function serve(args: readonly string[]): Promise<void> {
  const { values, positionals } = readArguments(args, {
    options: {
      port: { type: 'string', short: 'p' },
      watch: { type: 'boolean' },
      help: { type: 'boolean', short: 'h' },
    },
    positionals: 1,
  })
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const [model] = positionals
  if (model !== undefined && statSync(model, { throwIfNoEntry: false }) === undefined)
    throw new Usage(`"${model}" is not a file, folder or command`)
  const configure = () => configOf({ model, port: values.port })
  if (values.watch) await (await import('./watch.ts')).watch(configure)
  else runProcess(() => ({ config: configure() }))
}

interface Given {
  readonly model: string | undefined
  readonly port: string | undefined
}

/** @throws {Error} with one line: the option or variable, its value, and the allowed values */
function configOf({ model, port }: Given): Config {
  const given = {
    ...(model !== undefined && { MODEL_DIR: model }),
    ...(port !== undefined && { PORT: port }),
  }
  return readConfig({ ...process.env, ...given }, { PORT: '--port' })
}
