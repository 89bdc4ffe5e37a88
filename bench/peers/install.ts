import { execFile } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/*
 * Creates an environment for each Python peer from requirements-*.txt. PYTHON selects the
 * interpreter, which must be Python 3.11. The default is the system's, because PyTriton contains parts of Debian's
 * Python 3.11 that fail with the standard library of other 3.11 releases.
 */

const run = promisify(execFile)
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const PYTHON =
  process.env.PYTHON ?? ['/usr/bin/python3.11', '/usr/bin/python3'].find(existsSync) ?? 'python3'
const LIMIT_MS = 10 * 60_000

/** @returns why the peer could not be installed, or undefined */
export const install = (peer: string): Promise<string | undefined> =>
  makeEnvironment(here(`.venv/${peer}`), here(`requirements-${peer}.txt`))

/**
 * Creates a Python environment with exactly the pinned packages.
 * @returns why this failed, or undefined
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
    // Some systems' Python does not include pip, so use any python3's.
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
