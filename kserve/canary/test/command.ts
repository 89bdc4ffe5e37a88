import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

const FOLDER = fileURLToPath(new URL('..', import.meta.url))

export interface Running {
  readonly process: ChildProcess
  readonly out: () => string
  readonly err: () => string
  readonly exit: Promise<number | null>
}

/** The command's npm packages must be installed. */
export function startCanary(kubeconfig: string, args: readonly string[]): Running {
  const child = spawn(process.execPath, ['run.ts', ...args], {
    cwd: FOLDER,
    env: { PATH: process.env.PATH, KUBECONFIG: kubeconfig },
    stdio: ['ignore', 'pipe', 'pipe'],
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

export async function runCanary(kubeconfig: string, args: readonly string[]) {
  const { exit, out, err } = startCanary(kubeconfig, args)
  return { code: await exit, out: out(), err: err() }
}
