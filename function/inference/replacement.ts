import type { Tensor } from '../protocol/tensor.ts'

/** Replaces bytes that were not UTF-8, unless the original text contains it. */
const REPLACEMENT = '\ufffd'

export const isReplaced = (text: string) => text.includes(REPLACEMENT)

export const hasReplacement = (tensors: readonly Tensor[]): boolean =>
  tensors.some(
    ({ datatype, data }) => datatype === 'BYTES' && (data as readonly string[]).some(isReplaced),
  )
