import type { Tensor } from '../protocol/tensor.ts'

/** What a classifier said of each row: an output of label texts, or of indices into the labels. */
export function predictedLabels(outputs: readonly Tensor[], labels: readonly string[]): readonly string[] {
  const texts = outputs.find(({ datatype }) => datatype === 'BYTES')
  if (texts !== undefined) return texts.data as readonly string[]
  const indices = outputs.find(({ datatype, shape }) => /^U?INT/.test(datatype) && shape.length === 1)
  return indices === undefined ? [] : Array.from(indices.data as Iterable<number | bigint>, index => labels[Number(index)] ?? '')
}
