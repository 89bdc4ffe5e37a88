import { readFileSync, statSync } from 'node:fs'
import { externalFilesOf } from './external-data.ts'
import { type Graph, type Node, type OnnxModel, readOnnxModel } from './onnx-file.ts'
import { field, message, numberField } from './protobuf.ts'
import { rewriteGraph } from './rewrite.ts'

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
  if (externalFilesOf(model).length > 0) return 'the model has external data'
  return { bytes: rewrite(readFileSync(file), model, zipMaps), zipMaps }
}

function rewrite(
  whole: Buffer,
  { graph, opsets }: OnnxModel,
  zipMaps: ReadonlyMap<string, ZipMap>,
): Buffer {
  const parts = rewriteGraph(whole, graph, {
    node(node) {
      const [output = ''] = node.outputs
      const zipMap = isZipMap(node) ? zipMaps.get(output) : undefined
      return zipMap && identity(zipMap.input, output)
    },
    output({ name }) {
      const zipMap = zipMaps.get(name)
      return zipMap && probabilities(name, zipMap.classes.length)
    },
  })
  // Identity needs the domain ai.onnx, but CatBoost's files import only ai.onnx.ml.
  if (!opsets.has('ai.onnx')) parts.push(message(OPSET, [numberField(2, 13)]))
  return Buffer.concat(parts)
}

/** The field number in ModelProto (onnx.proto). */
const OPSET = 8

/** The fields of a NodeProto: input 1, output 2, op_type 4. */
const identity = (input: string, output: string) => [
  field(1, input),
  field(2, output),
  field(4, 'Identity'),
]

/** The fields of a ValueInfoProto of FP32 [?, classes]. The first dimension has no size or name. */
function probabilities(name: string, classes: number): Buffer[] {
  const shape = message(2, [message(1, []), message(1, [numberField(1, classes)])])
  return [field(1, name), message(2, [message(1, [numberField(1, 1), shape])])]
}
