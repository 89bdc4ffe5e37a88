import type { Reply, Send, Sent } from '../connection.ts'
import { toBytes } from '../datatypes.ts'
import { parseJson, toJson } from '../json.ts'
import { Inapplicable, type Tensor, type Value } from '../point.ts'
import { type Call, type CallReply, frame, STATUS } from './connection.ts'
import {
  hasContents,
  type InferAnswer,
  type InferCall,
  inferRequest,
  methodOf,
  nameRequest,
  type Parameters,
  readAnswer,
  tensorOf,
} from './messages.ts'
import { isTrue, messagesOf, readFields, textOf } from './protobuf.ts'

/*
 * Sends an HTTP request over gRPC, and returns the response in HTTP's form, so that points about
 * the meaning of a request also test gRPC. Points about JSON or HTTP do not apply.
 */

/** The returned function throws Inapplicable if gRPC cannot express the request. */
export const overGrpc =
  (call: Call): Send =>
  async sent => {
    const { method, message, read } = translate(sent)
    const reply = await call({ method: methodOf(method), frames: frame(message) })
    return answerOf(reply, read)
  }

interface Translated {
  readonly method: string
  readonly message: Buffer
  readonly read: (message: Buffer) => Body
}

interface Body {
  readonly json: unknown
  readonly parts?: readonly Buffer[]
}

const STATUSES: Readonly<Record<number, number>> = {
  [STATUS.OK]: 200,
  [STATUS.INVALID_ARGUMENT]: 400,
  [STATUS.DEADLINE_EXCEEDED]: 504,
  [STATUS.NOT_FOUND]: 404,
  [STATUS.PERMISSION_DENIED]: 403,
  [STATUS.RESOURCE_EXHAUSTED]: 413,
  [STATUS.UNIMPLEMENTED]: 404,
  [STATUS.INTERNAL]: 500,
  [STATUS.UNAVAILABLE]: 503,
  [STATUS.UNAUTHENTICATED]: 401,
}

function answerOf({ status, message, messages }: CallReply, read: Translated['read']): Reply {
  const [answer] = messages
  if (status !== STATUS.OK || answer === undefined)
    return {
      status: STATUSES[status] ?? 500,
      headers: onlyLength(undefined),
      body: Buffer.from(toJson({ error: message })),
    }
  const { json, parts } = read(answer)
  const header = Buffer.from(toJson(json))
  return {
    status: 200,
    headers: onlyLength(parts === undefined ? undefined : header.byteLength),
    body: Buffer.concat([header, ...(parts ?? [])]),
  }
}

/**
 * Has only the header with the JSON length. A point that reads another header does not apply,
 * because gRPC has no such header.
 */
const onlyLength = (length: number | undefined): Reply['headers'] =>
  new Proxy(
    {},
    {
      get(_, name) {
        if (name === 'content-encoding') return undefined
        if (name === 'inference-header-content-length') return length && String(length)
        throw new Inapplicable(`gRPC does not have the header ${String(name)}`)
      },
    },
  )

function translate(sent: Sent): Translated {
  const { path, method = 'POST', chunkBytes, bytewise, headers } = sent
  const isInference = path.endsWith('/infer')
  if (chunkBytes !== undefined || bytewise || method !== (isInference ? 'POST' : 'GET'))
    throw new Inapplicable('the point is about HTTP')
  const known = isInference ? ['content-type', 'inference-header-content-length'] : []
  const other = Object.keys(headers ?? {}).find(name => !known.includes(name.toLowerCase()))
  if (other !== undefined) throw new Inapplicable(`gRPC does not have the header ${other}`)
  const { 'content-type': type = MEDIA_TYPES[0] } = headers ?? {}
  if (!MEDIA_TYPES.includes(type)) throw new Inapplicable('gRPC has no media types')
  for (const [pattern, make] of ROUTES) {
    const match = pattern.exec(path)
    if (match !== null) return make(match.slice(1).map(decoded), sent)
  }
  throw new Inapplicable('gRPC has no such path')
}

const MEDIA_TYPES: readonly unknown[] = ['application/json', 'application/octet-stream']

function decoded(segment = ''): string {
  try {
    const text = decodeURIComponent(segment)
    if (encodeURIComponent(text) === segment) return text
  } catch {
    // Invalid percent-encoding gets the error below, too.
  }
  throw new Inapplicable('gRPC has no percent-encoding')
}

const simple = (
  method: string,
  flags: Readonly<Record<string, number>>,
  more: object = {},
): Translated => ({
  method,
  message: Buffer.alloc(0),
  read(message) {
    const fields = readFields(message)
    const read = Object.entries(flags).map(([name, field]) => [name, isTrue(fields, field)])
    return { json: { ...more, ...Object.fromEntries(read) } }
  },
})

const serverMetadata = (): Translated => ({
  method: 'ServerMetadata',
  message: Buffer.alloc(0),
  read(message) {
    const fields = readFields(message)
    const extensions = messagesOf(fields, 3).map(String)
    return { json: { name: textOf(fields, 1), version: textOf(fields, 2), extensions } }
  },
})

const modelReady = ([name = '', version = '']: readonly string[]): Translated => ({
  method: 'ModelReady',
  message: nameRequest(name, version),
  read: message => ({ json: { name, ready: isTrue(readFields(message), 1) } }),
})

const modelMetadata = ([name = '', version = '']: readonly string[]): Translated => ({
  method: 'ModelMetadata',
  message: nameRequest(name, version),
  read(message) {
    const fields = readFields(message)
    const versions = messagesOf(fields, 2).map(String)
    const tensors = (field: number) =>
      messagesOf(fields, field).map(tensor => tensorOf(readFields(tensor)))
    return {
      json: {
        name: textOf(fields, 1),
        ...(versions.length > 0 && { versions }),
        platform: textOf(fields, 3),
        inputs: tensors(4),
        outputs: tensors(5),
      },
    }
  },
})

const ROUTES: readonly (readonly [RegExp, (path: readonly string[], sent: Sent) => Translated])[] =
  [
    [/^\/v2\/health\/live$/, () => simple('ServerLive', { live: 1 })],
    [/^\/v2\/health\/ready$/, () => simple('ServerReady', { ready: 1 }, { live: true })],
    [/^\/v2$/, () => serverMetadata()],
    [/^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?\/ready$/, modelReady],
    [/^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?$/, modelMetadata],
    [/^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?\/infer$/, infer],
  ]

function infer(
  [model = '', version = '']: readonly string[],
  { headers = {}, body = '' }: Sent,
): Translated {
  const length = headers['inference-header-content-length']
  const bytes = Buffer.from(body as string)
  const jsonLength = length === undefined ? bytes.byteLength : Number(length)
  const json = readJson(bytes.subarray(0, jsonLength))
  const call = length === undefined ? typedCall(json) : rawCall(json, bytes.subarray(jsonLength))
  return {
    method: 'ModelInfer',
    message: inferRequest({ ...call, model, version }),
    read: message => bodyOf(readAnswer(message)),
  }
}

/** Accepts only the notation of this suite: a point with another notation tests JSON itself. */
function readJson(bytes: Buffer): Json {
  const text = bytes.toString()
  let json: unknown
  try {
    json = parseJson(text)
  } catch {
    throw new Inapplicable('the point is about JSON')
  }
  if (toJson(json) !== text || Buffer.from(text).compare(bytes) !== 0)
    throw new Inapplicable('the point is about the notation of JSON')
  return only(json, ['id', 'parameters', 'inputs', 'outputs'])
}

type Json = Readonly<Record<string, unknown>>

/** @throws {Inapplicable} if the value has other fields */
function only(value: unknown, fields: readonly string[]): Json {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new Inapplicable('a message cannot have a field of a wrong type')
  const other = Object.keys(value).find(name => !fields.includes(name))
  if (other !== undefined) throw new Inapplicable(`the message has no field ${other}`)
  return value as Json
}

type Request = Omit<InferCall, 'model' | 'version'>

const INPUT_FIELDS = ['name', 'datatype', 'shape', 'data', 'parameters']

function typedCall(json: Json): Request {
  const inputs = list(json.inputs).map(value => {
    const input = only(value, INPUT_FIELDS)
    const datatype = text(input.datatype)
    if (!hasContents(datatype)) throw new Inapplicable(`gRPC has no typed contents for ${datatype}`)
    const shape = shapeOf(input.shape)
    const data = valuesOf(datatype, list(input.data))
    return { ...tensor(input), shape, data, parameters: parametersOf(input.parameters) }
  })
  return { ...common(json, ['binary_data', 'binary_data_output']), inputs }
}

function rawCall(json: Json, binary: Buffer): Request {
  let at = 0
  const raw: Buffer[] = []
  const inputs = list(json.inputs).map(value => {
    const input = only(value, ['name', 'datatype', 'shape', 'parameters'])
    const { binary_data_size: size, ...parameters } = parametersOf(input.parameters) ?? {}
    if (typeof size !== 'number' || size < 0 || at + size > binary.byteLength)
      throw new Inapplicable('gRPC has no binary_data_size')
    raw.push(binary.subarray(at, at + size))
    at += size
    return { ...tensor(input), shape: shapeOf(input.shape), parameters }
  })
  if (at < binary.byteLength)
    throw new Inapplicable('a gRPC message cannot have bytes after the last tensor')
  const { parameters, outputs = [] } = json
  const isBinary = (of: unknown, name: string) =>
    parametersOf((of as Json)?.parameters)?.[name] === true
  const allBinary =
    list(outputs).length === 0
      ? isBinary({ parameters }, 'binary_data_output')
      : list(outputs).every(output => isBinary(output, 'binary_data'))
  if (!allBinary) throw new Inapplicable('gRPC returns only raw contents for raw contents')
  const { outputs: asked = [], ...rest } = common(json, [])
  const without = (given: Parameters = {}, name: string) =>
    Object.fromEntries(Object.entries(given).filter(([key]) => key !== name))
  return {
    ...rest,
    parameters: without(rest.parameters, 'binary_data_output'),
    outputs: asked.map(({ name, parameters }) => ({
      name,
      parameters: without(parameters, 'binary_data'),
    })),
    inputs,
    raw,
  }
}

/** Converts the fields common to all requests. @param foreign parameters that only HTTP has */
function common({ id, parameters, outputs }: Json, foreign: readonly string[]) {
  const ofHttp = (given: Parameters | undefined) =>
    Object.keys(given ?? {}).some(name => foreign.includes(name))
  const read = {
    id: id === undefined ? undefined : text(id),
    parameters: parametersOf(parameters),
    outputs:
      outputs === undefined
        ? undefined
        : list(outputs).map(value => {
            const output = only(value, ['name', 'parameters'])
            const given = parametersOf(output.parameters)
            return { name: text(output.name), ...(given && { parameters: given }) }
          }),
  }
  if (ofHttp(read.parameters) || read.outputs?.some(({ parameters }) => ofHttp(parameters)))
    throw new Inapplicable('gRPC has no parameters about binary data')
  // proto3 does not distinguish an empty string from a missing one.
  if (read.id === '') throw new Inapplicable('gRPC has no empty id')
  const { outputs: asked, ...rest } = read
  return { ...rest, ...(asked && { outputs: asked }) }
}

const tensor = ({ name, datatype }: Json) => ({ name: text(name), datatype: text(datatype) })

function list(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value
  throw new Inapplicable('a message cannot have a field of a wrong type')
}

function text(value: unknown): string {
  if (typeof value !== 'string')
    throw new Inapplicable('a message cannot have a field of a wrong type')
  if (!value.isWellFormed()) throw new Inapplicable('a string of a message must be valid UTF-8')
  return value
}

function shapeOf(shape: unknown): (number | bigint)[] {
  return list(shape).map(dimension => {
    const isInteger = Number.isInteger(dimension) || typeof dimension === 'bigint'
    if (
      !isInteger ||
      BigInt.asIntN(64, BigInt(dimension as number)) !== BigInt(dimension as number)
    )
      throw new Inapplicable('a dimension of a message must be a 64-bit integer')
    return dimension as number
  })
}

function parametersOf(parameters: unknown): Parameters | undefined {
  if (parameters === undefined) return undefined
  if (typeof parameters !== 'object' || parameters === null || Array.isArray(parameters))
    throw new Inapplicable('a message cannot have a field of a wrong type')
  for (const value of Object.values(parameters))
    if (typeof value === 'object')
      throw new Inapplicable('a parameter of a message must be a string, a number or a boolean')
  return parameters as Parameters
}

/** The type of a contents field may allow values that the datatype does not. */
function valuesOf(datatype: string, data: readonly unknown[]): Value[] {
  return data.map(element => {
    const value = elementOf(datatype, element)
    if (value === undefined)
      throw new Inapplicable(`typed contents of ${datatype} cannot contain ${toJson(element)}`)
    return value
  })
}

const NOT_FINITE = ['NaN', 'Infinity', '-Infinity']

function elementOf(datatype: string, element: unknown): Value | undefined {
  if (datatype === 'BOOL') return typeof element === 'boolean' ? element : undefined
  if (datatype === 'BYTES') {
    const isText = typeof element === 'string' && element.isWellFormed()
    return isText ? element : undefined
  }
  if (datatype.startsWith('FP')) {
    if (NOT_FINITE.includes(element as string)) return Number(element)
    return typeof element === 'number' && fits(datatype, element) ? element : undefined
  }
  const isInteger = typeof element === 'bigint' || Number.isInteger(element)
  if (!isInteger) return undefined
  const integer = BigInt(element as number)
  const bits = datatype.endsWith('64') ? 64 : 32
  const kept = datatype.startsWith('U')
    ? BigInt.asUintN(bits, integer)
    : BigInt.asIntN(bits, integer)
  if (kept !== integer) return undefined
  return datatype.endsWith('64') ? integer : Number(integer)
}

const fits = (datatype: string, element: number) =>
  datatype === 'FP64' || Number.isFinite(Math.fround(element))

function bodyOf({ model, version, id, outputs, isRaw }: InferAnswer): Body {
  const parts = outputs.map(({ datatype, data }) => toBytes(datatype, data))
  const json = {
    model_name: model,
    ...(version !== '' && { model_version: version }),
    ...(id !== '' && { id }),
    outputs: outputs.map(({ data, ...output }: Tensor, i) => ({
      ...output,
      ...(isRaw ? { parameters: { binary_data_size: parts[i]?.byteLength } } : { data }),
    })),
  }
  return isRaw ? { json, parts } : { json }
}
