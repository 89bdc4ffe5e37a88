import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { SINK } from '../sink.ts'
import { IRIS } from '../subjects.ts'

/* The commands of `npm start` and `npm run start:predictor`, pushing spans and metrics. */

const file = (path: string) => fileURLToPath(new URL(`../../${path}`, import.meta.url))

export const V2_PATH = '/v2/models/iris/infer'
export const V1_PATH = '/v1/models/iris:predict'

interface ServerOptions {
  readonly program: 'main' | 'predictor'
  readonly path: string
  readonly env: Readonly<Record<string, string>>
}

const echo = (model: string) => ({ MODEL_DIR: file(`test/models/${model}`), MODEL_NAME: 'echo' })

export const SERVERS: Readonly<Record<string, ServerOptions>> = {
  iris: { program: 'main', path: V2_PATH, env: { MODEL_DIR: IRIS } },
  'iris inline': {
    program: 'main',
    path: V2_PATH,
    env: { MODEL_DIR: IRIS, EXECUTION: 'inline' },
  },
  predictor: { program: 'predictor', path: V2_PATH, env: { MODEL_DIR: IRIS } },
  INT64: { program: 'main', path: '/v2/models/echo/infer', env: echo('identity-int64') },
  pictures: {
    program: 'predictor',
    path: '/v2/models/echo/infer',
    env: { ...echo('unknown-rank'), MAX_JSON_BYTES: String(64 * 2 ** 20) },
  },
}

export class MeasuredServer {
  readonly port: number
  readonly path: string
  readonly ended: Promise<unknown>
  readonly #process: ChildProcess

  private constructor(port: number, path: string, child: ChildProcess) {
    this.port = port
    this.path = path
    this.#process = child
    this.ended = once(child, 'exit')
  }

  static async start(name: string): Promise<MeasuredServer> {
    const { program, env, path } = SERVERS[name] as ServerOptions
    const child = fork(file(`build/${program}.js`), {
      execArgv: ['--max-semi-space-size=16', '--import', file('bench/turns/probe.ts')],
      env: {
        PATH: process.env.PATH,
        PORT: '0',
        LISTEN_HOST: '127.0.0.1',
        MODEL_NAME: 'iris',
        OTEL_EXPORTER_OTLP_ENDPOINT: SINK,
        ...env,
      },
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    })
    for await (const line of createInterface({ input: child.stdout as Readable })) {
      const { url } = JSON.parse(line)
      if (url === undefined) continue
      child.stdout?.resume()
      return new MeasuredServer(Number(new URL(url).port), path, child)
    }
    throw new Error(`the server "${name}" exited before it was ready`)
  }

  get pid(): number {
    return this.#process.pid as number
  }

  begin(): void {
    this.#process.send('begin')
  }

  /** @returns the CPU time of the longest turn since `begin`, in milliseconds */
  async end(): Promise<number> {
    const answered = once(this.#process, 'message')
    this.#process.send('end')
    const [{ longest }] = await answered
    return longest
  }

  async stop(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.ended
  }
}
