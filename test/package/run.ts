import { execFileSync, type SpawnOptions, spawn } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

export const projectFolder = fileURLToPath(new URL('../..', import.meta.url))

const inPackages = (path: string) => fileURLToPath(new URL(`node_modules/${path}`, import.meta.url))

/** The oldest supported version, and two that are too old. */
export const NODES = {
  'node-least': '22.18.0',
  'node-20': '20.20.2',
  'node-18': '18.20.8',
} as const
export type NodeName = keyof typeof NODES

export interface Tools {
  readonly npm: 'npm-10' | 'npm-11'
  readonly node: NodeName
}

const nodeFolder = (node: NodeName) => inPackages(`${node}/bin`)

const inherited = Object.fromEntries(
  Object.entries(process.env).filter(
    ([name]) => !/^(npm_(?!config_(registry|cache))|NODE_(?!EXTRA_CA_CERTS)|PORT$)/i.test(name),
  ),
)

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface Running {
  readonly cwd: string
  readonly env?: Record<string, string>
}

const environment = (node: NodeName, env: Record<string, string> = {}) => ({
  ...inherited,
  PATH: `${nodeFolder(node)}:${process.env.PATH}`,
  ...env,
})

export const runTool = (
  { npm, node }: Tools,
  script: 'npm-cli.js' | 'npx-cli.js',
  args: readonly string[],
  { cwd, env }: Running,
): Promise<Ran> =>
  run(join(nodeFolder(node), 'node'), [inPackages(`${npm}/bin/${script}`), ...args], {
    cwd,
    env: environment(node, env),
  })

export const runNode = (
  node: NodeName,
  args: readonly string[],
  { cwd, env }: Running,
): Promise<Ran> => run(join(nodeFolder(node), 'node'), args, { cwd, env: environment(node, env) })

function run(program: string, args: readonly string[], options: SpawnOptions): Promise<Ran> {
  const child = spawn(program, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  const said = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      said[name] += text
    })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', code => resolve({ code: code ?? -1, ...said }))
  })
}

export interface Served {
  readonly url: string
  line(pattern: RegExp): Promise<string>
  /** Sends TERM. @returns the exit code */
  stop(): Promise<number | null>
}

export async function serve(
  [program, ...args]: readonly [string, ...string[]],
  { cwd, env, node }: Running & { readonly node: NodeName },
): Promise<Served> {
  const executable = program === 'node' ? join(nodeFolder(node), 'node') : program
  const child = spawn(executable, args, {
    cwd,
    env: environment(node, env),
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 120_000,
    killSignal: 'SIGKILL',
  })
  const exited = new Promise<number | null>(resolve => child.once('exit', resolve))
  const lines: string[] = []
  const wrote = new EventEmitter()
  for (const stream of [child.stdout, child.stderr])
    createInterface({ input: stream }).on('line', text => {
      lines.push(text)
      wrote.emit('line')
    })
  const line = async (pattern: RegExp): Promise<string> => {
    for (;;) {
      const found = lines.find(text => pattern.test(text))
      if (found !== undefined) return found
      const ended = exited.then(code => {
        throw new Error(`the process exited with ${code}: ${lines.join('\n')}`)
      })
      await Promise.race([once(wrote, 'line'), ended])
    }
  }
  return {
    url: JSON.parse(await line(/"url":/)).url,
    line,
    stop() {
      child.kill('SIGTERM')
      return exited
    },
  }
}

/** @returns the tarball, and the paths of its files */
export function pack(folder: string): { tarball: string; files: readonly string[] } {
  const args = ['pack', '--json', '--pack-destination', folder]
  const output = execFileSync('npm', args, { cwd: projectFolder, encoding: 'utf8', env: inherited })
  const [packed] = JSON.parse(output.slice(output.indexOf('[\n')))
  return {
    tarball: join(folder, packed.filename),
    files: packed.files.map(({ path }: { path: string }) => path),
  }
}

/** @returns the contents as Latin-1, by path */
export function filesIn(folder: string): Record<string, string> {
  return Object.fromEntries(
    readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter(entry => entry.isFile() && !entry.parentPath.includes('node_modules'))
      .map(({ parentPath, name }) => join(parentPath, name).slice(folder.length + 1))
      .sort()
      .map(path => [path, readFileSync(join(folder, path), 'latin1')]),
  )
}
