import type { Config } from '../../config/config.ts'
import type { LoadedModel } from '../../inference/loaded-model.ts'
import { functionVersion, serverMetadata } from '../../inference/metadata.ts'
import type { Model } from '../../inference/model.ts'
import type { DescribedTransform } from '../../transform/described.ts'
import { pathsOf, rowsFor, type TableRoute } from '../routes.ts'
import { authorComponents } from './author-schemas.ts'
import { eventSchemas } from './events.ts'
import { requestExamples } from './examples.ts'
import {
  type Described,
  type Operation,
  type OperationOf,
  type Operations,
  TAGS,
} from './operation.ts'
import { OPERATIONS } from './operations.ts'
import {
  errorRefs,
  errorResponses,
  HEADERS,
  type OpenApi,
  object,
  WITHOUT_AUTHENTICATION,
} from './parts.ts'
import { eventData } from './receive.ts'
import {
  type InferenceSchemas,
  inferenceSchemas,
  metadataSchema,
  oneOf,
  type Schema,
} from './schemas.ts'
import { TRITON_SCHEMAS } from './triton.ts'

type DescribedModel = Pick<Model, 'name' | 'version' | 'description'>

export type DescribedLoaded = Pick<LoadedModel, 'signature' | 'example'> & {
  readonly transform?: DescribedTransform | undefined
}

/** A route, with its own description if pages/operations.ts has none. */
export type DescribedRow = Pick<TableRoute, 'path' | 'GET' | 'POST'> & {
  readonly described?: Operations | undefined
}

export type DescribedConfig = Pick<Config, 'playground' | 'auth' | 'metricsPort'>

/**
 * Returns the OpenAPI 3.1 description of all routes, with the model's name, version, inputs and
 * outputs. The server answers each example request with 200.
 *
 * An example body and an example header belong together if they have the same name.
 */
export function openApi(
  model: DescribedModel,
  { signature, example, transform }: DescribedLoaded,
  config: DescribedConfig,
  rows: readonly DescribedRow[] = rowsFor(config),
): OpenApi {
  const { name, version, description } = model
  const schemas = inferenceSchemas({ name, version }, signature)
  const examples = requestExamples({ signature, example })
  const described: Described = {
    name,
    request: schemas.request,
    examples,
    playground: config.playground,
    transform,
  }
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
        ...componentsOf(described),
        ModelMetadata: modelMetadataSchema(model, signature),
        ServerMetadata: SERVER_METADATA,
        ...TRITON_SCHEMAS,
        Error: object({
          error: { type: 'string', description: 'The mistake, and the allowed values.' },
        }),
      },
      headers: config.auth ? HEADERS : WITHOUT_AUTHENTICATION,
      responses: errorResponses(config.auth, transform !== undefined),
      ...(examples?.json && {
        examples: { request: { summary: 'An inference request', value: examples.json } },
      }),
    },
  }
}

const ABOUT =
  'The server answers HEAD like GET, and answers OPTIONS with an `Allow` header. A trailing slash in a path makes no difference. Requests and responses may be compressed with gzip or deflate. ' +
  'Every error is JSON with an `error` field, which describes what is wrong and what is allowed.'

function describePaths(
  rows: readonly DescribedRow[],
  model: DescribedModel,
  described: Described,
  auth: Config['auth'],
): OpenApi {
  const describeMethods = ({ path, described: own, ...row }: DescribedRow, i: number) =>
    (['GET', 'POST'] as const)
      .filter(method => row[method] !== undefined)
      .map(method => [
        method.toLowerCase(),
        withAuthentication(
          auth,
          describe(own?.[method] ?? operationNamed(`${method} ${path}`), i, described),
        ),
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

function operationNamed(name: string): OperationOf {
  const operationOf = (OPERATIONS as Record<string, OperationOf>)[name]
  if (operationOf === undefined) throw new Error(`pages/operations.ts does not describe ${name}`)
  return operationOf
}

/** @param i the path's index among the template's paths: only the first has no model version */
function describe(operationOf: OperationOf, i: number, described: Described): Operation {
  const { operationId, ...operation } = operationOf(described)
  return { operationId: i === 0 ? operationId : `${operationId}OfVersion`, ...operation }
}

/** Every route except health requires authentication. */
function withAuthentication(auth: Config['auth'], operation: Operation): OpenApi {
  if (auth === undefined) return operation
  if (operation.tags.includes('Health')) return { ...operation, security: [] }
  const refusals = auth.jwt === undefined ? errorRefs(401) : errorRefs(401, 403)
  return { ...operation, responses: { ...operation.responses, ...refusals } }
}

const inferenceComponents = ({ request, response }: InferenceSchemas): OpenApi => ({
  ...(request && { InferenceRequest: request }),
  InferenceResponse: response,
})

function componentsOf(described: Described): OpenApi {
  const data = eventData(described)
  const { transform } = described
  return { ...(data && eventSchemas(data)), ...(transform && authorComponents(transform)) }
}

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
