import type { Send } from './connection.ts'
import type { Call } from './grpc/connection.ts'

export interface JsonTensor {
  name: string
  datatype: string
  shape: number[]
  data?: unknown
  parameters?: Record<string, unknown>
}

/** A bigint for INT64 and UINT64; a number for all other numeric datatypes, including FP16. */
export type Value = boolean | number | bigint | string

/** The values are flat; the request chooses the encoding. */
export interface Tensor {
  readonly name: string
  readonly datatype: string
  readonly shape: readonly number[]
  readonly data: readonly Value[]
}

export interface Target {
  readonly send: Send
  readonly call?: Call
  readonly model: string
  /** The server's default version, if the model has versions. */
  readonly version: string | undefined
  /** From the metadata, the example or the example's response. */
  readonly metadata: {
    readonly inputs: readonly JsonTensor[]
    readonly outputs: readonly JsonTensor[]
  }
  readonly extensions: readonly string[]
  /** A request that gets 200. */
  readonly example: { readonly inputs: readonly Tensor[] }
  /** Whether the example always gets the same outputs, according to a test request. */
  readonly deterministic: boolean
  /**
   * Whether the first dimension of all inputs and outputs is variable, and equal in the example.
   */
  readonly rows: boolean
  /** Whether the model returns its one input unchanged, according to a test request. */
  readonly echoes: boolean
  /** Valid inputs on which the model fails or returns values that JSON cannot express. */
  readonly failing?: readonly (readonly Tensor[])[]
  /** Inputs that match the metadata but have incompatible shapes, if known. */
  readonly mismatched?: readonly (readonly Tensor[])[]
  /** Absent if the limits are unknown. */
  readonly limits?: { readonly maxBodyBytes: number }
}

/** The point does not apply to this server or transport; the message says why. */
export class Inapplicable extends Error {}

export interface Point {
  readonly name: string
  readonly source: string
  /**
   * `required`: a server that differs is wrong. `stricter`: the source allows another reading, or
   * says nothing and clients expect this.
   */
  readonly level: 'required' | 'stricter'
  readonly expected: string
  readonly notApplicable?: Applicable
  readonly check: (target: Target) => Promise<void>
}

/** @returns the reason why a point does not apply to this target; undefined if the point applies */
export type Applicable = (target: Target) => string | undefined
