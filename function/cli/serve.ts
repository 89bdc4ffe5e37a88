import { statSync } from 'node:fs'
import { type Config, readConfig } from '../config/config.ts'
import { runProcess } from '../process.ts'
import { readArguments, Usage } from './usage.ts'

const HELP = `Serves a model.

  onnx-function [serve] [MODEL] [--port N] [--watch]

MODEL      a .onnx file, or a folder with one; else what MODEL_DIR names, else the folder model or the file model.onnx
           here, else the iris classifier
--port N   the port; else what PORT names, else 8080. 0 takes a free one
--watch    serves the model and the transform as they change: new ones take over once they are ready
--help     this

Environment variables set everything else: docs/configuration.md.
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

/**
 * @throws {Error} of one line that names the option or variable, its value and the allowed values
 */
function configOf({ model, port }: Given): Config {
  const given = {
    ...(model !== undefined && { MODEL_DIR: model }),
    ...(port !== undefined && { PORT: port }),
  }
  return readConfig({ ...process.env, ...given }, { PORT: '--port' })
}
