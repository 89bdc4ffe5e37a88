import { type Datatype, hasJson, isNumeric, type TensorData } from './datatypes.ts'
import { shortest } from './shortest.ts'
import { elementCount, type Tensor } from './tensor.ts'

/*
 * Triton's classification extension: returns an output's highest values with their indices and
 * labels.
 */

export interface Classes {
  /** The number of values per row. */
  readonly count: number
  readonly batched: boolean
  /** The labels by index. They are used only if each row has one value per label. */
  readonly labels: readonly string[]
}

export const isComparable = (datatype: Datatype) => hasJson(datatype) && isNumeric(datatype)

/**
 * @returns BYTES of shape [rows, count], or [count] without rows: "value:index" or
 * "value:index:label", highest values first
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

/** Up to this count, inserting each element is faster than sorting all. */
const FEW = 32

/**
 * Returns the indices of a row's `count` highest elements. Of equal elements, the first ranks
 * highest. NaN ranks lowest.
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
