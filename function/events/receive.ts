import type { IncomingHttpHeaders } from 'node:http'
import { type Answer, knownError, Refused, type Request } from '../handler.ts'
import type { Caller } from '../inference/batcher.ts'
import { countFailure, readJsonLength, type Service, secondsSince } from '../inference/infer.ts'
import type { LoadedModel } from '../inference/model.ts'
import { decodeParsedRequest, decodeRequest } from '../protocol/decode.ts'
import { type EncodedResponse, encodeResponse } from '../protocol/encode.ts'
import { BadRequest, ModelError } from '../protocol/errors.ts'
import { type ParsedJson, show } from '../protocol/json.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import {
  type CloudEvent,
  type Mode,
  readBatch,
  readBinaryEvent,
  readHeaders,
  readStructuredEvent,
  toHeaders,
  toJson,
} from './cloudevent.ts'
import { type Replier, replyAttributes } from './reply.ts'

/** What answering events takes besides the request. */
export interface EventService extends Service {
  readonly replier: Replier
}

/**
 * Answers a request that carries events. A Broker takes a 2xx answer for delivered only if it is empty or a CloudEvent, retries
 * after 404, 408, 409, 429 and 5xx, and sends the event to the dead letter sink after any other status: so a mistake in the event
 * is 400, a model that fails on it 422, and only what may succeed later is 503 or 504.
 */
export const receiveEvents = (request: Request, mode: Mode, caller: Caller, service: EventService): Promise<Answer> =>
  orError(RECEIVERS[mode](request, caller, service))

/** The same for an event in binary mode whose data a runtime has parsed already. */
export const receiveParsed = (headers: IncomingHttpHeaders, data: ParsedJson, caller: Caller, service: EventService): Promise<Answer> =>
  orError(answerParsed(headers, data, caller, service))

async function orError(answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer
  } catch (error) {
    return knownError(error, 422)
  }
}

const ACKNOWLEDGED: Answer = { status: 204, headers: {}, body: '' }

async function receiveBinary({ headers, body }: Request, caller: Caller, service: EventService): Promise<Answer> {
  const jsonLength = readJsonLength(headers['inference-header-content-length'])
  return answerEvent(readBinaryEvent(headers, body), jsonLength, caller, service)
}

const answerParsed = async (headers: IncomingHttpHeaders, json: ParsedJson, caller: Caller, service: EventService) =>
  answerEvent({ attributes: readHeaders(headers), data: { json } }, undefined, caller, service)

/** @returns the reply in binary mode */
async function answerEvent(event: CloudEvent, jsonLength: number | undefined, caller: Caller, service: EventService): Promise<Answer> {
  if (wouldGoRound(event, service.replier)) return ACKNOWLEDGED
  const { json, binary } = await inferEvent(loaded => decodeData(event, jsonLength, loaded), caller, service)
  const contentType = binary === undefined ? 'application/json' : 'application/octet-stream'
  const headers = toHeaders(replyAttributes(event.attributes, 'response', service.replier, contentType))
  if (binary === undefined) return { status: 200, headers, body: json }
  return {
    status: 200,
    headers: { ...headers, 'inference-header-content-length': String(binary.jsonLength) },
    body: [json, ...binary.parts],
  }
}

async function receiveStructured({ headers, body }: Request, caller: Caller, service: EventService): Promise<Answer> {
  checkFormat(headers['content-type'], 'application/cloudevents+json')
  const event = readStructuredEvent(body)
  if (wouldGoRound(event, service.replier)) return ACKNOWLEDGED
  const reply = await replyInJson(event, caller, service)
  return { status: 200, headers: { 'content-type': 'application/cloudevents+json; charset=utf-8' }, body: reply }
}

async function receiveBatch({ headers, body }: Request, caller: Caller, service: EventService): Promise<Answer> {
  checkFormat(headers['content-type'], 'application/cloudevents-batch+json')
  const events = readBatch(body).filter(event => !wouldGoRound(event, service.replier))
  if (events.length === 0) return ACKNOWLEDGED
  // All at once, so that they wait together and can be one run.
  const replies = await Promise.all(events.map(event => replyInBatch(event, caller, service)))
  return { status: 200, headers: { 'content-type': 'application/cloudevents-batch+json; charset=utf-8' }, body: `[${replies.join(',')}]` }
}

/** The reply, or an event that says what was wrong; what may succeed later fails the whole batch, to be delivered again. */
async function replyInBatch(event: CloudEvent, caller: Caller, service: EventService): Promise<string> {
  try {
    return await replyInJson(event, caller, service)
  } catch (error) {
    if (!(error instanceof BadRequest || error instanceof ModelError)) {
      // Nobody will read the others' answers now.
      caller.gone = true
      throw error
    }
    const attributes = replyAttributes(event.attributes, 'error', service.replier, 'application/json')
    return toJson(attributes, JSON.stringify({ error: error.message }))
  }
}

/**
 * One event's inference, counted.
 * @throws {BadRequest|ModelError|Overloaded|NotReady|DeadlinePassed}
 */
async function inferEvent(
  decode: (loaded: LoadedModel) => InferenceRequest,
  caller: Caller,
  { model, metrics }: Service,
): Promise<EncodedResponse> {
  metrics.began()
  try {
    const loaded = await model.whenLoaded(caller)
    const request = decode(loaded)
    const encoded = encodeResponse(await loaded.infer(request, caller), request.outputs)
    metrics.answered('cloudevent', 'success', secondsSince(caller.arrived))
    return encoded
  } catch (error) {
    countFailure(error, 'cloudevent', caller, metrics)
    throw error
  }
}

function decodeForJson(event: CloudEvent, loaded: LoadedModel): InferenceRequest {
  const request = decodeData(event, undefined, loaded)
  if (!request.outputs.some(({ binary }) => binary)) return request
  throw new BadRequest('binary_data outputs need an event in binary mode; the reply to a structured or batched one carries JSON')
}

/** @param jsonLength as {@link decodeRequest}; only binary mode has a header to say it */
function decodeData({ data, attributes }: CloudEvent, jsonLength: number | undefined, { signature }: LoadedModel): InferenceRequest {
  if (data === undefined) throw new BadRequest('the event has no data; it must be an inference request')
  const contentType = String(attributes.datacontenttype ?? 'application/json')
  if (!/^(?:application\/octet-stream|[^;]+[/+]json) *(?:;|$)/i.test(contentType) || !isInUtf8(contentType)) {
    throw new BadRequest(
      `the event's data is ${show(contentType)}; it must be application/json in UTF-8, or binary tensor data as application/octet-stream`,
    )
  }
  return 'json' in data ? decodeParsedRequest(data.json, signature) : decodeRequest(data.bytes, jsonLength, signature)
}

const RECEIVERS = { binary: receiveBinary, structured: receiveStructured, batched: receiveBatch }

/** One event's reply in the JSON event format, whose data can only be JSON. */
async function replyInJson(event: CloudEvent, caller: Caller, service: EventService): Promise<string> {
  const { json } = await inferEvent(loaded => decodeForJson(event, loaded), caller, service)
  return toJson(replyAttributes(event.attributes, 'response', service.replier, 'application/json'), json)
}

/** Events that must not be classified, or they would go round for ever: our own replies, and KServe's log of requests and responses. */
const wouldGoRound = ({ attributes }: CloudEvent, { source }: Replier) =>
  attributes.source === source || attributes.type.startsWith('org.kubeflow.serving.inference.')

function checkFormat(contentType = '', expected: string): void {
  const [type] = contentType.toLowerCase().split(';')
  if (type?.trim() === expected && isInUtf8(contentType)) return
  throw new Refused(415, `Content-Type ${show(contentType)} is not supported; events are taken as ${expected} in UTF-8`)
}

/** Whether a content type names no other charset. */
function isInUtf8(contentType: string): boolean {
  const charset = /;\s*charset\s*=\s*"?([^\s";]*)/i.exec(contentType)?.[1]
  return charset === undefined || /^utf-?8$/i.test(charset)
}
