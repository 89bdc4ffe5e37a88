import type { Tensor } from './tensor.ts'

export interface RequestedOutput {
  readonly name: string
  /** True for binary tensor data, false for JSON. */
  readonly binary: boolean
  /**
   * How many of the highest values to return instead of all (Triton's classification extension).
   */
  readonly classes?: number
}

/** An inference request that fits the model: every input once, in graph order. */
export interface InferenceRequest {
  /** Absent if the caller sent no id; the server does not generate one. */
  readonly id?: string
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly RequestedOutput[]
  /**
   * How long the run may take to begin (`timeout` of the schedule policy extension). Absent without
   * a limit.
   */
  readonly timeoutMicroseconds?: number
}
