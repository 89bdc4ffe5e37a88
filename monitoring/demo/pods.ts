import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Labels, Prometheus } from './prometheus.ts'

/*
 * Processes of this project in the place of pods: what a container would run, each on a port of its own.
 */

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url))
export const NAMESPACE = 'iris'

export interface Pod {
  readonly name: string
  readonly service: string
  readonly revision: string
  readonly url: string
  readonly address: string
  /** From the start of the process until it told that it takes requests. */
  readonly startedIn: number
  readonly process: ChildProcess
  /** What it logged, a line each. */
  readonly log: readonly string[]
  /** TERM; resolves when it is gone, and Prometheus has lost it. */
  stop(): Promise<void>
}

export interface PodSpec {
  readonly name: string
  readonly service: string
  readonly revision: string
  readonly program?: string
  readonly env?: Readonly<Record<string, string>>
  /** As service discovery in Kubernetes gives a target; without, it has none, as beside compose.yaml. */
  readonly labelled: boolean
  /** So long it stands still before it loads its first module, as a process does that gets no CPU. */
  readonly stallSeconds?: number
}

export async function startPod(prometheus: Prometheus, spec: PodSpec): Promise<Pod> {
  const {
    name,
    service,
    revision,
    program = 'function/main.ts',
    env = {},
    labelled,
    stallSeconds = 0,
  } = spec
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
  const log: string[] = []
  const exited = once(child, 'exit')
  const url = await new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout }).on('line', line => {
      log.push(line)
      const { url } = JSON.parse(line)
      if (url !== undefined) resolve(url)
    })
    exited.then(() => reject(new Error(`${name} ended: ${log.join('\n')}`)))
  })
  const address = `127.0.0.1:${new URL(url).port}`
  const labels: Labels = labelled ? { namespace: NAMESPACE, pod: name, service, revision } : {}
  prometheus.scrape(address, labels)
  return {
    name,
    service,
    revision,
    url: `http://${address}`,
    address,
    startedIn: (performance.now() - began) / 1000,
    process: child,
    log,
    async stop() {
      child.kill('SIGTERM')
      await exited
      prometheus.forget(address)
    },
  }
}

const stall = (seconds: number) =>
  seconds === 0
    ? []
    : [
        `--import=data:text/javascript,Atomics.wait(new Int32Array(new SharedArrayBuffer(4)),0,0,${seconds * 1000})`,
      ]
