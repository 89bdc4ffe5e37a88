import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { type Config, readConfig } from '../function/config/config.ts'
import { type ListenOptions, listen } from '../function/http/listener.ts'
import { listenForMetrics } from '../function/http/metrics-port.ts'
import { createService, type Service } from '../function/service.ts'

export const projectFolder = fileURLToPath(new URL('..', import.meta.url))

export const testModel = (name: string) => fileURLToPath(new URL(`models/${name}`, import.meta.url))

export interface Server {
  readonly url: string
  readonly port: number
  readonly metricsPort: number | undefined
  readonly service: Service
  /** Stops listening and waits for requests in flight. @returns whether all of them completed */
  close(timeoutMs: number): Promise<boolean>
  /** Stops listening after this time without a request. */
  closeWhenUnused(ms: number, prepare?: () => Promise<void>): Promise<void>
  readonly config: Config
  stop(): Promise<void>
}

/**
 * test/predictor runs the tests of HTTP, events and the process on KServe's predictor instead of
 * the program of `npm start`.
 */
export const onPredictor = process.env.ON_PREDICTOR !== undefined

/**
 * If the environment of the tests contains these variables, they select another mode for all tests.
 */
const MODE = Object.fromEntries(
  ['EXECUTION', 'MAX_BATCH_ROWS'].flatMap(name =>
    process.env[name] === undefined ? [] : [[name, process.env[name]]],
  ),
)

export async function predictor(config: Config): Promise<ListenOptions> {
  const { createApp } = await import('../kserve/app.ts')
  const { predictorRows } = await import('../kserve/routes.ts')
  return { middleware: createApp(), rows: predictorRows(config) }
}

const { PATH, NODE_COMPILE_CACHE } = process.env

/** Child processes inherit these; test/preload.ts sets NODE_COMPILE_CACHE. */
export const INHERITED = {
  ...(PATH !== undefined && { PATH }),
  ...(NODE_COMPILE_CACHE !== undefined && { NODE_COMPILE_CACHE }),
}

/** Uses a free loopback port in this process; loads the model by default. */
export async function startServer(
  env: Record<string, string> = {},
  {
    load = true,
    listening = onPredictor ? predictor : () => undefined,
    memoryBytes,
  }: {
    load?: boolean
    listening?: (config: Config) => Promise<ListenOptions> | undefined
    memoryBytes?: number
  } = {},
): Promise<Server> {
  const read = readConfig({
    PORT: '0',
    LISTEN_HOST: '127.0.0.1',
    LOG_LEVEL: 'silent',
    ...MODE,
    ...env,
  })
  const config = memoryBytes === undefined ? read : { ...read, memoryBytes }
  const service = createService(config)
  const listener = await listen(service, config, await listening(config))
  const metricsListener =
    config.metricsPort === undefined
      ? undefined
      : await listenForMetrics(service, config, config.metricsPort)
  if (load) {
    await service.model.load()
    await service.model.whenDecided
  }
  return {
    url: `${config.tls === undefined ? 'http' : 'https'}://127.0.0.1:${listener.port}`,
    port: listener.port,
    metricsPort: metricsListener?.port,
    service,
    close: timeoutMs => listener.close(timeoutMs),
    closeWhenUnused: (ms, prepare) => listener.closeWhenUnused(ms, prepare),
    config,
    async stop() {
      await listener.close(1_000)
      await metricsListener?.close(0)
      await service.model.close()
    },
  }
}

export const PROGRAMS = { function: 'function/main.ts', predictor: 'kserve/predictor.ts' } as const

const PROGRAM = onPredictor ? PROGRAMS.predictor : PROGRAMS.function

export interface ServerProcess {
  readonly url: string
  readonly process: ChildProcess
  readonly log: readonly string[]
  readonly exited: Promise<[number | null, NodeJS.Signals | null]>
}

/**
 * Starts the command of `npm start` as a process, and waits until it logs its address.
 * @param args the arguments, which only the predictor reads
 * @param longestMs the time after which the process is killed
 * @param program by default, the program under test
 */
export async function startProcess(
  env: Record<string, string> = {},
  args: readonly string[] = [],
  longestMs?: number,
  program?: string,
): Promise<ServerProcess> {
  const child = spawnFunction(env, args, longestMs, program)
  const log: string[] = []
  const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
  const url = new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', line => {
      log.push(line)
      const { url } = JSON.parse(line)
      if (url !== undefined) resolve(url)
    })
    child.once('exit', () =>
      reject(new Error(`the server exited before it was ready: ${log.join('\n')}`)),
    )
  })
  return { url: await url, process: child, log, exited }
}

/** Does not wait until the process listens, for startups that must fail. */
export const spawnFunction = (
  env: Record<string, string> = {},
  args: readonly string[] = [],
  longestMs = 30_000,
  program: string = PROGRAM,
): ChildProcess =>
  spawn(process.execPath, [program, ...args], {
    cwd: projectFolder,
    env: {
      ...INHERITED,
      PORT: '0',
      LISTEN_HOST: '127.0.0.1',
      ...MODE,
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    // A failed test must leave no process behind.
    timeout: longestMs,
    killSignal: 'SIGKILL',
  })

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
