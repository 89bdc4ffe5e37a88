import { statSync } from 'node:fs'
import { type ExternalFile, externalFilesOf } from '../../function/inference/external-data.ts'
import { kindOf } from '../../function/inference/file-kind.ts'
import {
  type Graph,
  type Node,
  type OnnxModel,
  readOnnxModel,
  type ValueInfo,
  type ValueType,
} from '../../function/inference/onnx-file.ts'
import { elementName } from '../../function/inference/onnx-types.ts'

/*
 * Reads the graph from an ONNX file to report all problems: ONNX Runtime reports only the first
 * one.
 */

/** An operator of the graph, of nested graphs (If, Loop, Scan) or of the file's own functions. */
export interface Operator {
  /** `ai.onnx` for ONNX's own operators. */
  readonly domain: string
  readonly name: string
  /** The version of the domain's operator set; undefined if the file does not import it. */
  readonly opset: number | undefined
  readonly count: number
}

/** `type` is ONNX's name: tensor(float), sequence(map(int64,tensor(float))). */
export interface GraphValue {
  readonly name: string
  readonly type: string
}

export interface OnnxFile {
  readonly irVersion: number | undefined
  readonly producer: string
  readonly opsets: Readonly<Record<string, number>>
  readonly operators: readonly Operator[]
  readonly outputs: readonly GraphValue[]
  readonly inputs: readonly GraphValue[]
  readonly overridable: readonly string[]
  readonly externalFiles: readonly ExternalFile[]
}

/** @throws {Error} with a one-line message if the file is not an ONNX model */
export async function readOnnxFile(path: string): Promise<OnnxFile> {
  if (statSync(path).size === 0) throw new Error('the file is empty')
  const kind = kindOf(path)
  if (kind !== undefined) throw new Error(`the file is ${kind}`)
  try {
    const model = await readOnnxModel(path)
    const { irVersion, producer, opsets, graph, functions } = model
    const counted = new Map<string, Operator>()
    countOperators(graph, opsets, counted)
    for (const own of functions) countNodes(own.nodes, new Map([...opsets, ...own.opsets]), counted)
    for (const own of functions) counted.delete(`${own.domain}\n${own.name}`)
    return {
      irVersion,
      producer,
      opsets: Object.fromEntries(opsets),
      operators: [...counted.values()].sort((a, b) => b.count - a.count),
      inputs: withoutWeights(graph).map(describe),
      overridable: overridable(model),
      outputs: graph.outputs.map(describe),
      externalFiles: externalFilesOf(model),
    }
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code !== undefined && !(error instanceof RangeError))
      throw new Error(`the file cannot be read: ${message}`)
    throw new Error(
      `the file is not an ONNX model: ${error instanceof RangeError ? 'its graphs are nested too deeply' : message}`,
    )
  }
}

function countOperators(
  { nodes }: Graph,
  opsets: ReadonlyMap<string, number>,
  counted: Map<string, Operator>,
): void {
  countNodes(nodes, opsets, counted)
}

function countNodes(
  nodes: readonly Node[],
  opsets: ReadonlyMap<string, number>,
  counted: Map<string, Operator>,
): void {
  for (const { domain, operator: name, attributes } of nodes) {
    const key = `${domain}\n${name}`
    const count = (counted.get(key)?.count ?? 0) + 1
    counted.set(key, { domain, name, opset: opsets.get(domain), count })
    for (const { graph } of attributes.values())
      if (graph !== undefined) countOperators(graph, opsets, counted)
  }
}

/**
 * Inputs that have a value in the file: none before IR version 4, which required every weight to be
 * an input.
 */
function overridable({ irVersion = 0, graph }: OnnxModel): string[] {
  const weights = new Set(graph.initializers.map(({ name }) => name))
  const names = graph.inputs.map(({ name }) => name).filter(name => weights.has(name))
  return irVersion < 4 ? [] : names
}

/** Omits weights, which old files also list as inputs. */
function withoutWeights({ initializers, inputs }: Graph): ValueInfo[] {
  const weights = new Set(initializers.map(({ name }) => name))
  return inputs.filter(({ name }) => !weights.has(name))
}

const describe = ({ name, type }: ValueInfo): GraphValue => ({ name, type: typeText(type) })

function typeText({ tensor, sequence, map, sparse, optional }: ValueType): string {
  if (tensor !== undefined) return `tensor(${elementName(tensor.element)})`
  if (sequence !== undefined) return `sequence(${typeText(sequence)})`
  if (map !== undefined) return `map(${elementName(map.key)},${typeText(map.value)})`
  if (sparse !== undefined) return `sparse_tensor(${elementName(sparse)})`
  if (optional !== undefined) return `optional(${typeText(optional)})`
  return 'unknown'
}
