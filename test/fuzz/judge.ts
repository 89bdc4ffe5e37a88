import { gunzipSync, inflateSync } from 'node:zlib'
import { type CloudEvent, HTTP } from 'cloudevents'
import type { Message } from '../../function/protocol/protobuf-decode.ts'
import { outputsOf } from '../grpc/messages.ts'
import { projectFolder } from '../server.ts'
import { parseExactly, toBytes, type WrittenTensor } from '../tensors.ts'
import type { HttpAnswer } from './client.ts'
import type { Asked, Call, Described, FuzzRequest, Target } from './requests.ts'
import { show } from './show.ts'

/**
 * Knative's dispatcher truncates a dead letter's `knativeerrordata` at this length, so longer JSON
 * would become invalid.
 */
const MOST_OF_AN_ERROR = 1_024

export function judge(
  request: FuzzRequest,
  answers: readonly HttpAnswer[],
  target: Target,
): string | undefined {
  for (const answer of answers) {
    const wrong =
      judgeCall(request, answer, target) ??
      judgeAnswer(request, answer) ??
      (request.asked && answer.status < 300
        ? judgeSuccess(request.asked, answer, target)
        : undefined)
    if (wrong !== undefined) return `${answer.status}: ${wrong}: ${show(answer.body)}`
  }
  return undefined
}

/**
 * A failing server returns UNKNOWN, INTERNAL or DATA_LOSS. INTERNAL is allowed for broken framing.
 */
const FAILURES = [2, 13, 15]

function judgeCall(
  { call, kind }: FuzzRequest,
  { status, body, call: answered }: HttpAnswer,
  target: Target,
): string | undefined {
  if (call === undefined || answered === undefined) return undefined
  if (FAILURES.includes(status) && !(status === 13 && kind === 'message framing'))
    return 'the status of a server failure; no request may make the server fail'
  if (status !== 0) {
    if (call.right !== undefined) return 'a valid call was refused'
    if (body.includes(projectFolder)) return 'the error reveals a file path on the server'
    return body.byteLength > 0 ? undefined : 'the error has no grpc-message'
  }
  if (call.method !== 'ModelInfer') return undefined
  if (answered.messages.length !== 1)
    return `the call got ${answered.messages.length} responses; expected 1`
  const [response = {}] = answered.messages
  if (response.model_name !== target.name)
    return `model_name is ${response.model_name}; expected ${target.name}`
  const outputs = outputsOf(response)
  for (const output of outputs) {
    const wrong = judgeOutput(output, output.bytes, target)
    if (wrong !== undefined) return `output ${output.name}: ${wrong}`
  }
  return call.right && judgeRightCall(call.right, response, target)
}

function judgeRightCall(
  { id, tensors }: NonNullable<Call['right']>,
  response: Message,
  { identity, outputs: described }: Target,
): string | undefined {
  if (response.id !== id) return `the id is ${response.id}; expected ${JSON.stringify(id)}`
  const outputs = outputsOf(response)
  if (outputs.length !== described.length)
    return `the response has ${outputs.length} outputs; expected ${described.length}`
  const [came, went] = [toBytes(tensors[0] as WrittenTensor), outputs[0]?.bytes as Buffer]
  return !identity || came.equals(went) || nansAlike(came, went)
    ? undefined
    : `the output is ${went.toString('hex', 0, 40)}; expected ${came.toString('hex', 0, 40)}`
}

function judgeAnswer(
  { asked, bytes, call, streams }: FuzzRequest,
  { status, headers, body }: HttpAnswer,
): string | undefined {
  if (streams !== undefined && streams > 0 && status !== 200) return 'a valid request was refused'
  if (asked?.right && status !== 200 && !(status === 413 && asked.mayBeTooLarge))
    return 'a valid request was refused'
  // 504 is correct for a request with its own deadline.
  if (status >= 500 && !(status === 504 && bytes.includes('timeout')))
    return 'the status of a server failure; no request may make the server fail'
  // The client reads only the status of these responses.
  if (call !== undefined || streams !== undefined) return undefined
  if (status < 300 || asked?.method === 'HEAD' || (body.byteLength === 0 && bytes.includes('HEAD')))
    return undefined
  if (status === 304 && bytes.includes('If-None-Match')) return undefined
  if (!/^application\/json\b/.test(headers.get('content-type') ?? ''))
    return `the error has the content type ${headers.get('content-type')}; expected application/json`
  const error = parsed(body)?.error
  if (typeof error !== 'string' || error === '') return 'the error has no "error"'
  if (/\n\s+at |\(?(?:node:|file:\/\/\/)[\w/]+:\d+/.test(error) || error.includes(projectFolder))
    return 'the error contains a stack trace'
  if (asked && body.byteLength > MOST_OF_AN_ERROR)
    return `the error has ${body.byteLength} bytes; allowed: ${MOST_OF_AN_ERROR}`
  if (status === 405 && !headers.has('allow')) return 'the header Allow is missing'
  return undefined
}

function judgeSuccess(asked: Asked, answer: HttpAnswer, target: Target): string | undefined {
  if (asked.method === 'OPTIONS')
    return answer.status === 204 && answer.headers.has('allow')
      ? undefined
      : 'the response to OPTIONS has no Allow'
  if (asked.method === 'HEAD') return undefined
  if (asked.method !== 'POST') {
    if (answer.headers.get('content-type') !== 'application/json') return undefined
    return parsed(answer.body) === undefined ? 'no JSON' : undefined
  }
  if (asked.path.startsWith('/v1/')) return judgePrediction(asked, answer, target)
  if (carriesEvent(asked)) return judgeEvent(asked, answer, target)
  const sent = sentRequest(header(asked, 'inference-header-content-length'), inflate(asked))
  return judgeInference(
    answer.body,
    header(answer, 'inference-header-content-length'),
    header(answer, 'content-type'),
    sent,
    target,
  )
}

// Inference

interface Sent {
  /** Undefined for a raw binary request. */
  readonly json: Record<string, unknown> | undefined
  readonly binary: Buffer
}

function sentRequest(jsonLength: string | undefined, body: Buffer): Sent {
  if (jsonLength === '0') return { json: undefined, binary: body }
  const end = jsonLength === undefined ? body.byteLength : Number(jsonLength)
  return { json: parsed(body.subarray(0, end)), binary: body.subarray(end) }
}

interface Output extends WrittenTensor {
  readonly parameters?: { readonly binary_data_size: number }
}

function judgeInference(
  body: Buffer,
  jsonLength: string | undefined,
  contentType: string | undefined,
  sent: Sent,
  target: Target,
): string | undefined {
  if (
    jsonLength === undefined
      ? contentType !== 'application/json'
      : contentType !== 'application/octet-stream'
  )
    return `the inference response has the content type ${contentType}`
  const json = parsed(jsonLength === undefined ? body : body.subarray(0, Number(jsonLength)))
  return json === undefined
    ? 'no JSON'
    : judgeResponse(
        json,
        body.subarray(jsonLength === undefined ? body.byteLength : Number(jsonLength)),
        sent,
        target,
      )
}

function judgeResponse(
  json: Record<string, unknown>,
  binary: Buffer,
  sent: Sent,
  target: Target,
): string | undefined {
  if (json.model_name !== target.name)
    return `model_name is ${json.model_name}; expected ${target.name}`
  if (json.model_version !== target.version)
    return `model_version is ${json.model_version}; expected ${target.version}`
  if (!Object.is(json.id, sent.json?.id))
    return `the id is ${JSON.stringify(json.id)}; expected ${JSON.stringify(sent.json?.id)}`
  const outputs = json.outputs as Output[]
  const asked = sent.json?.outputs as { name: string }[] | undefined
  const names = (asked?.length ? asked : target.outputs).map(({ name }) => name)
  if (String(outputs.map(({ name }) => name)) !== String(names))
    return `the outputs are [${outputs.map(({ name }) => name)}]; expected [${names}]`
  let at = 0
  for (const output of outputs) {
    const { parameters, data } = output
    if ((parameters === undefined) === (data === undefined))
      return `output ${output.name} has data and binary data, or neither`
    const bytes = parameters && binary.subarray(at, at + parameters.binary_data_size)
    at += parameters?.binary_data_size ?? 0
    const wrong =
      judgeOutput(output, bytes, target) ??
      (target.identity && output.name === 'y'
        ? judgeIdentity(output, bytes, sent, target)
        : undefined)
    if (wrong !== undefined) return `output ${output.name}: ${wrong}`
  }
  return at === binary.byteLength
    ? undefined
    : `the binary data has ${binary.byteLength} bytes; the outputs declare ${at}`
}

const BYTES_EACH: Readonly<Record<string, number>> = {
  BOOL: 1,
  UINT8: 1,
  INT8: 1,
  UINT16: 2,
  INT16: 2,
  FP16: 2,
  UINT32: 4,
  INT32: 4,
  FP32: 4,
  UINT64: 8,
  INT64: 8,
  FP64: 8,
}

const isFloat = (value: unknown) =>
  typeof value === 'number' ||
  typeof value === 'bigint' ||
  value === 'NaN' ||
  value === 'Infinity' ||
  value === '-Infinity'

function judgeOutput(
  { name, datatype, shape, data }: Output,
  bytes: Buffer | undefined,
  { outputs, anyRank }: Target,
): string | undefined {
  const described = outputs.find(output => output.name === name) as Described
  if (datatype !== described.datatype)
    return `the datatype is ${datatype}; expected ${described.datatype}`
  if (
    !anyRank &&
    (shape.length !== described.shape.length ||
      described.shape.some((size, i) => size !== -1 && size !== shape[i]))
  )
    return `the shape is [${shape}]; expected [${described.shape}]`
  const elements = shape.reduce((product, size) => product * size, 1)
  if (data !== undefined) {
    if (data.length !== elements) return `${data.length} elements for the shape [${shape}]`
    const fits = /^FP/.test(datatype)
      ? isFloat
      : (value: unknown) =>
          typeof value ===
          (datatype === 'BYTES'
            ? 'string'
            : datatype === 'BOOL'
              ? 'boolean'
              : typeof value === 'bigint'
                ? 'bigint'
                : 'number')
    return data.every(fits) ? undefined : `the data is not ${datatype}`
  }
  const size = bytes?.byteLength ?? 0
  if (datatype !== 'BYTES')
    return size === elements * (BYTES_EACH[datatype] as number)
      ? undefined
      : `${size} bytes for the shape [${shape}]`
  let at = 0
  let count = 0
  for (; at < size && count <= elements; count++) at += 4 + (bytes as Buffer).readUInt32LE(at)
  return at === size && count === elements
    ? undefined
    : `${count} elements in ${size} bytes for the shape [${shape}]`
}

/** An identity model returns its input bit for bit; the sign of a NaN may differ. */
function judgeIdentity(
  output: Output,
  bytes: Buffer | undefined,
  { json, binary }: Sent,
  { inputs }: Target,
): string | undefined {
  const input = (json?.inputs as Output[] | undefined)?.find(({ name }) => name === inputs[0]?.name)
  const came =
    input?.data === undefined
      ? binary
      : toBytes({ ...input, data: (input.data as unknown[]).flat(64) as number[] })
  const went = bytes ?? toBytes(output)
  if (came.equals(went) || (output.datatype === 'FP32' && nansAlike(came, went))) return undefined
  return `the output is ${went.toString('hex', 0, 40)}; expected ${came.toString('hex', 0, 40)}`
}

function nansAlike(one: Buffer, other: Buffer): boolean {
  if (one.byteLength !== other.byteLength) return false
  for (let at = 0; at < one.byteLength; at += 4) {
    if (
      one.readInt32LE(at) !== other.readInt32LE(at) &&
      !(Number.isNaN(one.readFloatLE(at)) && Number.isNaN(other.readFloatLE(at)))
    )
      return false
  }
  return true
}

// V1

/**
 * A V1 response has one prediction per instance, or outputs. For an identity model, they must equal
 * the inputs, except for FP32 values, which JSON may round.
 */
function judgePrediction(asked: Asked, { body }: HttpAnswer, target: Target): string | undefined {
  const [sent, json] = [parsed(inflate(asked)), parsed(body)]
  if (sent === undefined || json === undefined) return 'no JSON'
  const [came, went] =
    sent.instances === undefined ? [sent.inputs, json.outputs] : [sent.instances, json.predictions]
  if (went === undefined || Object.keys(json).length !== 1)
    return `the response has the members ${Object.keys(json)}`
  if (sent.instances !== undefined && (went as unknown[]).length !== (came as unknown[]).length)
    return `${(went as unknown[]).length} predictions for ${(came as unknown[]).length} instances`
  const [input, output] = [target.inputs[0], target.outputs[0]]
  if (!target.identity || input?.datatype === 'FP32' || output === undefined) return undefined
  const [one, other] = [came, went].map(value =>
    toBytes({ ...output, data: valuesOf(value, input?.name) }),
  )
  return one?.equals(other as Buffer)
    ? undefined
    : `the output is ${other?.toString('hex', 0, 40)}; expected ${one?.toString('hex', 0, 40)}`
}

/** The flat values of a row or column, whether or not the value names the input. */
const valuesOf = (value: unknown, name: string | undefined): number[] =>
  [value]
    .flat(64)
    .flatMap(each =>
      typeof each === 'object'
        ? [(each as Record<string, unknown>)[name as string]].flat(64)
        : each,
    ) as number[]

// Events

const carriesEvent = (asked: Asked) =>
  /^application\/cloudevents/i.test(header(asked, 'content-type')?.trim() ?? '') ||
  (/^\/?(?:$|\?)/.test(asked.path) &&
    ['specversion', 'id', 'source', 'type'].some(name => header(asked, `ce-${name}`) !== undefined))

interface SentEvent {
  readonly id: string
  readonly source: string
  readonly type: string
  readonly data?: Sent['json']
  readonly data_base64?: string | null
}

/** Whether the server acknowledges the event without a reply, to avoid an endless loop. */
const isOwn = ({ source, type }: SentEvent, { name }: Target) =>
  source === `/onnx-function/${encodeURIComponent(name)}` ||
  type.startsWith('org.kubeflow.serving.inference.')

/** The reply to an event is empty or one event; the reply to a batch has one event for each. */
function judgeEvent(
  asked: Asked,
  { status, headers, body }: HttpAnswer,
  target: Target,
): string | undefined {
  if (status === 204 || body.byteLength === 0)
    return status === 204 && body.byteLength === 0
      ? undefined
      : 'an empty reply must have status 204, and a reply with status 204 must be empty'
  const contentType = headers.get('content-type') ?? ''
  const inBody = /^application\/cloudevents/i.test(contentType)
  let events: CloudEvent<unknown>[]
  try {
    const text = body.toString()
    const made = HTTP.toEvent({
      headers: Object.fromEntries(headers),
      body: inBody || contentType === 'application/json' ? text : (body as never),
    })
    events = (Array.isArray(made) ? made : [made]) as CloudEvent<unknown>[]
    for (const event of events) event.validate()
    const spoiled = [...headers].find(
      ([name, value]) => name.startsWith('ce-') && FORBIDDEN.test(decoded(value)),
    )
    if (spoiled !== undefined) return `the header ${spoiled[0]} contains a forbidden character`
  } catch (error) {
    return `the reply is not a CloudEvent: ${(error as Error).message}`
  }
  const sentBody = inflate(asked)
  if (!inBody) {
    const length = headers.get('inference-header-content-length')
    return judgeInference(
      body,
      length,
      contentType,
      sentRequest(header(asked, 'inference-header-content-length'), sentBody),
      target,
    )
  }
  const came = ([parseExactly(withoutMark(sentBody))].flat() as SentEvent[]).filter(
    event => !isOwn(event, target),
  )
  const went = [parseExactly(body.toString())].flat() as Record<string, unknown>[]
  if (went.length === 0) return 'the reply is an empty batch; expected no body'
  if (went.length !== came.length)
    return `the reply has ${went.length} events; expected ${came.length}`
  if (/batch/.test(contentType) !== /batch/i.test(header(asked, 'content-type') ?? ''))
    return 'the reply to a batch is not a batch, or the reply to an event is a batch'
  for (const [i, event] of went.entries()) {
    const { id, data: sent, data_base64: base64 } = came[i] as SentEvent
    if (event.subject !== id)
      return `the reply to event ${i} has the subject ${event.subject}; expected the id ${id}`
    const spoiled = Object.entries(event).find(
      ([, value]) => typeof value === 'string' && FORBIDDEN.test(value),
    )
    if (spoiled !== undefined) return `the attribute ${spoiled[0]} contains a forbidden character`
    const data = event.data as Record<string, unknown>
    if (String(event.type).endsWith('.error')) {
      if (typeof data.error !== 'string' || data.error === '')
        return 'an error event has no "error"'
      continue
    }
    const wrong = judgeResponse(
      data,
      NOTHING,
      { json: base64 == null ? sent : parsed(Buffer.from(base64, 'base64')), binary: NOTHING },
      target,
    )
    if (wrong !== undefined) return wrong
  }
  return undefined
}

// Pieces

/** No attribute may contain these characters (CloudEvents specification, "Type System"). */
const FORBIDDEN = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u

/** A header's percent-encoding (HTTP binding, section 3.1.3.2). */
function decoded(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

const NOTHING = Buffer.alloc(0)

function header(of: Asked | HttpAnswer, name: string): string | undefined {
  if ('status' in of) return of.headers.get(name)
  return of.headers.find(([other]) => other.toLowerCase() === name)?.[1].trim()
}

function inflate(asked: Asked): Buffer {
  const encoding = header(asked, 'content-encoding')?.toLowerCase()
  if (encoding === 'gzip' || encoding === 'x-gzip') return gunzipSync(asked.body)
  return encoding === 'deflate' ? inflateSync(asked.body) : asked.body
}

const withoutMark = (body: Buffer) => body.toString().replace(/^\ufeff/, '')

/** The body with all digits of integers; undefined if the body is not a JSON object. */
function parsed(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value = parseExactly(withoutMark(body))
    return typeof value === 'object' && value !== null
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
