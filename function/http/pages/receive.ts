import { exampleOf } from '../../transform/example.ts'
import { mediaTypeOf } from '../../transform/schema.ts'
import { inputRef, outputRef } from './author-schemas.ts'
import { EVENT, type EventData, exampleEvent } from './events.ts'
import { binaryRequest, jsonLengthParameter, REQUEST } from './examples.ts'
import type { Described, Operation } from './operation.ts'
import { answer, BYTES, errorRefs, headerRefs, type OpenApi, schemaRef, TEXT } from './parts.ts'
import type { Schema } from './schemas.ts'

/** The input of `POST /`: a request without an event, or the data of an event. */
interface Taken {
  /** The schema of JSON or text; undefined if neither can express the input. */
  readonly data: Schema | undefined
  readonly example: unknown
  /** The contents by media type, except `application/json`. */
  readonly others: OpenApi
}

export function describeReceive(described: Described): Operation {
  const { transform, examples } = described
  const taken = takenBy(described)
  const isTensors = transform?.preprocess !== true
  const errors = errorRefs(400, 405, 413, 415, 422, 500, 503, 504)
  return {
    tags: ['Events'],
    operationId: 'receive',
    summary: `Send a CloudEvent, or ${isTensors ? 'an inference request' : 'its data'} without an event`,
    description: transform === undefined ? `${SENT} ${TENSORS} ${MODES}` : `${SENT} ${MODES}`,
    parameters: [
      ...eventParameters(taken.example !== undefined),
      ...(isTensors ? [jsonLengthParameter(examples)] : []),
    ],
    requestBody: { required: true, content: requestContents(taken, isTensors) },
    responses: {
      200: answerOf(described),
      204: { description: transform?.postprocess ? NOTHING : ACKNOWLEDGED },
      ...errors,
      ...(transform && errorRefs('4XX')),
    },
  }
}

const SENT = 'A Knative Broker and `func invoke` send this request.'
const TENSORS =
  'The event\u2019s data is an inference request, and the reply\u2019s data is the inference response.'
const MODES =
  'The `ce-` headers mark an event in binary mode, and the content type marks structured and batched mode. Otherwise, the body is a ' +
  'request without an event. The reply\u2019s id depends only on the request and the model, so that an event that is delivered twice gets the same ' +
  'reply. In a batch, an event that fails gets a reply whose type ends in `.error`.'
const ACKNOWLEDGED =
  'An event from this function itself, or an empty batch, is acknowledged without a reply.'
const NOTHING =
  'There is no reply. Events from this function itself and empty batches get the same response.'

function takenBy({ request, examples, transform }: Described): Taken {
  if (!transform?.preprocess)
    return {
      data: request && schemaRef('InferenceRequest'),
      example: request && examples?.json,
      others: binaryRequest(examples),
    }
  const { input } = transform
  const mediaType = mediaTypeOf(input)
  if (mediaType !== undefined)
    return { data: undefined, example: undefined, others: contentOf(mediaType) }
  const isText = typeof input === 'object' && [input.type].flat().includes('string')
  const text = isText ? { 'text/plain': { schema: inputRef(transform) } } : {}
  return {
    data: inputRef(transform),
    example: input === undefined ? undefined : exampleOf(input),
    others: input === undefined ? { ...contentOf('text/plain'), ...BYTES } : text,
  }
}

const contentOf = (mediaType: string): OpenApi => ({
  [mediaType]: mediaType.startsWith('text/')
    ? { schema: { type: 'string' } }
    : BYTES['application/octet-stream'],
})

function requestContents({ data, example, others }: Taken, isTensors: boolean): OpenApi {
  const content = (schema: Schema, examples: () => OpenApi) => ({
    schema,
    ...(example !== undefined && { examples: examples() }),
  })
  const bare = isTensors ? REQUEST : { summary: 'A request without an event', value: example }
  const events = {
    'application/cloudevents+json': content(schemaRef('RequestEvent'), () => ({
      structuredMode: {
        summary: 'An event in structured mode',
        value: exampleEvent(example, 'evt-001'),
      },
    })),
    'application/cloudevents-batch+json': content(
      { type: 'array', items: schemaRef('RequestEvent') },
      () => ({
        batchedMode: {
          summary: 'Two events in batched mode',
          value: [exampleEvent(example, 'evt-001'), exampleEvent(example, 'evt-002')],
        },
      }),
    ),
  }
  if (data === undefined) return isTensors ? others : { ...others, ...events }
  const json = content(data, () => ({
    binaryMode: { summary: 'An event in binary mode', value: example },
    request: bare,
  }))
  return { 'application/json': json, ...events, ...others }
}

const eventParameters = (hasExample: boolean): OpenApi[] =>
  Object.entries(EVENT).map(([attribute, value]) => ({
    name: `ce-${attribute}`,
    in: 'header',
    description: `The event\u2019s ${attribute}, in binary mode.`,
    schema: attribute === 'specversion' ? { type: 'string', pattern: '^1\\.0$' } : TEXT,
    ...(hasExample && { examples: { binaryMode: { value } } }),
  }))

function answerOf(described: Described): OpenApi {
  const { request, transform } = described
  const headers = ['ce-id', 'ce-source', 'ce-type', 'ce-subject'] as const
  const replies = request || transform?.preprocess ? REPLY_CONTENTS : {}
  if (!transform?.postprocess)
    return {
      ...answer('The outputs; for an event, the reply event.', schemaRef('InferenceResponse'), {
        ...replies,
        ...BYTES,
      }),
      headers: headerRefs('Inference-Header-Content-Length', ...headers),
    }
  const { output } = transform
  const mediaType = mediaTypeOf(output)
  const description = 'The output of the transform; for an event, the reply event.'
  if (mediaType !== undefined)
    return {
      description,
      content: { ...contentOf(mediaType), ...replies },
      headers: headerRefs(...headers),
    }
  // Without a schema, the response may have any media type.
  const any = output === undefined ? { '*/*': {} } : {}
  return {
    ...answer(description, outputRef(transform), { ...replies, ...any }),
    headers: headerRefs(...headers),
  }
}

const REPLY_CONTENTS = {
  'application/cloudevents+json': { schema: schemaRef('ReplyEvent') },
  'application/cloudevents-batch+json': {
    schema: {
      type: 'array',
      items: { anyOf: [schemaRef('ReplyEvent'), schemaRef('ErrorEvent')] },
    },
  },
}

/**
 * Returns the schemas of event data; undefined if neither JSON nor a preprocess can create a
 * request.
 */
export function eventData(described: Described): EventData | undefined {
  const { request, transform } = described
  if (request === undefined && !transform?.preprocess) return undefined
  const reply = () => {
    if (!transform?.postprocess) return schemaRef('InferenceResponse')
    return mediaTypeOf(transform.output) === undefined ? outputRef(transform) : undefined
  }
  return {
    request: takenBy(described).data,
    reply: reply(),
    anyType: transform !== undefined,
  }
}
