import { defineTransform } from 'onnx-function'
import type { Model } from './model.onnx'

/** A length in centimetres. */
const length = { type: 'number', minimum: 0, maximum: 30 } as const

export default defineTransform<Model>()({
  input: {
    type: 'object',
    required: ['sepalLength', 'sepalWidth', 'petalLength', 'petalWidth'],
    properties: {
      sepalLength: length,
      sepalWidth: length,
      petalLength: length,
      petalWidth: length,
    },
    examples: [{ sepalLength: 5.1, sepalWidth: 3.5, petalLength: 1.4, petalWidth: 0.2 }],
  },
  output: {
    type: 'object',
    required: ['species', 'confidence'],
    properties: {
      species: { enum: ['setosa', 'versicolor', 'virginica'] },
      confidence: { type: 'number' },
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
