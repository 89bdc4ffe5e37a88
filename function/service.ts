import { setTimeout as wait } from 'node:timers/promises'
import type { Config } from './config/config.ts'
import { createDataPlane, type DataPlane } from './dataplane.ts'
import type { Replier } from './events/reply.ts'
import { functionVersion } from './inference/metadata.ts'
import { createModel, type Model } from './inference/model.ts'
import { type ModelFolder, readModelFolder } from './inference/model-folder.ts'
import { createLog, type Log } from './telemetry/log.ts'
import { createMetrics, type Metrics } from './telemetry/metrics.ts'
import type { Push } from './telemetry/push.ts'
import { createTraces, type Traces } from './telemetry/trace.ts'

export interface Service {
  readonly model: Model
  readonly dataPlane: DataPlane
  readonly replier: Replier
  readonly metrics: Metrics
  readonly log: Log
  readonly traces: Traces | undefined
}

/**
 * Creates the service without loading the model.
 * @throws {Error} if there is no model to serve
 */
export function createService(config: Config): Service {
  const log = createLog(config.logLevel)
  const folder = readModelFolder(config)
  const metrics = createMetrics(
    {
      model: folder.name,
      version: folder.version,
      labels: folder.labels,
      service: config.service,
      revision: config.revision,
      functionVersion,
    },
    () => ({
      queuedRows: model.queuedRows,
      ready: model.notReady === undefined,
      batching: model.batching,
    }),
  )
  const model = createModel(folder, config, metrics, log)
  return {
    model,
    dataPlane: createDataPlane(model, metrics),
    replier: replierOf(folder, config),
    metrics,
    log,
    traces: config.push?.traces ? createTraces() : undefined,
  }
}

function replierOf({ name, version }: ModelFolder, { ceSource, service }: Config): Replier {
  const prefix = service === undefined ? '' : `${service}/`
  return {
    source: ceSource ?? `/onnx-function/${prefix}${encodeURIComponent(name)}`,
    modelName: name,
    modelVersion: version,
  }
}

/**
 * Starts pushing spans and metrics if they are configured. Loads more code, so call it after
 * startup.
 */
export async function startPush(service: Service, config: Config): Promise<Push | undefined> {
  if (config.push === undefined) return undefined
  try {
    const { createPush } = await import('./telemetry/push.ts')
    return createPush(service, config, config.push, functionVersion)
  } catch (error) {
    service.log.error({ err: error }, 'spans and metrics will not be pushed')
    return undefined
  }
}

/** The collector may be unreachable, so an exiting process waits only this long for a push. */
const LAST_PUSH_MS = 2_000

/** Pushes for the last time, within `timeoutMs` or LAST_PUSH_MS, whichever is shorter. */
export const endPush = (pushing: Promise<Push | undefined>, timeoutMs: number): Promise<void> =>
  briefly(
    pushing.then(push => push?.end()),
    timeoutMs,
  )

export const flushPush = (pushing: Promise<Push | undefined>): Promise<void> =>
  briefly(pushing.then(push => push?.flush()))

const briefly = (pushed: Promise<void>, timeoutMs = LAST_PUSH_MS): Promise<void> =>
  Promise.race([pushed, wait(Math.min(timeoutMs, LAST_PUSH_MS), undefined, { ref: false })])
