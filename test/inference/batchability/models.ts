import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { type Proof, proveIndependent } from '../../../function/inference/batchability/prove.ts'
import { openSession, type Session } from '../../../function/inference/session.ts'
import {
  type AttributeValue,
  type Constant,
  type Declared,
  type Type,
  type WrittenModel,
  type WrittenNode,
  writeModel,
} from './onnx-writer.ts'

/** 'N' is the batch dimension. */
export const input = (type: Type, ...dims: (number | string)[]): Declared => ({ type, dims })
export const x = (...dims: (number | string)[]): Declared => input('FP32', ...dims)

export const constant = (type: Type, shape: number[], values: (number | string)[]): Constant => ({
  type,
  shape,
  values,
})
export const floats = (shape: number[], ...values: number[]): Constant =>
  constant('FP32', shape, values.length > 0 ? values : filled(shape))
export const ints = (...values: number[]): Constant => constant('INT64', [values.length], values)
export const int = (value: number): Constant => constant('INT64', [], [value])

function filled(shape: readonly number[]): number[] {
  const count = shape.reduce((all, size) => all * size, 1)
  return Array.from({ length: count }, (_, i) => ((i * 7) % 11) / 8 - 0.5)
}

export const node = (
  operator: string,
  inputs: string,
  outputs: string,
  attributes: Readonly<Record<string, AttributeValue>> = {},
): WrittenNode => {
  const [name = '', domain = ''] = operator.split('@')
  return { operator: name, domain, inputs: words(inputs), outputs: words(outputs), attributes }
}

/** "-" is an omitted optional input or output. */
const words = (text: string) =>
  text.split(' ').flatMap(word => (word === '' ? [] : word === '-' ? '' : word))

export interface OneOperator {
  readonly attributes?: Readonly<Record<string, AttributeValue>>
  readonly opset?: WrittenModel['opset']
  /** FP32 [N,?] by default. */
  readonly outputs?: readonly (Declared | undefined)[]
}

/**
 * A graph with one operator. Inputs are named a, b, …; constants become initialisers; an undefined
 * input is omitted.
 */
export function one(
  operator: string,
  inputs: readonly (Declared | Constant | undefined)[],
  { attributes = {}, opset = 17, outputs = [x('N', '?')] }: OneOperator = {},
): WrittenModel {
  const names = inputs.map((value, i) => (value === undefined ? '-' : nameOf(i)))
  const given = outputs.flatMap((value, i) =>
    value === undefined ? [] : [[`out${i}`, value] as const],
  )
  const results = outputs.map((value, i) => (value === undefined ? '-' : `out${i}`))
  return {
    opset,
    inputs: Object.fromEntries(
      inputs.flatMap((value, i) =>
        value !== undefined && 'dims' in value ? [[nameOf(i), value] as const] : [],
      ),
    ),
    constants: Object.fromEntries(
      inputs.flatMap((value, i) =>
        value !== undefined && 'values' in value ? [[nameOf(i), value] as const] : [],
      ),
    ),
    outputs: Object.fromEntries(given),
    nodes: [node(operator, names.join(' '), results.join(' '), attributes)],
  }
}

/** A graph whose input is by default a of shape [N,4], and whose output is out. */
export const graph = (
  nodes: WrittenModel['nodes'],
  {
    constants = {},
    inputs = { a: x('N', 4) },
    outputs = { out: x('N', '?') },
    opset = 17,
    functions = [],
  }: Partial<WrittenModel> = {},
): WrittenModel => ({ nodes, constants, inputs, outputs, opset, functions })

const nameOf = (index: number) => String.fromCharCode(97 + index)

const folder = mkdtempSync(join(tmpdir(), 'batchability-'))
after(() => rmSync(folder, { recursive: true }))
let files = 0

export function write(model: WrittenModel): string {
  const path = join(folder, `${++files}.onnx`)
  writeFileSync(path, writeModel(model))
  return path
}

/**
 * Proves a model with the inputs and outputs that the file declares. ONNX Runtime does not load it.
 */
export const prove = (model: WrittenModel): Promise<Proof> =>
  proveIndependent(write(model), {
    inputs: Object.entries(model.inputs).map(describe),
    outputs: Object.entries(model.outputs).map(describe),
  })

const describe = ([name, { dims }]: [string, Declared]) => ({
  name,
  datatype: 'FP32' as const,
  shape: dims.map(dim => (typeof dim === 'number' ? dim : -1)),
  dimensionNames: dims.map(dim => (typeof dim === 'number' ? '' : dim)),
  anyRank: false,
})

export const open = (model: WrittenModel): Promise<Session> => openSession(write(model), 1)
