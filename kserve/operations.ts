import { inputRef, outputRef } from '../function/http/pages/author-schemas.ts'
import type { Described, OperationOf, Operations } from '../function/http/pages/operation.ts'
import { answer, errorRefs, notReady, object } from '../function/http/pages/parts.ts'
import type { Schema } from '../function/http/pages/schemas.ts'
import { exampleOf } from '../function/transform/example.ts'
import { mediaTypeOf } from '../function/transform/schema.ts'

/*
 * The operations of KServe's V1 for OpenAPI. V1 specifies neither datatypes nor shapes, so an
 * instance is any value, unless the author's code has schemas.
 */

const models: OperationOf = ({ name }) => ({
  tags: ['Model'],
  operationId: 'v1Models',
  summary: 'List the served models',
  responses: {
    200: answer(
      'The name of the served model.',
      object({ models: { type: 'array', items: { const: name } } }),
    ),
    ...errorRefs(405),
  },
})

const ready: OperationOf = ({ name }) => ({
  tags: ['Model'],
  operationId: 'v1ModelReady',
  summary: 'Report whether the model accepts requests',
  responses: {
    200: answer(
      'The model accepts requests.',
      object({ name: { const: name }, ready: { const: true } }),
    ),
    ...errorRefs(404, 405),
    503: notReady({ name: { const: name }, ready: { const: false } }),
  },
})

const predict: OperationOf = described => ({
  tags: ['Inference'],
  operationId: 'v1Predict',
  summary: 'Run the model on instances',
  description: 'If the request is the data of a CloudEvent, the response is also an event.',
  requestBody: {
    required: true,
    content: { 'application/json': { schema: requestSchema(described), ...example(described) } },
  },
  responses: {
    200: answer('A prediction for each instance.', answerSchema(described)),
    ...errorRefs(400, 404, 405, 413, 415, 422, 500, 503, 504),
    ...(described.transform && errorRefs('4XX')),
  },
})

export const MODELS: Operations = { GET: models }
export const READY: Operations = { GET: ready }
export const PREDICT: Operations = { POST: predict }

const list = (description: string, items: Schema): Schema => ({
  type: 'array',
  description,
  items,
})

function requestSchema({ transform }: Described): Schema {
  if (transform?.preprocess)
    return object({
      instances: list('Each instance is one call to the transform.', inputRef(transform)),
    })
  return {
    type: 'object',
    properties: {
      instances: list(
        'Rows. Each row is the value of the only input, or an object that maps input names to values.',
        {},
      ),
      inputs: {
        description:
          'Columns: the value of the only input, or an object that maps input names to values.',
      },
    },
    oneOf: [{ required: ['instances'] }, { required: ['inputs'] }],
  }
}

function answerSchema({ transform }: Described): Schema {
  if (transform?.postprocess)
    return object({
      predictions: list('The predictions, in the order of the instances.', outputRef(transform)),
    })
  const predictions = list(
    'The predictions in the order of the instances, if the request has instances.',
    {},
  )
  if (transform?.preprocess) return object({ predictions })
  return {
    type: 'object',
    properties: {
      predictions,
      outputs: { description: 'The outputs, if the request has inputs.' },
    },
    oneOf: [{ required: ['predictions'] }, { required: ['outputs'] }],
  }
}

/** V1 cannot represent bytes. */
function example({ transform }: Described) {
  const { preprocess, input } = transform ?? {}
  if (!preprocess || input === undefined || mediaTypeOf(input) !== undefined) return undefined
  const instance = exampleOf(input)
  if (instance === undefined) return undefined
  const value = { instances: [instance] }
  return { examples: { instances: { summary: 'One instance', value } } }
}
