import type { Cluster, Worker } from 'node:cluster'
import { once } from 'node:events'
import { existsSync, type FSWatcher, statSync, watch as watchFiles } from 'node:fs'
import { type AddressInfo, createServer } from 'node:net'
import { dirname } from 'node:path'
import type { Config } from '../config/config.ts'
import { findModel } from '../inference/find-model.ts'
import { runProcess } from '../process.ts'
import { createLog, type Log } from '../telemetry/log.ts'
import { findTransform, sourceOf } from '../transform/find.ts'

// These functions use `this`, so import the object.
const cluster = process.getBuiltinModule('node:cluster') as unknown as Cluster

/** Wait this long after the last change: editors and training scripts write in several steps. */
const QUIET_MS = 100

/**
 * Serves in a child process, and starts a new child after each change of the model or the
 * transform. The new child takes over once it is ready, and the old one exits once it has answered
 * its requests. Node's cluster module owns the port, so no connection is lost.
 */
export async function watch(configure: () => Config): Promise<void> {
  if (cluster.isWorker) {
    runProcess(() => ({
      config: preferSource(onChosenPort(configure(), process.env)),
      isSupervised: true,
    }))
    return
  }
  const config = configure()
  const log = createLog(config.logLevel)
  const supervisor = new Supervisor(log, await choosePort(config))
  const { modelDir, transform = 'off' } = config
  const folders = new Set([modelDir, ...(transform === 'off' ? [] : [transform])].map(folderOf))
  for (const folder of folders) watchFolder(folder, () => supervisor.replace(), log)
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.on(signal, () => supervisor.end(signal))
  supervisor.replace()
}

/** Gives all child processes the same port if PORT is 0. */
const CHOSEN_PORT = 'ONNX_FUNCTION_WATCH_PORT'

/** Prefers a transform's source: transform.js may be the build of an older transform.ts. */
function preferSource(config: Config): Config {
  if (config.transform !== undefined) return config
  const { transform } = findTransform(findModel(config.modelDir), config)
  if (transform === undefined) return config
  const source = sourceOf(transform)
  return existsSync(source) ? { ...config, transform: source } : config
}

const onChosenPort = (config: Config, { [CHOSEN_PORT]: chosen }: NodeJS.ProcessEnv): Config =>
  chosen === undefined ? config : { ...config, port: Number(chosen) }

async function choosePort({ port, listenHost }: Config): Promise<NodeJS.ProcessEnv> {
  if (port !== 0) return {}
  const server = createServer().listen({ port: 0, host: listenHost })
  await once(server, 'listening')
  const chosen = (server.address() as AddressInfo).port
  await new Promise(resolve => server.close(resolve))
  return { [CHOSEN_PORT]: String(chosen) }
}

const folderOf = (model: string) =>
  statSync(model, { throwIfNoEntry: false })?.isDirectory() === false ? dirname(model) : model

function watchFolder(folder: string, onChange: () => void, log: Log): void {
  let timer: NodeJS.Timeout | undefined
  const open = (): FSWatcher => {
    const opened = watchFiles(folder, { recursive: true }, () => {
      clearTimeout(timer)
      timer = setTimeout(settled, QUIET_MS)
    })
    const sentence = `changes to ${folder} can no longer be detected`
    return opened.on('error', error => log.error({ err: error }, sentence))
  }
  let watcher = open()
  // On Linux, Node watches files one by one, and loses a file when another replaces it, as git and
  // many editors do.
  const settled = () => {
    const before = watcher
    watcher = open()
    before.close()
    onChange()
  }
}

class Supervisor {
  private readonly log: Log
  private serving: Worker | undefined
  private next: Worker | undefined
  private isEnding = false
  private readonly env: NodeJS.ProcessEnv

  constructor(log: Log, env: NodeJS.ProcessEnv) {
    this.log = log
    this.env = env
  }

  replace(): void {
    if (this.isEnding) return
    // The waiting process has read older files, and has no requests yet.
    this.next?.process.kill('SIGKILL')
    const worker = cluster.fork(this.env)
    this.next = worker
    worker.once('listening', () => this.takesOver(worker))
    worker.once('exit', (code: number | null) => this.ended(worker, code ?? 1))
  }

  /** @param signal received by this process; a terminal also sends SIGINT to the child processes */
  end(signal: 'SIGTERM' | 'SIGINT'): void {
    const isKnown = signal === 'SIGINT' && process.stdin.isTTY
    const workers = Object.values(cluster.workers ?? {})
    for (const worker of workers) {
      if (this.isEnding) worker?.process.kill('SIGKILL')
      else if (!isKnown) worker?.process.kill('SIGTERM')
    }
    this.isEnding = true
    if (workers.length === 0) process.exit(0)
  }

  private takesOver(worker: Worker): void {
    if (worker !== this.next) return
    const before = this.serving
    this.serving = worker
    this.next = undefined
    before?.process.kill('SIGTERM')
  }

  private ended(worker: Worker, code: number): void {
    const others = Object.values(cluster.workers ?? {}).filter(other => other !== worker)
    if (this.isEnding) {
      if (others.length === 0) process.exit(code)
    } else if (worker === this.next) {
      this.next = undefined
      if (this.serving === undefined) process.exit(code)
    } else if (worker === this.serving) {
      this.serving = undefined
      // The child exits with 0 after IDLE_EXIT_SECONDS without use.
      if (code === 0) process.exit(0)
      this.log.warn({ code }, 'the server process exited; starting a new one')
      this.replace()
    }
  }
}
