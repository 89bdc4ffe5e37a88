import type { Config } from '../../config/config.ts'
import type { Schema } from './schemas.ts'

export type OpenApi = { readonly [field: string]: unknown }

/**
 * By status: the component's name, its description, and the header that the response always has.
 */
const ERRORS = {
  400: ['BadRequest', 'The request violates the protocol or does not match the model.'],
  401: ['Unauthorized', 'The bearer token is missing or not valid.', 'WWW-Authenticate'],
  403: ['Forbidden', 'The token is valid but does not allow this request.', 'WWW-Authenticate'],
  404: ['NotFound', 'This server has no such model or version.'],
  405: ['MethodNotAllowed', 'The path does not allow this method; see `Allow`.', 'Allow'],
  413: ['TooLarge', 'The body is too large, before or after decompression.'],
  415: [
    'UnsupportedMediaType',
    'The server does not support this Content-Type or Content-Encoding.',
  ],
  422: ['EventFailed', 'The model failed on this event; the same event would fail again.'],
  '4XX': ['Refused', 'The transform refuses this request.'],
  500: ['ModelFailed', 'The model failed on a valid request.'],
  503: [
    'Unavailable',
    'The model is not ready, or too many requests are waiting; the same request may succeed later.',
    'Retry-After',
  ],
  504: ['DeadlinePassed', 'The deadline passed before the run began.'],
} as const

export const errorRefs = (...statuses: readonly (keyof typeof ERRORS)[]): OpenApi =>
  Object.fromEntries(
    statuses.map(status => [status, { $ref: `#/components/responses/${ERRORS[status][0]}` }]),
  )

/**
 * @param auth undefined if callers need no authentication
 * @param transform whether a transform may refuse requests
 */
export function errorResponses(auth: Config['auth'], transform: boolean): OpenApi {
  const isUsed: Readonly<Record<string, boolean>> = {
    401: auth !== undefined,
    403: auth?.jwt !== undefined,
    '4XX': transform,
  }
  const used = Object.entries(ERRORS).filter(([status]) => isUsed[status] ?? true)
  return Object.fromEntries(
    used.map(([, [name, description, ...headers]]) => [
      name,
      {
        ...answer(description, schemaRef('Error')),
        ...(headers.length > 0 && { headers: headerRefs(...headers) }),
      },
    ]),
  )
}

const STRING: Schema = { type: 'string' }

export const HEADERS = {
  Allow: { description: 'The methods that this path allows.', required: true, schema: STRING },
  'WWW-Authenticate': {
    description: 'The required authentication (RFC 6750).',
    required: true,
    schema: STRING,
  },
  'Retry-After': {
    description: 'The number of seconds to wait before another attempt.',
    required: true,
    schema: STRING,
  },
  'Inference-Header-Content-Length': {
    description:
      'The number of bytes of JSON before the binary tensor data, if the response is application/octet-stream.',
    schema: { type: 'string', pattern: '^[0-9]+$' },
  },
  'ce-id': { description: 'The reply\u2019s id, in binary mode.', schema: STRING },
  'ce-source': {
    description: 'The reply\u2019s source, in binary mode: this function.',
    schema: STRING,
  },
  'ce-type': {
    description:
      'The reply\u2019s type, in binary mode: the event\u2019s type with `.request` replaced by `.response`.',
    schema: STRING,
  },
  'ce-subject': {
    description: 'The reply\u2019s subject, in binary mode: the event\u2019s id.',
    schema: STRING,
  },
}

const { 'WWW-Authenticate': _, ...rest } = HEADERS
export const WITHOUT_AUTHENTICATION = rest

export const headerRefs = (...names: readonly (keyof typeof HEADERS)[]): OpenApi =>
  Object.fromEntries(names.map(name => [name, { $ref: `#/components/headers/${name}` }]))

export const schemaRef = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` })

export const TEXT: Schema = { type: 'string', minLength: 1 }
export const HTML = { 'text/html': { schema: TEXT } }
/** Only binary data, or JSON and then binary data. */
const BINARY: Schema = { type: 'string', format: 'binary' }
export const BYTES = { 'application/octet-stream': { schema: BINARY } }

export const object = (properties: Readonly<Record<string, Schema>>): Schema => ({
  type: 'object',
  required: Object.keys(properties),
  properties,
})

/** @param others the contents in media types other than JSON */
export const answer = (description: string, schema: Schema, others: OpenApi = {}): OpenApi => ({
  description,
  content: { 'application/json': { schema }, ...others },
})

export const notReady = (properties: Readonly<Record<string, Schema>>): OpenApi => ({
  ...answer(
    'The model does not accept requests; `error` gives the reason.',
    object({ ...properties, error: { type: 'string' } }),
  ),
  headers: headerRefs('Retry-After'),
})
