import type { IncomingHttpHeaders } from 'node:http'
import { setTimeout as wait } from 'node:timers/promises'
import { type Config, readConfig } from './config.ts'
import { modeOf } from './events/cloudevent.ts'
import { type EventService, receiveEvents, receiveParsed } from './events/receive.ts'
import { type Answer, bytesOf, errorAnswer, json } from './handler.ts'
import type { Caller } from './inference/batcher.ts'
import { infer, inferParsed } from './inference/infer.ts'
import { functionVersion, serverMetadata } from './inference/metadata.ts'
import { createModel } from './inference/model.ts'
import { readModelFolder } from './inference/model-folder.ts'
import { createLog, traceOf } from './telemetry/log.ts'
import { createMetrics } from './telemetry/metrics.ts'
import type { Push } from './telemetry/push.ts'
import { createTraces } from './telemetry/trace.ts'

/*
 * The Knative function: one model, answering V2 requests and CloudEvents.
 *
 * `npm start` (main.ts) serves it whole. The exports at the end are the contract of Knative's own Node.js runtime,
 * faas-js-runtime 4, under which the same function answers on `/`: https://github.com/nodeshift/faas-js-runtime
 */

/**
 * Everything that answers requests and events for the model that `config` names; the model is not loaded yet.
 * @throws {Error} of one line, when there is no model to serve
 */
export function createFunction(config: Config): EventService {
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
  const source =
    config.eventSource ??
    `/onnx-function/${config.service === undefined ? '' : `${config.service}/`}${encodeURIComponent(folder.name)}`
  const traces = config.push?.traces ? createTraces() : undefined
  return {
    model,
    metrics,
    log,
    traces,
    replier: { source, modelName: folder.name, modelVersion: folder.version },
  }
}

/**
 * From now on spans and metrics are pushed, where the configuration says so. To be called when the start is over: what pushes is
 * loaded here.
 */
export async function startPush(service: EventService, config: Config): Promise<Push | undefined> {
  if (config.push === undefined) return undefined
  try {
    const { createPush } = await import('./telemetry/push.ts')
    return createPush(service, config, config.push, functionVersion)
  } catch (error) {
    service.log.error({ err: error }, 'spans and metrics are not pushed')
    return undefined
  }
}

/** Sends what there is to push, for the last time, and waits for it at most so long. */
export async function endPush(
  pushing: Promise<Push | undefined>,
  timeoutMs: number,
): Promise<void> {
  await Promise.race([
    pushing.then(push => push?.end()),
    wait(timeoutMs, undefined, { ref: false }),
  ])
}

/** Of what the runtime hands over, what is used. */
export interface Context {
  readonly method: string
  readonly headers: IncomingHttpHeaders
  /** application/json is parsed; text and events in structured mode are a string, anything else is bytes. */
  readonly body?: unknown
}

/** The runtime's structured answer. */
export interface StructuredReturn {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

interface HealthReply {
  code(status: number): { send(body: unknown): unknown }
}

let service: EventService | undefined
let config: Config | undefined
let pushing: Promise<Push | undefined> = Promise.resolve(undefined)

/** Reads the environment and loads the model. @throws {Error} of one line, when it cannot be served */
export async function init(): Promise<void> {
  config = readConfig(process.env)
  // The runtime's own listener lets everybody in, and lets ?headers=… in a query take the place of the headers.
  const unkept = config.auth !== undefined ? 'AUTH_' : config.tls !== undefined ? 'TLS_' : undefined
  if (unkept !== undefined)
    throw new Error(
      `variables with ${unkept} have no effect under this runtime; start build/main.js, or leave them out`,
    )
  service = createFunction(config)
  await service.model.load()
  pushing = startPush(service, config)
}

/**
 * Answers one call of the runtime. Its second argument is not used: for an event it is what the runtime's SDK made of it, with an id
 * made up where there is none, its header values still encoded, its integers beyond 2^53 rounded. The context's body has it as it came.
 */
export async function handle(context: Context): Promise<StructuredReturn> {
  const { service, caller } = current(context)
  let answered: Answer
  try {
    answered = await answer(context, caller, service)
  } catch (error) {
    service.log.error(
      { err: error, ...traceOf(context.headers, caller) },
      'a request failed unexpectedly',
    )
    answered = errorAnswer(error)
  }
  const { trace, traceparent } = caller
  if (trace !== undefined) service.traces?.finish(trace, context, answered.status, traceparent)
  return structured(answered)
}

function answer(
  { method, headers, body = '' }: Context,
  caller: Caller,
  service: EventService,
): Promise<Answer> | Answer {
  if (method !== 'POST') return json(serverMetadata)
  const mode = modeOf(headers)
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  if (bytes instanceof Uint8Array) {
    const request = { method, path: '/', headers, body: bytes }
    return mode === undefined
      ? infer(request, caller, service)
      : receiveEvents(request, mode, caller, service)
  }
  // What was rounded by the runtime's parser is refused where an integer tensor is read, for it is beyond 2^53.
  const parsed = { value: body, exact: () => body }
  if (mode !== undefined) return receiveParsed(headers, parsed, caller, service)
  return inferParsed(parsed, caller, service)
}

/** The runtime asks whether to restart the process: it answers, so no. */
export const liveness = (_request: unknown, reply: HealthReply): unknown =>
  reply.code(200).send({ live: true })

/** Whether the model takes requests. */
export function readiness(_request: unknown, reply: HealthReply): unknown {
  const error = service === undefined ? 'init has not been called' : service.model.notReady
  return error === undefined
    ? reply.code(200).send({ live: true, ready: true })
    : reply.code(503).send({ live: true, ready: false, error })
}

/** The runtime is ending. */
export async function shutdown(): Promise<void> {
  service?.model.retire()
  await Promise.all([service?.model.close(), endPush(pushing, config?.drainTimeoutMs ?? 0)])
}

function current({ method, headers }: Context): { service: EventService; caller: Caller } {
  if (service === undefined || config === undefined) throw new Error('init has not been called')
  const arrived = performance.now()
  const deadline = arrived + config.requestTimeoutMs
  const traceparent = headers.traceparent?.toString()
  return {
    service,
    caller: {
      arrived,
      deadline,
      gone: false,
      traceparent,
      trace: service.traces?.begin(method, arrived),
    },
  }
}

const structured = ({ status, headers, body }: Answer): StructuredReturn => ({
  statusCode: status,
  headers,
  body: typeof body === 'string' ? body : bytesOf(body),
})
