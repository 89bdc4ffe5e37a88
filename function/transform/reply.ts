import type { ResponseLimits } from '../protocol/encode.ts'
import { answerTooLarge, jsonTooLarge } from '../protocol/encode.ts'
import type { Call, Content, Reply } from './call.ts'
import type { BodyAnswer, EventReply } from './contract.ts'
import { toJson } from './json.ts'

/**
 * Converts postprocess's value to the content of a response. Copies bytes at once, because the
 * transform may reuse the array for the next call.
 * @throws {Error} if the value cannot be a response, which is the author's mistake
 * @throws {TooLarge}
 */
export function contentOf(
  value: unknown,
  { kind }: Call,
  limits: ResponseLimits,
): Content | undefined {
  const answer = bodyOf(value)
  if (kind === 'instance' && (value === undefined || answer !== undefined))
    throw new Error(
      `it returned ${value === undefined ? 'undefined' : 'a body'}; a V1 prediction must be JSON`,
    )
  if (value === undefined) return undefined
  if (answer !== undefined) {
    const { body, contentType } = answer
    if (!/^[\x21-\x7e][\x20-\x7e]*$/.test(contentType))
      throw new Error('it returned a contentType that is not an ASCII media type')
    if (Buffer.byteLength(body) > limits.maxBytes) throw answerTooLarge(limits.maxBytes)
    return { body: typeof body === 'string' ? body : new Uint8Array(body), contentType }
  }
  const json = toJson(value)
  if (json === undefined)
    throw new Error(`it returned a ${typeof value}, which JSON cannot represent`)
  if (Buffer.byteLength(json) > limits.maxJsonBytes) throw jsonTooLarge(limits, 'request less data')
  return { json }
}

/**
 * Reads an object with exactly the keys `body` and `contentType`, once: a getter may return another
 * value the next time.
 */
function bodyOf(value: unknown): BodyAnswer | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { body, contentType } = value as Partial<BodyAnswer>
  const isBody =
    typeof contentType === 'string' &&
    (typeof body === 'string' || body instanceof Uint8Array) &&
    Object.keys(value).length === 2
  return isBody ? { body, contentType } : undefined
}

/** The server, HTTP or the JSON format sets these attributes. */
const FIXED = ['specversion', 'id', 'source', 'type', 'data', 'datacontenttype']

const FORBIDDEN = /[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u

/** The specification defines these formats; a Broker cannot read other formats. */
const FORMS: Readonly<Record<string, { readonly pattern: RegExp; readonly is: string }>> = {
  time: {
    pattern: /^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:[Zz]|[+-]\d{2}:\d{2})$/,
    is: 'an RFC 3339 time',
  },
  dataschema: { pattern: /^[a-z][a-z\d+.-]*:\S+$/i, is: 'an absolute URI' },
}

/**
 * Returns the transform's settings for the reply event; undefined if it has no settings.
 * @throws {Error} if an event cannot have these attributes
 */
export function eventOf(reply: EventReply | undefined): Reply['event'] {
  if (reply === undefined) return undefined
  const { type } = reply
  const attributes = Object.fromEntries(Object.entries(reply.attributes))
  const names = Object.keys(attributes)
  if (type === undefined && names.length === 0) return undefined
  if (type !== undefined && !isAttribute(type))
    throw new Error('reply.type must be non-empty text without control characters')
  for (const name of names) {
    if (FIXED.includes(name) || !/^[a-z0-9]+$/.test(name))
      throw new Error(
        `reply.attributes has ${JSON.stringify(name)}; names use lower-case letters and digits, and must not be ${FIXED.join(', ')}`,
      )
    if (!isAttribute(attributes[name]))
      throw new Error(`reply.attributes.${name} must be non-empty text without control characters`)
    const form = Object.hasOwn(FORMS, name) ? FORMS[name] : undefined
    if (form !== undefined && !form.pattern.test(attributes[name] as string))
      throw new Error(`reply.attributes.${name} must be ${form.is}`)
  }
  return { ...(type !== undefined && { type }), attributes }
}

const isAttribute = (value: unknown) =>
  typeof value === 'string' && value !== '' && !FORBIDDEN.test(value)
