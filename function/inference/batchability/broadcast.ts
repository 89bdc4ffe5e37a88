import { asNumber, equals, isOne, type Size, show, unknownSize } from './size.ts'
import { isBatched, Stop, tensor, UNKNOWN, type Value } from './value.ts'

/**
 * Returns the output of an element-wise operator (ONNX, "Multidirectional Broadcasting"). All
 * batched operands must have the batch in the same dimension, counted from the last, where other
 * operands must have size 1: a constant with two rows would turn a single row into two.
 * @throws {Stop} if an output row would depend on several rows
 */
export function broadcast(operands: readonly Value[]): Value {
  if (!operands.some(isBatched) && operands.some(({ dims }) => dims === undefined)) return UNKNOWN
  const shapes = operands.map(({ dims }, i) => {
    if (dims === undefined) throw new Stop(`the shape of input ${i} is unknown`)
    return dims
  })
  const rank = Math.max(...shapes.map(({ length }) => length))
  const first = operands.find(isBatched)
  const axis = first === undefined ? undefined : rank - first.dims.length + first.axis
  const dims = Array.from({ length: rank }, (_, place) => {
    if (first !== undefined && place === axis) {
      const size = first.dims[first.axis] as Size
      for (const [i, operand] of operands.entries()) checkBatch(operand, place - rank, size, i)
      return size
    }
    return sizeOf(shapes.flatMap(shape => shape[place - rank + shape.length] ?? []))
  })
  for (const operand of operands)
    if (isBatched(operand) && rank - operand.dims.length + operand.axis !== axis)
      throw new Stop('the output would have the batch in two dimensions')
  return tensor(dims, axis)
}

/** @param place the batch dimension, counted from the end as a negative number */
function checkBatch(operand: Value, place: number, size: Size, index: number): void {
  const dims = operand.dims as readonly Size[]
  const at = dims.length + place
  if (isBatched(operand) && operand.axis === at) {
    if (equals(dims[at] as Size, size)) return
    throw new Stop(`the node combines batches of sizes ${show(size)} and ${show(dims[at] as Size)}`)
  }
  if (at >= 0 && !isOne(dims[at] as Size))
    throw new Stop(`input ${index} has size ${show(dims[at] as Size)} in the batch dimension`)
}

export function sizeOf(sizes: readonly Size[]): Size {
  const others = sizes.filter(size => !isOne(size))
  const [first] = others
  if (first === undefined) return sizes[0] as Size
  if (others.every(size => equals(size, first))) return first
  // The other sizes are equal in a successful run, so a known size above 1 is the result.
  return others.find(size => (asNumber(size) ?? 0) > 1) ?? unknownSize()
}
