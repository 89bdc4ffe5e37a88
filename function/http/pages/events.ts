import { type OpenApi, object, schemaRef, TEXT } from './parts.ts'
import type { Schema } from './schemas.ts'

export const EVENT = {
  specversion: '1.0',
  id: 'evt-001',
  source: '/example',
  type: 'com.example.inference.request',
}

export const exampleEvent = (data: unknown, id: string) => ({
  ...EVENT,
  id,
  datacontenttype: 'application/json',
  data,
})

/**
 * Schemas of event data. Undefined if JSON cannot express the data, which is then in data_base64.
 */
export interface EventData {
  readonly request: Schema | undefined
  readonly reply: Schema | undefined
  /** Whether the transform may choose the reply's media type. */
  readonly anyType: boolean
}

const BASE64 = { ...TEXT, contentEncoding: 'base64' }

export function eventSchemas({ request, reply, anyType }: EventData): OpenApi {
  const attributes = {
    specversion: { const: '1.0' },
    id: TEXT,
    source: TEXT,
    datacontenttype: TEXT,
  }
  const answer = {
    ...attributes,
    subject: { ...TEXT, description: 'The id of the answered event.' },
  }
  const response = anyType ? TEXT : { type: 'string', pattern: '\\.response$' }
  return {
    RequestEvent: {
      type: 'object',
      required: [...ATTRIBUTES, ...(request ? [] : ['data_base64'])],
      properties: {
        ...attributes,
        type: {
          ...TEXT,
          description:
            'The reply has the same type, with `.request` replaced by `.response` or with `.response` appended.',
        },
        ...(request && { data: request }),
        data_base64: {
          ...BASE64,
          ...(request && { description: 'The data in Base64, instead of `data`.' }),
        },
      },
      ...(request && { oneOf: [{ required: ['data'] }, { required: ['data_base64'] }] }),
    },
    ReplyEvent: object({
      ...answer,
      type: response,
      ...(reply ? { data: reply } : { data_base64: BASE64 }),
    }),
    ErrorEvent: object({
      ...answer,
      type: { type: 'string', pattern: '\\.error$' },
      data: schemaRef('Error'),
    }),
  }
}

const ATTRIBUTES = ['specversion', 'id', 'source', 'type']
