import type { Tensor } from './tensor.ts'

/** An output that the caller requested. */
export interface RequestedOutput {
  readonly name: string
  /** True for binary tensor data, false for JSON. */
  readonly binary: boolean
  /** The number of highest values to return instead of all (Triton's classification extension). */
  readonly classes?: number
}

/** An inference request that fits the model: every input present once, checked, in graph order. */
export interface InferenceRequest {
  /** Absent if the caller gave none; the server does not invent one. */
  readonly id?: string
  readonly inputs: readonly Tensor[]
  /** In the order of the answer. */
  readonly outputs: readonly RequestedOutput[]
  /**
   * How long the caller waits for the run to begin (`timeout` of the schedule policy extension).
   * Absent if the request sets no limit.
   */
  readonly timeoutMicroseconds?: number
}
