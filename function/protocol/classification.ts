import { type Datatype, hasJson, isNumeric, type TensorData } from './datatypes.ts'
import { shortest } from './shortest.ts'
import { elementCount, type Tensor } from './tensor.ts'

/*
 * Implements Triton's classification extension, which returns an output's highest values with their
 * indices and labels.
 */

export interface Classes {
  /** The number of values per row. */
  readonly count: number
  /** Whether the model's first dimension counts rows. */
  readonly batched: boolean
  /** Labels by index. They apply only to rows that have one value per label. */
  readonly labels: readonly string[]
}

/** Whether the values of a datatype are numbers that can be compared. */
export const isComparable = (datatype: Datatype) => hasJson(datatype) && isNumeric(datatype)

/**
 * Returns the highest values of each row in descending order, as "value:index" or
 * "value:index:label".
 * @returns BYTES of shape [rows, count], or of [count] if no dimension counts rows
 */
export function classify(tensor: Tensor, { count, batched, labels }: Classes): Tensor {
  const { name, datatype, shape, data } = tensor
  const hasRows = shape.length > 1 || (batched && shape.length === 1)
  const rows = hasRows ? (shape[0] as number) : 1
  const each = hasRows ? elementCount(shape.slice(1)) : elementCount(shape)
  const most = Math.min(count, each)
  const named = labels.length === each ? labels : []
  const texts: string[] = []
  for (let row = 0; row < rows; row++) {
    for (const index of highest(data, row * each, each, most)) {
      const label = named[index]
      const value = valueText(data[row * each + index] as number | bigint, datatype)
      texts.push(label === undefined ? `${value}:${index}` : `${value}:${index}:${label}`)
    }
  }
  return { name, datatype: 'BYTES', shape: hasRows ? [rows, most] : [most], data: texts }
}

const valueText = (value: number | bigint, datatype: Datatype) =>
  String(datatype === 'FP32' ? shortest(value as number) : value)

/** Up to this count, inserting each element in its place is faster than sorting all elements. */
const FEW = 32

/**
 * Returns the indices of the `count` highest elements of a row. Of equal elements, the earlier one
 * ranks higher. NaN ranks lowest.
 */
function highest(data: TensorData, from: number, length: number, count: number): Iterable<number> {
  const at = (index: number) => data[from + index] as number
  const isAbove = (one: number, other: number) =>
    at(one) > at(other) || (Number.isNaN(at(other)) && !Number.isNaN(at(one)))
  if (count > FEW) {
    const order = Int32Array.from({ length }, (_, index) => index)
    const compare = (one: number, other: number) =>
      Number(isAbove(other, one)) - Number(isAbove(one, other))
    return order.sort(compare).subarray(0, count)
  }
  const found: number[] = []
  for (let index = 0; index < length; index++) {
    if (found.length === count && !isAbove(index, found[count - 1] as number)) continue
    let place = found.length
    while (place > 0 && isAbove(index, found[place - 1] as number)) place--
    found.splice(place, 0, index)
    if (found.length > count) found.pop()
  }
  return found
}
