import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Group } from './cgroup.ts'

export interface StartedServer extends AsyncDisposable {
  readonly url: string
  /** Set when METRICS_PORT asks for a metrics port. */
  readonly metricsPort: number | undefined
  readonly pid: number
  /** How the process ended; undefined while it lives. */
  readonly ended: string | undefined
}

/**
 * Starts a program with `npm start`'s command in a cgroup; resolves when it logs its address.
 * @throws {Error} when it exits before that
 */
export async function startIn(
  { folder }: Pick<Group, 'folder'>,
  program: string,
  modelDir: string,
  env: Record<string, string> = {},
): Promise<StartedServer> {
  const command = `echo $$ > ${folder}/cgroup.procs && exec ${process.execPath} --max-semi-space-size=16 ${program}`
  const child = spawn('sh', ['-c', command], {
    env: {
      PATH: process.env.PATH,
      PORT: '0',
      LISTEN_HOST: '127.0.0.1',
      MODEL_DIR: modelDir,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let ended: string | undefined
  const exited = once(child, 'exit').then(([code, signal]) => {
    ended = `ended: ${signal ?? code}`
  })
  child.stderr?.resume()
  return {
    ...(await startOf(child)),
    pid: child.pid as number,
    get ended() {
      return ended
    },
    async [Symbol.asyncDispose]() {
      child.kill('SIGKILL')
      await exited
    },
  }
}

function startOf(child: ChildProcess): Promise<Pick<StartedServer, 'url' | 'metricsPort'>> {
  return new Promise((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', line => {
      const { url, metricsPort } = JSON.parse(line)
      if (url !== undefined) resolve({ url, metricsPort })
    })
    child.once('exit', code => reject(new Error(`the server ended with ${code} at its start`)))
  })
}
