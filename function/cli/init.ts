import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { funcYaml } from './func-yaml.ts'
import { FILES } from './template-files.ts'
import { readArguments, Usage } from './usage.ts'

const HELP = `Creates a small project: a model, TypeScript that runs before and after the model, and a test.

  onnx-function init FOLDER

FOLDER  the folder to create. Its name is also the function's name: a-z, 0-9 and -, starting with a letter
--help  shows this help

func create -l typescript -t onnx --repository REPOSITORY creates the same project.
`

const TEMPLATE_NAME = 'my-classifier'

/** The name of a Kubernetes Service (RFC 1035). */
const NAME = /^[a-z](?:[-a-z0-9]{0,61}[a-z0-9])?$/

/** This package's folder: one level above build/, two above this source file. */
const PACKAGE = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../..' : '..', import.meta.url),
)

export function init(args: readonly string[]): void {
  const { values, positionals } = readArguments(args, {
    options: { help: { type: 'boolean', short: 'h' } },
    positionals: 1,
  })
  if (values.help) {
    process.stdout.write(HELP)
    return
  }
  const [given] = positionals
  if (given === undefined) throw new Usage('FOLDER is missing: name the folder to create')
  const folder = resolve(given)
  const name = basename(folder)
  if (!NAME.test(name))
    throw new Usage(
      `"${name}" is not allowed as a function's name; use a-z, 0-9 and -, starting with a letter`,
    )
  if (isFilled(folder)) throw new Usage(`${folder} is not empty`)
  writeProject(folder, name)
  packInto(join(folder, 'vendor'))
  process.stdout.write(
    `Created ${given}. Next:\n\n  cd ${given}\n  npm ci\n  npm test\n  npm start\n`,
  )
}

function isFilled(folder: string): boolean {
  try {
    return readdirSync(folder).length > 0
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}

function writeProject(folder: string, name: string): void {
  const { 'manifest.yaml': manifest = '', ...files } = FILES
  if (manifest === '')
    throw new Error('the project template is missing: this build was made without templates/')
  const named = (text: string) => text.replaceAll(TEMPLATE_NAME, name)
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), path.endsWith('.onnx') ? text : named(text), 'latin1')
  }
  writeFileSync(join(folder, 'func.yaml'), funcYaml(name, manifest))
}

/** No registry has this package, so the project contains it. */
function packInto(folder: string): void {
  mkdirSync(folder, { recursive: true })
  const args = ['pack', '--silent', '--ignore-scripts', '--pack-destination', folder, PACKAGE]
  execFileSync('npm', args, {
    shell: process.platform === 'win32',
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  const [tarball = ''] = readdirSync(folder)
  renameSync(join(folder, tarball), join(folder, 'onnx-function.tgz'))
}
