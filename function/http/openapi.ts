import type { Config } from '../config/config.ts'
import { functionVersion, serverMetadata } from '../inference/metadata.ts'
import type { LoadedModel, Model } from '../inference/model.ts'
import { type RequestExamples, requestExamples } from './examples.ts'
import { inferenceSchemas, metadataSchema, type Schema } from './schemas.ts'

/** An OpenAPI document, or a part of one. */
export type OpenApi = { readonly [field: string]: unknown }

/**
 * The OpenAPI 3.1 description of everything this server answers, for the very model it serves: paths hold its name and version,
 * schemas its inputs and outputs, and the examples are requests it answers 200.
 *
 * An example belongs to a request body; the example of a header parameter that has the same name goes with it.
 */
export function openApi(
  { name, version, description }: Pick<Model, 'name' | 'version' | 'description'>,
  { signature, example }: Pick<LoadedModel, 'signature' | 'example'>,
  { playground, auth }: Pick<Config, 'playground' | 'auth'>,
): OpenApi {
  const schemas = inferenceSchemas({ name, version }, signature, schemaRef)
  const examples = requestExamples({ signature, example })
  const inference = { request: schemas.request, examples }
  const paths = [
    modelPath(name),
    ...(version === undefined
      ? []
      : [`${modelPath(name)}/versions/${encodeURIComponent(version)}`]),
  ]

  return {
    openapi: '3.1.0',
    info: {
      title: name,
      version: version ?? functionVersion,
      summary: `An ONNX model${version === undefined ? '' : `, version ${version}`}, served by ${serverMetadata.name} ${functionVersion}`,
      description: [description, ABOUT].filter(Boolean).join('\n\n'),
    },
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    ...(auth && { security: [{ bearer: [] }] }),
    paths: withAuthentication(auth, {
      ...Object.fromEntries(
        paths.map((path, i) => [
          `${path}/infer`,
          { post: inferOperation(operationId('infer', i), inference) },
        ]),
      ),
      '/': { post: rootOperation(inference), get: rootOverview(playground) },
      ...Object.fromEntries(
        paths.flatMap((path, i) => [
          [path, { get: metadataOperation(operationId('modelMetadata', i)) }],
          [`${path}/ready`, { get: readyOperation(operationId('modelReady', i), name) }],
        ]),
      ),
      ...serverPaths(),
    }),
    components: {
      ...(auth && { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } }),
      schemas: {
        ...(schemas.request && { InferenceRequest: schemas.request }),
        InferenceResponse: schemas.response,
        ...schemas.data,
        ...(schemas.request && eventSchemas()),
        ModelMetadata: {
          type: 'object',
          required: [
            'name',
            ...(version === undefined ? [] : ['versions']),
            'platform',
            'inputs',
            'outputs',
          ],
          properties: {
            name: { const: name },
            ...(version === undefined ? undefined : { versions: { const: [version] } }),
            platform: { const: 'onnx_onnxv1' },
            inputs: tensors(signature.inputs.map(metadataSchema)),
            outputs: tensors(signature.outputs.map(metadataSchema)),
          },
        },
        ServerMetadata: {
          type: 'object',
          required: ['name', 'version', 'extensions'],
          properties: {
            name: { const: serverMetadata.name },
            version: { type: 'string' },
            extensions: { type: 'array', items: { type: 'string' } },
          },
        },
        Error: object({
          error: { type: 'string', description: 'What was wrong, and what would be right.' },
        }),
      },
      headers: HEADERS,
      responses: errorResponses(),
      ...(examples?.json && {
        examples: { request: { summary: 'An inference request', value: examples.json } },
      }),
    },
  }
}

/** Everything but health is answered only to who is let in. */
function withAuthentication(auth: Config['auth'], paths: OpenApi): OpenApi {
  if (auth === undefined) return paths
  const refusals = auth.jwt === undefined ? errorRefs(401) : errorRefs(401, 403)
  const guard = (operation: OpenApi) =>
    (operation.tags as readonly string[]).includes('Health')
      ? { ...operation, security: [] }
      : { ...operation, responses: { ...(operation.responses as OpenApi), ...refusals } }
  const each = (values: OpenApi, change: (value: OpenApi) => OpenApi) =>
    Object.fromEntries(
      Object.entries(values).map(([key, value]) => [key, change(value as OpenApi)]),
    )
  return each(paths, operations => each(operations, guard))
}

/** @returns the path of the model's metadata, below which the others are */
export const modelPath = (name: string) => `/v2/models/${encodeURIComponent(name)}`

const operationId = (name: string, i: number) => (i === 0 ? name : `${name}OfVersion`)

const REQUEST = { $ref: '#/components/examples/request' }

interface Inference {
  readonly request: Schema | undefined
  readonly examples: RequestExamples | undefined
}

function inferOperation(id: string, { request, examples }: Inference): OpenApi {
  return {
    tags: ['Inference'],
    operationId: id,
    summary: 'Run the model',
    description:
      'Requests that arrive together are joined into one run where the model\u2019s rows are independent.',
    parameters: [jsonLengthParameter(examples)],
    requestBody: {
      required: true,
      content: {
        ...(request && {
          'application/json': {
            schema: schemaRef('InferenceRequest'),
            ...(examples?.json && { examples: { request: REQUEST } }),
          },
        }),
        ...binaryRequest(examples),
      },
    },
    responses: {
      200: {
        ...answer('The outputs.', schemaRef('InferenceResponse'), BYTES),
        headers: headerRefs('Inference-Header-Content-Length'),
      },
      ...errorRefs(400, 404, 405, 413, 415, 500, 503, 504),
    },
  }
}

function rootOperation({ request, examples }: Inference): OpenApi {
  const json = examples?.json
  return {
    tags: ['Events'],
    operationId: 'receive',
    summary: 'Send a CloudEvent, or a bare inference request',
    description:
      'What a Knative Broker or `func invoke` sends. The event\u2019s data is an inference request, the reply\u2019s data the response. ' +
      'Binary mode is told by the `ce-` headers, structured and batched mode by the content type; without either, the body is a bare ' +
      'inference request. The reply\u2019s id depends only on the request and the model, so that an event delivered twice gets the same ' +
      'reply. In a batch, an event that fails alone is answered by one whose type ends in `.error`.',
    parameters: [
      ...Object.entries(EVENT).map(([attribute, value]) => ({
        name: `ce-${attribute}`,
        in: 'header',
        description: `The event\u2019s ${attribute}, in binary mode.`,
        schema: attribute === 'specversion' ? { const: '1.0' } : TEXT,
        ...(json && { examples: { binaryMode: { value } } }),
      })),
      jsonLengthParameter(examples),
    ],
    requestBody: {
      required: true,
      content: {
        ...(request && {
          'application/json': {
            schema: schemaRef('InferenceRequest'),
            ...(json && {
              examples: {
                binaryMode: { summary: 'An event in binary mode', value: json },
                request: REQUEST,
              },
            }),
          },
          'application/cloudevents+json': {
            schema: schemaRef('RequestEvent'),
            ...(json && {
              examples: {
                structuredMode: {
                  summary: 'An event in structured mode',
                  value: event(json, 'evt-001'),
                },
              },
            }),
          },
          'application/cloudevents-batch+json': {
            schema: { type: 'array', items: schemaRef('RequestEvent') },
            ...(json && {
              examples: {
                batchedMode: {
                  summary: 'Two events in batched mode',
                  value: [event(json, 'evt-001'), event(json, 'evt-002')],
                },
              },
            }),
          },
        }),
        ...binaryRequest(examples),
      },
    },
    responses: {
      200: {
        ...answer(
          'The outputs; to an event, the event that replies.',
          schemaRef('InferenceResponse'),
          {
            ...(request && {
              'application/cloudevents+json': { schema: schemaRef('ReplyEvent') },
              'application/cloudevents-batch+json': {
                schema: {
                  type: 'array',
                  items: { anyOf: [schemaRef('ReplyEvent'), schemaRef('ErrorEvent')] },
                },
              },
            }),
            ...BYTES,
          },
        ),
        headers: headerRefs(
          'Inference-Header-Content-Length',
          'ce-id',
          'ce-source',
          'ce-type',
          'ce-subject',
        ),
      },
      204: {
        description:
          'An event of this function itself, or an empty batch: acknowledged, and not answered.',
      },
      ...errorRefs(400, 405, 413, 415, 422, 500, 503, 504),
    },
  }
}

const metadataOperation = (id: string): OpenApi => ({
  tags: ['Model'],
  operationId: id,
  summary: 'The model\u2019s inputs and outputs',
  description: 'Read from the ONNX file itself; a variable dimension is -1.',
  responses: {
    200: answer('The metadata.', schemaRef('ModelMetadata')),
    ...errorRefs(404, 405, 503, 504),
  },
})

const readyOperation = (id: string, name: string): OpenApi => ({
  tags: ['Model'],
  operationId: id,
  summary: 'Whether the model takes requests',
  responses: {
    200: answer('It does.', object({ name: { const: name }, ready: { const: true } })),
    ...errorRefs(404, 405),
    503: notReady({ name: { const: name }, ready: { const: false } }),
  },
})

const rootOverview = (playground: boolean): OpenApi => ({
  tags: ['Server'],
  operationId: 'root',
  summary: playground
    ? 'A page for a browser, the server\u2019s metadata for anything else'
    : 'What this server is',
  responses: playground
    ? {
        200: answer('By the `Accept` header.', schemaRef('ServerMetadata'), HTML),
        ...errorRefs(405, 503, 504),
      }
    : {
        200: answer('The server\u2019s metadata.', schemaRef('ServerMetadata')),
        ...errorRefs(405),
      },
})

/** What does not depend on the model. */
function serverPaths(): OpenApi {
  const get = (
    tag: keyof typeof TAGS,
    operationId: string,
    summary: string,
    responses: OpenApi,
  ) => ({
    get: { tags: [tag], operationId, summary, responses: { ...responses, ...errorRefs(405) } },
  })
  const live = { 200: answer('It does.', object({ live: { const: true } })) }
  const ready = {
    200: answer('It does.', object({ live: { const: true }, ready: { const: true } })),
    503: notReady({ live: { const: true }, ready: { const: false } }),
  }
  return {
    '/v2/health/live': get('Health', 'live', 'Whether the process answers', live),
    '/v2/health/ready': get('Health', 'ready', 'Whether the model takes requests', ready),
    '/health/liveness': get(
      'Health',
      'liveness',
      'Whether the process answers, as Knative Functions ask it',
      live,
    ),
    '/health/readiness': get(
      'Health',
      'readiness',
      'Whether the model takes requests, as Knative Functions ask it',
      ready,
    ),
    '/health': get('Health', 'health', 'Whether the model is loaded', {
      200: answer(
        'The process answers.',
        object({ status: { const: 'ok' }, model_loaded: { type: 'boolean' } }),
      ),
    }),
    '/ready': get('Health', 'readyStatus', 'Whether the model takes requests, in one word', {
      200: answer('It does.', object({ status: { const: 'ready' } })),
      503: notReady({ status: { const: 'not ready' } }),
    }),
    '/v2': get('Server', 'serverMetadata', 'What this server is', {
      200: answer('Name, version, and the extensions that work.', schemaRef('ServerMetadata')),
    }),
    '/metrics': get('Server', 'metrics', 'Metrics for Prometheus', {
      200: { description: 'Every series.', content: { 'text/plain': { schema: TEXT } } },
    }),
    '/openapi.json': get('Server', 'openApi', 'This description', {
      200: answer('An OpenAPI 3.1 document.', {
        type: 'object',
        required: ['openapi', 'info', 'paths'],
      }),
      ...errorRefs(503, 504),
    }),
    '/docs': get('Server', 'docs', 'A page to try all of this in', {
      200: { description: 'The page.', content: HTML },
    }),
  }
}

const TAGS = {
  Inference: 'The Open Inference Protocol, with its binary tensor data extension',
  Events: 'CloudEvents 1.0',
  Model: 'What the model takes and gives',
  Health: 'Probes',
  Server: 'About this server',
}

const ABOUT =
  'HEAD is answered as GET, OPTIONS with `Allow`; a slash at the end of a path changes nothing. Bodies may be gzip or deflate, both ways. ' +
  'Whatever is refused is answered by JSON with an `error` that says what was wrong and what would be right.'

const ERRORS = {
  400: ['BadRequest', 'The request breaks the protocol or does not fit the model.'],
  401: ['Unauthorized', 'No bearer token, or none that is taken.', 'WWW-Authenticate'],
  403: ['Forbidden', 'The token is genuine, and does not allow this.', 'WWW-Authenticate'],
  404: ['NotFound', 'Another model or version than this server\u2019s.'],
  405: ['MethodNotAllowed', 'Another method than `Allow` lists.', 'Allow'],
  413: ['TooLarge', 'The body is larger than the server takes, as sent or inflated.'],
  415: ['UnsupportedMediaType', 'Another Content-Type or Content-Encoding than the server reads.'],
  422: ['EventFailed', 'The model itself failed on this event; the same event would fail again.'],
  500: ['ModelFailed', 'The model itself failed on a request that fits it.'],
  503: [
    'Unavailable',
    'The model is not ready, or too much is waiting; the same request may succeed later.',
    'Retry-After',
  ],
  504: ['DeadlinePassed', 'The deadline passed before the run began.'],
} as const

const errorRefs = (...statuses: readonly (keyof typeof ERRORS)[]) =>
  Object.fromEntries(
    statuses.map(status => [status, { $ref: `#/components/responses/${ERRORS[status][0]}` }]),
  )

const errorResponses = () =>
  Object.fromEntries(
    Object.values(ERRORS).map(([name, description, ...headers]) => [
      name,
      {
        ...answer(description, schemaRef('Error')),
        ...(headers.length > 0 && { headers: headerRefs(...headers) }),
      },
    ]),
  )

const HEADERS = {
  Allow: {
    description: 'The methods this path takes.',
    required: true,
    schema: { type: 'string' },
  },
  'WWW-Authenticate': {
    description: 'What is needed (RFC 6750).',
    required: true,
    schema: { type: 'string' },
  },
  'Retry-After': {
    description: 'Seconds to wait before trying again.',
    required: true,
    schema: { type: 'string' },
  },
  'Inference-Header-Content-Length': {
    description:
      'Where the answer is application/octet-stream: the bytes of JSON before the binary tensor data.',
    schema: { type: 'string', pattern: '^[0-9]+$' },
  },
  'ce-id': { description: 'In binary mode: the reply\u2019s id.', schema: { type: 'string' } },
  'ce-source': { description: 'In binary mode: this function.', schema: { type: 'string' } },
  'ce-type': {
    description: 'In binary mode: the event\u2019s type with `.response` for `.request`.',
    schema: { type: 'string' },
  },
  'ce-subject': { description: 'In binary mode: the event\u2019s id.', schema: { type: 'string' } },
}

const headerRefs = (...names: readonly (keyof typeof HEADERS)[]) =>
  Object.fromEntries(names.map(name => [name, { $ref: `#/components/headers/${name}` }]))

const schemaRef = (name: string): Schema => ({ $ref: `#/components/schemas/${name}` })

const TEXT: Schema = { type: 'string', minLength: 1 }
const HTML = { 'text/html': { schema: TEXT } }
/** JSON and then bytes; no schema describes that. */
const BYTES = { 'application/octet-stream': {} }

const object = (properties: Readonly<Record<string, Schema>>): Schema => ({
  type: 'object',
  required: Object.keys(properties),
  properties,
})

const answer = (description: string, schema: Schema, others: OpenApi = {}): OpenApi => ({
  description,
  content: { 'application/json': { schema }, ...others },
})

const notReady = (properties: Readonly<Record<string, Schema>>): OpenApi => ({
  ...answer('It does not, and why.', object({ ...properties, error: { type: 'string' } })),
  headers: headerRefs('Retry-After'),
})

const tensors = (schemas: readonly Schema[]): Schema => ({
  type: 'array',
  minItems: schemas.length,
  maxItems: schemas.length,
  ...(schemas.length > 0 && { prefixItems: schemas }),
})

const jsonLengthParameter = (examples: RequestExamples | undefined): OpenApi => ({
  name: 'Inference-Header-Content-Length',
  in: 'header',
  description:
    'Where binary tensor data follows the JSON: the bytes of JSON. 0: the body is the data of the only input, and nothing else.',
  schema: { type: 'integer', minimum: 0 },
  ...(examples && { examples: { binaryTensors: { value: examples.binary.jsonLength } } }),
})

const binaryRequest = (examples: RequestExamples | undefined): OpenApi => ({
  'application/octet-stream': {
    ...(examples && {
      examples: {
        binaryTensors: {
          summary: 'Binary tensor data',
          externalValue: `data:application/octet-stream;base64,${examples.binary.body.toString('base64')}`,
        },
      },
    }),
  },
})

/** The attributes of the event in examples. */
export const EVENT = {
  specversion: '1.0',
  id: 'evt-001',
  source: '/example',
  type: 'com.example.inference.request',
}

const event = (data: RequestExamples['json'], id: string) => ({
  ...EVENT,
  id,
  datacontenttype: 'application/json',
  data,
})

function eventSchemas(): OpenApi {
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
