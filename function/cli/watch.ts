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

// Loads the module as an object, because its functions use `this`.
const cluster = process.getBuiltinModule('node:cluster') as unknown as Cluster

/**
 * How long the files must be unchanged before a restart: an editor or a training script may write
 * several files, or one file in pieces.
 */
const QUIET_MS = 100

/**
 * Serves in a child process, and starts a new child process each time the model or the transform
 * changes. The new process takes over once it is ready; the old process exits once it has answered
 * its requests. Node's cluster module owns the port and passes each connection to one process, so
 * no connection is lost.
 */
export async function watch(configure: () => Config): Promise<void> {
  if (cluster.isWorker) {
    runProcess(() => ({
      config: preferSource(onChosenPort(configure(), process.env)),
      isSupervised: true,
    }))
    return
  }
  // An invalid configuration stops this process, too.
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

/**
 * Passes the chosen port to the child processes if PORT is 0: all of them must use the same port.
 */
const CHOSEN_PORT = 'ONNX_FUNCTION_WATCH_PORT'

/**
 * Selects the source of a transform. By default, transform.js takes precedence, but transform.js
 * may have been built from an older transform.ts.
 */
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
  // On Linux, Node watches each file individually and loses a file that is replaced (git and many
  // editors rename a new file over the old one). A new watcher is therefore needed.
  const settled = () => {
    const before = watcher
    watcher = open()
    before.close()
    onChange()
  }
}

/** Manages the serving process and its successor. */
class Supervisor {
  private readonly log: Log
  private serving: Worker | undefined
  private next: Worker | undefined
  private isEnding = false
  private readonly env: NodeJS.ProcessEnv

  /**
   * @param env environment variables of the child processes, in addition to those of this process
   */
  constructor(log: Log, env: NodeJS.ProcessEnv) {
    this.log = log
    this.env = env
  }

  /** Starts a new process, which reads the current files. */
  replace(): void {
    if (this.isEnding) return
    // The waiting process has not served a request yet, and has read older files.
    this.next?.process.kill('SIGKILL')
    const worker = cluster.fork(this.env)
    this.next = worker
    worker.once('listening', () => this.takesOver(worker))
    worker.once('exit', (code: number | null) => this.ended(worker, code ?? 1))
  }

  /**
   * @param signal the signal that this process received; a terminal also sends SIGINT to the child
   *   processes
   */
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
      // The child process has already logged the reason.
      if (this.serving === undefined) process.exit(code)
    } else if (worker === this.serving) {
      this.serving = undefined
      // The child process exits with 0 if it was unused for IDLE_EXIT_SECONDS.
      if (code === 0) process.exit(0)
      this.log.warn({ code }, 'the server process exited; starting a new one')
      this.replace()
    }
  }
}
