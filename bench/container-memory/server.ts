import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Group } from './cgroup.ts'

export interface StartedServer extends AsyncDisposable {
  readonly url: string
  readonly metricsPort: number | undefined
  readonly pid: number
  /** The exit code or signal; undefined while the process runs. */
  readonly ended: string | undefined
}

/**
 * Starts a program in a cgroup and waits until it logs its address.
 * @throws {Error} if the program exits first
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
      // As in the image.
      MALLOC_MMAP_THRESHOLD_: '131072',
      MODEL_DIR: modelDir,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let ended: string | undefined
  const exited = once(child, 'exit').then(([code, signal]) => {
    ended = `exited: ${signal ?? code}`
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
    child.once('exit', code => reject(new Error(`the server exited with ${code} during startup`)))
  })
}
