import type { Tensor } from './tensor.ts'

/** An output the caller asked for. */
export interface RequestedOutput {
  readonly name: string
  /** True: binary tensor data; false: JSON. */
  readonly binary: boolean
  /** So many of its highest values instead of all (Triton's classification extension). */
  readonly classes?: number
}

/** An inference request that fits the model: every input present once, checked, in graph order. */
export interface InferenceRequest {
  /** Absent if the caller gave none; we do not invent one. */
  readonly id?: string
  readonly inputs: readonly Tensor[]
  /** In the order the answer gives them. */
  readonly outputs: readonly RequestedOutput[]
  /**
   * How long the caller waits for the run to begin (schedule policy extension's `timeout`); absent
   * means no limit of its own.
   */
  readonly timeoutMicroseconds?: number
}
