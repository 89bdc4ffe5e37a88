import { defineTransform } from 'onnx-function'
import type { Model } from './model.onnx'
import { type Picture, readPng } from './png.ts'

const SIDE = 8

/** The page's example: a zero in 8 × 8 pixels. */
const EXAMPLE =
  'iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAPklEQVR42mNgYHDYH8AABvvvvy8A0Qr3BRT+gxgODQwM8x2AjAIgI6EBJLKegSEAxGC4v97gPFifwvr/QEEARsoRA12Mz14AAAAASUVORK5CYII='

export default defineTransform<Model>()({
  input: {
    contentMediaType: 'image/png',
    contentEncoding: 'base64',
    description: 'A handwritten digit, white on black, from 8 × 8 to 512 × 512 pixels',
    examples: [EXAMPLE],
  },
  output: {
    type: 'object',
    required: ['digit', 'probabilities'],
    properties: {
      digit: { type: 'integer', minimum: 0, maximum: 9 },
      probabilities: {
        type: 'array',
        items: { type: 'number' },
        description: 'Probabilities of the digits 0 to 9',
      },
    },
  },
  preprocess: png => ({
    pixels: { shape: [1, SIDE, SIDE], data: shrink(readPng(png)) },
  }),
  postprocess: ({ digit, probabilities }) => ({
    digit: digit.data[0],
    probabilities: probabilities.data,
  }),
})

/** @returns the mean brightness of each of 8 × 8 fields, from 0 to 1 */
function shrink({ width, height, data }: Picture): Float32Array {
  const sums = new Float64Array(SIDE * SIDE)
  const counts = new Uint32Array(SIDE * SIDE)
  const byte = (at: number) => data[at] ?? 0
  for (let y = 0, pixel = 0; y < height; y++) {
    const row = Math.floor((y * SIDE) / height) * SIDE
    for (let x = 0; x < width; x++, pixel += 4) {
      const field = row + Math.floor((x * SIDE) / width)
      const brightness = byte(pixel) + byte(pixel + 1) + byte(pixel + 2)
      // A transparent pixel counts as black.
      sums[field] = (sums[field] ?? 0) + brightness * byte(pixel + 3)
      counts[field] = (counts[field] ?? 0) + 1
    }
  }
  return Float32Array.from(sums, (sum, field) => sum / ((counts[field] ?? 0) * 3 * 255 * 255))
}
