import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('../../kserve/canary', import.meta.url))

export interface Running {
  readonly process: ChildProcess
  /** What it has said so far. */
  readonly out: () => string
  readonly err: () => string
  /** Resolves with its exit code; null where a signal ended it. */
  readonly exit: Promise<number | null>
}

/** The command as a process, once its package is installed. */
export function startCanary(kubeconfig: string, args: readonly string[]): Running {
  const child = spawn(process.execPath, ['run.ts', ...args], {
    cwd: FOLDER,
    env: { PATH: process.env.PATH, KUBECONFIG: kubeconfig },
    stdio: ['ignore', 'pipe', 'pipe'],
    // So that a test that fails half-way leaves none behind.
    timeout: 60_000,
    killSignal: 'SIGKILL',
  })
  let [out, err] = ['', '']
  child.stdout.on('data', chunk => {
    out += chunk
  })
  child.stderr.on('data', chunk => {
    err += chunk
  })
  return {
    process: child,
    out: () => out,
    err: () => err,
    exit: once(child, 'close').then(([code]) => code),
  }
}

/** The same to its end. */
export async function runCanary(kubeconfig: string, args: readonly string[]) {
  const { exit, out, err } = startCanary(kubeconfig, args)
  return { code: await exit, out: out(), err: err() }
}
