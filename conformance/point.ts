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

/** An element of a tensor: a bigint in INT64 and UINT64, a number in FP16 too. */
export type Value = boolean | number | bigint | string

/** One tensor by its values, flat; how it travels is the request's matter. */
export interface Tensor {
  readonly name: string
  readonly datatype: string
  readonly shape: readonly number[]
  readonly data: readonly Value[]
}

/** A server that speaks the Open Inference Protocol, known only by its address and what its metadata says. */
export interface Target {
  readonly send: Send
  /** Where the server is asked over gRPC, too. */
  readonly call?: Call
  readonly model: string
  /** That of the model which the server chooses by itself, where it has versions. */
  readonly version: string | undefined
  /** The model's inputs and outputs: the metadata's; where it lists none, those of the example and its answer. */
  readonly metadata: {
    readonly inputs: readonly JsonTensor[]
    readonly outputs: readonly JsonTensor[]
  }
  /** Extensions its server metadata advertises. */
  readonly extensions: readonly string[]
  /** A request the model answers 200. */
  readonly example: { readonly inputs: readonly Tensor[] }
  /** Whether the example gets the same outputs each time; found by trying. */
  readonly deterministic: boolean
  /** Whether each output of the example has as many rows as its inputs, and all begin with a variable dimension; found by trying. */
  readonly rows: boolean
  /** True for a model of one input whose one output is that input, so that values can be compared; found by trying. */
  readonly echoes: boolean
  /** Inputs that fit the model, but for which it has no answer: it fails on them, or gives what JSON cannot say. Where known. */
  readonly failing?: readonly (readonly Tensor[])[]
  /** Inputs that each fit the metadata, but not each other. Where known. */
  readonly mismatched?: readonly (readonly Tensor[])[]
  /** What the server allows. Where known. */
  readonly limits?: { readonly maxBodyBytes: number }
}

/** What a point asks cannot be asked of this server, or in this way; the message is the reason. */
export class Inapplicable extends Error {}

/** One thing the protocol asks of a server. */
export interface Point {
  /** A sentence: what holds. */
  readonly name: string
  /** Where it is written: a section of the specification or of an extension. */
  readonly source: string
  /**
   * `required`: the source says so, and a server that does otherwise cannot be right.
   * `stricter`: a reading that the source allows but does not demand, or what its users expect where it says nothing.
   */
  readonly level: 'required' | 'stricter'
  /** In a few words, what the server has to answer. */
  readonly expected: string
  /** The reason why this point says nothing of this target; undefined where it applies. */
  readonly notApplicable?: Applicable
  /** @throws {assert.AssertionError} when the server does not keep it */
  readonly check: (target: Target) => Promise<void>
}

/** @returns why a point says nothing of this target; undefined where it applies */
export type Applicable = (target: Target) => string | undefined
