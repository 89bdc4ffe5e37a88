import type { IncomingHttpHeaders } from 'node:http'
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises'
import { type Answer, bytesOf, type Caller, errorAnswer, json } from './answer.ts'
import { type Config, readConfig } from './config/config.ts'
import { modeOf } from './events/cloudevent.ts'
import { receiveEvents, receiveParsed } from './events/receive.ts'
import { infer, inferParsed } from './http/infer.ts'
import { InProgress } from './in-progress.ts'
import { createService, endPush, type Service, startPush } from './service.ts'
import { traceOf } from './telemetry/log.ts'
import type { Push } from './telemetry/push.ts'

/*
 * Implements the contract of Knative's Node.js runtime, faas-js-runtime 4, where the function
 * handles requests to `/`: https://github.com/nodeshift/faas-js-runtime. `npm start` (main.ts) does
 * not use that runtime.
 */

/** The fields of the runtime's context that this function reads. */
export interface Context {
  readonly method: string
  readonly headers: IncomingHttpHeaders
  /**
   * A parsed value for application/json, a string for text and structured-mode events, otherwise
   * bytes.
   */
  readonly body?: unknown
}

export interface StructuredReturn {
  readonly statusCode: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string | Uint8Array
}

interface HealthReply {
  code(status: number): { send(body: unknown): unknown }
}

let service: Service | undefined
let config: Config | undefined
const calls = new InProgress()
let pushing: Promise<Push | undefined> = Promise.resolve(undefined)

/** @throws {Error} if the model cannot be served */
export async function init(): Promise<void> {
  config = readConfig(process.env)
  // The runtime's listener admits every client, and ?headers=… in a query can replace the headers.
  // Authentication and TLS would have no effect.
  const unkept = config.auth !== undefined ? 'AUTH_' : config.tls !== undefined ? 'TLS_' : undefined
  if (unkept !== undefined)
    throw new Error(
      `variables that begin with ${unkept} have no effect in this runtime; start build/main.js instead, or remove them`,
    )
  service = createService(config)
  await service.model.load()
  pushing = startPush(service, config)
}

/**
 * Handles one call from the runtime. Reads an event from the context's headers and body, not as
 * decoded by the runtime's SDK: the SDK invents a missing id, does not decode header values, and
 * rounds integers beyond 2^53.
 */
export function handle(context: Context): Promise<StructuredReturn> {
  return calls.track(handleCall(context))
}

async function handleCall(context: Context): Promise<StructuredReturn> {
  const { service, caller } = current(context)
  let answered: Answer
  try {
    answered = await answer(context, caller, service)
  } catch (error) {
    service.log.error(
      { err: error, ...traceOf(context.headers, caller) },
      'request failed unexpectedly',
    )
    answered = errorAnswer(error)
  }
  const { trace, traceparent } = caller
  if (trace !== undefined) {
    trace.isRouted = true
    service.traces?.finish(trace, context, answered.status, traceparent)
  }
  return structured(answered, context.headers)
}

function answer(context: Context, caller: Caller, service: Service): Promise<Answer> | Answer {
  const { method, headers, body = '' } = context
  if (method !== 'POST') return json(service.dataPlane.server)
  const mode = modeOf(headers)
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  if (service.dataPlane.transforms) return answerByTransform(context, bytes, caller, service)
  if (bytes instanceof Uint8Array) {
    const request = { method, path: '/', headers, body: bytes }
    return mode === undefined
      ? infer(request, caller, service.dataPlane)
      : receiveEvents(request, mode, caller, service)
  }
  if (mode !== undefined) return receiveParsed(headers, parsed(body), caller, service)
  // The runtime also parses forms, which get 415.
  if (FORM.test(headers['content-type'] ?? ''))
    return infer({ method, path: '/', headers, body: NO_BODY }, caller, service.dataPlane)
  return inferParsed(parsed(body), caller, service.dataPlane)
}

/** Calls the transform, like `POST /` of this project's listener. */
async function answerByTransform(
  { method, headers }: Context,
  body: unknown,
  caller: Caller,
  service: Service,
): Promise<Answer> {
  const mode = modeOf(headers)
  const isBytes = body instanceof Uint8Array
  const request = { method, path: '/', headers, body: isBytes ? body : NO_BODY }
  if (mode !== undefined) {
    const { answerByTransform: byTransform } = await import('./events/transform.ts')
    const context = { ...service, answer: byTransform(request) }
    return isBytes
      ? receiveEvents(request, mode, caller, context)
      : receiveParsed(headers, parsed(body), caller, context)
  }
  const { transform, transformParsed } = await import('./http/transform.ts')
  return isBytes
    ? transform(request, caller, service.dataPlane)
    : transformParsed(body, headers, caller, service.dataPlane)
}

const NO_BODY = new Uint8Array(0)
const FORM = /^application\/x-www-form-urlencoded\b/i

/**
 * Wraps a value that the runtime parsed. The runtime has rounded integers beyond 2^53; the reader
 * of integer tensors refuses such integers.
 */
const parsed = (value: unknown) => ({ value, exact: () => value })

/** Not live if a run does not end: only a restart helps. */
export const liveness = (_request: unknown, reply: HealthReply): unknown =>
  service?.model.isStuck
    ? reply.code(503).send({ live: false, error: service.model.notReady })
    : reply.code(200).send({ live: true })

const NOT_INITIALIZED = { live: true, ready: false, error: 'init has not been called' }

export function readiness(_request: unknown, reply: HealthReply): unknown {
  const state = service?.dataPlane.ready() ?? NOT_INITIALIZED
  return reply.code(state.ready ? 200 : 503).send(state)
}

export async function shutdown(): Promise<void> {
  service?.model.retire()
  const timeoutMs = config?.drainTimeoutMs ?? 0
  await calls.ended(timeoutMs)
  // The runtime exits as soon as this function resolves: let it write the last responses.
  await nextTurn()
  // A transform's close() may never return.
  const closed = Promise.race([service?.model.close(), wait(timeoutMs, undefined, { ref: false })])
  await Promise.all([closed, endPush(pushing, timeoutMs)])
}

function current({ method, headers }: Context): { service: Service; caller: Caller } {
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

function structured(
  { status, headers, body }: Answer,
  { 'x-request-id': requestId }: IncomingHttpHeaders,
): StructuredReturn {
  return {
    statusCode: status,
    headers: {
      'x-content-type-options': 'nosniff',
      ...headers,
      ...(requestId !== undefined && { 'x-request-id': String(requestId) }),
    },
    body: typeof body === 'string' ? body : bytesOf(body),
  }
}
