/**
 * Runs a script in this package's Python environment. First installs the environment if it does not
 * match the requirements:
 *
 *     node python.ts SCRIPT [ARGUMENT...]
 *
 * The variable PYTHON names the interpreter; the default is python3.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

const folder = import.meta.dirname
const environment = join(folder, '.venv')
const python = join(environment, 'bin/python')
const packaged = join(folder, '.packaged')
const older = join(folder, '.older')
/** Older releases of ONNX, which contain other tests. */
const OLDER = ['1.22.0', '1.21.0']

function install(): void {
  const stamp = join(environment, 'installed')
  const wanted = createHash('sha256').update(String(OLDER))
  for (const file of ['requirements.txt', 'packaged.txt'])
    wanted.update(readFileSync(join(folder, file)))
  const digest = wanted.digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === digest) return
  for (const old of [environment, packaged, older]) rmSync(old, { recursive: true, force: true })
  const run = (command: string, ...args: string[]) =>
    execFileSync(command, args, { cwd: folder, stdio: 'inherit' })
  run(process.env.PYTHON ?? 'python3', '-m', 'venv', environment)
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '--no-deps']
  run(python, ...pip, '-r', 'requirements.txt')
  run(python, ...pip, '--target', packaged, '-r', 'packaged.txt')
  for (const version of OLDER)
    run(python, ...pip, '--target', join(older, version), `onnx==${version}`)
  writeFileSync(stamp, digest)
}

install()
const { status, error } = spawnSync(python, process.argv.slice(2), {
  cwd: folder,
  stdio: 'inherit',
  env: { ...process.env, PYTHONPATH: [folder, join(folder, 'exported')].join(delimiter) },
})
if (error !== undefined) throw error
process.exitCode = status ?? 1
