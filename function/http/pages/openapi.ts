import type { Config } from '../../config/config.ts'
import type { LoadedModel } from '../../inference/loaded-model.ts'
import { functionVersion, serverMetadata } from '../../inference/metadata.ts'
import type { Model } from '../../inference/model.ts'
import { pathsOf, rowsFor, type TableRoute } from '../routes.ts'
import { eventSchemas } from './events.ts'
import { requestExamples } from './examples.ts'
import { type Described, OPERATIONS, type Operation, type OperationOf, TAGS } from './operations.ts'
import {
  errorRefs,
  errorResponses,
  HEADERS,
  type OpenApi,
  object,
  WITHOUT_AUTHENTICATION,
} from './parts.ts'
import {
  type InferenceSchemas,
  inferenceSchemas,
  metadataSchema,
  oneOf,
  type Schema,
} from './schemas.ts'
import { TRITON_SCHEMAS } from './triton.ts'

type DescribedModel = Pick<Model, 'name' | 'version' | 'description'>

/** The parts of the configuration that change the document. */
export type DescribedConfig = Pick<Config, 'playground' | 'auth' | 'metricsPort'>

/**
 * The OpenAPI 3.1 description of everything this server answers, for the very model it serves:
 * paths hold its name and version, schemas its inputs and outputs, and the examples are requests
 * that it answers with 200.
 *
 * An example belongs to a request body; the example of a header parameter with the same name goes
 * with it.
 */
export function openApi(
  model: DescribedModel,
  { signature, example }: Pick<LoadedModel, 'signature' | 'example'>,
  config: DescribedConfig,
  rows: readonly TableRoute[] = rowsFor(config),
): OpenApi {
  const { name, version, description } = model
  const schemas = inferenceSchemas({ name, version }, signature)
  const examples = requestExamples({ signature, example })
  const described = { name, request: schemas.request, examples, playground: config.playground }
  const title = `An ONNX model${version === undefined ? '' : `, version ${version}`}`
  return {
    openapi: '3.1.0',
    info: {
      title: name,
      version: version ?? functionVersion,
      summary: `${title}, served by ${serverMetadata.name} ${functionVersion}`,
      description: [description, ABOUT].filter(Boolean).join('\n\n'),
    },
    tags: Object.entries(TAGS).map(([name, description]) => ({ name, description })),
    servers: [{ url: '/' }],
    security: config.auth ? [{ bearer: [] }] : [],
    paths: describePaths(rows, model, described, config.auth),
    components: {
      ...(config.auth && { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } }),
      schemas: {
        ...inferenceComponents(schemas),
        ModelMetadata: modelMetadataSchema(model, signature),
        ServerMetadata: SERVER_METADATA,
        ...TRITON_SCHEMAS,
        Error: object({
          error: { type: 'string', description: 'What was wrong, and what would be right.' },
        }),
      },
      headers: config.auth ? HEADERS : WITHOUT_AUTHENTICATION,
      responses: errorResponses(config.auth),
      ...(examples?.json && {
        examples: { request: { summary: 'An inference request', value: examples.json } },
      }),
    },
  }
}

const ABOUT =
  'HEAD is answered as GET, OPTIONS with `Allow`; a slash at the end of a path changes nothing. Bodies may be gzip or deflate, both ways. ' +
  'Every refusal is JSON with an `error` that says what was wrong and what would be right.'

/** Each path of the table, with each of its methods. */
function describePaths(
  rows: readonly TableRoute[],
  model: DescribedModel,
  described: Described,
  auth: Config['auth'],
): OpenApi {
  const describeMethods = ({ path, ...row }: TableRoute, i: number) =>
    (['GET', 'POST'] as const)
      .filter(method => row[method] !== undefined)
      .map(method => [
        method.toLowerCase(),
        withAuthentication(auth, describe(`${method} ${path}`, i, described)),
      ])
  return Object.fromEntries(
    rows.flatMap(row =>
      pathsOf(row.path, model).map((path, i) => [
        path,
        Object.fromEntries(describeMethods(row, i)),
      ]),
    ),
  )
}

/** @param i which of the template's paths: only the first is without the model's version */
function describe(name: string, i: number, described: Described): Operation {
  const operationOf: OperationOf | undefined = (OPERATIONS as Record<string, OperationOf>)[name]
  if (operationOf === undefined) throw new Error(`pages/operations.ts does not describe ${name}`)
  const { operationId, ...operation } = operationOf(described)
  return { operationId: i === 0 ? operationId : `${operationId}OfVersion`, ...operation }
}

/** Everything but health is answered only to authenticated callers. */
function withAuthentication(auth: Config['auth'], operation: Operation): OpenApi {
  if (auth === undefined) return operation
  if (operation.tags.includes('Health')) return { ...operation, security: [] }
  const refusals = auth.jwt === undefined ? errorRefs(401) : errorRefs(401, 403)
  return { ...operation, responses: { ...operation.responses, ...refusals } }
}

const inferenceComponents = ({ request, response }: InferenceSchemas): OpenApi => ({
  ...(request && { InferenceRequest: request }),
  InferenceResponse: response,
  ...(request && eventSchemas()),
})

function modelMetadataSchema(
  { name, version }: DescribedModel,
  { inputs, outputs }: LoadedModel['signature'],
): Schema {
  const versions =
    version === undefined ? undefined : { versions: { type: 'array', items: { const: version } } }
  return object({
    name: { const: name },
    ...versions,
    platform: { const: 'onnx_onnxv1' },
    inputs: tensors(inputs.map(metadataSchema)),
    outputs: tensors(outputs.map(metadataSchema)),
  })
}

const tensors = (schemas: readonly Schema[]): Schema => ({
  type: 'array',
  minItems: schemas.length,
  maxItems: schemas.length,
  items: oneOf(schemas),
})

const SERVER_METADATA = object({
  name: { const: serverMetadata.name },
  version: { type: 'string' },
  extensions: { type: 'array', items: { type: 'string' } },
})
