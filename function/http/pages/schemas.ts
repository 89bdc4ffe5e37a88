import { isComparable } from '../../protocol/classification.ts'
import { DATATYPES, type Datatype, hasJson } from '../../protocol/datatypes.ts'
import type { Signature, TensorMetadata } from '../../protocol/tensor.ts'

/** A JSON Schema of draft 2020-12, as OpenAPI 3.1 uses it. */
export type Schema = { readonly [keyword: string]: unknown }

/** Schemas of requests and responses with the model's names, datatypes and shapes. */
export interface InferenceSchemas {
  /** Undefined if JSON cannot express an input (FP16). */
  readonly request: Schema | undefined
  readonly response: Schema
}

/** Every response contains the model's name and version. */
export interface ServedModel {
  readonly name: string
  readonly version: string | undefined
}

export function inferenceSchemas(
  { name, version }: ServedModel,
  signature: Signature,
): InferenceSchemas {
  const { inputs, outputs } = signature
  return {
    request: !inputs.every(({ datatype }) => hasJson(datatype))
      ? undefined
      : requestSchema(signature),
    response: {
      type: 'object',
      required: ['model_name', ...(version === undefined ? [] : ['model_version']), 'outputs'],
      properties: {
        model_name: { const: name },
        ...(version === undefined ? undefined : { model_version: { const: version } }),
        id: {
          type: 'string',
          description: 'The request\u2019s id; absent if the request has no id.',
        },
        outputs: {
          description:
            'The requested outputs in the requested order; all outputs if the request has no `outputs`.',
          type: 'array',
          items: oneOf([
            ...outputs.filter(({ datatype }) => hasJson(datatype)).map(outputSchema),
            ...outputs.filter(({ datatype }) => isComparable(datatype)).map(classesSchema),
          ]),
        },
      },
    },
  }
}

function requestSchema({ inputs, outputs }: Signature): Schema {
  return {
    type: 'object',
    required: ['inputs'],
    properties: {
      id: { type: ['string', 'null'], description: 'The response contains this id unchanged.' },
      parameters: {
        ...PARAMETERS,
        properties: {
          binary_data_output: {
            type: ['boolean', 'null'],
            description:
              'If true, outputs are returned as binary tensor data unless an output sets `binary_data`.',
          },
          classification: CLASSIFICATION,
          timeout: {
            type: ['integer', 'null'],
            minimum: 0,
            description:
              'The time in microseconds within which the run must begin; 0 sets no additional limit.',
          },
        },
      },
      inputs: {
        description:
          inputs.length > 1 ? 'Each input exactly once, in any order.' : 'The model\u2019s input.',
        type: 'array',
        minItems: inputs.length,
        maxItems: inputs.length,
        ...(inputs.length > 0 && { items: oneOf(inputs.map(inputSchema)) }),
        ...(inputs.length > 1 && {
          allOf: inputs.map(({ name }) => ({
            contains: { properties: { name: { const: name } } },
          })),
        }),
      },
      outputs: {
        description: 'The outputs to return, in this order; all outputs if absent or empty.',
        type: ['array', 'null'],
        maxItems: outputs.length,
        items: {
          type: 'object',
          required: ['name'],
          properties: {
            name: { enum: outputs.map(({ name }) => name) },
            parameters: {
              ...PARAMETERS,
              properties: {
                binary_data: {
                  type: ['boolean', 'null'],
                  description: 'If true, this output is returned as binary tensor data.',
                },
                classification: CLASSIFICATION,
              },
            },
          },
        },
      },
    },
  }
}

const inputSchema = ({ name, datatype, ...shape }: TensorMetadata): Schema => ({
  type: 'object',
  required: ['name', 'shape', 'datatype', 'data'],
  properties: {
    name: { const: name },
    shape: shapeSchema(shape),
    datatype: { const: datatype },
    parameters: PARAMETERS,
    data: dataSchema(datatype, shape),
  },
})

const outputSchema = ({ name, datatype, ...shape }: TensorMetadata): Schema => ({
  type: 'object',
  required: ['name', 'shape', 'datatype', 'data'],
  properties: {
    name: { const: name },
    shape: shapeSchema(shape),
    datatype: { const: datatype },
    data: {
      type: 'array',
      description: 'The elements, flat and in row-major order.',
      items: ELEMENT[datatype],
    },
  },
})

/** The schema of an output of which only the highest values are returned, with index and label. */
const classesSchema = ({ name }: TensorMetadata): Schema => ({
  type: 'object',
  required: ['name', 'shape', 'datatype', 'data'],
  properties: {
    name: { const: name },
    shape: { type: 'array', items: DIMENSION, minItems: 1, maxItems: 2 },
    datatype: { const: 'BYTES' },
    data: {
      type: 'array',
      description:
        'The highest values of each row in descending order, as "value:index" or "value:index:label".',
      items: ELEMENT.BYTES,
    },
  },
})

const CLASSIFICATION: Schema = {
  type: ['integer', 'null'],
  minimum: 1,
  description:
    'If set, this many of the highest values of each row are returned as "value:index:label", instead of all values.',
}

export const metadataSchema = ({ name, datatype, shape }: TensorMetadata): Schema => ({
  type: 'object',
  required: ['name', 'datatype', 'shape'],
  properties: {
    name: { const: name },
    datatype: { const: datatype },
    shape: sized(shape.length, { type: 'integer', minimum: -1 }, `[${shape.join(', ')}]`),
  },
})

function shapeSchema({
  shape,
  dimensionNames,
  anyRank,
}: Pick<TensorMetadata, 'shape' | 'dimensionNames' | 'anyRank'>): Schema {
  if (anyRank) return { type: 'array', description: 'Any shape.', items: DIMENSION }
  const dimensions = shape.map((dimension, i) =>
    dimension === -1 ? dimensionNames[i] || 'any' : dimension,
  )
  return sized(shape.length, DIMENSION, `[${dimensions.join(', ')}]`)
}

const DIMENSION: Schema = { type: 'integer', minimum: 0 }

/**
 * Avoids `prefixItems` and an array as `const`, on which many client generators and linters fail.
 */
const sized = (length: number, items: Schema, description: string): Schema => ({
  type: 'array',
  description,
  minItems: length,
  maxItems: length,
  items,
})

/** In a request's parameters, null means absent. */
const PARAMETERS: Schema = {
  type: ['object', 'null'],
  additionalProperties: { type: ['string', 'number', 'boolean', 'null'] },
}

/**
 * Data is flat, or nested as deeply as the shape. Not recursive, because some generators refuse
 * recursive schemas.
 */
function dataSchema(
  datatype: Datatype,
  { shape, anyRank }: Pick<TensorMetadata, 'shape' | 'anyRank'>,
): Schema {
  const description = `Elements in row-major order, flat or nested to match the shape: ${DATATYPES[datatype].takes}.`
  if (anyRank) return { type: 'array', description, items: {} }
  const flat = arrayOf(ELEMENT[datatype])
  if (shape.length < 2) return { ...flat, description }
  return { description, anyOf: [flat, shape.reduce(arrayOf, ELEMENT[datatype])] }
}

const arrayOf = (items: Schema): Schema => ({ type: 'array', items })

const integer = (minimum: number, maximum: number): Schema => ({
  type: 'integer',
  minimum,
  maximum,
})
const float = (format: string): Schema => ({
  anyOf: [{ type: 'number', format }, { enum: ['NaN', 'Infinity', '-Infinity'] }],
})

/** JSON readers round the limits of 64-bit integers, so `format` states the limits. */
const ELEMENT: Readonly<Record<Datatype, Schema>> = {
  BOOL: { type: 'boolean' },
  UINT8: integer(0, 255),
  UINT16: integer(0, 65535),
  UINT32: integer(0, 4294967295),
  UINT64: { type: 'integer', format: 'uint64', minimum: 0 },
  INT8: integer(-128, 127),
  INT16: integer(-32768, 32767),
  INT32: integer(-2147483648, 2147483647),
  INT64: { type: 'integer', format: 'int64' },
  FP16: { not: {} },
  FP32: float('float'),
  FP64: float('double'),
  BYTES: { type: 'string' },
}

/**
 * Combines schemas. A single schema stays as it is, because generators turn a oneOf with one member
 * into a union. Without schemas, no value matches.
 */
export function oneOf(schemas: readonly Schema[]): Schema {
  const [first, ...others] = schemas
  if (first === undefined) return { not: {} }
  return others.length === 0 ? first : { oneOf: schemas }
}
