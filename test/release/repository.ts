import { spawn, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { projectFolder } from '../server.ts'

/** Why these tests cannot run here, false where they can: everything else of `npm test` needs only Node. */
export const withoutGit =
  spawnSync('git', ['--version']).error !== undefined && 'git is not installed'

export const CHANGELOG = `# Changelog

Newest first.

## Unreleased

### Added

- A thing, by \`THING\`.
`

const MANIFEST = {
  name: 'onnx-function',
  version: '0.1.0',
  scripts: { test: 'node test.mjs', check: 'node check.mjs', interface: 'node interface.mjs' },
}

/** What a release needs of this project, small: its tests pass unless FAIL is set, and take long where SLOW is. */
const FILES: Readonly<Record<string, string>> = {
  'package.json': `${JSON.stringify(MANIFEST, undefined, 2)}\n`,
  'package-lock.json': `${JSON.stringify({ name: 'onnx-function', version: '0.1.0', lockfileVersion: 3, packages: { '': MANIFEST } }, undefined, 2)}\n`,
  'CHANGELOG.md': CHANGELOG,
  'image.yaml': 'image: registry.example.com/onnx-function:0.1.0 # and base:0.1.0\n',
  'kubernetes/image/kustomization.yaml':
    'images:\n- name: ghcr.io/example/onnx-function\n  newTag: 0.1.0\n',
  'docs/interface.json': '{}\n',
  'interface.mjs': `console.log('{"metrics":[]}')\n`,
  'check.mjs': '',
  'test.mjs': `import { readFileSync } from 'node:fs'
console.log('testing ' + JSON.parse(readFileSync('package.json', 'utf8')).version)
if (process.env.SLOW) await new Promise(resolve => setTimeout(resolve, 600_000))
process.exit(process.env.FAIL ? 1 : 0)
`,
}

export interface Repository {
  readonly folder: string
  /** Where it pushes to. */
  readonly origin: string
  git(...args: string[]): string
  read(path: string): string
  write(path: string, text: string): void
  commit(subject: string): void
  release(
    args: readonly string[],
    env?: Record<string, string>,
  ): { readonly status: number | null; readonly output: string }
  /** @returns once a line of its output is the given one */
  startRelease(
    args: readonly string[],
    env: Record<string, string>,
    line: string,
  ): Promise<{ kill(): Promise<void> }>
}

/** A repository of its own on main, and a bare one that it pushes to, in a temporary folder that is the caller's to remove. */
export function createRepository(): Repository & { readonly temporary: string } {
  const temporary = mkdtempSync(join(tmpdir(), 'release-'))
  const [folder, origin] = [join(temporary, 'work'), join(temporary, 'origin.git')]
  // Nobody's own settings: neither signing keys nor hooks.
  const env = {
    ...process.env,
    GIT_CONFIG_GLOBAL: join(temporary, 'gitconfig'),
    GIT_CONFIG_NOSYSTEM: '1',
    TMPDIR: join(temporary, 'tmp'),
    npm_config_cache: join(temporary, 'npm'),
  }
  mkdirSync(env.TMPDIR)
  writeFileSync(
    env.GIT_CONFIG_GLOBAL,
    '[user]\n  name = Releaser\n  email = releaser@example.com\n[init]\n  defaultBranch = main\n',
  )
  const git = (...args: string[]) => {
    const { stdout, stderr, status } = spawnSync('git', args, {
      cwd: folder,
      encoding: 'utf8',
      env,
    })
    if (status !== 0) throw new Error(`git ${args.join(' ')}: ${stderr}`)
    return stdout.trim()
  }
  const write = (path: string, text: string) => {
    mkdirSync(join(folder, path, '..'), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  const commit = (subject: string) => {
    git('add', '--all')
    git('commit', '--quiet', '--message', subject)
  }
  const command = [join(projectFolder, 'scripts/release/run.ts')]

  mkdirSync(folder)
  git('init', '--quiet')
  for (const [path, text] of Object.entries(FILES)) write(path, text)
  commit('Begin')
  git('init', '--quiet', '--bare', origin)
  git('remote', 'add', 'origin', origin)
  git('push', '--quiet', 'origin', 'main')

  return {
    temporary,
    folder,
    origin,
    git,
    write,
    commit,
    read: path => readFileSync(join(folder, path), 'utf8'),
    release: (args, more = {}) => {
      const { status, stdout, stderr } = spawnSync(process.execPath, [...command, ...args], {
        cwd: folder,
        encoding: 'utf8',
        env: { ...env, ...more },
      })
      return { status, output: stdout + stderr }
    },
    startRelease: (args, more, line) => {
      // A group of its own, to be killed with all that it started.
      const options = { cwd: folder, env: { ...env, ...more }, detached: true }
      const child = spawn(process.execPath, [...command, ...args], {
        ...options,
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      const ended = new Promise<void>(resolve => child.once('exit', () => resolve()))
      return new Promise((resolve, reject) => {
        let output = ''
        child.stdout.on('data', chunk => {
          output += chunk
          if (output.split('\n').includes(line)) {
            resolve({
              kill: () => {
                process.kill(-(child.pid as number), 'SIGKILL')
                return ended
              },
            })
          }
        })
        child.once('exit', () => reject(new Error(`it ended before it said “${line}”:\n${output}`)))
      })
    },
  }
}
