import { type Graph, type Node, nodesWithin, type OnnxModel } from '../onnx-file.ts'

/** TensorProto.DataType. */
const TEXT = 8

/**
 * Whether a tensor of the model may contain texts: an input, a constant, or the output of a node
 * whose attributes contain texts.
 */
export const hasTexts = ({ graph, functions }: OnnxModel): boolean =>
  isOfTexts(graph) || functions.some(({ nodes }) => nodes.some(mayReturnTexts))

const isOfTexts = ({ inputs, initializers, nodes }: Graph): boolean =>
  inputs.some(({ type }) => type.tensor?.element === TEXT) ||
  initializers.some(({ type }) => type === TEXT) ||
  nodes.some(mayReturnTexts)

const mayReturnTexts = ({ operator, attributes }: Node): boolean =>
  [...attributes.values()].some(
    ({ name, number, reference, tensor, graph }) =>
      name.includes('string') ||
      tensor?.type === TEXT ||
      (graph !== undefined && isOfTexts(graph)) ||
      (operator === 'Cast' && (number === TEXT || reference !== undefined)),
  )

/** Whether any node of the model is a Transpose. */
export const hasTransposes = ({ graph, functions }: OnnxModel): boolean =>
  nodesWithin([graph, ...functions].flatMap(({ nodes }) => nodes)).some(
    ({ operator }) => operator === 'Transpose',
  )
