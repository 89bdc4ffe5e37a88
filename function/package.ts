import { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { bytesOf, type Caller, hangUp, sizeOf } from './answer.ts'
import { type Config, readConfig } from './config/config.ts'
import { IncomingBody } from './http/body.ts'
import { callerOf, report } from './http/exchange.ts'
import type { RequestHead } from './http/head.ts'
import { type Listener, listen } from './http/listener.ts'
import { BodyMemory } from './http/memory.ts'
import { listenForMetrics } from './http/metrics-port.ts'
import { createResponder, type Responder } from './http/respond.ts'
import { headersOf } from './http/send.ts'
import { urlOf } from './http/server.ts'
import { InProgress } from './in-progress.ts'
import { checkNode } from './node-version.ts'
import { createService, endPush, type Service, startPush } from './service.ts'

export type {
  BodyAnswer,
  Context,
  EventAttributes,
  EventReply,
  Inputs,
  InputTensor,
  ModelTensor,
  ModelTypes,
  Outputs,
  OutputTensor,
  ServedModel,
  SetupContext,
  TensorType,
  Transform,
  TransformLog,
} from './transform/contract.ts'
export { defineTransform } from './transform/define.ts'
export { BadRequest, Refused, Unavailable } from './transform/errors.ts'
export type { FromSchema, JsonSchema } from './transform/json-schema.ts'

export interface FunctionOptions {
  /** A model folder or `.onnx` file. Default: MODEL_DIR in `env`. */
  readonly model?: string | URL | undefined
  /** The transform's file, or 'off'. Default: the file beside the model. */
  readonly transform?: string | URL | undefined
  /**
   * The environment variables of docs/configuration.md; `process.env` is not read. By default, the
   * function listens on a free port of the loopback interface, and logs only warnings and errors.
   */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined
}

export interface LoadedFunction {
  /**
   * Handles a request without a socket, otherwise as over HTTP.
   * @param target a path such as '/v2/models/iris/infer', a URL, or a Request
   */
  request(target: string | URL | Request, init?: RequestInit): Promise<Response>
  /** Finishes the requests in progress and ends the model's threads. */
  close(): Promise<void>
}

export interface StartedFunction extends LoadedFunction {
  /** Without a trailing slash. */
  readonly url: string
}

/** Loads a model for tests, without a port. A test may load several models. */
export async function load(options: FunctionOptions = {}): Promise<LoadedFunction> {
  const { service, config } = prepare(options)
  const responder = await createResponder(service, config)
  await loadOrClose(service)
  return loadedFunction(service, config, responder)
}

/**
 * Serves a model on a port, for tests. Resolves when the model is ready.
 * @throws {Error} if the model cannot be served
 */
export async function start(options: FunctionOptions = {}): Promise<StartedFunction> {
  const { service, config } = prepare(options)
  const { metricsPort, drainTimeoutMs } = config
  const listener = await listen(service, config)
  let metricsListener: Listener | undefined
  const stop = async () => {
    await Promise.all([listener.close(drainTimeoutMs), metricsListener?.close(0)])
  }
  await loadOrClose(service, stop, async () => {
    if (metricsPort !== undefined)
      metricsListener = await listenForMetrics(service, config, metricsPort)
  })
  const loaded = loadedFunction(service, config, listener.responder)
  return {
    ...loaded,
    url: urlOf(config, listener.port),
    async close() {
      await stop()
      await loaded.close()
    },
  }
}

/**
 * Loads a model, handles one request without a socket, and closes the model. For several requests,
 * use {@link load}.
 * @throws {Error} if the model cannot be served
 */
export async function request(
  target: string | URL | Request,
  { model, transform, env, ...init }: FunctionOptions & RequestInit = {},
): Promise<Response> {
  const loaded = await load({ model, transform, env })
  try {
    return await loaded.request(target, init)
  } finally {
    await loaded.close()
  }
}

interface Prepared {
  readonly service: Service
  readonly config: Config
}

function prepare({ model, transform, env }: FunctionOptions): Prepared {
  checkNode(process.versions.node)
  const config = readConfig({
    PORT: '0',
    LISTEN_HOST: '127.0.0.1',
    LOG_LEVEL: 'warn',
    ...env,
    ...(model !== undefined && { MODEL_DIR: pathOf(model) }),
    ...(transform !== undefined && { TRANSFORM: pathOf(transform) }),
  })
  return { service: createService(config), config }
}

const pathOf = (file: string | URL) => (typeof file === 'string' ? file : fileURLToPath(file))

/**
 * @param stop closes the listeners before the model's threads end
 * @param prepare called before the model is loaded
 */
async function loadOrClose(
  service: Service,
  stop = async () => {},
  prepare = async () => {},
): Promise<void> {
  try {
    await prepare()
    await service.model.load()
    await service.model.whenDecided
  } catch (error) {
    await stop()
    await service.model.close()
    throw error
  }
}

function loadedFunction(service: Service, config: Config, responder: Responder): LoadedFunction {
  const pushing = startPush(service, config)
  const memory = new BodyMemory(config.maxBodyBytes, () => service.model.freeBytes)
  const requests = new InProgress()
  let isClosed = false
  return {
    async request(target, init) {
      if (isClosed) throw new Error('the function is closed')
      const request = requestOf(target, init)
      return requests.track(answer(request, { service, config, responder, memory }))
    },
    async close() {
      isClosed = true
      service.model.retire()
      await requests.ended(config.drainTimeoutMs)
      await Promise.all([service.model.close(), endPush(pushing, config.drainTimeoutMs)])
    },
  }
}

const BASE = 'http://localhost'

const requestOf = (target: string | URL | Request, init?: RequestInit): Request =>
  new Request(typeof target === 'string' ? new URL(target, BASE) : target, init)

interface Answering extends Prepared {
  readonly responder: Responder
  readonly memory: BodyMemory
}

async function answer(
  request: Request,
  { service, config, responder, memory }: Answering,
): Promise<Response> {
  const bytes = Buffer.from(await request.arrayBuffer())
  request.signal.throwIfAborted()
  const head = headOf(request, bytes.byteLength)
  const caller = callerOf(head, service, config.requestTimeoutMs)
  const body = new IncomingBody(
    { head, stream: Readable.from(bytes, { objectMode: false }), response: NO_RESPONSE },
    memory,
    config.maxBodyBytes,
  )
  caller.memory = body
  const hungUp = hangUpOnAbort(request.signal, caller)
  try {
    const answered = await Promise.race([responder.respond(head, caller, body), hungUp.promise])
    if (answered === undefined) throw request.signal.reason
    report({ head, caller, status: answered.status }, service)
    const { status } = answered
    const hasBody = request.method !== 'HEAD' && ![204, 304].includes(status)
    const headers = Object.entries(headersOf(answered, head, sizeOf(answered.body)))
    return new Response(hasBody ? Buffer.from(bytesOf(answered.body)) : null, {
      status,
      headers: headers.map(([name, value]): [string, string] => [name, String(value)]),
    })
  } finally {
    hungUp.forget()
    body.release()
  }
}

const NO_RESPONSE = { writeContinue() {} }

function headOf({ method, url, headers }: Request, length: number): RequestHead {
  const { pathname, search, host } = new URL(url)
  const names = new Headers(headers)
  names.set('host', host)
  if (length > 0) names.set('content-length', String(length))
  const all = Object.fromEntries(names)
  return {
    method,
    url: pathname + search,
    httpVersion: '1.1',
    headers: all,
    rawHeaders: Object.entries(all).flat(),
  }
}

function hangUpOnAbort(signal: AbortSignal, caller: Caller) {
  const { promise, resolve } = Promise.withResolvers<undefined>()
  const onAbort = () => {
    hangUp(caller)
    resolve(undefined)
  }
  signal.addEventListener('abort', onAbort)
  return { promise, forget: () => signal.removeEventListener('abort', onAbort) }
}
