import { isUtf8 } from 'node:buffer'
import type { IncomingHttpHeaders } from 'node:http'
import { BadRequest } from '../protocol/errors.ts'
import {
  isObject,
  type JsonObject,
  type ParsedJson,
  parseJson,
  show,
  withoutMark,
} from '../protocol/json.ts'
import { findElements, findMembers, isArray, type Place, without } from '../protocol/json-scan.ts'

/**
 * A CloudEvent 1.0 over HTTP (CloudEvents specification: HTTP protocol binding, JSON event format,
 * JSON batch format).
 *
 * The CloudEvents SDK is not used: its HTTP.toEvent takes 18 µs per event, besides about 35 µs for
 * an inference, and adds 39 ms to startup (10.0.0). It treats malformed JSON as "no event", turns
 * data_base64 into one Uint32 per byte, drops falsy values, generates missing ids, and does not
 * decode percent-encoded header values. The tests check every reply with the SDK.
 */
export interface CloudEvent {
  readonly attributes: Attributes
  readonly data: EventData | undefined
}

/** `specversion`, `id`, `source` and `type` are always present. */
export type Attributes = { readonly id: string; readonly source: string; readonly type: string } & {
  readonly [name: string]: string | number | boolean
}

/**
 * Received bytes, or JSON that was parsed with the event. Large JSON stays bytes, with `isJson`.
 */
export type EventData =
  | { readonly bytes: Uint8Array; readonly isJson?: boolean }
  | { readonly json: ParsedJson; readonly jsonBytes?: number }

export type Mode = 'binary' | 'structured' | 'batched'

/** Returns how the request carries events; undefined if it carries none. Reads only headers. */
export function modeOf(headers: IncomingHttpHeaders): Mode | undefined {
  const contentType = headers['content-type']?.toLowerCase() ?? ''
  if (contentType.startsWith('application/cloudevents-batch')) return 'batched'
  if (contentType.startsWith('application/cloudevents')) return 'structured'
  for (const header of REQUIRED_HEADERS) if (headers[header] !== undefined) return 'binary'
  return undefined
}

/** @throws {BadRequest} naming the attribute that is missing or wrong */
export const readBinaryEvent = (headers: IncomingHttpHeaders, body: Uint8Array): CloudEvent => ({
  attributes: readHeaders(headers),
  data: body.byteLength === 0 ? undefined : { bytes: body },
})

/**
 * Reads the attributes of an event in binary mode.
 * @throws {BadRequest} naming the attribute that is missing or wrong
 */
export function readHeaders(headers: IncomingHttpHeaders): Attributes {
  const attributes: Record<string, string> = Object.create(null)
  for (const header in headers) {
    const value = headers[header]
    // The binding maps datacontenttype only to Content-Type (section 3.1.1).
    if (!header.startsWith('ce-') || value === undefined || header === 'ce-datacontenttype')
      continue
    attributes[NAMES.get(header) ?? header.slice(3)] = decodeHeader(String(value), header)
  }
  const contentType = headers['content-type']
  if (contentType !== undefined) attributes.datacontenttype = contentType
  return checkAttributes(attributes, 'the event')
}

/**
 * @param where the event's name in error messages
 * @throws {BadRequest} if the body is not a CloudEvent in JSON
 * @throws {TooLarge} if the event has more than 4 MiB outside its data
 */
export function readStructuredEvent(body: Uint8Array, where = 'the event'): CloudEvent {
  if (body.byteLength <= LARGE_BYTES) {
    const { value, exact } = parseJson(body, where)
    const event = readJsonEvent(value, exact, where)
    const { data } = event
    if (data === undefined || 'bytes' in data) return event
    return { ...event, data: { ...data, jsonBytes: body.byteLength } }
  }
  const bytes = withoutMark(body)
  const large = findMembers(bytes, ['data', 'data_base64']).filter(
    ({ start, end }) => end - start > MOST_PARSED_BYTES,
  )
  const { value, exact } = parseJson(without(bytes, large, where), where)
  const bytesOf = ({ start, end }: Place) => bytes.subarray(start, end)
  for (const place of large)
    if (place.name === 'data_base64')
      (value as Record<string, unknown>).data_base64 = parseJson(bytesOf(place), where).value
  const event = readJsonEvent(value, exact, where)
  const data = large.find(({ name }) => name === 'data')
  return data === undefined ? event : { ...event, data: { bytes: bytesOf(data), isJson: true } }
}

/** Above this size, the data is parsed separately, as in a large request. */
const LARGE_BYTES = 128 * 1024

/** In a large event, a data or data_base64 member up to this size is parsed with the event. */
const MOST_PARSED_BYTES = 1024

export interface BatchedEvent {
  readonly event: CloudEvent
  readonly bytes: number
}

/**
 * Reads a batch's events one by one, on demand: parsing all of them at once takes 100 ms per MiB.
 * @throws {BadRequest} if the body is not an array, or the next element is not a CloudEvent
 */
export function* readBatch(body: Uint8Array): Generator<BatchedEvent, void> {
  const bytes = withoutMark(body)
  if (!isArray(bytes)) {
    const { value } = parseJson(without(bytes, [], 'the batch'), 'the batch')
    throw new BadRequest(`the batch is ${show(value)}; it must be an array of events`)
  }
  let i = 0
  for (const { start, end } of findElements(bytes, 'the batch')) {
    const event = readStructuredEvent(bytes.subarray(start, end), `event ${i} of the batch`)
    yield { event: withOwnData(event), bytes: end - start }
    i++
  }
}

/**
 * Copies an event's large data, which may be transferred to another thread. The batch's memory
 * contains other events, too.
 */
function withOwnData(event: CloudEvent): CloudEvent {
  const { data } = event
  if (data === undefined || !('bytes' in data) || data.isJson !== true) return event
  return { ...event, data: { ...data, bytes: new Uint8Array(data.bytes) } }
}

/** Returns the headers for one event in binary mode, percent-encoded (section 3.1.3.2). */
export function toHeaders(attributes: Attributes): Record<string, string> {
  const headers: Record<string, string> = {}
  for (const name in attributes) {
    const value = String(attributes[name])
    if (name === 'datacontenttype') headers['content-type'] = value
    else headers[HEADERS.get(name) ?? `ce-${name}`] = encodeHeader(value)
  }
  return headers
}

/** Built once: V8 looks up each concatenated name in its table of all names. */
const HEADERS: ReadonlyMap<string, string> = new Map(
  ['specversion', 'id', 'source', 'type', 'subject', 'time', 'causationid', 'traceparent'].map(
    name => [name, `ce-${name}`],
  ),
)
const NAMES: ReadonlyMap<string, string> = new Map(
  [...HEADERS].map(([name, header]) => [header, name]),
)

export const toJson = (attributes: Attributes, data: string): string =>
  `${beginJson(attributes)}${data}}`

/**
 * Writes an event in the JSON event format up to its data. The caller appends the data and a brace.
 */
export const beginJson = (attributes: Attributes, member = 'data'): string =>
  `${JSON.stringify(attributes).slice(0, -1)},"${member}":`

const REQUIRED = ['specversion', 'id', 'source', 'type'] as const
/** Built once, because every request is checked for these headers. */
const REQUIRED_HEADERS = REQUIRED.map(name => `ce-${name}`)

function readJsonEvent(event: unknown, exact: () => unknown, where: string): CloudEvent {
  if (!isObject(event)) throw new BadRequest(`${where} is ${show(event)}; it must be a JSON object`)
  const { data, data_base64: base64, ...rest } = event
  // null means that the attribute is absent (JSON event format, section 2.2).
  const attributes = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== null))
  return {
    attributes: checkAttributes(attributes, where),
    data: readJsonData(data, base64, exact, where),
  }
}

function readJsonData(
  data: unknown,
  base64: unknown,
  exact: () => unknown,
  where: string,
): EventData | undefined {
  if (base64 !== undefined && base64 !== null) {
    if (data !== undefined)
      throw new BadRequest(`${where} has both data and data_base64; send only one of them`)
    const bytes = typeof base64 === 'string' ? Buffer.from(base64, 'base64') : undefined
    // Buffer skips characters that are not Base64, so encode again and compare. A regular
    // expression would overflow the stack at 30 MB.
    if (bytes?.toString('base64') !== base64)
      throw new BadRequest(`${where}: data_base64 is not Base64`)
    return { bytes: bytes as Buffer }
  }
  if (data === undefined || data === null) return undefined
  return { json: { value: data, exact: () => (exact() as JsonObject).data } }
}

function checkAttributes(attributes: Record<string, unknown>, where: string): Attributes {
  for (const name of REQUIRED) {
    const value = attributes[name]
    if (typeof value !== 'string' || value === '') {
      throw new BadRequest(
        `${where}: ${name} is ${value === undefined ? 'missing' : show(value)}; it must be a non-empty string`,
      )
    }
  }
  if (attributes.specversion !== '1.0')
    throw new BadRequest(
      `${where}: specversion is ${show(attributes.specversion)}; it must be "1.0"`,
    )
  for (const name in attributes) {
    const value = attributes[name]
    if (!HEADERS.has(name) && (!/^[a-z0-9]+$/.test(name) || name === 'data')) {
      throw new BadRequest(
        `${where}: ${show(name)} is not an attribute name; use lower-case letters and digits, but not "data"`,
      )
    }
    if (typeof value !== 'string' && typeof value !== 'boolean' && !isInteger(value)) {
      throw new BadRequest(
        `${where}: ${name} is ${show(value)}; an attribute must be a string, a boolean or a 32-bit integer`,
      )
    }
    if (typeof value === 'string' && !PLAIN.test(value) && FORBIDDEN.test(value)) {
      throw new BadRequest(
        `${where}: ${name} is ${show(value)}; it must not contain control characters, noncharacters or lone surrogates`,
      )
    }
    const wrong = OPTIONAL[name]?.(value)
    if (wrong !== undefined)
      throw new BadRequest(`${where}: ${name} is ${show(value)}; it must be ${wrong}`)
  }
  return attributes as Attributes
}

const isInteger = (value: unknown) => typeof value === 'number' && value === (value | 0)

/** Matches nearly all values faster than FORBIDDEN. */
const PLAIN = /^[\x20-\x7e]*$/

/**
 * Not allowed in a String attribute (specification, "Type System"). In a reply's header, these
 * characters would allow header injection.
 */
const FORBIDDEN = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u

const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})$/

/**
 * Whether a text is an RFC 3339 time. Date does not accept leap seconds, which are valid (section
 * 5.7).
 */
const isTime = (value: string) =>
  RFC_3339.test(value) && !Number.isNaN(Date.parse(value.replace(/:60(?=[.Zz+-])/, ':59')))

/**
 * A scheme and any characters (RFC 3986, section 4.3). URL.canParse takes 20 ms for a host of 5,200
 * non-ASCII letters, and four times as long for twice as many.
 */
const ABSOLUTE_URI = /^[a-z][a-z\d+.-]*:\S+$/i

/** Each check returns undefined for a valid value, or else the required kind of value. */
const OPTIONAL: Readonly<Record<string, (value: unknown) => string | undefined>> = {
  __proto__: null as never,
  source: value => (/\s/.test(String(value)) ? 'a URI reference' : undefined),
  subject: value => (typeof value === 'string' && value !== '' ? undefined : 'a non-empty string'),
  time: value => (typeof value === 'string' && isTime(value) ? undefined : 'an RFC 3339 time'),
  dataschema: value =>
    typeof value === 'string' && ABSOLUTE_URI.test(value) ? undefined : 'an absolute URI',
  datacontenttype: value =>
    typeof value === 'string' && /^[^\s/]+\/[^\s/;]+/.test(value) ? undefined : 'a media type',
}

/**
 * Decodes a header value, which may be quoted and is percent-encoded once (HTTP binding, section
 * 3.1.3.2). Reads raw UTF-8, which some clients send and Node decodes as Latin-1.
 */
function decodeHeader(value: string, header: string): string {
  if (/^[^"%\x80-\xff]*$/.test(value)) return value
  const unquoted = /^"(?:[^"\\]|\\.)*"$/.test(value)
    ? value.slice(1, -1).replaceAll(/\\(.)/g, '$1')
    : value
  const decoded = unquoted.replaceAll(/%([0-9A-Fa-f]{2})/g, (_, digits) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  )
  const bytes = Buffer.from(decoded, 'latin1')
  if (!isUtf8(bytes))
    throw new BadRequest(`the event: the header ${header} is not percent-encoded UTF-8`)
  return bytes.toString()
}

/** Percent-encodes space, quote, percent sign, and all characters that are not printable ASCII. */
const encodeHeader = (value: string) =>
  NEEDS_NO_CODE.test(value)
    ? value
    : value.replaceAll(/[^\x21-\x7e]|["%]/gu, character =>
        [...Buffer.from(character)].map(toPercent).join(''),
      )

const NEEDS_NO_CODE = /^[\x21\x23\x24\x26-\x7e]*$/

const toPercent = (byte: number) => `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
