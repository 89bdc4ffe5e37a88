import { setTimeout as wait } from 'node:timers/promises'
import type { Config } from './config/config.ts'
import { type Listener, type ListenOptions, listen } from './http/listener.ts'
import { listenForMetrics } from './http/metrics-port.ts'
import { urlOf } from './http/server.ts'
import { checkNode } from './node-version.ts'
import { createService, endPush, flushPush, type Service, startPush } from './service.ts'
import { createLog } from './telemetry/log.ts'
import type { Push } from './telemetry/push.ts'

/** The configuration of a serving process. */
export interface Setup {
  readonly config: Config
  /** Served besides the function's own routes. */
  readonly listening?: ListenOptions
  /** Messages for the log. */
  readonly warnings?: readonly string[]
  /**
   * Another process holds the port (node:cluster) and restarts this one. This process listens only
   * once the model is loaded: another one answers until then.
   */
  readonly isSupervised?: boolean
}

/**
 * Runs a process that serves the function, from its configuration to its exit code.
 * @param configure throws an {Error} of one line if the configuration is invalid
 */
export function runProcess(configure: () => Setup | Promise<Setup>): void {
  start(configure).catch((error: Error) => {
    createLog('info').fatal(error.message)
    process.exit(1)
  })
}

/**
 * How long a supervised process keeps idle connections open while it drains, so that a client whose
 * machine pauses briefly can still send its next request.
 */
const SUPERVISED_PATIENCE_MS = 2_000

/** A process that listens. */
interface Running {
  /** Set once the process drains; resolves with the time left of DRAIN_TIMEOUT_MS. */
  draining?: Promise<number>
  /** SIGTERM or SIGINT came: the process ends and is not replaced. */
  isEnding?: true
  readonly service: Service
  readonly config: Config
  readonly isSupervised: boolean
  readonly listener: Listener
  /** Settles when the model is loaded or fails to load. */
  readonly loading: Promise<void>
  /** Sends spans and metrics once the model is loaded. */
  readonly pushing: Promise<Push | undefined>
}

async function start(configure: () => Setup | Promise<Setup>): Promise<void> {
  checkNode(process.versions.node)
  const { config, listening, warnings = [], isSupervised = false } = await configure()
  const service = createService(config)
  const { model, metrics, log } = service
  for (const sentence of warnings) log.warn(sentence)
  metrics.mark('process', performance.nodeTiming.bootstrapComplete)
  metrics.mark('import')
  // Before a client can connect: without a handler, a signal would end the process and its
  // requests.
  const terminated = firstSignal()
  if (isSupervised) await model.load()
  const listener = await listen(service, config, listening)
  // Stays open until the process ends, so that its last moments can be observed.
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
  // A process that is already ending has not started.
  if (!model.retired) await logStarted(service, listener, metricsListener, config)
  if (config.idleExitMs > 0) {
    // Push before the listener closes: a client that connects afterwards would wait for the push.
    await listener.closeWhenUnused(config.idleExitMs, () => flushPush(pushing))
    if (!model.retired) await endUnused(running)
  }
}

/** @throws {Error} of one line if the model cannot be served */
async function untilLoaded(running: Running): Promise<void> {
  const { service, listener, loading, pushing } = running
  try {
    await loading
  } catch (error) {
    // Answer requests that waited for the model before the process ends.
    await listener.close(1_000)
    await endPush(pushing, 1_000)
    if (await isIdle(running, 1_000)) throw error
    service.log.fatal((error as Error).message)
    endAtOnce(1)
  }
}

/** Resolves at the first SIGTERM or SIGINT; the second one ends the process at once. */
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
 * process.exit() ends threads, and ending a thread within a run aborts the process with SIGABRT
 * (ONNX Runtime 1.30). Replacing the process by another program ends the threads without that.
 */
function endAtOnce(code: number): never {
  becomeProgram(['--eval', `process.exit(${code})`], {})
}

/** @returns never: the other program keeps only this process's id */
function becomeProgram(args: readonly string[], env: NodeJS.ProcessEnv): never {
  // Hide Node's ExperimentalWarning for execve: operators cannot act on it.
  process.removeAllListeners('warning')
  process.execve?.(process.execPath, [process.execPath, ...args], env)
  // Windows has no execve. process.exit() would wait for the run.
  process.kill(process.pid, 'SIGKILL')
  throw new Error('the process has been killed')
}

/** Answers the requests in flight and ends the process within DRAIN_TIMEOUT_MS. */
async function endByDraining(running: Running, signal: string): Promise<never> {
  running.isEnding = true
  running.draining ??= drain(running, { signal })
  return end(running, await running.draining)
}

/**
 * A run does not end, and a thread cannot be ended within a run. Answer the other requests as at
 * SIGTERM; then run the same command in place of this process.
 */
async function replaceProcess(running: Running): Promise<void> {
  const { service, config, isSupervised, pushing } = running
  // The process is already ending; a run cannot prevent that.
  if (service.model.retired) return
  running.draining = drain(running, {})
  await endPush(pushing, await running.draining)
  if (running.isEnding) return
  if (isSupervised || config.listenFd !== undefined) {
    // The socket is closed here. The process that passed it still holds it, and restarts this one.
    service.log.info('process ending: it no longer has the passed socket')
    endAtOnce(1)
  }
  service.log.info('the process replaces itself')
  becomeProgram([...process.execArgv, ...process.argv.slice(1)], process.env)
}

/**
 * Answers the requests in flight within DRAIN_TIMEOUT_MS.
 * @returns the time left
 */
async function drain(running: Running, cause: { signal?: string }): Promise<number> {
  const { service, config, isSupervised, listener, pushing } = running
  const { drainDelayMs, drainTimeoutMs } = config
  const { model, log } = service
  const deadline = performance.now() + drainTimeoutMs
  const left = () => Math.max(deadline - performance.now(), 0)
  log.info({ ...cause, drainDelayMs, drainTimeoutMs }, 'draining')
  model.retire()
  // Requests in flight may use the whole timeout, so push now.
  void pushing.then(push => push?.flush())
  if (drainDelayMs > 0) {
    listener.stopKeepAlive()
    await wait(Math.min(drainDelayMs, drainTimeoutMs))
  }
  const answered = await listener.close(left(), isSupervised ? SUPERVISED_PATIENCE_MS : undefined)
  if (answered) log.info('drained')
  else log.warn('DRAIN_TIMEOUT_MS passed; requests in flight cut off')
  return left()
}

/** No client is connected, the listener is closed, and all counts have been pushed. */
function endUnused(running: Running): Promise<never> {
  const { idleExitMs, drainTimeoutMs } = running.config
  const { model, log } = running.service
  log.info({ idleSeconds: idleExitMs / 1_000 }, 'no request for IDLE_EXIT_SECONDS; ending')
  model.retire()
  return exit(isIdle(running, drainTimeoutMs))
}

/**
 * Ends the process with code 0. First waits, within the timeout, for runs that no caller needs any
 * more, such as those of the load, and pushes the last counts, which exist only here.
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

/** Whether all threads of the model have ended within that time. */
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
  // Only for a person at a terminal. In a pod, or in systemd's journal, every line is JSON.
  const isByHand = !inCluster && listenFd === undefined
  if (!isByHand || auth !== undefined || model.loaded === undefined) return
  // Imported only here, not at every start: the transform's example is built from its schema.
  const { tryCommand } = await import('./inference/try-it.ts')
  const curl = tryCommand(url, name, model.loaded, model.transformer?.described)
  if (curl === undefined) return
  // The reader may be gone, or the disk full; the function continues.
  process.stderr.on('error', () => {})
  process.stderr.write(`\nTry it:\n  ${curl}\n\n`)
}
