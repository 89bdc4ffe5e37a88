import { externalFilesOf } from './external-data.ts'
import { fieldsIn, type Node, namesIn, type OnnxModel, readOnnxModel } from './onnx-file.ts'
import { field, message, numberField } from './protobuf.ts'
import { isReplaced } from './replacement.ts'
import { rewriteGraph } from './rewrite.ts'

/*
 * Lets classifiers return the index of a label instead of the label. ONNX Runtime for Node creates
 * a JavaScript string for each row, which takes three times as long as the run of a linear
 * classifier; the session maps an index to its label in a hundredth of that time.
 *
 * A classifier with the labels 0, 1, …, n−1 chooses the same class as with n texts, for n ≥ 2, in
 * ONNX Runtime 1.30 (onnxruntime/core/providers/cpu/ml; test/inference/label-indices.test.ts
 * compares them):
 * - LinearClassifier computes the scores without the labels. With several scores, the class is that
 *   of the first largest score. With one, it is class 1 or 0; the constructor requires two labels.
 * - SVMClassifier uses only the number of labels until it returns one. Its constants "1" and "0" are
 *   for one pair of classes that has not two labels, which cannot occur.
 * - TreeEnsembleClassifier with texts computes with the labels 0, 1, …, n−1, and returns the texts
 *   at these indices. It may also return the constant 1, so a single label is not enough.
 */

export interface Indexed {
  readonly bytes: Buffer
  readonly labels: OutputLabels
}

/** The labels to which an output's values are indices, keyed by output. */
export type OutputLabels = ReadonlyMap<string, readonly string[]>

/**
 * Returns a copy of a model in which classifiers return indices.
 * @returns undefined if the model returns no labels that indices can replace
 * @throws {Error} if the model cannot be read, or is not written as converters write it
 */
export async function withIndices(whole: Buffer): Promise<Indexed | undefined> {
  const model = await readOnnxModel(whole)
  const labels = indexedLabels(model)
  if (labels.size === 0 || externalFilesOf(model).length > 0) return undefined
  const parts = rewriteGraph(whole, model.graph, {
    node(node, bytes) {
      const texts = labels.get(node.outputs[0] ?? '')
      return texts && indicesNode(bytes, node, texts.length)
    },
    output: ({ name }, bytes) => (labels.has(name) ? indicesOutput(bytes) : undefined),
  })
  return { bytes: Buffer.concat(parts), labels }
}

/** Each classifier's attribute for labels that are numbers. */
const NUMBERS: Readonly<Record<string, string>> = {
  LinearClassifier: 'classlabels_ints',
  SVMClassifier: 'classlabels_ints',
  TreeEnsembleClassifier: 'classlabels_int64s',
}
const TEXTS = 'classlabels_strings'

function indexedLabels({ graph: { nodes, outputs }, functions }: OnnxModel): OutputLabels {
  const labels = new Map<string, readonly string[]>()
  // A function of the file might have a classifier's name.
  if (functions.length > 0) return labels
  const read = new Set(nodes.flatMap(node => [...namesIn(node)]))
  for (const node of nodes) {
    const [name = ''] = node.outputs
    const texts = labelsOf(node)
    const [output, ...others] = outputs.filter(output => output.name === name)
    const isTexts = output?.type.tensor?.element === ELEMENT.text && others.length === 0
    if (texts !== undefined && isTexts && !read.has(name)) labels.set(name, texts)
  }
  return labels
}

function labelsOf({ domain, operator, attributes }: Node): readonly string[] | undefined {
  if (domain !== 'ai.onnx.ml' || !Object.hasOwn(NUMBERS, operator)) return undefined
  const isOnly = [...attributes.keys()].every(
    name => name === TEXTS || !name.startsWith('classlabels'),
  )
  const texts = attributes.get(TEXTS)?.texts ?? []
  return isOnly && texts.length >= 2 && texts.every(isReturned) ? texts : undefined
}

/** Whether ONNX Runtime for Node returns the text as it was read here. */
const isReturned = (text: string) => !isReplaced(text) && !text.includes('\0')

/** Field numbers of AttributeProto, and its type INTS (onnx.proto). */
const ATTRIBUTE = { name: 1, ints: 8, type: 20 }
const INTS = 7

/** The field number in NodeProto. */
const ATTRIBUTES = 5

/** Returns a classifier's fields (NodeProto) with numbers as labels. */
function indicesNode(bytes: Buffer, { operator, attributes }: Node, classes: number): Buffer[] {
  // Attributes were read in the order of these fields.
  const places = fieldsIn(bytes).filter(({ number }) => number === ATTRIBUTES)
  const at = [...attributes.keys()].indexOf(TEXTS)
  const place = places[at]
  if (place === undefined || places.length > attributes.size)
    throw new Error('a repeated attribute')
  const attribute = message(ATTRIBUTES, [
    field(ATTRIBUTE.name, NUMBERS[operator] as string),
    ...Array.from({ length: classes }, (_, index) => numberField(ATTRIBUTE.ints, index)),
    numberField(ATTRIBUTE.type, INTS),
  ])
  return [bytes.subarray(0, place.begin), attribute, bytes.subarray(place.end)]
}

/** STRING and INT64 (TensorProto.DataType). */
const ELEMENT = { text: 8, index: 7 }

/** Returns an output's fields (ValueInfoProto) with the element type of indices. */
function indicesOutput(output: Buffer): Buffer[] {
  let [body, end] = [0, output.length]
  // ValueInfoProto.type, TypeProto.tensor_type, TypeProto.Tensor.elem_type
  for (const step of [2, 1, 1]) {
    const [place, ...others] = fieldsIn(output, body, end).filter(({ number }) => number === step)
    if (place === undefined || others.length > 0) throw new Error('a repeated type')
    ;({ body, end } = place)
  }
  // The number is one byte, except in files that no converter writes.
  if (output[end - 1] !== ELEMENT.text) throw new Error('a long number')
  const changed = Buffer.from(output)
  changed[end - 1] = ELEMENT.index
  return [changed]
}
