import { setTimeout as wait } from 'node:timers/promises'
import type { Config } from './config/config.ts'
import { type Listener, type ListenOptions, listen } from './http/listener.ts'
import { listenForMetrics } from './http/metrics-port.ts'
import { urlOf } from './http/server.ts'
import { checkNode } from './node-version.ts'
import { createService, endPush, flushPush, type Service, startPush } from './service.ts'
import { createLog } from './telemetry/log.ts'
import type { Push } from './telemetry/push.ts'

export interface Setup {
  readonly config: Config
  readonly listening?: ListenOptions
  readonly warnings?: readonly string[]
  /**
   * True if a parent process owns the port (node:cluster) and restarts this process. Another
   * process serves until the model is loaded, so this process listens only then.
   */
  readonly isSupervised?: boolean
}

/**
 * Runs a server process from its configuration to its exit code.
 * @param configure throws an {Error} with a one-line message if the configuration is invalid
 */
export function runProcess(configure: () => Setup | Promise<Setup>): void {
  start(configure).catch((error: Error) => {
    createLog('info').fatal(error.message)
    process.exit(1)
  })
}

/**
 * How long a supervised process keeps idle connections while it drains. A client whose machine
 * paused briefly can still send its next request.
 */
const SUPERVISED_PATIENCE_MS = 2_000

interface Running {
  /** Set when draining begins. Resolves with the rest of DRAIN_TIMEOUT_MS. */
  draining?: Promise<number>
  /** True after SIGTERM or SIGINT: the process exits and is not replaced. */
  isEnding?: true
  readonly service: Service
  readonly config: Config
  readonly isSupervised: boolean
  readonly listener: Listener
  readonly loading: Promise<void>
  readonly pushing: Promise<Push | undefined>
}

async function start(configure: () => Setup | Promise<Setup>): Promise<void> {
  checkNode(process.versions.node)
  // Without a handler, a signal would kill the process during a request. In a container, where this
  // is process 1, it would have no effect: the predictor may wait a minute for its model.
  const terminated = firstSignal()
  const setup = await Promise.race([configure(), terminated])
  if (typeof setup === 'string') process.exit(0)
  const { config, listening, warnings = [], isSupervised = false } = setup
  const service = createService(config)
  const { model, metrics, log } = service
  for (const sentence of warnings) log.warn(sentence)
  metrics.mark('process', performance.nodeTiming.bootstrapComplete)
  metrics.mark('import')
  if (isSupervised) await model.load()
  const listener = await listen(service, config, listening)
  // Stays open until the process exits, so that metrics can be read during the shutdown.
  const metricsListener =
    config.metricsPort === undefined
      ? undefined
      : await listenForMetrics(service, config, config.metricsPort)
  metrics.mark('listen')
  const loading = isSupervised ? Promise.resolve() : model.load()
  const pushing = loading.catch(() => {}).then(() => startPush(service, config))
  const running: Running = { service, config, isSupervised, listener, loading, pushing }
  terminated.then(signal => endByDraining(running, signal))
  model.whenStuck.then(() => replaceProcess(running))
  await untilLoaded(running)
  // The process may already be shutting down.
  if (!model.retired) await logStarted(service, listener, metricsListener, config)
  if (config.idleExitMs > 0) {
    // Push first, so that clients that connect during the push are still served.
    await listener.closeWhenUnused(config.idleExitMs, () => flushPush(pushing))
    if (!model.retired) await endUnused(running)
  }
}

/** @throws {Error} if the model cannot be served */
async function untilLoaded(running: Running): Promise<void> {
  const { service, listener, loading, pushing } = running
  try {
    await loading
  } catch (error) {
    // Answer the requests that waited for the model.
    await listener.close(1_000)
    await endPush(pushing, 1_000)
    if (await isIdle(running, 1_000)) throw error
    service.log.fatal((error as Error).message)
    endAtOnce(1)
  }
}

/** Resolves at the first SIGTERM or SIGINT. The second ends the process immediately. */
function firstSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>()
  let received = false
  const onSignal = (signal: NodeJS.Signals) => {
    if (received) endAtOnce(128 + (signal === 'SIGINT' ? 2 : 15))
    received = true
    resolve(signal)
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
  return promise
}

/**
 * Ends the process without waiting for threads. process.exit() terminates threads, and terminating
 * a thread during a run raises SIGABRT (ONNX Runtime 1.30).
 */
function endAtOnce(code: number): never {
  becomeProgram(['--eval', `process.exit(${code})`], {})
}

/**
 * Runs Node with these arguments in place of this process, with the same process id. Never returns.
 */
function becomeProgram(args: readonly string[], env: NodeJS.ProcessEnv): never {
  // Hide Node's ExperimentalWarning for execve.
  process.removeAllListeners('warning')
  process.execve?.(process.execPath, [process.execPath, ...args], env)
  // Windows has no execve, and process.exit() would wait for the run.
  process.kill(process.pid, 'SIGKILL')
  throw new Error('the process has been killed')
}

async function endByDraining(running: Running, signal: string): Promise<never> {
  running.isEnding = true
  running.draining ??= drain(running, { signal })
  return end(running, await running.draining)
}

/**
 * Runs the same command in place of a process with an endless run, after the other requests are
 * finished as after SIGTERM.
 */
async function replaceProcess(running: Running): Promise<void> {
  const { service, config, isSupervised, pushing } = running
  // The process may already be shutting down.
  if (service.model.retired) return
  running.draining = drain(running, {})
  await endPush(pushing, await running.draining)
  if (running.isEnding) return
  if (isSupervised || config.listenFd !== undefined) {
    // This process has closed the socket that its parent passed to it. The parent still has the
    // socket, and restarts this process.
    service.log.info(
      'the process exits because it has closed the socket that its parent passed to it',
    )
    endAtOnce(1)
  }
  service.log.info('the process replaces itself')
  becomeProgram([...process.execArgv, ...process.argv.slice(1)], process.env)
}

/** @returns the rest of DRAIN_TIMEOUT_MS, in milliseconds */
async function drain(running: Running, cause: { signal?: string }): Promise<number> {
  const { service, config, isSupervised, listener, pushing } = running
  const { drainDelayMs, drainTimeoutMs } = config
  const { model, log } = service
  const deadline = performance.now() + drainTimeoutMs
  const left = () => Math.max(deadline - performance.now(), 0)
  log.info({ ...cause, drainDelayMs, drainTimeoutMs }, 'draining')
  model.retire()
  void pushing.then(push => push?.flush())
  if (drainDelayMs > 0) {
    listener.stopKeepAlive()
    await wait(Math.min(drainDelayMs, drainTimeoutMs))
  }
  const answered = await listener.close(left(), isSupervised ? SUPERVISED_PATIENCE_MS : undefined)
  if (answered) log.info('drained')
  else log.warn('DRAIN_TIMEOUT_MS passed; requests in progress were aborted')
  return left()
}

/**
 * Exits after a period without clients. By then, the listener is closed, and all metrics are
 * pushed.
 */
function endUnused(running: Running): Promise<never> {
  const { idleExitMs, drainTimeoutMs } = running.config
  const { model, log } = running.service
  log.info(
    { idleSeconds: idleExitMs / 1_000 },
    'no request for IDLE_EXIT_SECONDS; the process exits',
  )
  model.retire()
  return exit(isIdle(running, drainTimeoutMs))
}

/**
 * Exits with code 0, after pushing the last metrics. Within the timeout, waits for runs without a
 * caller, such as warm-up runs.
 */
async function end(running: Running, timeoutMs: number): Promise<never> {
  const idle = isIdle(running, timeoutMs)
  await endPush(running.pushing, timeoutMs)
  return exit(idle)
}

async function exit(idle: Promise<boolean>): Promise<never> {
  if (await idle) process.exit(0)
  endAtOnce(0)
}

/** Closes the model. @returns whether all its threads end within the timeout */
function isIdle({ service, loading }: Running, timeoutMs: number): Promise<boolean> {
  const closed = loading
    .catch(() => {})
    .then(() => service.model.close())
    .then(
      () => true,
      () => false,
    )
  return Promise.race([closed, wait(timeoutMs, false)])
}

async function logStarted(
  { model, log }: Service,
  { port }: Listener,
  metricsListener: Listener | undefined,
  config: Config,
): Promise<void> {
  const { listenFd, inCluster, auth } = config
  const url = urlOf(config, port)
  const { name, version } = model
  log.info(
    { model: name, version, url, metricsPort: metricsListener?.port },
    `serving ${version === undefined ? name : `${name} ${version}`} on ${url}`,
  )
  // Only a person at a terminal needs the example. In a pod and in systemd's journal, every line
  // must be JSON.
  const isByHand = !inCluster && listenFd === undefined
  if (!isByHand || auth !== undefined || model.loaded === undefined) return
  const { tryCommand } = await import('./inference/try-it.ts')
  const curl = tryCommand(url, name, model.loaded, model.transformer?.described)
  if (curl === undefined) return
  // The terminal may be closed, or the disk full.
  process.stderr.on('error', () => {})
  process.stderr.write(`\nTry it:\n  ${curl}\n\n`)
}
