import type { Tensor } from '../protocol/tensor.ts'

/** Stands in a text for bytes that were not UTF-8, unless the text itself has it. */
const REPLACEMENT = '\ufffd'

export const isReplaced = (text: string) => text.includes(REPLACEMENT)

export const hasReplacement = (tensors: readonly Tensor[]): boolean =>
  tensors.some(
    ({ datatype, data }) => datatype === 'BYTES' && (data as readonly string[]).some(isReplaced),
  )
