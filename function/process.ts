import { setTimeout as wait } from 'node:timers/promises'
import type { Config } from './config/config.ts'
import { type Listener, type ListenOptions, listen } from './http/listener.ts'
import { listenForMetrics } from './http/metrics-port.ts'
import { urlOf } from './http/server.ts'
import { checkNode } from './node-version.ts'
import { createService, endPush, flushPush, type Service, startPush } from './service.ts'
import { createLog } from './telemetry/log.ts'
import type { Push } from './telemetry/push.ts'

/** Configuration of a process that serves. */
export interface Setup {
  readonly config: Config
  /** What is served besides the function's own routes. */
  readonly listening?: ListenOptions
  /** Sentences for the log. */
  readonly warnings?: readonly string[]
  /**
   * Another process holds the port (node:cluster), and starts this one again. It listens only once
   * the model is loaded, because until then another answers.
   */
  readonly isSupervised?: boolean
}

/**
 * The life of a process that serves the function, from its configuration to its exit code.
 * @param configure throws an {Error} of one line where it cannot
 */
export function runProcess(configure: () => Setup | Promise<Setup>): void {
  start(configure).catch((error: Error) => {
    createLog('info').fatal(error.message)
    process.exit(1)
  })
}

/**
 * A process that another takes the place of is in no hurry: a client whose machine stands still for
 * a moment finds its connection open.
 */
const SUPERVISED_PATIENCE_MS = 2_000

/** A process that listens. */
interface Running {
  /** Set once it drains; resolves with what is then left of DRAIN_TIMEOUT_MS. */
  draining?: Promise<number>
  /** TERM or INT came: it ends, and nothing takes its place. */
  isEnding?: true
  readonly service: Service
  readonly config: Config
  readonly isSupervised: boolean
  readonly listener: Listener
  /** Settles when the model is loaded, or cannot be. */
  readonly loading: Promise<void>
  /** Sends spans and metrics, once the model is loaded. */
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
  // Before a client can connect: a signal without a listener ends the process, and requests with
  // it.
  const terminated = firstSignal()
  if (isSupervised) await model.load()
  const listener = await listen(service, config, listening)
  // Until the process ends, so that its last moments can be watched, too.
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
  // A process that is ending already did not start.
  if (!model.retired) await logStarted(service, listener, metricsListener, config)
  if (config.idleExitMs > 0) {
    // Not after the listener is closed: a client that connects then would wait for the push.
    await listener.closeWhenUnused(config.idleExitMs, () => flushPush(pushing))
    if (!model.retired) await endUnused(running)
  }
}

/** @throws {Error} of one line, when the model cannot be served */
async function untilLoaded(running: Running): Promise<void> {
  const { service, listener, loading, pushing } = running
  try {
    await loading
  } catch (error) {
    // Requests that waited for the model are answered before the process ends.
    await listener.close(1_000)
    await endPush(pushing, 1_000)
    if (await isIdle(running, 1_000)) throw error
    service.log.fatal((error as Error).message)
    endAtOnce(1)
  }
}

/** Resolves at the first TERM or INT; the second ends at once. */
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
 * process.exit() ends threads, and a thread that is ended within a run ends the process by SIGABRT
 * (ONNX Runtime 1.30). Replacing the process by another program ends the threads without that.
 */
function endAtOnce(code: number): never {
  becomeProgram(['--eval', `process.exit(${code})`], {})
}

/** @returns never: the other program has this process's id, and nothing else of it */
function becomeProgram(args: readonly string[], env: NodeJS.ProcessEnv): never {
  // Hide Node's ExperimentalWarning for execve: operators cannot act on it.
  process.removeAllListeners('warning')
  process.execve?.(process.execPath, [process.execPath, ...args], env)
  // Windows has no execve. process.exit() would wait for the run.
  process.kill(process.pid, 'SIGKILL')
  throw new Error('the process has been killed')
}

/** Answers the requests in flight, and ends the process within DRAIN_TIMEOUT_MS. */
async function endByDraining(running: Running, signal: string): Promise<never> {
  running.isEnding = true
  running.draining ??= drain(running, { signal })
  return end(running, await running.draining)
}

/**
 * A run does not end, and no thread within a run can be ended. Other requests are answered as at
 * TERM; then the same command takes the place of this process.
 */
async function replaceProcess(running: Running): Promise<void> {
  const { service, config, isSupervised, pushing } = running
  // It is ending, which no run can keep it from.
  if (service.model.retired) return
  running.draining = drain(running, {})
  await endPush(pushing, await running.draining)
  if (running.isEnding) return
  if (isSupervised || config.listenFd !== undefined) {
    // The socket is closed here by now; whoever passed it still has it, and starts the process again.
    service.log.info('the process ends, because it does not have the passed socket any more')
    endAtOnce(1)
  }
  service.log.info('the process replaces itself')
  becomeProgram([...process.execArgv, ...process.argv.slice(1)], process.env)
}

/**
 * Answers the requests in flight within DRAIN_TIMEOUT_MS.
 * @returns what is left of it
 */
async function drain(running: Running, cause: { signal?: string }): Promise<number> {
  const { service, config, isSupervised, listener, pushing } = running
  const { drainDelayMs, drainTimeoutMs } = config
  const { model, log } = service
  const deadline = performance.now() + drainTimeoutMs
  const left = () => Math.max(deadline - performance.now(), 0)
  log.info({ ...cause, drainDelayMs, drainTimeoutMs }, 'draining')
  model.retire()
  // Requests in flight may take all the time there is.
  void pushing.then(push => push?.flush())
  if (drainDelayMs > 0) {
    listener.stopKeepAlive()
    await wait(Math.min(drainDelayMs, drainTimeoutMs))
  }
  const answered = await listener.close(left(), isSupervised ? SUPERVISED_PATIENCE_MS : undefined)
  if (answered) log.info('drained')
  else log.warn('DRAIN_TIMEOUT_MS passed with requests in flight; they are cut off')
  return left()
}

/** No client is connected, the listener is closed, and all counts were pushed before. */
function endUnused(running: Running): Promise<never> {
  const { idleExitMs, drainTimeoutMs } = running.config
  const { model, log } = running.service
  log.info({ idleSeconds: idleExitMs / 1_000 }, 'no request for IDLE_EXIT_SECONDS; ending')
  model.retire()
  return exit(isIdle(running, drainTimeoutMs))
}

/**
 * Ends the process with 0. Runs that no caller waits for any more, maybe of the load, end first
 * where they do in time; and the last counts are pushed, because they are nowhere else.
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

/** Whether all threads of the model have ended in that time. */
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
  // For a person at a terminal. In a pod, or systemd's journal, every line is JSON.
  const isByHand = !inCluster && listenFd === undefined
  if (!isByHand || auth !== undefined || model.loaded === undefined) return
  // Not for every start: the transform's example is made of its schema.
  const { tryCommand } = await import('./inference/try-it.ts')
  const curl = tryCommand(url, name, model.loaded, model.transformer?.described)
  if (curl === undefined) return
  // Its reader may be gone, or its disk full; the function goes on.
  process.stderr.on('error', () => {})
  process.stderr.write(`\nTry it:\n  ${curl}\n\n`)
}
