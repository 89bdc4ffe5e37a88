import { type Answer, knownError, Refused, type Request, statusOf } from '../handler.ts'
import { decodeParsedRequest } from '../protocol/decode.ts'
import { type EncodedResponse, encodeResponse } from '../protocol/encode.ts'
import {
  BadRequest,
  DeadlinePassed,
  ModelError,
  NotReady,
  Overloaded,
  TooLarge,
} from '../protocol/errors.ts'
import { type ParsedJson, show } from '../protocol/json.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Traces } from '../telemetry/trace.ts'
import type { Caller } from './batcher.ts'
import type { LoadedModel, Model } from './model.ts'
import { checkOnlyJson } from './whole.ts'

/** What answering takes besides the request: the model, and where to count and tell of it. */
export interface Service {
  readonly model: Model
  readonly metrics: Metrics
  readonly log: Log
  /** Undefined while no traces are sent. */
  readonly traces: Traces | undefined
}

/** Answers one V2 inference request over HTTP, whatever becomes of it. */
export const infer = (request: Request, caller: Caller, service: Service): Promise<Answer> =>
  answerWith(
    async loaded => {
      const jsonLength = readJsonLength(request.headers['inference-header-content-length'])
      checkMediaType(request, jsonLength)
      return encodeHttp(await loaded.inferBytes(request.body, jsonLength, false, caller))
    },
    caller,
    service,
  )

/** The same for a request whose JSON a runtime has parsed. */
export const inferParsed = (json: ParsedJson, caller: Caller, service: Service): Promise<Answer> =>
  answerWith(async loaded => encodeHttp(await inferJson(json, caller, loaded)), caller, service)

/** Answers and counts a request that `inferWith` infers and encodes once the model is loaded. */
export async function answerWith(
  inferWith: (loaded: LoadedModel) => Promise<Answer>,
  caller: Caller,
  { model, metrics }: Service,
): Promise<Answer> {
  metrics.began()
  try {
    const answer = await inferWith(model.loaded ?? (await model.whenLoaded(caller)))
    metrics.answered('http', 'success', secondsSince(caller.arrived))
    caller.trace?.answered()
    return answer
  } catch (error) {
    countFailure(error, 'http', caller, metrics)
    return knownError(error, 500)
  }
}

/** @throws {BadRequest|Overloaded|DeadlinePassed|ModelError} */
export async function inferJson(
  json: ParsedJson,
  caller: Caller,
  loaded: LoadedModel,
  onlyJson = false,
): Promise<EncodedResponse> {
  caller.trace?.enter('decode')
  const request = decodeParsedRequest(json, loaded.signature)
  if (onlyJson) checkOnlyJson(request.outputs)
  return encodeResponse(await loaded.infer(request, caller), request.outputs)
}

export function countFailure(
  error: unknown,
  protocol: 'http' | 'cloudevent',
  caller: Caller,
  metrics: Metrics,
): void {
  metrics.answered(protocol, 'error', secondsSince(caller.arrived))
  caller.trace?.answered(error)
  if (error instanceof Overloaded) metrics.rejected('overloaded')
  if (error instanceof NotReady) metrics.rejected('not_ready')
  if (error instanceof TooLarge) metrics.rejected('too_large')
  // Who hung up was not turned away.
  if (error instanceof DeadlinePassed && !caller.gone) metrics.rejected('deadline')
  if (error instanceof ModelError) metrics.failed('model')
  if (statusOf(error) === undefined) metrics.failed('server')
}

export const secondsSince = (milliseconds: number) => (performance.now() - milliseconds) / 1000

function encodeHttp({ json, binary }: EncodedResponse): Answer {
  if (binary === undefined)
    return { status: 200, headers: { 'content-type': 'application/json' }, body: json }
  return {
    status: 200,
    headers: {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(binary.jsonLength),
    },
    body: partsOf({ json, binary }),
  }
}

export const partsOf = ({ json, binary }: EncodedResponse): (string | Uint8Array)[] => [
  ...(typeof json === 'string' ? [json] : json),
  ...(binary?.parts ?? []),
]

/**
 * The length of the JSON before the binary tensor data, or undefined where all of the body is JSON.
 * @throws {BadRequest} when the header is no length
 */
export function readJsonLength(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return undefined
  if (!/^\d{1,15}$/.test(String(header))) {
    throw new BadRequest(
      `Inference-Header-Content-Length is ${show(header)}; it must be a number of bytes`,
    )
  }
  return Number(header)
}

/**
 * Without Inference-Header-Content-Length the body is JSON, whatever it is called (binary tensor data extension).
 * @throws {Refused} 415
 */
export function checkMediaType({ headers }: Request, jsonLength: number | undefined): void {
  const contentType = headers['content-type']
  if (
    contentType === undefined ||
    isJsonType(contentType) ||
    /^application\/octet-stream *(;|$)/i.test(contentType)
  )
    return
  throw new Refused(
    415,
    jsonLength === undefined
      ? `Content-Type ${show(contentType)} is not supported; send application/json (with curl: -H 'Content-Type: application/json')`
      : `Content-Type ${show(contentType)} is not supported; send application/octet-stream`,
  )
}

/** application/json, of UTF-8 where a charset is named. */
function isJsonType(contentType: string): boolean {
  const [type, ...parameters] = contentType.split(';').map(part => part.trim().toLowerCase())
  return (
    type === 'application/json' &&
    parameters.every(parameter => !parameter.startsWith('charset') || IS_UTF8.test(parameter))
  )
}

const IS_UTF8 = /^charset *= *("?)utf-?8\1$/
