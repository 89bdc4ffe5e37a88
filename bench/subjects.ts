import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import net from 'node:net'
import { availableParallelism, tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build } from 'esbuild'
import manifest from '../package.json' with { type: 'json' }
import { exchange, verified } from './load.ts'
import { OTHER_REQUEST, type Target, V2_REQUEST } from './requests.ts'

/* A command that serves iris on the loopback interface, on the port in PORT. */

const projectFolder = fileURLToPath(new URL('..', import.meta.url))
const benchFolder = fileURLToPath(new URL('.', import.meta.url))

const OURS = existsSync(join(projectFolder, 'build/main.js'))
  ? manifest.scripts.start.split(' ').slice(1)
  : ['function/main.ts']

export const IRIS = join(projectFolder, 'models/iris/v1.0.0')
export const SLOW_50 = join(projectFolder, 'test/models/slow')
export const SLOW_500 = join(benchFolder, 'models/slow-500')

export interface Subject {
  readonly name: string
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly path: string
  /** Runs no model: always sends our response to the usual request. */
  readonly static?: true
}

const node = (file: string) => [process.execPath, file]
/**
 * A minimal server. {@link buildFloors} compiles it to JavaScript, like our server, so that its
 * startup includes no type stripping.
 */
const floor = (name: string) => node(`bench/build/${name}.js`)

export const buildFloors = () =>
  build({
    entryPoints: ['static', 'node-http', 'http-join', 'express', 'faas'].map(name =>
      join(benchFolder, `floors/${name}.ts`),
    ),
    outdir: join(benchFolder, 'build'),
    bundle: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
  })

const python = (peer: string, ...args: string[]) => [
  join(benchFolder, `peers/.venv/${peer}/bin/python`),
  ...args,
]
const V2_PATH = '/v2/models/iris-classifier/infer'

export const ours = (env: Record<string, string> = {}): Subject => ({
  name: 'onnx-function',
  command: [process.execPath, ...OURS],
  env: { LISTEN_HOST: '127.0.0.1', ...env },
  path: V2_PATH,
})
export const STATIC: Subject = {
  name: 'node:http, static response',
  command: floor('static'),
  path: V2_PATH,
  static: true,
}
export const NODE_HTTP: Subject = {
  name: 'node:http, one run per request',
  command: floor('node-http'),
  path: V2_PATH,
}
export const HTTP_JOIN: Subject = {
  name: 'node:http, joined runs',
  command: floor('http-join'),
  path: V2_PATH,
}
export const EXPRESS: Subject = {
  name: 'Express 5, one run per request',
  command: floor('express'),
  path: V2_PATH,
}
export const FAAS_STATIC: Subject = {
  name: 'faas-js-runtime, static response',
  command: floor('faas'),
  path: '/',
  static: true,
}
export const FAAS: Subject = {
  name: 'faas-js-runtime, one run per request',
  command: floor('faas'),
  path: '/',
}

/** Each peer has its own Python environment (peers/install.ts). */
export const PEERS: readonly Subject[] = [
  { name: 'MLServer', command: python('mlserver', 'bench/peers/mlserver_peer.py'), path: V2_PATH },
  { name: 'KServe SDK', command: python('kserve', 'bench/peers/kserve_peer.py'), path: V2_PATH },
  { name: 'FastAPI', command: python('fastapi', 'bench/peers/fastapi_peer.py'), path: V2_PATH },
  { name: 'PyTriton', command: python('pytriton', 'bench/peers/pytriton_peer.py'), path: V2_PATH },
]

/** A program of peers/native, which `cargo build --release` compiles. */
const native = (name: string, program: string, env: Record<string, string> = {}): Subject => ({
  name,
  command: [
    join(
      process.env.CARGO_TARGET_DIR ?? join(benchFolder, 'peers/native/target'),
      'release',
      program,
    ),
  ],
  env: {
    ...env,
    ORT_DYLIB_PATH: join(
      projectFolder,
      `node_modules/onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}/libonnxruntime.so.1`,
    ),
  },
  path: V2_PATH,
})

export const LIMIT = native('native limit', 'limit')
/** furnace-server does not support BYTES outputs, so it returns only the probabilities. */
export const FURNACE: readonly Subject[] = [
  native('furnace-server, batches of 8', 'furnace', { FURNACE_BATCH: '8' }),
  native('furnace-server, no batches', 'furnace', { FURNACE_BATCH: '1' }),
]

/**
 * Servers run on the first core, the load on the second. Undefined without taskset or a second
 * core.
 */
export const cores = availableParallelism() > 1 && hasTaskset() ? { server: 0, load: 1 } : undefined

function hasTaskset(): boolean {
  return (process.env.PATH ?? '').split(':').some(folder => existsSync(join(folder, 'taskset')))
}

const pinned = (command: readonly string[]) =>
  (cores === undefined ? command : ['taskset', '-c', String(cores.server), ...command]) as [
    string,
    ...string[],
  ]

export async function pinLoad(): Promise<void> {
  if (cores !== undefined)
    await promisify(execFile)('taskset', ['-acp', String(cores.load), String(process.pid)])
}

const running = new Set<ChildProcess>()
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1))
process.once('exit', () => {
  for (const child of running) kill(child, 'SIGKILL')
})

/** Signals the process group, because some subjects have several processes. */
function kill(child: ChildProcess, signal: NodeJS.Signals): void {
  try {
    process.kill(-(child.pid as number), signal)
  } catch {
    // Already exited.
  }
}

export interface Running {
  readonly port: number
  readonly pid: number
  /** The time from before the process exists until its first inference response. */
  readonly startMs: number
  cpuMs(): number
  residentMiB(): number
  resetPeak(): void
  peakMiB(): number
  stop(): Promise<void>
}

const START_LIMIT_MS = 120_000

/**
 * Starts a subject and waits for its first response with status 200.
 * @param first the request to send
 * @throws {Error} with a line of the subject's output, if it exits or does not respond in time
 */
export async function start(
  subject: Subject,
  answerOfOurs: string | undefined,
  first?: Target,
): Promise<Running> {
  const port = await freePort()
  const [command, ...args] = pinned(subject.command)
  if (!existsSync(subject.command[0] as string))
    throw new Error(`not installed: ${subject.command[0]} does not exist`)
  // A file and not a pipe: reading a pipe would delay the load.
  const folder = mkdtempSync(join(tmpdir(), 'bench-'))
  const printed = join(folder, 'printed')
  const env = {
    PATH: process.env.PATH,
    HOME: process.env.HOME,
    NODE_ENV: 'production',
    ORT_DISABLE_TELEMETRY: '1',
    MODEL_DIR: IRIS,
    PORT: String(port),
    ...(subject.static && answerOfOurs !== undefined ? { BENCH_ANSWER: answerOfOurs } : {}),
    ...subject.env,
  }
  const output = openSync(printed, 'w')
  const spawned = performance.now()
  const child = spawn(command, args, {
    cwd: projectFolder,
    env,
    detached: true,
    stdio: ['ignore', output, output],
  })
  closeSync(output)
  running.add(child)
  const exited = once(child, 'exit').then(() => {
    running.delete(child)
  })
  const pid = child.pid as number

  async function stop(): Promise<void> {
    kill(child, 'SIGTERM')
    const late = setTimeout(() => kill(child, 'SIGKILL'), 3_000)
    await exited
    clearTimeout(late)
    kill(child, 'SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  }

  const request = (first ?? V2_REQUEST).at(subject.path)
  for (;;) {
    try {
      const answer = await exchange(port, request.request, START_LIMIT_MS)
      if (answer.status === 200) {
        request.verify(answer)
        break
      }
      // Triton listens before it has loaded the model, and returns 404 until then.
      if (answer.status < 500 && answer.status !== 404)
        throw new Refusal(
          `returned status ${answer.status}: ${answer.body.toString('utf8', 0, 300)}`,
        )
    } catch (error) {
      if (
        error instanceof Refusal ||
        !('code' in (error as object) || /closed/.test((error as Error).message))
      ) {
        await stop()
        throw error
      }
    }
    if (!running.has(child) || performance.now() - spawned > START_LIMIT_MS) {
      const lines = readFileSync(printed, 'utf8').trim().split('\n')
      const reason = lines.findLast(line => /error|exception/i.test(line)) ?? lines.at(-1) ?? ''
      await stop()
      throw new Error(`did not start: ${reason.slice(0, 300)}`)
    }
    await wait(1)
  }
  const startMs = performance.now() - spawned
  if (!subject.static && first === undefined) {
    // A subject that always sends the same response fails here.
    await verified(port, OTHER_REQUEST.at(subject.path)).catch(async error => {
      await stop()
      throw error
    })
  }

  return {
    port,
    pid,
    startMs,
    cpuMs: () => family(pid).reduce((sum, member) => sum + cpuMsOf(member), 0),
    residentMiB: () => family(pid).reduce((sum, member) => sum + statusOf(member, 'VmRSS'), 0),
    resetPeak() {
      for (const member of family(pid)) writeFileSync(`/proc/${member}/clear_refs`, '5')
    },
    peakMiB: () => family(pid).reduce((sum, member) => sum + statusOf(member, 'VmHWM'), 0),
    stop,
  }
}

class Refusal extends Error {}

/** Runs a program that exits. @returns its output, parsed as JSON */
export async function runFloor(file: string, ...args: string[]): Promise<unknown> {
  const [command, ...rest] = pinned([...node(file), ...args])
  const { stdout } = await promisify(execFile)(command, rest, {
    cwd: projectFolder,
    timeout: 120_000,
  })
  return JSON.parse(stdout)
}

export async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as net.AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

/** The process and its descendants; empty if the process has exited. */
function family(pid: number): number[] {
  try {
    const children = readdirSync(`/proc/${pid}/task`).flatMap(thread =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, 'utf8')
        .split(' ')
        .filter(Boolean)
        .map(Number),
    )
    return [pid, ...children.flatMap(family)]
  } catch {
    return []
  }
}

/** `/proc` counts CPU time in hundredths of a second, whatever the kernel's tick rate. */
const MS_PER_TICK = 10

function cpuMsOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) * MS_PER_TICK
}

function statusOf(pid: number, field: string): number {
  const kiB = new RegExp(`^${field}:\\s*(\\d+) kB`, 'm').exec(
    readFileSync(`/proc/${pid}/status`, 'utf8'),
  )?.[1]
  return Number(kiB ?? 0) / 1024
}
