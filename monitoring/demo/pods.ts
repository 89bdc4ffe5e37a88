import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Labels, Prometheus } from './prometheus.ts'

/* Processes of this project, each with its own port, in place of pods. */

const PROJECT = fileURLToPath(new URL('../..', import.meta.url))
export const NAMESPACE = 'iris'

export interface PodSpec {
  readonly service: string
  readonly revision: string
  readonly version: string
  readonly model?: string
  readonly program?: string
  readonly env?: Labels
  /** The target gets no labels from service discovery, as outside Kubernetes. */
  readonly unlabelled?: boolean
  /** Sleeps this long before it loads its first module, as if it had no CPU. */
  readonly stallSeconds?: number
}

const pod = (
  service: string,
  n: number,
  version: string,
  more: Partial<PodSpec> = {},
): PodSpec => ({
  service,
  revision: `${service}-0000${n}`,
  version,
  ...more,
})
/** A model whose runs take 50 to 100 ms. */
const SLOW = { MODEL_DIR: 'test/models/slow', MAX_BATCH_ROWS: '1', MAX_QUEUE_ROWS: '4' }

export const PODS = {
  sink: pod('iris-dead-letter', 1, '', { program: 'knative/consumer.ts' }),
  stable: pod('iris-classifier', 1, 'v1.0.0'),
  garden: pod('garden', 1, 'v1.0.0', { unlabelled: true, env: { DRAIN_DELAY_MS: '8000' } }),
  canary: pod('iris-classifier', 2, 'v2.0.0', { env: { MODEL_DIR: 'models/iris/v2.0.0' } }),
  slow: pod('slow', 1, '1', { model: 'slow', env: SLOW, stallSeconds: 2.5 }),
  again: pod('iris-classifier', 1, 'v1.0.0'),
}

export type PodName = keyof typeof PODS

export interface Pod {
  readonly url: string
  readonly address: string
  readonly spec: PodSpec
  /** The seconds until the log of the process named its address. */
  readonly startedIn: number
  readonly process: ChildProcess
  /** Resolves when the process has exited and the target was removed. */
  stop(): Promise<void>
}

const CLOCK_TICKS_A_SECOND = 100

export async function startPod(prometheus: Prometheus, name: PodName): Promise<Pod> {
  const spec = PODS[name]
  const { service, revision, program = 'function/main.ts', env, unlabelled, stallSeconds } = spec
  const began = performance.now()
  const child = spawn(process.execPath, [...stall(stallSeconds), program], {
    cwd: PROJECT,
    env: {
      PATH: process.env.PATH,
      PORT: '0',
      LISTEN_HOST: '127.0.0.1',
      K_SERVICE: service,
      K_REVISION: revision,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  process.once('exit', () => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', line => {
      const { url } = JSON.parse(line)
      if (url !== undefined) resolve(url)
    })
    exited.then(() => reject(new Error(`${name} exited before it was ready`)))
  })
  // The kernel records a process's start in ticks, so the recorded start may be earlier than the
  // real start.
  const startedIn = (performance.now() - began) / 1000 + 2 / CLOCK_TICKS_A_SECOND
  const address = `127.0.0.1:${new URL(url).port}`
  const labels = { namespace: NAMESPACE, pod: `${revision}-${name}`, service, revision }
  prometheus.scrape(address, unlabelled ? {} : labels)
  const stop = async () => {
    child.kill('SIGTERM')
    await exited
    prometheus.forget(address)
  }
  return { url: `http://${address}`, address, spec, startedIn, process: child, stop }
}

const SLEEP = 'data:text/javascript,Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0,'
const stall = (seconds = 0) => (seconds === 0 ? [] : [`--import=${SLEEP}${seconds * 1000})`])

/** The CPU time of the process, according to the kernel. */
export function cpuSeconds({ process: { pid } }: Pod): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The program's name, in parentheses, may contain spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_A_SECOND
}

export function residentBytes({ process: { pid } }: Pod): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024
}

const limit = process.constrainedMemory()
/** The memory limit in bytes; undefined without a limit. */
export const MEMORY_LIMIT = limit > 0 && Number.isSafeInteger(limit) ? limit : undefined
