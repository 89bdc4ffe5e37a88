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

type OperationName = {
  [Path in TableRow['path']]: `${Extract<keyof Extract<TableRow, { path: Path }>, 'GET' | 'POST'>} ${Path}`
}[TableRow['path']]

export const OPERATIONS: Readonly<Record<OperationName, OperationOf>> = {
  'POST /v2/models/{model}[/versions/{version}]/infer': describeInfer,
  'POST /': describeReceive,
  'GET /': describeRoot,
  'GET /v2/models/{model}[/versions/{version}]': () => ({
    tags: ['Model'],
    operationId: 'modelMetadata',
    summary: 'The model\u2019s inputs and outputs',
    description: 'The metadata is read from the ONNX file. A variable dimension is -1.',
    responses: {
      200: answer('The metadata.', schemaRef('ModelMetadata')),
      ...errorRefs(404, 405, 503, 504),
    },
  }),
  'GET /v2/models/{model}[/versions/{version}]/ready': ({ name }) => ({
    tags: ['Model'],
    operationId: 'modelReady',
    summary: 'Check whether the model accepts requests',
    responses: {
      200: answer(
        'The model accepts requests.',
        object({ name: { const: name }, ready: { const: true } }),
      ),
      ...errorRefs(404, 405),
      503: notReady({ name: { const: name }, ready: { const: false } }),
    },
  }),
  'GET /v2/models/{model}[/versions/{version}]/config': () => ({
    tags: ['Model'],
    operationId: 'modelConfiguration',
    summary: 'The model’s configuration in Triton’s format',
    responses: {
      200: answer('The configuration.', schemaRef('ModelConfiguration')),
      ...errorRefs(404, 405, 503, 504),
    },
  }),
  'GET /v2/models/{model}[/versions/{version}]/stats': () => ({
    tags: ['Model'],
    operationId: 'modelStatistics',
    summary: 'Counts and durations of the model’s requests',
    responses: { 200: STATISTICS, ...errorRefs(404, 405) },
  }),
  'GET /v2/models/stats': () =>
    get('Model', 'statistics', 'The statistics of all models (this server has one model)', {
      200: STATISTICS,
    }),
  'GET /v2/models': ({ name }) =>
    get('Model', 'models', 'The served models', {
      200: answer(
        'The name of the only model.',
        object({ models: { type: 'array', items: { const: name } } }),
      ),
    }),
  'POST /v2/repository/index': ({ name }) => ({
    tags: ['Model'],
    operationId: 'repositoryIndex',
    summary: 'The served models and their states',
    requestBody: {
      content: {
        'application/json': {
          schema: {
            type: 'object',
            properties: {
              ready: {
                type: ['boolean', 'null'],
                description: 'If true, the response contains only models that are ready.',
              },
            },
          },
        },
      },
    },
    responses: {
      200: answer('An array with at most one model.', {
        type: 'array',
        items: repositoryEntry(name),
      }),
      ...errorRefs(400, 405, 413),
    },
  }),
  'GET /v2/health/live': () => liveness('live', 'Check whether the process responds'),
  'GET /v2/health/ready': () => readiness('ready', 'Check whether the model accepts requests'),
  'GET /health/liveness': () =>
    liveness('liveness', 'Check whether the process responds, for the probes of Knative Functions'),
  'GET /health/readiness': () =>
    readiness(
      'readiness',
      'Check whether the model accepts requests, for the probes of Knative Functions',
    ),
  'GET /health': () =>
    get('Health', 'health', 'Check whether the model is loaded', {
      200: answer(
        'The process responds.',
        object({ status: { const: 'ok' }, model_loaded: { type: 'boolean' } }),
      ),
    }),
  'GET /ready': () =>
    get(
      'Health',
      'readyStatus',
      'Check whether the model accepts requests, with the status as text',
      {
        200: answer('The model accepts requests.', object({ status: { const: 'ready' } })),
        503: notReady({ status: { const: 'not ready' } }),
      },
    ),
  'GET /v2': () =>
    get('Server', 'serverMetadata', 'Metadata of this server', {
      200: answer('Name, version and supported extensions.', schemaRef('ServerMetadata')),
    }),
  'GET /metrics': () =>
    get('Server', 'metrics', 'Metrics for Prometheus', {
      200: {
        description: 'All metrics of this server.',
        content: { 'text/plain': { schema: TEXT } },
      },
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
    get('Server', 'docs', 'A page for trying the API', {
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
    200: answer('The process responds.', object({ live: { const: true } })),
  })

const readiness = (operationId: string, summary: string): Operation =>
  get('Health', operationId, summary, {
    200: answer(
      'The model accepts requests.',
      object({ live: { const: true }, ready: { const: true } }),
    ),
    503: notReady({ live: { const: true }, ready: { const: false } }),
  })

function describeRoot({ playground }: Described): Operation {
  const metadata = schemaRef('ServerMetadata')
  if (!playground)
    return get('Server', 'root', 'Metadata of this server', {
      200: answer('The server\u2019s metadata.', metadata),
    })
  const summary = 'A page for browsers, or the server\u2019s metadata for other clients'
  return get('Server', 'root', summary, {
    200: answer('The page or the metadata, depending on the `Accept` header.', metadata, HTML),
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
      'A CloudEvent gets the same reply as at `/`.',
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
