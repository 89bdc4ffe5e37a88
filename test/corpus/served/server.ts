import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { INHERITED, projectFolder } from '../../server.ts'

/** The limit in KiB, because an input value that is a size could require any amount of memory. */
const MEMORY = 6_000_000

export class ModelServer {
  readonly #child: ChildProcess
  readonly #exited: Promise<unknown>
  /** The last fatal log line of the process. */
  #failure: string | undefined

  private constructor(folder: string) {
    const command = [
      process.execPath,
      '--max-semi-space-size=16',
      join(projectFolder, 'build/main.js'),
    ]
    this.#child = spawn('sh', ['-c', 'ulimit -d "$0"; exec "$@"', String(MEMORY), ...command], {
      env: { ...INHERITED, PORT: '0', LISTEN_HOST: '127.0.0.1', MODEL_DIR: folder },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    this.#exited = once(this.#child, 'close')
  }

  /** @returns the server and its address, or why it does not serve the model */
  static async start(
    folder: string,
    timeoutMs: number,
  ): Promise<{ server: ModelServer; url: string }> {
    const server = new ModelServer(folder)
    const url = await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => server.#child.kill('SIGKILL'), timeoutMs)
      createInterface({ input: server.#child.stdout as NodeJS.ReadableStream }).on('line', line => {
        const { url, level, msg } = JSON.parse(line)
        if (level >= 60) server.#failure = msg
        if (url === undefined) return
        clearTimeout(timer)
        resolve(url)
      })
      server.#exited.then(() => {
        clearTimeout(timer)
        reject(new Error(server.failure()))
      })
    })
    return { server, url }
  }

  /** Why the process exited by itself. */
  failure(): string {
    const { exitCode, signalCode } = this.#child
    return this.#failure ?? `the process exited (${signalCode ?? exitCode})`
  }

  async end(): Promise<void> {
    this.#child.kill('SIGKILL')
    await this.#exited
  }
}
