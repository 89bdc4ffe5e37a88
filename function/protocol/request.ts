import type { Tensor } from './tensor.ts'

/** An output that the caller requested. */
export interface RequestedOutput {
  readonly name: string
  /** True for binary tensor data, false for JSON. */
  readonly binary: boolean
  /** The number of highest values to return instead of all (Triton's classification extension). */
  readonly classes?: number
}

/**
 * An inference request that fits the model. It has every input exactly once, checked and in graph
 * order.
 */
export interface InferenceRequest {
  /** Absent if the caller sent no id; the server does not generate one. */
  readonly id?: string
  readonly inputs: readonly Tensor[]
  /** The requested outputs, in the order of the response. */
  readonly outputs: readonly RequestedOutput[]
  /**
   * The maximum time that the caller waits for the run to begin (`timeout` of the schedule policy
   * extension). Absent if the request sets no limit.
   */
  readonly timeoutMicroseconds?: number
}
