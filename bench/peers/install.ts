import { execFile } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/*
 * Creates an environment for each Python peer with the versions pinned in requirements-*.txt; keeps
 * those that are up to date. The peers of 3.11 take another interpreter from PYTHON. The system's
 * own is tried first: PyTriton brings parts of a Python 3.11 that fail beside the standard library
 * of any other 3.11.
 */

const run = promisify(execFile)
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const PYTHON =
  process.env.PYTHON ?? ['/usr/bin/python3.11', '/usr/bin/python3'].find(existsSync) ?? 'python3'
const LIMIT_MS = 10 * 60_000

/** @returns the reason why it could not be installed, or undefined */
export const install = (peer: string): Promise<string | undefined> =>
  makeEnvironment(here(`.venv/${peer}`), here(`requirements-${peer}.txt`))

/**
 * A Python environment in that folder with exactly the pinned packages.
 * @returns the reason why it could not be created, or undefined
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
    // Any pip will do, and some systems' Python has none.
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
