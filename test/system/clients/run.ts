import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { makeEnvironment } from '../../../bench/peers/install.ts'

/* Runs third-party clients in environments that are created once, from pinned versions. */

/** The result of each action: a value, or `{error}` with the client's own message. */
export type Seen = Record<string, unknown> & { versions: Record<string, string> }

const run = promisify(execFile)
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const LIMITS = { timeout: 60_000, maxBuffer: 2 ** 24 }

/** @throws {Error} with the install command if the tool is missing */
export async function need(tool: string, install: string): Promise<void> {
  await run('sh', ['-c', `command -v ${tool}`]).catch(() => {
    throw new Error(`${tool} is missing: ${install}`)
  })
}

export async function runPython(
  environment: string,
  program: string,
  ...urls: string[]
): Promise<Seen> {
  await need('python3', 'apt-get install python3 python3-venv python3-pip (3.11 or later)')
  const folder = here(`.venv/${environment}`)
  const failure = await makeEnvironment(folder, here(`requirements-${environment}.txt`))
  if (failure !== undefined) {
    throw new Error(
      `cannot create a Python environment (apt-get install python3-venv python3-pip, or set PYTHON to Python 3.11 or later): ${failure}`,
    )
  }
  const { stdout } = await run(`${folder}/bin/python`, [here(program), ...urls], LIMITS)
  return JSON.parse(stdout)
}

export async function runGo(...urls: string[]): Promise<Seen> {
  await need('go', 'install Go 1.23 or later, https://go.dev/dl')
  const program = here('.build/cloudevents-go')
  await run('go', ['build', '-o', program, '.'], {
    cwd: here('cloudevents-go'),
    timeout: 5 * 60_000,
  })
  return JSON.parse((await run(program, urls, LIMITS)).stdout)
}

export const shell = async (command: string): Promise<string> =>
  (await run('bash', ['-c', command], LIMITS)).stdout

/**
 *
 * @param path the path of the program's Go package, with the version
 * @returns a function that runs the program in test/system, and resolves to its output
 */
export async function goTool(path: string): Promise<(...args: string[]) => Promise<string>> {
  await need('go', 'install Go 1.23 or later, https://go.dev/dl')
  const bin = here('.build')
  await run('go', ['install', path], {
    env: { ...process.env, GOBIN: bin },
    timeout: 5 * 60_000,
  })
  const [, name] = /([^/]+)@/.exec(path) ?? []
  return async (...args) =>
    (await run(`${bin}/${name}`, args, { ...LIMITS, cwd: here('..') })).stdout
}
