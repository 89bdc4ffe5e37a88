import { readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { readConfig } from '../config/config.ts'
import { readModelFolder } from '../inference/model-folder.ts'
import { openSession } from '../inference/session.ts'
import { modelTypes, modelTypesFile } from '../transform/model-types.ts'
import { readArguments, Usage } from './usage.ts'

const HELP = `Writes the TypeScript types of a model's inputs and outputs, for a transform to import.

  onnx-function types [MODEL] [--check]

MODEL    a .onnx file, or a folder with one; default: MODEL_DIR if set, else the folder model or
         the file model.onnx in the current folder
--check  writes nothing; exits with status 1 if the file is out of date
--help   shows this help

The file is written beside the model: model.d.onnx.ts for model.onnx. TypeScript uses the file for
imports of './model.onnx' if tsconfig.json sets allowArbitraryExtensions.
`

export async function types(args: readonly string[]): Promise<void> {
  const { values, positionals } = readArguments(args, {
    options: { check: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
    positionals: 1,
  })
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const [model] = positionals
  const config = readConfig({ ...process.env, ...(model !== undefined && { MODEL_DIR: model }) })
  const { file } = readModelFolder(config)
  const target = join(dirname(file), modelTypesFile(basename(file)))
  const text = await typesOf(file)
  if (values.check) checkWritten(target, text)
  else {
    writeFileSync(target, text)
    process.stdout.write(`wrote ${shown(target)}\n`)
  }
}

async function typesOf(file: string): Promise<string> {
  const session = await openSession(file, 1)
  try {
    return modelTypes(session.signature, basename(file))
  } finally {
    await session.close()
  }
}

function checkWritten(target: string, text: string): void {
  let written: string | undefined
  try {
    written = readFileSync(target, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  if (written === undefined) throw new Usage(`not found: ${shown(target)}`)
  if (written !== text)
    throw new Error(`${shown(target)} does not match the model; run onnx-function types`)
}

const shown = (file: string) => relative('.', file)
