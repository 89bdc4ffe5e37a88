import type { Send } from './connection.ts'
import type { Call } from './grpc/connection.ts'

/** One tensor of a JSON request or response, as the protocol writes it. */
export interface JsonTensor {
  name: string
  datatype: string
  shape: number[]
  data?: unknown
  parameters?: Record<string, unknown>
}

/**
 * An element of a tensor: a bigint for INT64 and UINT64, and a number for all other numeric
 * datatypes, including FP16.
 */
export type Value = boolean | number | bigint | string

/** One tensor with flat values; the request chooses the encoding. */
export interface Tensor {
  readonly name: string
  readonly datatype: string
  readonly shape: readonly number[]
  readonly data: readonly Value[]
}

/**
 * A server that implements the Open Inference Protocol. Only its address and metadata are known.
 */
export interface Target {
  readonly send: Send
  /** Set when the server is also tested over gRPC. */
  readonly call?: Call
  readonly model: string
  /** The version that the server chooses by default, if the model has versions. */
  readonly version: string | undefined
  /** The model's inputs and outputs, from the metadata, the example or the example's response. */
  readonly metadata: {
    readonly inputs: readonly JsonTensor[]
    readonly outputs: readonly JsonTensor[]
  }
  /** The extensions that the server metadata lists. */
  readonly extensions: readonly string[]
  /** A request to which the model responds with 200. */
  readonly example: { readonly inputs: readonly Tensor[] }
  /** Whether the example always gets the same outputs; determined by a test request. */
  readonly deterministic: boolean
  /**
   * Whether the first dimension of all inputs and outputs is variable, and equal in the example.
   */
  readonly rows: boolean
  /** Whether the model returns its one input unchanged; determined by a test request. */
  readonly echoes: boolean
  /** Valid inputs on which the model fails or returns values that JSON cannot express. */
  readonly failing?: readonly (readonly Tensor[])[]
  /** Inputs that match the metadata but have incompatible shapes, if known. */
  readonly mismatched?: readonly (readonly Tensor[])[]
  /** The server's limits, if known. */
  readonly limits?: { readonly maxBodyBytes: number }
}

/** The point does not apply to this server or transport; the message is the reason. */
export class Inapplicable extends Error {}

/** One requirement of the protocol. */
export interface Point {
  /** The requirement as a sentence. */
  readonly name: string
  /** Its source: a section of the specification or of an extension. */
  readonly source: string
  /**
   * `required`: the source requires it, and a server that differs is wrong. `stricter`: a reading that
   * the source allows but does not demand, or an expectation of clients where the source is silent.
   */
  readonly level: 'required' | 'stricter'
  /** The expected response in a few words. */
  readonly expected: string
  /** Why this point does not apply to this target; undefined when it applies. */
  readonly notApplicable?: Applicable
  /** @throws {assert.AssertionError} when the server does not meet the requirement */
  readonly check: (target: Target) => Promise<void>
}

/** @returns why a point does not apply to this target; undefined when it applies */
export type Applicable = (target: Target) => string | undefined
