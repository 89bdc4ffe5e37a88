/*
 * A simulated cluster: files, which stand-ins for kubectl, kind, helm, docker and curl read and
 * change.
 */
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import type { TestContext } from 'node:test'
import manifest from '../../package.json' with { type: 'json' }
import { projectFolder } from '../server.ts'

const TOOLS = ['kubectl', 'helm', 'kind', 'docker', 'curl', 'sleep']
/**
 * Apart from the stand-ins, the PATH contains only these programs, so that no real kubectl or helm
 * runs.
 */
const SYSTEM = [
  'bash',
  'base64',
  'cat',
  'date',
  'dirname',
  'env',
  'grep',
  'head',
  'ls',
  'mktemp',
  'paste',
  'rm',
  'sed',
  'sort',
  'tail',
  'touch',
  'tr',
]

export interface Outcome {
  readonly code: number | null
  readonly out: string
  readonly err: string
  readonly calls: readonly string[]
}

export interface Cluster {
  readonly setUp: (...args: readonly string[]) => Outcome
  readonly remove: (...args: readonly string[]) => Outcome
  /** Makes the next `times` calls that match the pattern fail. */
  readonly refuse: (times: number, pattern: string) => void
  /** Kills the script at its next call that matches the pattern. */
  readonly killAt: (pattern: string) => void
  readonly write: (file: string, text: string) => void
  readonly record: () => Readonly<Record<string, string>>
  readonly objects: () => readonly string[]
  /** Removes a tool from the PATH. */
  readonly without: (tool: string) => void
  readonly environment: Record<string, string>
}

function find(program: string): string {
  const path = (process.env.PATH ?? '').split(delimiter).map(folder => join(folder, program))
  const found = path.find(existsSync)
  if (found === undefined) throw new Error(`${program} is not on the PATH`)
  return found
}

export function startCluster(t: TestContext): Cluster {
  const folder = mkdtempSync(join(tmpdir(), 'cluster-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const state = join(folder, 'state')
  const bin = join(folder, 'bin')
  for (const path of [bin, join(state, 'objects'), join(state, 'record')])
    mkdirSync(path, { recursive: true })
  for (const program of SYSTEM) symlinkSync(find(program), join(bin, program))
  for (const tool of TOOLS)
    symlinkSync(join(projectFolder, 'test/cluster/stand-in.sh'), join(bin, tool))
  const environment: Record<string, string> = {
    PATH: bin,
    STATE: state,
    VERSION: manifest.version,
    TMPDIR: folder,
  }
  const log = join(state, 'log')

  const run = (script: string, args: readonly string[]): Outcome => {
    writeFileSync(log, '')
    const { status, stdout, stderr } = spawnSync(join(projectFolder, 'scripts', script), args, {
      cwd: tmpdir(),
      env: environment,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    return {
      code: status,
      out: stdout,
      err: stderr,
      calls: readFileSync(log, 'utf8').split('\n').slice(0, -1),
    }
  }
  const filesOf = (name: string) => readdirSync(join(state, name)).sort()
  return {
    setUp: (...args) => run('setup-cluster.sh', args),
    remove: (...args) => run('delete-cluster.sh', args),
    refuse: (times, pattern) => writeFileSync(join(state, 'refused'), `${times} ${pattern}\n`),
    killAt: pattern => writeFileSync(join(state, 'killed'), pattern),
    write: (file, text) => writeFileSync(join(state, file), text),
    record: () =>
      Object.fromEntries(
        filesOf('record').map(name => [
          name,
          readFileSync(join(state, 'record', name), 'utf8').trim(),
        ]),
      ),
    objects: () => filesOf('objects'),
    without: tool => rmSync(join(bin, tool)),
    environment,
  }
}

export const versions: Readonly<Record<string, string>> = Object.fromEntries(
  [
    ...readFileSync(join(projectFolder, 'scripts/cluster/versions.sh'), 'utf8').matchAll(
      /^([A-Z_]+)=(\S+)$/gm,
    ),
  ].map(([, name, value]) => [name as string, value as string]),
)
