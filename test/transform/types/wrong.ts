import type { Transform } from '../../../function/transform/contract.ts'
import { defineTransform } from '../../../function/transform/define.ts'
import type { Model } from './iris.onnx'

/*
 * Each line below a comment "wrong" causes an error that contains the text of this comment. All
 * other lines are correct.
 */

export const outputs = defineTransform<Model>()({
  // wrong: Property 'probabilites' does not exist
  postprocess: ({ probabilites }) => probabilites,
})

export const lookedUp = defineTransform<Model>()({
  // wrong: Property 'labels' does not exist
  postprocess: outputs => outputs.labels,
})

export const missing = defineTransform<Model>()({
  // wrong: Type '{}' is not assignable to type 'Inputs<Model>
  preprocess: () => ({}),
})

export const misspelt = defineTransform<Model>()({
  // wrong: Type '{ inputs: number[][]; }' is not assignable to type 'Inputs<Model>
  preprocess: () => ({ inputs: [[1, 2, 3, 4]] }),
})

export const rank = defineTransform<Model>()({
  // wrong: Type 'number' is not assignable to type
  preprocess: () => ({ input: [1, 2, 3, 4] }),
})

export const dimension = defineTransform<Model>()({
  // wrong: Source has 3 element(s) but target requires 4
  preprocess: () => ({ input: [[1, 2, 3]] }),
})

export const dimensionOfEach = defineTransform<Model>()({
  // wrong: Source has 3 element(s) but target requires 4
  preprocess: () => ({ input: [1, 2].map(n => [n, n, n]) }),
})

export const element = defineTransform<Model>()({
  // wrong: Type 'string' is not assignable to type 'number'
  preprocess: () => ({ input: [[1, 2, 3, '4']] }),
})

export const awaited = defineTransform<Model>()({
  // wrong: Source has 3 element(s) but target requires 4
  preprocess: async () => ({ input: [[1, 2, 3]] }),
})

export const flatRank = defineTransform<Model>()({
  // wrong: Source has 1 element(s) but target requires 2
  preprocess: () => ({ input: { shape: [4], data: new Float32Array(4) } }),
})

export const flatDimension = defineTransform<Model>()({
  // wrong: Type '5' is not assignable to type '4'
  preprocess: () => ({ input: { shape: [1, 5], data: new Float32Array(5) } }),
})

export const flatDatatype = defineTransform<Model>()({
  // wrong: 'Int32Array
  preprocess: () => ({ input: { shape: [1, 4], data: new Int32Array(4) } }),
})

export const field = defineTransform<Model>()({
  input: { type: 'object', required: ['width'], properties: { width: { type: 'number' } } },
  // wrong: Property 'widht' does not exist
  preprocess: ({ widht }) => ({ input: [[widht, widht, widht, widht]] }),
})

export const optional = defineTransform<Model>()({
  input: { type: 'object', properties: { width: { type: 'number' } } },
  // wrong: Type 'number | undefined' is not assignable to type 'number'
  preprocess: ({ width }) => ({ input: [[width, 2, 3, 4]] }),
})

export const undescribed = defineTransform<Model>()({
  // wrong: Type 'unknown' is not assignable to type '{ width: any; }'
  preprocess: ({ width }) => ({ input: [[1, 2, 3, 4]], width }),
})

export const half = defineTransform<Model>()({
  // wrong: 'preproces' does not exist
  preproces: () => ({ input: [[1, 2, 3, 4]] }),
})

export const schema = defineTransform<Model>()({
  // wrong: Type '"text"' is not assignable to type
  input: { type: 'text' },
})

export const plain = {
  // wrong: Property 'probabilites' does not exist
  postprocess: ({ probabilites }) => probabilites,
} satisfies Transform<Model>

export const fixedId = defineTransform<Model>()({
  preprocess: (_data, { reply }) => {
    // wrong: Cannot assign to 'attributes'
    if (reply !== undefined) reply.attributes = {}
    return { input: [[1, 2, 3, 4]] }
  },
})
