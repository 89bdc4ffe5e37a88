import type { Signature } from '../protocol/tensor.ts'
import type { BatchingReason } from '../telemetry/metrics.ts'

export interface Batching {
  readonly joins: boolean
  readonly reason: BatchingReason
  /**
   * Why the rows are not known to be independent, or what else prevents shared runs; otherwise
   * undefined.
   */
  readonly detail: string | undefined
}

/** Before the decision, each request has its own run. */
export const UNDECIDED: Batching = { joins: false, reason: 'undecided', detail: undefined }

/**
 * Rejects `"batch": true` if an input or output has no variable first dimension.
 * @throws {Error} with one line that names the input or output
 */
export function checkBatchTrue({ inputs, outputs }: Signature): void {
  for (const [kind, tensors] of Object.entries({ input: inputs, output: outputs })) {
    const odd = tensors.find(({ shape, anyRank }) => shape[0] !== -1 || anyRank)
    if (odd === undefined) continue
    const has =
      odd.anyRank || odd.shape.length === 0 ? 'no first dimension' : `shape [${odd.shape}]`
    throw new Error(
      `model.json: "batch": true, but ${kind} "${odd.name}" has ${has} in the graph; export it with a variable first dimension, or leave "batch" out`,
    )
  }
}
