import type { Transform } from '../../../function/transform/contract.ts'
import { defineTransform } from '../../../function/transform/define.ts'

interface Model {
  inputs: { input: { datatype: 'FP32'; shape: [batch: number, 4] } }
  outputs: {
    label: { datatype: 'INT64'; shape: [batch: number] }
    probabilities: { datatype: 'FP32'; shape: [batch: number, 3] }
  }
}

const LABELS = ['setosa', 'versicolor', 'virginica']

export default defineTransform<Model>()({
  input: {
    type: 'object',
    required: ['sepalLength', 'sepalWidth', 'petalLength', 'petalWidth'],
    properties: {
      sepalLength: { type: 'number', description: 'cm' },
      sepalWidth: { type: 'number' },
      petalLength: { type: 'number' },
      petalWidth: { type: 'number' },
      note: { type: 'string' },
    },
  },
  output: { type: 'object', properties: { species: { enum: LABELS } } },
  preprocess: ({ sepalLength, sepalWidth, petalLength, petalWidth, note }, { log }) => {
    log.info('asked', { length: note?.toUpperCase() })
    return { input: [[sepalLength, sepalWidth, petalLength, petalWidth]] }
  },
  postprocess: ({ label, probabilities }, { sepalLength }) => ({
    species: LABELS[Number(label.data[0])],
    confidence: Math.max(...probabilities.data),
    big: sepalLength > 5,
  }),
})

export const rows = defineTransform<Model>()({
  preprocess(data) {
    const list = data as { a: number; b: number }[]
    return { input: list.map(({ a, b }) => [a, b, a, b]) }
  },
})

export const flat = defineTransform<Model>()({
  preprocess: async (data: unknown) => ({
    input: { shape: [1, 4], data: new Float32Array(data as number[]) },
  }),
})

export const plain = {
  preprocess: ({ a }) => ({ input: [[a, a, a, a]] }),
  postprocess: ({ label }) => label.data[0],
} satisfies Transform<Model, { a: number }>

export const untyped = defineTransform()({
  preprocess: data => ({ input: [[1, 2, 3, Number(data)]] }),
  postprocess: outputs => outputs.label?.data.length,
})
