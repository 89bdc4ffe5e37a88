import { fieldsIn, type Graph, type Node, type ValueInfo } from './onnx-file.ts'
import { message } from './protobuf.ts'

/** Returns the fields that replace a message's fields, given its bytes; undefined to keep it. */
export interface Changes {
  node(node: Node, bytes: Buffer): Buffer[] | undefined
  output(output: ValueInfo, bytes: Buffer): Buffer[] | undefined
}

/** Field numbers in ModelProto and GraphProto (onnx.proto). */
const GRAPH = 7
const NODE = 1
const OUTPUT = 12

/** Returns the fields of a model with changes to the graph, except those of its inner graphs. */
export function rewriteGraph(whole: Buffer, graph: Graph, changes: Changes): Buffer[] {
  return fieldsIn(whole).map(({ number, begin, body, end }) =>
    number === GRAPH
      ? message(number, graphFields(whole.subarray(body, end), graph, changes))
      : whole.subarray(begin, end),
  )
}

function graphFields(bytes: Buffer, graph: Graph, changes: Changes): Buffer[] {
  // Nodes and outputs were read in the order of these fields.
  const nodes = graph.nodes.values()
  const outputs = graph.outputs.values()
  return fieldsIn(bytes).map(({ number, begin, body, end }) => {
    const value = bytes.subarray(body, end)
    let changed: Buffer[] | undefined
    if (number === NODE) changed = changes.node(nodes.next().value as Node, value)
    if (number === OUTPUT) changed = changes.output(outputs.next().value as ValueInfo, value)
    return changed === undefined ? bytes.subarray(begin, end) : message(number, changed)
  })
}
