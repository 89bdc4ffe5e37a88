import type { IncomingHttpHeaders } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import {
  type Answer,
  bytesOf,
  type Caller,
  callerWithin,
  hangUp,
  knownError,
  Refused,
  type Request,
} from '../answer.ts'
import type { DataPlane } from '../dataplane.ts'
import { meaningOf } from '../errors.ts'
import type { Model } from '../inference/model.ts'
import { readJsonLength } from '../protocol/binary.ts'
import { BytesCodec, type Codec, ParsedCodec, type ResponseData } from '../protocol/codec.ts'
import { type EncodedResponse, JsonSize, partsOf } from '../protocol/encode.ts'
import { BadRequest, TooLarge } from '../protocol/errors.ts'
import { type ParsedJson, show } from '../protocol/json.ts'
import { isJson, mediaTypeOf } from '../protocol/media-type.ts'
import { Steps } from '../steps.ts'
import type { Content, Reply } from '../transform/call.ts'
import type { BodyAnswer } from '../transform/contract.ts'
import {
  type Attributes,
  beginJson,
  type CloudEvent,
  type EventData,
  type Mode,
  readBatch,
  readBinaryEvent,
  readHeaders,
  readStructuredEvent,
  toHeaders,
  toJson,
} from './cloudevent.ts'
import { type Replier, replyAttributes } from './reply.ts'

export interface EventContext {
  readonly dataPlane: DataPlane
  readonly model: Pick<Model, 'limits'>
  readonly replier: Replier
  /** Needed only if the data is not a V2 request. */
  readonly codecOf?: CodecOf
  /** Needed only if an event is more than one inference. */
  readonly answer?: AnswerEvent
}

/** Answers one event. @throws {BadRequest} and the errors of the data plane */
export type AnswerEvent = (
  event: CloudEvent,
  caller: Caller,
  context: EventContext,
) => Promise<Reply>

/** Reads an event's data. @throws {BadRequest} */
export type CodecOf = (data: EventData, binding: Binding) => Codec<EncodedResponse>

/**
 * Answers a request with events. A Broker counts an event as delivered only if the 2xx response is
 * empty or a CloudEvent.
 */
export const receiveEvents = (
  request: Request,
  mode: Mode,
  caller: Caller,
  context: EventContext,
): Promise<Answer> => orError(RECEIVERS[mode](request, caller, context))

/** Like {@link receiveEvents}, for an event in binary mode whose data a runtime has parsed. */
export const receiveParsed = (
  headers: IncomingHttpHeaders,
  data: ParsedJson,
  caller: Caller,
  context: EventContext,
): Promise<Answer> => orError(answerParsed(headers, data, caller, context))

async function orError(answer: Promise<Answer>): Promise<Answer> {
  try {
    return await answer
  } catch (error) {
    return knownError(error, 'event')
  }
}

/**
 * The limit on the bytes of events in JSON. Reading JSON blocks the main thread (20 ms for 1 MiB,
 * docs/performance.md).
 */
const MOST_JSON_BYTES = 2 ** 20

/** The bytes of a batch that are parsed per turn of the event loop. */
const BYTES_AT_A_TIME = 64 * 1024

/**
 * Limits on the events of a batch that start together. Other requests are handled between these groups.
 */
const TOGETHER = { events: 256, bytes: 128 * 1024 }

/** How to read an event's data and write the reply's data. */
export interface Binding {
  readonly responseData: ResponseData
  /** Only binary mode has a header for this length. */
  readonly jsonLength: number | undefined
}

/** Replies in JSON cannot carry binary tensor data. */
const IN_JSON: Binding = { responseData: 'json', jsonLength: undefined }

const ALL_JSON: Binding = { responseData: 'binary', jsonLength: undefined }

const ACKNOWLEDGED: Answer = { status: 204, headers: {}, body: '' }

async function receiveBinary(
  { headers, body }: Request,
  caller: Caller,
  context: EventContext,
): Promise<Answer> {
  const { event, jsonLength } = await readOrCount(caller, context, () => ({
    event: readBinaryEvent(headers, body),
    jsonLength: readJsonLength(headers['inference-header-content-length']),
  }))
  return answerEvent(event, { responseData: 'binary', jsonLength }, caller, context)
}

async function answerParsed(
  headers: IncomingHttpHeaders,
  json: ParsedJson,
  caller: Caller,
  context: EventContext,
): Promise<Answer> {
  const attributes = await readOrCount(caller, context, () => readHeaders(headers))
  return answerEvent({ attributes, data: { json } }, ALL_JSON, caller, context)
}

/** Counts an error of `read`, which fails all events of the request. */
async function readOrCount<Events>(
  caller: Caller,
  { dataPlane }: EventContext,
  read: () => Events | Promise<Events>,
): Promise<Events> {
  try {
    return await read()
  } catch (error) {
    dataPlane.refused(error, 'cloudevent', caller)
    throw error
  }
}

async function answerEvent(
  event: CloudEvent,
  binding: Binding,
  caller: Caller,
  context: EventContext,
): Promise<Answer> {
  goOn(event, caller)
  if (wouldGoRound(event, context.replier)) return ACKNOWLEDGED
  const { content, event: says } = await replyTo(event, binding, caller, context)
  if (content === undefined) return ACKNOWLEDGED
  const contentType = contentTypeOf(content)
  const headers = toHeaders(
    replyAttributes(event.attributes, 'response', context.replier, { contentType, event: says }),
  )
  if (!('json' in content)) return { status: 200, headers, body: partsOfBody(content) }
  const { binary, json } = content
  if (binary === undefined) return { status: 200, headers, body: json }
  return {
    status: 200,
    headers: { ...headers, 'inference-header-content-length': String(binary.jsonLength) },
    body: partsOf(content),
  }
}

function contentTypeOf(content: Content): string {
  if (!('json' in content)) return content.contentType
  return content.binary === undefined ? 'application/json' : 'application/octet-stream'
}

const partsOfBody = ({ body }: BodyAnswer) => (typeof body === 'string' ? body : [body])

async function receiveStructured(
  { headers, body }: Request,
  caller: Caller,
  context: EventContext,
): Promise<Answer> {
  const event = await readOrCount(caller, context, () => {
    checkFormat(headers['content-type'], 'application/cloudevents+json')
    checkSize(body, context)
    return readStructuredEvent(body)
  })
  goOn(event, caller)
  if (wouldGoRound(event, context.replier)) return ACKNOWLEDGED
  const reply = await replyTo(event, IN_JSON, caller, context)
  if (reply.content === undefined) return ACKNOWLEDGED
  return {
    status: 200,
    headers: { 'content-type': 'application/cloudevents+json; charset=utf-8' },
    body: replyInJson(event, reply.content, reply, context),
  }
}

function replyInJson(
  { attributes: request }: CloudEvent,
  content: Content,
  { event }: Reply,
  { replier }: EventContext,
): string | readonly (string | Uint8Array)[] {
  const contentType = contentTypeOf(content)
  const attributes = replyAttributes(request, 'response', replier, { contentType, event })
  if (!('json' in content)) return bodyInJson(attributes, content)
  const { json } = content
  return typeof json === 'string' ? toJson(attributes, json) : [beginJson(attributes), ...json, '}']
}

/**
 * Writes a reply with a body: text as a string, other bodies as Base64. JSON text is Base64, too: a
 * string would be a different JSON value.
 */
function bodyInJson(attributes: Attributes, { body, contentType }: BodyAnswer): string {
  if (typeof body === 'string' && !isJson(mediaTypeOf(contentType).type))
    return toJson(attributes, JSON.stringify(body))
  const base64 = Buffer.from(body as Uint8Array).toString('base64')
  return `${beginJson(attributes, 'data_base64')}"${base64}"}`
}

async function receiveBatch(
  { headers, body }: Request,
  caller: Caller,
  context: EventContext,
): Promise<Answer> {
  const groups = await readOrCount(caller, context, () => {
    checkFormat(headers['content-type'], 'application/cloudevents-batch+json')
    checkSize(body, context)
    return readGroups(body, context)
  })
  if (groups.length === 0) return ACKNOWLEDGED
  const replies: string[] = []
  const size = new JsonSize(context.model.limits, 'send fewer events in a batch')
  for (const group of groups) {
    replies.push(...(await replyTogether(group, size, caller, context)))
    // Events may fail before they wait for a run, without giving other requests a turn.
    await nextTurn()
  }
  if (replies.length === 0) return ACKNOWLEDGED
  return {
    status: 200,
    headers: { 'content-type': 'application/cloudevents-batch+json; charset=utf-8' },
    body: `[${replies.join(',')}]`,
  }
}

/**
 * Returns the events to answer, in groups that run together. Reads the whole batch first, because
 * one invalid event fails the whole batch.
 */
async function readGroups(body: Uint8Array, { replier }: EventContext): Promise<CloudEvent[][]> {
  const steps = new Steps(BYTES_AT_A_TIME)
  const groups: CloudEvent[][] = []
  let group: CloudEvent[] = []
  let groupBytes = 0
  for (const { event, bytes } of readBatch(body)) {
    if (!wouldGoRound(event, replier)) {
      const isFull = group.length === TOGETHER.events || groupBytes + bytes > TOGETHER.bytes
      if (groups.length === 0 || isFull) {
        group = []
        groups.push(group)
        groupBytes = 0
      }
      group.push(event)
      groupBytes += bytes
    }
    const pause = steps.done(bytes)
    if (pause !== undefined) await pause
  }
  return groups
}

/**
 * Returns the replies to events that run together.
 * @param size the size of all replies to the batch
 * @throws the first error that fails the entire batch
 */
async function replyTogether(
  events: readonly CloudEvent[],
  size: JsonSize,
  caller: Caller,
  context: EventContext,
): Promise<string[]> {
  const reply = async (event: CloudEvent) => {
    const json = await replyInBatch(event, caller, context)
    if (json !== undefined) size.add(Buffer.byteLength(json))
    return json
  }
  try {
    return (await Promise.all(events.map(reply))).filter(json => json !== undefined)
  } catch (error) {
    // Cancel the other events, because their replies will not be sent.
    hangUp(caller)
    throw error
  }
}

/**
 * Returns the reply, or an event that describes the error. A retryable error fails the whole batch,
 * which the Broker then delivers again.
 * @returns undefined if the transform does not reply to the event
 */
async function replyInBatch(
  event: CloudEvent,
  caller: Caller,
  context: EventContext,
): Promise<string | undefined> {
  try {
    const reply = await replyTo(event, IN_JSON, caller, context)
    if (reply.content === undefined) return undefined
    const json = replyInJson(event, reply.content, reply, context)
    return typeof json === 'string' ? json : bytesOf(json).toString()
  } catch (error) {
    if (meaningOf(error)?.endsOneEvent !== true) throw error
    const contentType = 'application/json'
    const attributes = replyAttributes(event.attributes, 'error', context.replier, { contentType })
    return toJson(attributes, JSON.stringify({ error: (error as Error).message }))
  }
}

/**
 * Answers one event and counts it.
 * @throws {BadRequest|ModelError|Overloaded|NotReady|DeadlinePassed}
 */
async function replyTo(
  event: CloudEvent,
  binding: Binding,
  sender: Caller,
  context: EventContext,
): Promise<Reply> {
  const { dataPlane, codecOf = v2Codec, answer } = context
  const caller = callerOf(event, sender)
  if (answer !== undefined) return answer(event, caller, context)
  const read = () => codecOf(dataOf(event), binding)
  return { content: await dataPlane.infer(read, 'cloudevent', caller) }
}

const v2Codec: CodecOf = (data, { responseData, jsonLength }) =>
  'json' in data
    ? new ParsedCodec(data.json, responseData)
    : new BytesCodec({ body: data.bytes, jsonLength, responseData })

/** A request without a trace continues the trace of its only event. */
function goOn({ attributes }: CloudEvent, caller: Caller): void {
  caller.traceparent ??= attributes.traceparent?.toString()
}

/** Returns one event's caller. If traces are exported, each event has its own times. */
const callerOf = ({ attributes }: CloudEvent, sender: Caller): Caller =>
  sender.trace === undefined ? sender : callerWithin(sender, sender.trace.child(attributes))

function dataOf({ data, attributes }: CloudEvent): EventData {
  if (data === undefined)
    throw new BadRequest('the event has no data; send an inference request as its data')
  const contentType = String(attributes.datacontenttype ?? 'application/json')
  if (
    !/^(?:application\/octet-stream|[^;]+[/+]json) *(?:;|$)/i.test(contentType) ||
    !isInUtf8(contentType)
  ) {
    throw new BadRequest(
      `the content type of the event's data is ${show(contentType)}; it must be application/json in UTF-8, or binary tensor data as application/octet-stream`,
    )
  }
  return data
}

const RECEIVERS = { binary: receiveBinary, structured: receiveStructured, batched: receiveBatch }

/**
 * Whether an event's reply would loop forever: the event is this function's own reply, or comes
 * from KServe's log of requests and responses.
 */
const wouldGoRound = ({ attributes }: CloudEvent, { source }: Replier) =>
  attributes.source === source || attributes.type.startsWith('org.kubeflow.serving.inference.')

function checkSize({ byteLength }: Uint8Array, { model }: EventContext): void {
  const { maxJsonBytes } = model.limits
  const [most, variable] =
    maxJsonBytes < MOST_JSON_BYTES ? [maxJsonBytes, ' (MAX_JSON_BYTES)'] : [MOST_JSON_BYTES, '']
  if (byteLength <= most) return
  throw new TooLarge(
    `${byteLength} bytes of events in JSON exceed the ${most} bytes allowed${variable}; send large data as an event in binary mode`,
  )
}

function checkFormat(contentType = '', expected: string): void {
  const [type] = contentType.toLowerCase().split(';')
  if (type?.trim() === expected && isInUtf8(contentType)) return
  throw new Refused(
    'UNSUPPORTED_MEDIA_TYPE',
    `Content-Type ${show(contentType)} is not supported; send events as ${expected} in UTF-8`,
  )
}

function isInUtf8(contentType: string): boolean {
  const charset = /;\s*charset\s*=\s*"?([^\s";]*)/i.exec(contentType)?.[1]
  return charset === undefined || /^utf-?8$/i.test(charset)
}
