import type { Signature } from '../protocol/tensor.ts'
import type { BatchingReason } from '../telemetry/metrics.ts'

/** Whether requests of different callers may share a run, and a large one may be divided. */
export interface Batching {
  readonly joins: boolean
  readonly reason: BatchingReason
  /** For people: what the proof stopped at, where it did. */
  readonly detail: string | undefined
}

/** Until it is decided, each request has a run of its own. */
export const UNDECIDED: Batching = { joins: false, reason: 'undecided', detail: undefined }

/**
 * `"batch": true` means nothing where the shapes leave no room for more rows.
 * @throws {Error} of one line, naming the input or output
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
