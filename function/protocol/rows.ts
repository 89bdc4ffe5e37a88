import { DATATYPES } from './datatypes.ts'
import { ModelError } from './errors.ts'
import { elementCount, type Tensor } from './tensor.ts'

/** Concatenates tensors of one input along the first dimension. */
export function join(tensors: readonly Tensor[]): Tensor {
  const [first] = tensors as [Tensor]
  const shape = [
    tensors.reduce((sum, tensor) => sum + (tensor.shape[0] as number), 0),
    ...first.shape.slice(1),
  ]
  const data = DATATYPES[first.datatype].allocate(elementCount(shape))
  let at = 0
  for (const tensor of tensors) {
    if (Array.isArray(data))
      for (const string of tensor.data as readonly string[]) data[at++] = string
    else {
      ;(data as Float32Array).set(tensor.data as Float32Array, at)
      at += tensor.data.length
    }
  }
  return { ...first, shape, data }
}

/**
 * Splits the outputs of a joined run into the outputs for each request, without copying.
 * @param outputs tensors of shape [sum(rows), …]
 * @param rows the rows of each request, in the order in which they were joined
 * @throws {ModelError} if an output's first dimension is not sum(rows)
 */
export function split(outputs: readonly Tensor[], rows: readonly number[]): Tensor[][] {
  const total = rows.reduce((sum, count) => sum + count, 0)
  for (const { name, shape } of outputs) {
    if (shape[0] !== total)
      throw new ModelError(
        `output "${name}" has shape [${shape}] after a run of ${total} rows; its first dimension must be ${total}`,
      )
  }
  const widths = outputs.map(({ shape }) => elementCount(shape.slice(1)))
  let row = 0
  return rows.map(count => {
    const from = row
    row += count
    return outputs.map((output, i) => part(output, from, count, widths[i] as number))
  })
}

/** Returns `count` rows of a tensor, without copying numbers. */
export const takeRows = (tensor: Tensor, from: number, count: number): Tensor =>
  part(tensor, from, count, elementCount(tensor.shape.slice(1)))

/** @param width the elements of a row */
function part(
  { name, datatype, shape, data }: Tensor,
  from: number,
  count: number,
  width: number,
): Tensor {
  const [start, end] = [from * width, (from + count) * width]
  const length = shape.length === 1 ? [count] : [count, ...shape.slice(1)]
  return {
    name,
    datatype,
    shape: length,
    data: Array.isArray(data)
      ? data.slice(start, end)
      : (data as Float32Array).subarray(start, end),
  }
}
