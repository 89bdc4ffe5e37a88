import {
  type ChildProcessByStdio,
  execFile,
  type SpawnSyncReturns,
  spawn,
  spawnSync,
} from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdirSync, readFileSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { promisify } from 'node:util'
import manifest from '../../package.json' with { type: 'json' }
import { projectFolder } from '../server.ts'

export type Architecture = 'amd64' | 'arm64'

export const NATIVE: Architecture = process.arch === 'arm64' ? 'arm64' : 'amd64'
export const FOREIGN: Architecture = NATIVE === 'amd64' ? 'arm64' : 'amd64'

/**
 * Separate from the user's images, so that a substitute base image cannot be mistaken for the real
 * one.
 */
const STORAGE = join(tmpdir(), 'onnx-function-images')
const STORAGE_OPTIONS = ['--root', join(STORAGE, 'images'), '--runroot', join(STORAGE, 'run')]

const OPTIONS: Record<string, readonly string[]> = {
  buildah: STORAGE_OPTIONS,
  // Without systemd as the first process, only the cgroupfs manager can create cgroups.
  podman: [...STORAGE_OPTIONS, '--runtime', 'runc', '--cgroup-manager', 'cgroupfs'],
}

/** Debian packages, each with a command of the same name. */
const TOOLS = ['buildah', 'podman', 'runc', 'mmdebstrap', 'curl']

/** @throws {Error} with the missing tools and how to install them */
export function requireTools(): void {
  if (process.getuid?.() !== 0)
    throw new Error('run this as root, to build a base image and to limit memory and CPU')
  const missing = TOOLS.filter(tool => spawnSync(tool, ['--version']).error !== undefined).join(' ')
  if (missing !== '')
    throw new Error(
      `missing tools: ${missing}; run apt-get install --no-install-recommends ${missing}`,
    )
}

/**
 * Runs a tool until it exits. @returns its trimmed output @throws {Error} with its standard error
 */
export async function run(tool: string, ...args: string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(tool, [...(OPTIONS[tool] ?? []), ...args], {
    cwd: projectFolder,
    maxBuffer: 2 ** 26,
  })
  return stdout.trim()
}

export const execIn = ({ name }: Container, ...command: string[]): SpawnSyncReturns<string> =>
  spawnSync('podman', [...(OPTIONS.podman ?? []), 'exec', name, ...command], { encoding: 'utf8' })

/** The substitute for the base image. */
export const standIn = (architecture: Architecture) => `localhost/stand-in:${architecture}`

/**
 * Builds the Dockerfile, as a release does, on a substitute for its base. @returns the image's name
 */
export async function buildImage(architecture: Architecture): Promise<string> {
  await standInForBase()
  const name = `localhost/onnx-function:${architecture}`
  const revision = await run('git', 'rev-parse', 'HEAD')
  await run(
    'buildah',
    ...[
      'build',
      '--pull-never',
      '--layers',
      '--network',
      'host',
      '--tag',
      name,
      '--platform',
      `linux/${architecture}`,
    ],
    // Docker sets BUILDPLATFORM by default.
    ...['--build-arg', `BUILDPLATFORM=linux/${NATIVE}`],
    ...['--build-arg', `VERSION=${manifest.version}`, '--build-arg', `REVISION=${revision}`],
    '.',
  )
  return name
}

/**
 * Creates an image with the base's name for both architectures, without a registry. The image for
 * this machine's architecture has the same Debian release and Node as the base. The image for the
 * other architecture is empty, because its build runs no program of the base.
 */
async function standInForBase(): Promise<void> {
  const base = (
    /^ARG BASE=(.+)$/m.exec(
      readFileSync(join(projectFolder, 'Dockerfile'), 'utf8'),
    ) as RegExpExecArray
  )[1] as string
  if ((await run('buildah', 'images', '--quiet', '--filter', `reference=${base}`)) !== '') return
  const [version, release] = [/:([\d.]+)-/.exec(base)?.[1], /-([a-z]+)-slim$/.exec(base)?.[1]]
  if (process.version !== `v${version}`)
    throw new Error(
      `this is Node ${process.version}, but the base has ${version}: run this script with npm`,
    )

  const container = await run('buildah', 'from', '--arch', NATIVE, 'scratch')
  const root = await run('buildah', 'mount', container)
  const unneeded = ['doc', 'man', 'info', 'locale'].map(
    name => `--dpkgopt=path-exclude=/usr/share/${name}/*`,
  )
  await run('mmdebstrap', '--quiet', '--variant=apt', ...unneeded, release as string, root)
  const local = join(root, 'usr/local')
  cpSync(process.execPath, join(local, 'bin/node'))
  cpSync(await npmFolder(), join(local, 'lib/node_modules/npm'), { recursive: true })
  symlinkSync('../lib/node_modules/npm/bin/npm-cli.js', join(local, 'bin/npm'))
  trustAsHere(root)
  await run('buildah', 'umount', container)
  const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
  await run(
    'buildah',
    'config',
    '--env',
    `PATH=${path}`,
    '--env',
    `NODE_VERSION=${version}`,
    '--cmd',
    'node',
    container,
  )
  await run('buildah', 'commit', '--quiet', '--rm', container, standIn(NATIVE))

  const empty = await run('buildah', 'from', '--arch', FOREIGN, 'scratch')
  await run('buildah', 'config', '--arch', FOREIGN, empty)
  await run('buildah', 'commit', '--quiet', '--rm', empty, standIn(FOREIGN))
  await run('podman', 'manifest', 'create', base)
  for (const architecture of [NATIVE, FOREIGN]) {
    await run(
      'podman',
      'manifest',
      'add',
      '--arch',
      architecture,
      base,
      `containers-storage:${standIn(architecture)}`,
    )
  }
}

const npmFolder = async () =>
  dirname(dirname(realpathSync(process.env.npm_execpath ?? (await run('which', 'npm')))))

/** Gives npm in the image this machine's registry and certificate authorities. */
function trustAsHere(root: string): void {
  const authorities = '/etc/ssl/certs/ca-certificates.crt'
  mkdirSync(join(root, dirname(authorities)), { recursive: true })
  cpSync(authorities, join(root, authorities), { dereference: true })
  mkdirSync(join(root, 'usr/local/etc'), { recursive: true })
  const registry = process.env.npm_config_registry ?? 'https://registry.npmjs.org/'
  writeFileSync(join(root, 'usr/local/etc/npmrc'), `cafile=${authorities}\nregistry=${registry}\n`)
}

export interface Limits {
  readonly cpus: number
  readonly memory: string
}

export interface Container {
  readonly name: string
  readonly url: string
  readonly log: readonly string[]
  readonly exited: Promise<number | null>
}

let started = 0

/**
 * Starts a container with a pod's restrictions on a free loopback port, and waits until the server
 * in it logs its address.
 * @param options options of `podman run`
 * @param words arguments that replace the image's own
 */
export async function startContainer(
  image: string,
  { cpus, memory }: Limits,
  {
    options = [],
    words = [],
  }: { readonly options?: readonly string[]; readonly words?: readonly string[] } = {},
): Promise<Container> {
  const name = `onnx-function-${process.pid}-${started++}`
  const child = spawn(
    'podman',
    [
      ...(OPTIONS.podman ?? []),
      ...[
        'run',
        '--rm',
        '--name',
        name,
        '--network',
        'host',
        '--env',
        'PORT=0',
        '--env',
        'LISTEN_HOST=127.0.0.1',
      ],
      ...[
        '--read-only',
        '--read-only-tmpfs=false',
        '--cap-drop',
        'all',
        '--security-opt',
        'no-new-privileges',
      ],
      ...[
        '--cpus',
        String(cpus),
        '--memory',
        memory,
        '--memory-swap',
        memory,
        '--pids-limit',
        '100',
      ],
      // By default, Podman raises the limits, which not every root user may do.
      ...['--ulimit', 'nofile=4096:4096', '--ulimit', 'nproc=4096:4096'],
      ...options,
      image,
      ...words,
    ],
    // Podman creates a file in the working folder when the memory limit kills a container.
    { cwd: STORAGE, stdio: ['ignore', 'pipe', 'pipe'] },
  )
  return { name, ...(await untilItTellsItsAddress(child)) }
}

/** @throws {Error} with the server's output, if it exits before it logs its address */
export async function untilItTellsItsAddress(
  child: ChildProcessByStdio<null, Readable, Readable>,
): Promise<Omit<Container, 'name'>> {
  const log: string[] = []
  let complaint = ''
  child.stderr.on('data', chunk => {
    complaint += chunk
  })
  const exited = once(child, 'close').then(([code]) => code as number | null)
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', line => {
      log.push(line)
      const { url } = JSON.parse(line)
      if (url !== undefined) resolve(url)
    })
    exited.then(code =>
      reject(
        new Error(
          `the server exited with ${code} before it was ready: ${log.join('\n')}\n${complaint}`,
        ),
      ),
    )
  })
  return { url, log, exited }
}

export const signal = ({ name }: Container, signal: NodeJS.Signals) =>
  run('podman', 'kill', '--signal', signal, name)

export const remove = ({ name }: Container) =>
  run('podman', 'rm', '--force', '--ignore', '--time', '0', name)
