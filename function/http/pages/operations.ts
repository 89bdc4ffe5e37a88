import type { ROUTES } from '../routes.ts'
import { binaryRequest, jsonLengthParameter, REQUEST } from './examples.ts'
import type { Described, Operation, OperationOf, TAGS } from './operation.ts'
import {
  answer,
  BYTES,
  errorRefs,
  HTML,
  headerRefs,
  notReady,
  type OpenApi,
  object,
  schemaRef,
  TEXT,
} from './parts.ts'
import { describeReceive } from './receive.ts'

type TableRow = (typeof ROUTES)[number]

/** Method and path template of every route. */
type OperationName = {
  [Path in TableRow['path']]: `${Extract<keyof Extract<TableRow, { path: Path }>, 'GET' | 'POST'>} ${Path}`
}[TableRow['path']]

/** The description of each route. */
export const OPERATIONS: Readonly<Record<OperationName, OperationOf>> = {
  'POST /v2/models/{model}[/versions/{version}]/infer': describeInfer,
  'POST /': describeReceive,
  'GET /': describeRoot,
  'GET /v2/models/{model}[/versions/{version}]': () => ({
    tags: ['Model'],
    operationId: 'modelMetadata',
    summary: 'The model\u2019s inputs and outputs',
    description: 'Read from the ONNX file itself; a variable dimension is -1.',
    responses: {
      200: answer('The metadata.', schemaRef('ModelMetadata')),
      ...errorRefs(404, 405, 503, 504),
    },
  }),
  'GET /v2/models/{model}[/versions/{version}]/ready': ({ name }) => ({
    tags: ['Model'],
    operationId: 'modelReady',
    summary: 'Whether the model accepts requests',
    responses: {
      200: answer('It does.', object({ name: { const: name }, ready: { const: true } })),
      ...errorRefs(404, 405),
      503: notReady({ name: { const: name }, ready: { const: false } }),
    },
  }),
  'GET /v2/models/{model}[/versions/{version}]/config': () => ({
    tags: ['Model'],
    operationId: 'modelConfiguration',
    summary: 'The model’s configuration, as Triton’s clients ask for it',
    responses: {
      200: answer('The configuration.', schemaRef('ModelConfiguration')),
      ...errorRefs(404, 405, 503, 504),
    },
  }),
  'GET /v2/models/{model}[/versions/{version}]/stats': () => ({
    tags: ['Model'],
    operationId: 'modelStatistics',
    summary: 'How many requests the model answered, and where their time went',
    responses: { 200: STATISTICS, ...errorRefs(404, 405) },
  }),
  'GET /v2/models/stats': () =>
    get('Model', 'statistics', 'The statistics of all models (there is one)', { 200: STATISTICS }),
  'GET /v2/models': ({ name }) =>
    get('Model', 'models', 'The served models', {
      200: answer('One.', object({ models: { type: 'array', items: { const: name } } })),
    }),
  'POST /v2/repository/index': ({ name }) => ({
    tags: ['Model'],
    operationId: 'repositoryIndex',
    summary: 'The served models, and whether each is ready',
    requestBody: {
      content: {
        'application/json': {
          schema: {
            type: 'object',
            properties: {
              ready: {
                type: ['boolean', 'null'],
                description: 'True: only models that are ready.',
              },
            },
          },
        },
      },
    },
    responses: {
      200: answer('At most one model.', { type: 'array', items: repositoryEntry(name) }),
      ...errorRefs(400, 405, 413),
    },
  }),
  'GET /v2/health/live': () => liveness('live', 'Whether the process answers'),
  'GET /v2/health/ready': () => readiness('ready', 'Whether the model accepts requests'),
  'GET /health/liveness': () =>
    liveness('liveness', 'Whether the process answers, for the probes of Knative Functions'),
  'GET /health/readiness': () =>
    readiness(
      'readiness',
      'Whether the model accepts requests, for the probes of Knative Functions',
    ),
  'GET /health': () =>
    get('Health', 'health', 'Whether the model is loaded', {
      200: answer(
        'The process answers.',
        object({ status: { const: 'ok' }, model_loaded: { type: 'boolean' } }),
      ),
    }),
  'GET /ready': () =>
    get('Health', 'readyStatus', 'Whether the model accepts requests, in one word', {
      200: answer('It does.', object({ status: { const: 'ready' } })),
      503: notReady({ status: { const: 'not ready' } }),
    }),
  'GET /v2': () =>
    get('Server', 'serverMetadata', 'Metadata of this server', {
      200: answer('Name, version and supported extensions.', schemaRef('ServerMetadata')),
    }),
  'GET /metrics': () =>
    get('Server', 'metrics', 'Metrics for Prometheus', {
      200: { description: 'Every series.', content: { 'text/plain': { schema: TEXT } } },
    }),
  'GET /openapi.json': () =>
    get('Server', 'openApi', 'This description', {
      200: answer(
        'An OpenAPI 3.1 document.',
        object({ openapi: TEXT, info: { type: 'object' }, paths: { type: 'object' } }),
      ),
      ...errorRefs(503, 504),
    }),
  'GET /docs': () =>
    get('Server', 'docs', 'A page to try the API', {
      200: { description: 'The page.', content: HTML },
    }),
}

const STATISTICS = answer('Triton’s statistics.', schemaRef('ModelStatistics'))

const repositoryEntry = (name: string) =>
  object({
    name: { const: name },
    version: { type: 'string' },
    state: { enum: ['READY', 'UNAVAILABLE'] },
    reason: { type: 'string' },
  })

const get = (
  tag: keyof typeof TAGS,
  operationId: string,
  summary: string,
  responses: OpenApi,
): Operation => ({
  tags: [tag],
  operationId,
  summary,
  responses: { ...responses, ...errorRefs(405) },
})

const liveness = (operationId: string, summary: string): Operation =>
  get('Health', operationId, summary, {
    200: answer('It does.', object({ live: { const: true } })),
  })

const readiness = (operationId: string, summary: string): Operation =>
  get('Health', operationId, summary, {
    200: answer('It does.', object({ live: { const: true }, ready: { const: true } })),
    503: notReady({ live: { const: true }, ready: { const: false } }),
  })

function describeRoot({ playground }: Described): Operation {
  const metadata = schemaRef('ServerMetadata')
  if (!playground)
    return get('Server', 'root', 'Metadata of this server', {
      200: answer('The server\u2019s metadata.', metadata),
    })
  const summary = 'A page for a browser, the server\u2019s metadata for anything else'
  return get('Server', 'root', summary, {
    200: answer('By the `Accept` header.', metadata, HTML),
    ...errorRefs(503, 504),
  })
}

function describeInfer({ request, examples }: Described): Operation {
  return {
    tags: ['Inference'],
    operationId: 'infer',
    summary: 'Run the model',
    description:
      'Requests that arrive together share a run if the model\u2019s rows are independent. ' +
      'A CloudEvent is answered as at `/`.',
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
