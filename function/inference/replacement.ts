import type { Tensor } from '../protocol/tensor.ts'

/**
 * The character with which bytes that are not UTF-8 are replaced. The original text may also
 * contain this character.
 */
const REPLACEMENT = '\ufffd'

export const isReplaced = (text: string) => text.includes(REPLACEMENT)

export const hasReplacement = (tensors: readonly Tensor[]): boolean =>
  tensors.some(
    ({ datatype, data }) => datatype === 'BYTES' && (data as readonly string[]).some(isReplaced),
  )
