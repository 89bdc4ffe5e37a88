import { setTimeout as wait } from 'node:timers/promises'
import { type Config, readConfig } from './config.ts'
import type { EventService } from './events/receive.ts'
import { type Host, listen } from './http/host.ts'
import { createFunction } from './index.ts'
import { requestJson } from './inference/metadata.ts'
import { createLog } from './telemetry/log.ts'

async function main(): Promise<void> {
  const config = readConfig(process.env)
  const service = createFunction(config)
  const { model, metrics } = service
  metrics.mark('process', performance.nodeTiming.bootstrapComplete)
  metrics.mark('import')
  const host = await listen(service, config)
  metrics.mark('listen')
  onTermination(service, host, config)
  try {
    await model.load()
  } catch (error) {
    // Requests that waited for the model are answered before the process ends.
    await host.close(1_000)
    throw error
  }
  tellStarted(service, host, config)
}

/** The first TERM or INT drains, the second ends at once. */
function onTermination(service: EventService, host: Host, config: Config): void {
  let draining = false
  const onSignal = async (signal: NodeJS.Signals) => {
    if (draining) process.exit(128 + (signal === 'SIGINT' ? 2 : 15))
    draining = true
    await drain(service, host, config, signal)
    process.exit(0)
  }
  process.on('SIGTERM', onSignal)
  process.on('SIGINT', onSignal)
}

async function drain({ model, log }: EventService, host: Host, { drainDelayMs, drainTimeoutMs }: Config, signal: string): Promise<void> {
  const deadline = performance.now() + drainTimeoutMs
  log.info({ signal, drainDelayMs, drainTimeoutMs }, 'draining')
  model.retire()
  host.stopKeepAlive()
  await wait(Math.min(drainDelayMs, drainTimeoutMs))
  const all = await host.close(Math.max(deadline - performance.now(), 0))
  if (all) log.info('drained')
  else log.warn('DRAIN_TIMEOUT_MS passed with requests in flight; they are cut off')
}

function tellStarted({ model, log }: EventService, { port }: Host, { listenHost, inCluster }: Config): void {
  const url = `http://${listenHost === undefined ? 'localhost' : hostInUrl(listenHost)}:${port}`
  log.info({ model: model.name, version: model.version, url }, `serving ${model.name} ${model.version ?? ''} on ${url}`)
  const request = model.loaded && requestJson(model.loaded.example, model.loaded.signature)
  // For the person who started it by hand; in a pod every line is JSON.
  if (inCluster || request === undefined || request.length > 2_000) return
  const address = `${url}/v2/models/${encodeURIComponent(model.name)}/infer`
  process.stderr.write(`\nTry it:\n  curl ${quoted(address)} -H 'Content-Type: application/json' -d ${quoted(request)}\n\n`)
}

/** As one word to a shell. */
const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`

const hostInUrl = (host: string) => (host.includes(':') ? `[${host}]` : host)

main().catch((error: Error) => {
  createLog('info').fatal(error.message)
  process.exit(1)
})
