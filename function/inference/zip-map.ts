import { readFileSync, statSync } from 'node:fs'
import {
  fieldsIn,
  type Graph,
  type Node,
  type OnnxModel,
  type Place,
  readOnnxModel,
  type ValueInfo,
} from './onnx-file.ts'
import { field, message, numberField } from './protobuf.ts'

/*
 * Removes ZipMaps from models. Converters for scikit-learn, LightGBM, XGBoost and CatBoost append
 * this node to a classifier, to turn its tensor of probabilities into a list of maps. The protocol
 * has only tensors, so the server returns the tensor.
 */

export interface ZipMap {
  /** A tensor [N, classes]. */
  readonly input: string
  readonly classes: readonly string[]
}

/** Larger files are not copied into memory. */
const MOST_BYTES = 64 * 2 ** 20

/** Returns the graph's ZipMaps, keyed by output. */
export function zipMapsOf({ nodes, outputs }: Graph): ReadonlyMap<string, ZipMap> {
  const names = new Set(outputs.map(({ name }) => name))
  const found = nodes.flatMap((node): [string, ZipMap][] => {
    const [input = ''] = node.inputs
    const [output = ''] = node.outputs
    const classes = classesOf(node)
    return isZipMap(node) && names.has(output) && classes.length > 0
      ? [[output, { input, classes }]]
      : []
  })
  return new Map(found)
}

const isZipMap = ({ domain, operator }: Node) => domain === 'ai.onnx.ml' && operator === 'ZipMap'

function classesOf({ attributes }: Node): readonly string[] {
  const texts = attributes.get('classlabels_strings')?.texts
  return texts ?? attributes.get('classlabels_int64s')?.numbers?.map(String) ?? []
}

export interface Unzipped {
  readonly bytes: Buffer
  readonly zipMaps: ReadonlyMap<string, ZipMap>
}

/**
 * Returns a copy of a model without its ZipMaps.
 * @returns the reason if the ZipMaps cannot be removed; undefined if the model has no ZipMap
 * @throws {Error} if the file cannot be read
 */
export async function withoutZipMaps(file: string): Promise<Unzipped | string | undefined> {
  const model = await readOnnxModel(file)
  const zipMaps = zipMapsOf(model.graph)
  if (zipMaps.size === 0) return undefined
  if (statSync(file).size > MOST_BYTES) return 'the file is larger than 64 MiB'
  if (hasExternalData(model.graph)) return 'the model has external data'
  return { bytes: rewrite(file, model, zipMaps), zipMaps }
}

const hasExternalData = ({ initializers, nodes }: Graph): boolean =>
  initializers.some(({ external }) => external !== undefined) ||
  nodes.some(({ attributes }) =>
    [...attributes.values()].some(
      ({ tensor, graph }) =>
        tensor?.external !== undefined || (graph !== undefined && hasExternalData(graph)),
    ),
  )

/** Field numbers of ModelProto and GraphProto (onnx.proto). */
const MODEL = { graph: 7, opset: 8 }
const GRAPH = { node: 1, output: 12 }

function rewrite(
  file: string,
  { graph, opsets }: OnnxModel,
  zipMaps: ReadonlyMap<string, ZipMap>,
): Buffer {
  const whole = readFileSync(file)
  const parts = fieldsIn(file, 0, whole.length).map(({ number, begin, body, end }) =>
    number === MODEL.graph
      ? message(number, graphFields(whole, fieldsIn(file, body, end), { graph, zipMaps }))
      : whole.subarray(begin, end),
  )
  // Identity needs the domain ai.onnx, but CatBoost's files import only ai.onnx.ml.
  if (!opsets.has('ai.onnx')) parts.push(message(MODEL.opset, [numberField(2, 13)]))
  return Buffer.concat(parts)
}

function graphFields(
  whole: Buffer,
  places: readonly Place[],
  { graph, zipMaps }: { graph: Graph; zipMaps: ReadonlyMap<string, ZipMap> },
): Buffer[] {
  // Nodes and outputs were read in the order of these fields.
  const nodes = graph.nodes.values()
  const outputs = graph.outputs.values()
  return places.map(({ number, begin, end }) => {
    const bytes = whole.subarray(begin, end)
    if (number === GRAPH.node) {
      const node = nodes.next().value as Node
      const zipMap = isZipMap(node) ? zipMaps.get(node.outputs[0] ?? '') : undefined
      return zipMap === undefined ? bytes : identity(zipMap.input, node.outputs[0] as string)
    }
    if (number === GRAPH.output) {
      const { name } = outputs.next().value as ValueInfo
      const zipMap = zipMaps.get(name)
      return zipMap === undefined ? bytes : probabilities(name, zipMap.classes.length)
    }
    return bytes
  })
}

/** NodeProto: input 1, output 2, op_type 4. */
const identity = (input: string, output: string) =>
  message(GRAPH.node, [field(1, input), field(2, output), field(4, 'Identity')])

/** A ValueInfoProto of FP32 [?, classes]. The first dimension has neither a size nor a name. */
function probabilities(name: string, classes: number): Buffer {
  const shape = message(2, [message(1, []), message(1, [numberField(1, classes)])])
  const type = message(2, [message(1, [numberField(1, 1), shape])])
  return message(GRAPH.output, [field(1, name), type])
}
