import type { Tensor } from '../protocol/tensor.ts'

/** Replaces bytes that are not UTF-8. The original text may contain this character, too. */
const REPLACEMENT = '\ufffd'

export const isReplaced = (text: string) => text.includes(REPLACEMENT)

export const hasReplacement = (tensors: readonly Tensor[]): boolean =>
  tensors.some(
    ({ datatype, data }) => datatype === 'BYTES' && (data as readonly string[]).some(isReplaced),
  )
