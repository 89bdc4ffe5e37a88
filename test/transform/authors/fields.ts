import type { ModelTypes, Transform } from '../../../function/transform/contract.ts'

/** A transform for iris with named fields and schemas. */
interface Flower {
  readonly sepalLength: number
  readonly sepalWidth: number
  readonly petalLength: number
  readonly petalWidth: number
}

const LABELS = ['setosa', 'versicolor', 'virginica']
const CENTIMETRES = { type: 'number', minimum: 0, maximum: 20 } as const

export default {
  input: {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    type: 'object',
    required: ['sepalLength', 'sepalWidth', 'petalLength', 'petalWidth'],
    properties: {
      sepalLength: { $ref: '#/$defs/centimetres', examples: [5.1] },
      sepalWidth: { $ref: '#/$defs/centimetres', examples: [3.5] },
      petalLength: { $ref: '#/$defs/centimetres', examples: [1.4] },
      petalWidth: { $ref: '#/$defs/centimetres', default: 0.2 },
      note: { type: 'string', maxLength: 10, default: 'wild' },
    },
    additionalProperties: false,
    $defs: { centimetres: CENTIMETRES },
  },
  output: {
    type: 'object',
    required: ['species', 'confidence'],
    properties: { species: { enum: LABELS }, confidence: { type: 'number' } },
  },
  preprocess: ({ sepalLength, sepalWidth, petalLength, petalWidth }: Flower) => ({
    input: [[sepalLength, sepalWidth, petalLength, petalWidth]],
  }),
  postprocess: ({ probabilities }) => {
    const values = Array.from(probabilities?.data as Float32Array)
    const confidence = Math.max(...values)
    return { species: LABELS[values.indexOf(confidence)], confidence }
  },
} satisfies Transform<ModelTypes, Flower>
