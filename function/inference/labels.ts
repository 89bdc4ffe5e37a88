import type { Tensor } from '../protocol/tensor.ts'

/**
 * Counts the labels that a classifier returned, as texts or as indices into `labels`.
 * @param add receives a label and its number of rows; equal labels of neighbouring rows are counted
 * together
 */
export function countPredictions(
  outputs: readonly Tensor[],
  labels: readonly string[],
  add: (label: string, rows: number) => void,
): void {
  const output = outputs.find(({ datatype }) => datatype === 'BYTES') ?? outputs.find(isIndices)
  if (output === undefined) return
  const said = output.data as ArrayLike<string | number | bigint>
  for (let from = 0, to = 0; from < said.length; from = to) {
    const one = said[from] as string | number | bigint
    do to++
    while (said[to] === one)
    const label = typeof one === 'string' ? one : labels[Number(one)]
    if (label !== undefined) add(label, to - from)
  }
}

const isIndices = ({ datatype, shape }: Tensor) => /^U?INT/.test(datatype) && shape.length === 1
