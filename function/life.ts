import { setTimeout as wait } from 'node:timers/promises'
import type { Config } from './config/config.ts'
import type { EventService } from './events/receive.ts'
import { type Front, type Host, listen } from './http/host.ts'
import { listenForMetrics } from './http/metrics-port.ts'
import { createFunction, endPush, startPush } from './index.ts'
import { curlCommand } from './inference/metadata.ts'
import { createLog } from './telemetry/log.ts'
import type { Push } from './telemetry/push.ts'

/** What a process serves with. */
export interface Setup {
  readonly config: Config
  /** What requests pass through before they are routed. */
  readonly frontOf?: (service: EventService) => Front
}

/**
 * The life of a process that serves the function, from its configuration to its exit code.
 * @param configure throws an {Error} of one line where it cannot
 */
export function live(configure: () => Setup | Promise<Setup>): void {
  start(configure).catch((error: Error) => {
    createLog('info').fatal(error.message)
    process.exit(1)
  })
}

async function start(configure: () => Setup | Promise<Setup>): Promise<void> {
  const { config, frontOf } = await configure()
  const service = createFunction(config)
  const { model, metrics } = service
  metrics.mark('process', performance.nodeTiming.bootstrapComplete)
  metrics.mark('import')
  // Before anybody can connect: a signal that is not listened for ends the process, and requests with it.
  const terminated = firstSignal()
  const host = await listen(service, config, frontOf?.(service))
  // Until the process ends, so that what happens meanwhile is still told.
  const metricsHost =
    config.metricsPort === undefined
      ? undefined
      : await listenForMetrics(service, config, config.metricsPort)
  metrics.mark('listen')
  const loading = model.load()
  const pushing = loading.catch(() => {}).then(() => startPush(service, config))
  terminated.then(async signal => {
    const idle = await drain(service, host, config, signal, loading, pushing)
    if (idle) process.exit(0)
    endAtOnce(0)
  })
  try {
    await loading
  } catch (error) {
    // Requests that waited for the model are answered before the process ends.
    await host.close(1_000)
    await endPush(pushing, 1_000)
    throw error
  }
  // Unless it was told to end meanwhile.
  if (!model.retired) tellStarted(service, host, metricsHost, config)
  if (config.idleExitMs > 0) {
    await host.closeWhenUnused(config.idleExitMs)
    if (!model.retired) await endUnused(service, config, pushing)
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
 * A thread that is ended within a run takes the process with it, by SIGABRT (ONNX Runtime 1.30), and process.exit() ends threads.
 * Another program in the process' place ends them without asking.
 */
function endAtOnce(code: number): never {
  // That execve is experimental is nothing that who runs this can act on.
  process.removeAllListeners('warning')
  process.execve?.(process.execPath, [process.execPath, '--eval', `process.exit(${code})`], {})
  process.exit(code)
}

/** @returns whether nothing is running any more */
async function drain(
  { model, log }: EventService,
  host: Host,
  { drainDelayMs, drainTimeoutMs }: Config,
  signal: string,
  loading: Promise<void>,
  pushing: Promise<Push | undefined>,
): Promise<boolean> {
  const deadline = performance.now() + drainTimeoutMs
  const left = () => Math.max(deadline - performance.now(), 0)
  log.info({ signal, drainDelayMs, drainTimeoutMs }, 'draining')
  model.retire()
  // Requests in flight may take all the time there is.
  void pushing.then(push => push?.flush())
  if (drainDelayMs > 0) {
    host.stopKeepAlive()
    await wait(Math.min(drainDelayMs, drainTimeoutMs))
  }
  const answered = await host.close(left())
  if (answered) log.info('drained')
  else log.warn('DRAIN_TIMEOUT_MS passed with requests in flight; they are cut off')
  // Runs that nobody waits for any more, maybe of the load, end first.
  const closed = loading
    .then(() => model.close())
    .then(
      () => true,
      () => true,
    )
  // What was counted until now is nowhere else, and nobody will ask for it any more.
  const [idle] = await Promise.all([
    Promise.race([closed, wait(left(), false)]),
    endPush(pushing, left()),
  ])
  return idle
}

/** Nobody is connected, and the listener is closed. A run may be left that its caller has given up. */
async function endUnused(
  { model, log }: EventService,
  { idleExitMs, drainTimeoutMs }: Config,
  pushing: Promise<Push | undefined>,
): Promise<never> {
  log.info({ idleSeconds: idleExitMs / 1_000 }, 'nothing was asked for IDLE_EXIT_SECONDS; ending')
  model.retire()
  const closed = Promise.race([model.close().then(() => true), wait(drainTimeoutMs, false)])
  const [idle] = await Promise.all([closed, endPush(pushing, drainTimeoutMs)])
  if (idle) process.exit(0)
  endAtOnce(0)
}

function tellStarted(
  { model, log }: EventService,
  { port }: Host,
  metricsHost: Host | undefined,
  { listenHost, listenFd, inCluster, tls, auth }: Config,
): void {
  const url = `${tls === undefined ? 'http' : 'https'}://${listenHost === undefined ? 'localhost' : hostInUrl(listenHost)}:${port}`
  log.info(
    { model: model.name, version: model.version, url, metricsPort: metricsHost?.port },
    `serving ${model.name} ${model.version ?? ''} on ${url}`,
  )
  // For the person who started it by hand; in a pod, or systemd's journal, every line is JSON.
  const isByHand = !inCluster && listenFd === undefined
  const curl =
    isByHand && auth === undefined && model.loaded !== undefined
      ? curlCommand(url, model.name, model.loaded)
      : undefined
  if (curl !== undefined) process.stderr.write(`\nTry it:\n  ${curl}\n\n`)
}

const hostInUrl = (host: string) => (host.includes(':') ? `[${host}]` : host)
