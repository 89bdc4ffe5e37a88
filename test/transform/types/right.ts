import type { Transform } from '../../../function/transform/contract.ts'
import { defineTransform } from '../../../function/transform/define.ts'
import type { Model } from './iris.onnx'

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
    log.info('asked', { letters: note?.length })
    return { input: [[sepalLength, sepalWidth, petalLength, petalWidth]] }
  },
  postprocess: ({ predicted_class, probabilities }, { sepalLength }) => ({
    species: LABELS[Number(predicted_class.data[0])],
    confidence: Math.max(...probabilities.data),
    large: sepalLength > 5,
  }),
})

/** A transform with methods, any number of rows, and data that no schema describes. */
export const rows = defineTransform<Model>()({
  preprocess(data) {
    const flowers = data as readonly { length: number; width: number }[]
    return { input: flowers.map(({ length, width }) => [length, width, length, width]) }
  },
})

export const flat = defineTransform<Model>()({
  input: { type: 'array', items: { type: 'number' } },
  async setup({ model, log }) {
    log.info(model.name, { version: model.version, inputs: model.inputs.length })
  },
  close: () => {},
  preprocess: async (data, { signal, headers, event, reply, state }) => {
    await fetch(`http://features/${headers['x-user'] ?? event?.subject}`, { signal })
    if (reply !== undefined) reply.attributes.score = '1'
    state.count = data.length
    return { input: { shape: [data.length / 4, 4], data: new Float32Array(data) } }
  },
  postprocess: ({ probabilities }, _data, { state }) =>
    state.count === 0 ? undefined : { body: probabilities.data.join(), contentType: 'text/csv' },
})

/** A transform without defineTransform: the author declares the type of the data. */
export const plain = {
  preprocess: ({ length }) => ({ input: [[length, length, length, length]] }),
  postprocess: ({ predicted_class }) => predicted_class.data[0],
} satisfies Transform<Model, { length: number }>

export const untyped = defineTransform()({
  preprocess: data => ({ input: [[1, 2, 3, Number(data)]] }),
  postprocess: outputs => outputs.predicted_class?.data.length,
})

/** A transform with only postprocess: the input is an inference request. */
export const after = defineTransform<Model>()({
  postprocess: ({ predicted_class }) => LABELS[Number(predicted_class.data[0])],
})

/** Transforms whose input is bytes or text with a media type. */
export const png = defineTransform<Model>()({
  input: { contentMediaType: 'image/png' },
  preprocess: data => ({ input: { shape: [data.byteLength / 4, 4], data: Array.from(data) } }),
})
export const text = defineTransform<Model>()({
  input: { contentMediaType: 'text/plain' },
  preprocess: data => ({ input: [[data.length, data.trim().length, 0, 0]] }),
})

export const picture = defineTransform<Model>()({
  preprocess: data => {
    if (!(data instanceof Uint8Array)) throw new TypeError('no picture')
    const [height, width] = [data[0], data[1]]
    if (width !== 4 || height === undefined)
      throw new RangeError('the picture is not 4 pixels wide')
    return { input: { shape: [height, width], data: Array.from(data) } }
  },
})
