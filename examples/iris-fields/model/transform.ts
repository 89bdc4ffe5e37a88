import { defineTransform } from 'onnx-function'
import type { Model } from './model.onnx'

const centimetres = (description: string) =>
  ({
    type: 'number',
    exclusiveMinimum: 0,
    maximum: 100,
    description: `${description} in cm`,
  }) as const

export default defineTransform<Model>()({
  input: {
    type: 'object',
    required: ['sepalLength', 'sepalWidth', 'petalLength', 'petalWidth'],
    additionalProperties: false,
    properties: {
      sepalLength: centimetres('Length of the sepals'),
      sepalWidth: centimetres('Width of the sepals'),
      petalLength: centimetres('Length of the petals'),
      petalWidth: centimetres('Width of the petals'),
    },
    examples: [{ sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }],
  },
  output: {
    type: 'object',
    required: ['species', 'confidence'],
    properties: {
      species: { enum: ['setosa', 'versicolor', 'virginica'] },
      confidence: { type: 'number', description: 'Probability of this species' },
    },
  },
  preprocess: ({ sepalLength, sepalWidth, petalLength, petalWidth }) => ({
    input: [[sepalLength, sepalWidth, petalLength, petalWidth]],
  }),
  postprocess: ({ predicted_class, probabilities }) => ({
    species: predicted_class.data[0],
    confidence: Math.max(...probabilities.data),
  }),
})
