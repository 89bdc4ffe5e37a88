import { execFile } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/*
 * Makes an environment for each Python peer, with the versions that requirements-*.txt pin; what is there already and up to date stays.
 * Those of 3.11: PYTHON names another interpreter. The system's own comes first, for PyTriton brings parts of a Python 3.11 that do not
 * work beside the standard library of every other 3.11.
 */

const run = promisify(execFile)
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const PYTHON =
  process.env.PYTHON ?? ['/usr/bin/python3.11', '/usr/bin/python3'].find(existsSync) ?? 'python3'
const LIMIT_MS = 10 * 60_000

/** @returns why it could not be installed, or undefined */
export const install = (peer: string): Promise<string | undefined> =>
  makeEnvironment(here(`.venv/${peer}`), here(`requirements-${peer}.txt`))

/**
 * A Python environment in that folder, with what the file pins and nothing else.
 * @returns why it could not be made, or undefined
 */
export async function makeEnvironment(
  folder: string,
  requirements: string,
): Promise<string | undefined> {
  const wanted = readFileSync(requirements, 'utf8')
  const done = `${folder}/installed.txt`
  if (existsSync(done) && readFileSync(done, 'utf8') === wanted) return undefined
  rmSync(folder, { recursive: true, force: true })
  try {
    await run(PYTHON, ['-m', 'venv', '--without-pip', folder], { timeout: LIMIT_MS })
    // Any pip will do, and not every system's Python has one of its own.
    const pip = [
      '-m',
      'pip',
      '--python',
      `${folder}/bin/python`,
      '--disable-pip-version-check',
      'install',
      '--quiet',
      '--no-deps',
      '--no-compile',
    ]
    await run('python3', [...pip, '--requirement', requirements], { timeout: LIMIT_MS })
    writeFileSync(done, wanted)
    return undefined
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string }
    return (stderr.trim().split('\n').at(-1) || message).slice(0, 300)
  }
}
