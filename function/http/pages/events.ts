import type { RequestExamples } from './examples.ts'
import { type OpenApi, object, schemaRef, TEXT } from './parts.ts'

/** The attributes of the event in examples. */
export const EVENT = {
  specversion: '1.0',
  id: 'evt-001',
  source: '/example',
  type: 'com.example.inference.request',
}

/** The example event in structured mode. */
export const exampleEvent = (data: RequestExamples['json'], id: string) => ({
  ...EVENT,
  id,
  datacontenttype: 'application/json',
  data,
})

export function eventSchemas(): OpenApi {
  const attributes = {
    specversion: { const: '1.0' },
    id: TEXT,
    source: TEXT,
    datacontenttype: TEXT,
  }
  const reply = {
    ...attributes,
    subject: { ...TEXT, description: 'The id of the event that is answered.' },
  }
  return {
    RequestEvent: {
      type: 'object',
      required: ['specversion', 'id', 'source', 'type'],
      properties: {
        ...attributes,
        type: {
          ...TEXT,
          description: 'The reply\u2019s is the same, with `.response` for `.request` or after it.',
        },
        data: schemaRef('InferenceRequest'),
        data_base64: { ...TEXT, contentEncoding: 'base64', description: 'In place of `data`.' },
      },
      oneOf: [{ required: ['data'] }, { required: ['data_base64'] }],
    },
    ReplyEvent: object({
      ...reply,
      type: { type: 'string', pattern: '\\.response$' },
      data: schemaRef('InferenceResponse'),
    }),
    ErrorEvent: object({
      ...reply,
      type: { type: 'string', pattern: '\\.error$' },
      data: schemaRef('Error'),
    }),
  }
}
