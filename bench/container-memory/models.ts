import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type {
  Constant,
  Declared,
  WrittenNode,
} from '../../test/inference/batchability/onnx-writer.ts'
import { writeModel } from '../../test/inference/batchability/onnx-writer.ts'

export interface Picture {
  readonly channels: number
  readonly height: number
  readonly width: number
  /** Whether the picture is the output. If not, the output is one number per row. */
  readonly isOutput: boolean
  /**
   * Whether the dimensions of the output are undeclared, so that the server must learn its size.
   */
  readonly isUndeclared?: boolean
}

/**
 * Writes a model that turns an FP32 input [N, 4] into a picture per row, without large constants:
 * each step adds one dimension.
 */
export function writePictureModel(picture: Picture): Buffer {
  const { channels, height, width, isOutput, isUndeclared } = picture
  const name = isOutput ? 'picture' : 'wide'
  const nodes: WrittenNode[] = [
    node('ReduceMean', ['x'], 'mean', { axes: [1], keepdims: 1 }),
    node('Unsqueeze', ['mean', 'last'], 'corner'),
    node('Add', ['corner', 'channels'], 'column'),
    node('Add', ['column', 'rows'], 'lines'),
    node('Add', ['lines', 'columns'], name),
  ]
  if (!isOutput) nodes.push(...flattened(name))
  const shape = [channels, height, width]
  const dims = isUndeclared ? ['a', 'b', 'c', 'd'] : ['N', ...shape]
  return writeModel({
    opset: 13,
    nodes,
    inputs: { x: { type: 'FP32', dims: ['N', 4] } },
    outputs: isOutput ? { picture: fp32(dims) } : { y: fp32(['N', 1]) },
    constants: {
      last: { type: 'INT64', shape: [2], values: [2, 3] },
      channels: ramp([1, channels, 1, 1]),
      rows: ramp([1, 1, height, 1]),
      columns: ramp([1, 1, 1, width]),
    },
  })
}

/** One number per row, from two activations of the picture's size. */
const flattened = (name: string): WrittenNode[] => [
  node('Exp', [name], 'wider'),
  node('ReduceMean', ['wider'], 'flat', { axes: [2, 3], keepdims: 0 }),
  node('ReduceMean', ['flat'], 'y', { axes: [1], keepdims: 1 }),
]

const node = (
  operator: string,
  inputs: readonly string[],
  output: string,
  attributes: WrittenNode['attributes'] = {},
): WrittenNode => ({ operator, inputs, outputs: [output], attributes })

const fp32 = (dims: Declared['dims']): Declared => ({ type: 'FP32', dims })

function ramp(shape: readonly number[]): Constant {
  const length = shape.reduce((product, size) => product * size, 1)
  // Many digits, so that the JSON text is long.
  return { type: 'FP32', shape, values: Array.from({ length }, (_, i) => -i / 7_919) }
}

export function modelFolder(picture: Picture): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'picture-'))
  writeFileSync(join(path, 'model.onnx'), writePictureModel(picture))
  writeFileSync(join(path, 'model.json'), JSON.stringify({ name: 'picture' }))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) }
}
