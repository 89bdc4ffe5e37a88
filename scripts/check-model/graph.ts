import { closeSync, openSync, readSync, statSync } from 'node:fs'
import {
  type Graph,
  type Node,
  readOnnxModel,
  type TensorProto,
  type ValueInfo,
  type ValueType,
} from '../../function/inference/onnx-file.ts'

/* What an ONNX file says of itself: ONNX Runtime tells only the first thing it does not like. */

/** An operator the graph uses, in nested graphs (If, Loop, Scan) and in the file's own functions too. */
export interface Operator {
  /** `ai.onnx` for ONNX's own. */
  readonly domain: string
  readonly name: string
  /** Of the domain's operator set; undefined where the file does not import it. */
  readonly opset: number | undefined
  readonly count: number
}

/** A graph input or output, with its type in ONNX's words: tensor(float), sequence(map(int64,tensor(float))). */
export interface GraphValue {
  readonly name: string
  readonly type: string
}

/** A file beside the model that holds weights. */
export interface ExternalFile {
  /** As the model names it, relative to its own folder. */
  readonly location: string
  readonly tensors: number
  /** The size it must have at least. */
  readonly bytes: number
}

export interface OnnxFile {
  readonly irVersion: number | undefined
  readonly producer: string
  /** Version by domain. */
  readonly opsets: Readonly<Record<string, number>>
  readonly operators: readonly Operator[]
  readonly outputs: readonly GraphValue[]
  readonly inputs: readonly GraphValue[]
  readonly externalFiles: readonly ExternalFile[]
}

/**
 * @param path of a .onnx file
 * @throws {Error} of one line, when it is no ONNX model
 */
export async function readOnnxFile(path: string): Promise<OnnxFile> {
  if (statSync(path).size === 0) throw new Error('the file is empty')
  if (isLfsPointer(path)) throw new Error('the file is a Git LFS pointer, not the model')
  try {
    const { irVersion, producer, opsets, graph, functions } = await readOnnxModel(path)
    const counted = new Map<string, Operator>()
    const external = new Map<string, ExternalFile>()
    countOperators(graph, opsets, counted, external)
    for (const own of functions)
      countNodes(own.nodes, new Map([...opsets, ...own.opsets]), counted, external)
    for (const own of functions) counted.delete(`${own.domain}\n${own.name}`)
    return {
      irVersion,
      producer,
      opsets: Object.fromEntries(opsets),
      operators: [...counted.values()].sort((a, b) => b.count - a.count),
      inputs: withoutWeights(graph).map(describe),
      outputs: graph.outputs.map(describe),
      externalFiles: [...external.values()],
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== undefined && !(error instanceof RangeError))
      throw new Error(`the file cannot be read: ${message}`)
    throw new Error(
      `the file is no ONNX model: ${error instanceof RangeError ? 'its graphs are nested too deeply' : message}`,
    )
  }
}

/** What Git holds in a large file's place, until `git lfs pull` (git-lfs/docs/spec.md). */
export function isLfsPointer(path: string): boolean {
  const file = openSync(path, 'r')
  try {
    const begin = Buffer.alloc(40)
    const length = readSync(file, begin)
    return begin.toString('latin1', 0, length).startsWith('version https://git-lfs.github.com/')
  } finally {
    closeSync(file)
  }
}

function countOperators(
  { initializers, nodes }: Graph,
  opsets: ReadonlyMap<string, number>,
  counted: Map<string, Operator>,
  external: Map<string, ExternalFile>,
): void {
  for (const tensor of initializers) noteExternal(tensor, external)
  countNodes(nodes, opsets, counted, external)
}

function countNodes(
  nodes: readonly Node[],
  opsets: ReadonlyMap<string, number>,
  counted: Map<string, Operator>,
  external: Map<string, ExternalFile>,
): void {
  for (const { domain, operator: name, attributes } of nodes) {
    const key = `${domain}\n${name}`
    const count = (counted.get(key)?.count ?? 0) + 1
    counted.set(key, { domain, name, opset: opsets.get(domain), count })
    for (const { tensor, graph } of attributes.values()) {
      if (tensor !== undefined) noteExternal(tensor, external)
      if (graph !== undefined) countOperators(graph, opsets, counted, external)
    }
  }
}

function noteExternal({ external: from }: TensorProto, external: Map<string, ExternalFile>): void {
  if (from === undefined) return
  const { location, offset, length } = from
  const known = external.get(location)
  const bytes = Math.max(known?.bytes ?? 0, offset + length)
  external.set(location, { location, tensors: (known?.tensors ?? 0) + 1, bytes })
}

/** Old files list their weights among the graph's inputs. */
function withoutWeights({ initializers, inputs }: Graph): ValueInfo[] {
  const weights = new Set(initializers.map(({ name }) => name))
  return inputs.filter(({ name }) => !weights.has(name))
}

const describe = ({ name, type }: ValueInfo): GraphValue => ({ name, type: typeText(type) })

/** TensorProto.DataType, by its number. */
const ELEMENTS = [
  ...[
    'undefined',
    'float',
    'uint8',
    'int8',
    'uint16',
    'int16',
    'int32',
    'int64',
    'string',
    'bool',
    'float16',
    'double',
  ],
  ...[
    'uint32',
    'uint64',
    'complex64',
    'complex128',
    'bfloat16',
    'float8e4m3fn',
    'float8e4m3fnuz',
    'float8e5m2',
    'float8e5m2fnuz',
  ],
  ...['uint4', 'int4', 'float4e2m1'],
]
const element = (code: number | undefined) => ELEMENTS[code ?? 0] ?? `type ${code}`

function typeText({ tensor, sequence, map, sparse, optional }: ValueType): string {
  if (tensor !== undefined) return `tensor(${element(tensor.element)})`
  if (sequence !== undefined) return `sequence(${typeText(sequence)})`
  if (map !== undefined) return `map(${element(map.key)},${typeText(map.value)})`
  if (sparse !== undefined) return `sparse_tensor(${element(sparse)})`
  if (optional !== undefined) return `optional(${typeText(optional)})`
  return 'unknown'
}
