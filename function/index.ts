import type { IncomingHttpHeaders } from 'node:http'
import type { CloudEvent as SdkEvent } from 'cloudevents'
import { type Config, readConfig } from './config.ts'
import type { CloudEvent, EventData } from './events/cloudevent.ts'
import { type EventService, receiveEvent } from './events/receive.ts'
import { type Answer, json, type Request } from './handler.ts'
import type { Caller } from './inference/batcher.ts'
import { infer, inferDecoded } from './inference/infer.ts'
import { functionVersion, serverMetadata } from './inference/metadata.ts'
import { createModel } from './inference/model.ts'
import { readModelFolder } from './inference/model-folder.ts'
import { decodeParsedRequest } from './protocol/decode.ts'
import { createLog } from './telemetry/log.ts'
import { createMetrics } from './telemetry/metrics.ts'

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
    { model: folder.name, version: folder.version, labels: folder.labels, service: config.service, revision: config.revision, functionVersion },
    () => ({ queuedRows: model.queuedRows, ready: model.notReady === undefined }),
  )
  const model = createModel(folder, config, metrics, log)
  const source = config.eventSource ?? `/onnx-function/${config.service === undefined ? '' : `${config.service}/`}${encodeURIComponent(folder.name)}`
  return { model, metrics, log, replier: { source, modelName: folder.name, modelVersion: folder.version } }
}

/** What the runtime hands over beside the body; of its fields those that a query parameter cannot replace are used. */
export interface Context {
  readonly headers: IncomingHttpHeaders
  readonly cloudevent?: unknown
}

/** The runtime's structured answer. */
export interface StructuredReturn {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Buffer
}

interface HealthReply {
  code(status: number): { send(body: unknown): unknown }
}

let service: EventService | undefined
let config: Config | undefined

/** Reads the environment and loads the model. @throws {Error} of one line, when it cannot be served */
export async function init(): Promise<void> {
  config = readConfig(process.env)
  service = createFunction(config)
  await service.model.load()
}

/**
 * Answers one call of the runtime; its SDK's reply events would round INT64 beyond 2^53, so replies are given as headers and body.
 * @param input a CloudEvent where the runtime recognised one, else the body: parsed JSON, bytes, or nothing for GET
 */
export async function handle(context: Context, input?: unknown): Promise<StructuredReturn> {
  const { service, caller } = current()
  return structured(await answer(context, input, caller, service))
}

function answer({ headers, cloudevent }: Context, input: unknown, caller: Caller, service: EventService): Promise<Answer> | Answer {
  if (cloudevent !== undefined) return receiveEvent(fromSdk(input as SdkEvent<unknown>), headers, caller, service)
  if (input === undefined || input === null) return json(serverMetadata)
  const body = typeof input === 'string' ? Buffer.from(input) : input
  if (body instanceof Uint8Array) return infer({ method: 'POST', path: '/', headers, body } satisfies Request, caller, service)
  return inferDecoded(signature => decodeParsedRequest({ value: body, exact: () => body }, signature), caller, service)
}

/** The runtime asks whether to restart the process: it answers, so no. */
export const liveness = (_request: unknown, reply: HealthReply): unknown => reply.code(200).send({ live: true })

/** Whether the model takes requests. */
export function readiness(_request: unknown, reply: HealthReply): unknown {
  const error = service === undefined ? 'init has not been called' : service.model.notReady
  return error === undefined ? reply.code(200).send({ live: true, ready: true }) : reply.code(503).send({ live: true, ready: false, error })
}

/** The runtime is ending. */
export async function shutdown(): Promise<void> {
  service?.model.retire()
  await service?.model.close()
}

function current(): { service: EventService; caller: Caller } {
  if (service === undefined || config === undefined) throw new Error('init has not been called')
  const arrived = performance.now()
  return { service, caller: { arrived, deadline: arrived + config.requestTimeoutMs, gone: false } }
}

/** An event of the runtime's SDK as ours. */
function fromSdk(event: SdkEvent<unknown>): CloudEvent {
  const { data: _, data_base64: __, ...attributes } = event.toJSON()
  return { attributes: attributes as CloudEvent['attributes'], data: dataOf(event) }
}

function dataOf(event: SdkEvent<unknown>): EventData | undefined {
  const { data, data_base64: base64, datacontenttype: contentType } = event
  if (base64 !== undefined) return { bytes: Buffer.from(base64, 'base64'), contentType }
  if (data === undefined || data === null) return undefined
  if (typeof data === 'string') return { bytes: Buffer.from(data), contentType }
  if (data instanceof Uint8Array) return { bytes: data, contentType }
  return { json: { value: data, exact: () => data } }
}

const structured = ({ status, headers, body }: Answer): StructuredReturn => ({
  statusCode: status,
  headers,
  body: typeof body === 'string' ? body : Buffer.concat(body.map(part => Buffer.from(part as Uint8Array))),
})
