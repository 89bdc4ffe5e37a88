import { inputRef, outputRef } from '../function/http/pages/author-schemas.ts'
import type { Described, OperationOf, Operations } from '../function/http/pages/operation.ts'
import { answer, errorRefs, notReady, object } from '../function/http/pages/parts.ts'
import type { Schema } from '../function/http/pages/schemas.ts'
import { exampleOf } from '../function/transform/example.ts'
import { mediaTypeOf } from '../function/transform/schema.ts'

/*
 * KServe's V1 in OpenAPI. V1 carries neither datatypes nor shapes, so without the author's own
 * schemas an instance may be any value.
 */

const models: OperationOf = ({ name }) => ({
  tags: ['Model'],
  operationId: 'v1Models',
  summary: 'The served models',
  responses: {
    200: answer('One.', object({ models: { type: 'array', items: { const: name } } })),
    ...errorRefs(405),
  },
})

const ready: OperationOf = ({ name }) => ({
  tags: ['Model'],
  operationId: 'v1ModelReady',
  summary: 'Whether the model accepts requests',
  responses: {
    200: answer('It does.', object({ name: { const: name }, ready: { const: true } })),
    ...errorRefs(404, 405),
    503: notReady({ name: { const: name }, ready: { const: false } }),
  },
})

const predict: OperationOf = described => ({
  tags: ['Inference'],
  operationId: 'v1Predict',
  summary: 'Run the model on instances',
  description: 'A CloudEvent whose data is such a request is answered by an event.',
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
    return object({ instances: list('Each is one call.', inputRef(transform)) })
  return {
    type: 'object',
    properties: {
      instances: list('Rows: the only input\u2019s value, or an object of values by name.', {}),
      inputs: { description: 'Columns: the only input, or an object of inputs by name.' },
    },
    oneOf: [{ required: ['instances'] }, { required: ['inputs'] }],
  }
}

function answerSchema({ transform }: Described): Schema {
  if (transform?.postprocess)
    return object({ predictions: list('In the instances\u2019 order.', outputRef(transform)) })
  const predictions = list('To instances, in their order.', {})
  if (transform?.preprocess) return object({ predictions })
  return {
    type: 'object',
    properties: { predictions, outputs: { description: 'To inputs.' } },
    oneOf: [{ required: ['predictions'] }, { required: ['outputs'] }],
  }
}

/** The example of the author's schema. V1 cannot carry bytes. */
function example({ transform }: Described) {
  const { preprocess, input } = transform ?? {}
  if (!preprocess || input === undefined || mediaTypeOf(input) !== undefined) return undefined
  const instance = exampleOf(input)
  if (instance === undefined) return undefined
  const value = { instances: [instance] }
  return { examples: { instances: { summary: 'One instance', value } } }
}
