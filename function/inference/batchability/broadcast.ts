import { asNumber, equals, isOne, type Size, show, unknownSize } from './size.ts'
import { isBatched, Stop, tensor, UNKNOWN, type Value } from './value.ts'

/**
 * The output of element-wise operators with broadcasting (ONNX, "Multidirectional Broadcasting").
 * Batched operands must have the batch at the same place, counted from the end. All others must
 * have size 1 or no dimension there: with a constant of two rows, a single row would become two.
 * @throws {Stop} if rows would not stay separate
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
      throw new Stop('the batch would be in two dimensions')
  return tensor(dims, axis)
}

/** @param place from the end, as a negative number @param size of the batch */
function checkBatch(operand: Value, place: number, size: Size, index: number): void {
  const dims = operand.dims as readonly Size[]
  const at = dims.length + place
  if (isBatched(operand) && operand.axis === at) {
    if (equals(dims[at] as Size, size)) return
    throw new Stop(`batches of ${show(size)} and of ${show(dims[at] as Size)} are combined`)
  }
  if (at >= 0 && !isOne(dims[at] as Size))
    throw new Stop(`input ${index} has size ${show(dims[at] as Size)} where the batch is`)
}

/** The result's size in a dimension where operands have these sizes. */
export function sizeOf(sizes: readonly Size[]): Size {
  const others = sizes.filter(size => !isOne(size))
  const [first] = others
  if (first === undefined) return sizes[0] as Size
  if (others.every(size => equals(size, first))) return first
  // All others are 1 or the same, or the run fails.
  return others.find(size => (asNumber(size) ?? 0) > 1) ?? unknownSize()
}
