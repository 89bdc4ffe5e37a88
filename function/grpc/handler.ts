import type { ServerHttp2Stream } from 'node:http2'
import { Refused } from '../answer.ts'
import type { Config } from '../config/config.ts'
import { countRefusal } from '../errors.ts'
import type { Authenticate } from '../http/access/authentication.ts'
import type { RequestHead } from '../http/head.ts'
import type { BodyMemory } from '../http/memory.ts'
import { whyNoMethod } from '../not-served.ts'
import { INFERENCE } from '../protocol/inference-proto.ts'
import { show } from '../protocol/json.ts'
import type { Method, ProtoFile } from '../protocol/protobuf-schema.ts'
import type { Service } from '../service.ts'
import { traceOf } from '../telemetry/log.ts'
import { Call } from './call.ts'
import { Cancelled } from './frames.ts'
import { HEALTH_METHODS } from './health.ts'
import { INFERENCE_METHODS } from './inference.ts'
import type { Handler } from './method.ts'
import { HEALTH, REFLECTION, REFLECTION_ALPHA } from './protos.ts'
import { REFLECTION_METHODS } from './reflection.ts'
import { statusOf } from './status.ts'

export interface GrpcContext {
  readonly service: Service
  readonly config: Config
  /** Shared with HTTP bodies. */
  readonly memory: BodyMemory
  readonly authenticate: Authenticate | undefined
  /** Called after each call that is not a probe: the process was in use. */
  readonly onUsed: () => void
}

/**
 * Answers one call.
 * @param head its `url` is the method's path; its headers include pseudo-headers
 */
export type AnswerCall = (stream: ServerHttp2Stream, head: RequestHead) => void

/** Loaded at the first call. */
export function createGrpc(context: GrpcContext): AnswerCall {
  return (stream, head) => void answerCall(new Call(stream, head, context), context)
}

interface Entry {
  readonly method: Method
  readonly handler: Handler
}

const METHODS: ReadonlyMap<string, Entry> = new Map([
  ...entriesOf(INFERENCE, INFERENCE_METHODS),
  ...entriesOf(HEALTH, HEALTH_METHODS),
  ...entriesOf(REFLECTION, REFLECTION_METHODS),
  ...entriesOf(REFLECTION_ALPHA, REFLECTION_METHODS),
])

function entriesOf(
  { services }: ProtoFile,
  handlers: Readonly<Record<string, Handler>>,
): [string, Entry][] {
  return services.flatMap(({ fullName, methods }) =>
    methods.map((method): [string, Entry] => {
      const handler = handlers[method.name]
      if (handler === undefined) throw new Error(`${fullName}.${method.name} has no handler`)
      return [`/${fullName}/${method.name}`, { method, handler }]
    }),
  )
}

/** Never rejects. */
async function answerCall(call: Call, context: GrpcContext): Promise<void> {
  const { service, authenticate } = context
  try {
    if (authenticate !== undefined) await refuseUnlessAllowed(call, authenticate)
    checkHead(call.head)
    const { method, handler } = findMethod(call.path)
    call.checkMetadata()
    if (handler.refuse?.(call, service) !== true) {
      call.open({ expectsMessage: !method.clientStreams })
      await handler.answer(call, method, service)
      call.end()
    }
    if (handler.kind === undefined) context.onUsed()
  } catch (error) {
    if (error instanceof Cancelled) call.cancel()
    else refuse(call, error, service)
  }
  if (!call.isReported) report(call, service)
}

/** Logs a call that has no inference requests, like an HTTP request. */
function report({ path, status, caller, head }: Call, { log }: Service): void {
  if (!log.isLevelEnabled('debug')) return
  log.debug(
    {
      path,
      status: status?.code,
      ms: performance.now() - caller.arrived,
      ...traceOf(head.headers, caller),
    },
    status === undefined ? 'the client hung up' : 'answered',
  )
}

function refuse(call: Call, error: unknown, { metrics, log }: Service): void {
  const meaning = countRefusal(error, metrics)
  if (meaning === undefined)
    log.error(
      { err: error, ...traceOf(call.head.headers, call.caller) },
      'call failed unexpectedly',
    )
  call.end(statusOf(error))
}

/** @throws {Refused} if the caller is not allowed */
async function refuseUnlessAllowed(call: Call, authenticate: Authenticate): Promise<void> {
  const kind = METHODS.get(call.path)?.handler.kind
  const refusal = await authenticate(call.head, () => (kind === undefined ? undefined : { kind }))
  if (refusal !== undefined) throw new Refused(refusal.code, refusal.message, refusal.headers)
}

/** @throws {Refused} unless the head is that of a call with protobuf messages */
function checkHead({ method, headers }: RequestHead): void {
  if (method !== 'POST')
    throw new Refused(
      'METHOD_NOT_ALLOWED',
      `the HTTP method is ${method}; a gRPC call must be a POST request`,
    )
  const contentType = headers['content-type'] ?? ''
  if (!/^application\/grpc(\+proto)?\s*(;|$)/i.test(contentType))
    throw new Refused(
      'UNSUPPORTED_MEDIA_TYPE',
      `content-type ${show(contentType)} is not supported; send application/grpc or application/grpc+proto`,
    )
}

function findMethod(path: string): Entry {
  const entry = METHODS.get(path)
  if (entry !== undefined) return entry
  const [, service = '', name = ''] = path.split('/')
  const why = service === INFERENCE.services[0]?.fullName ? whyNoMethod(name) : undefined
  throw new Refused(
    'UNKNOWN_METHOD',
    `${show(path)} is not implemented: ${why ?? 'use reflection to list the methods of this server'}`,
  )
}
