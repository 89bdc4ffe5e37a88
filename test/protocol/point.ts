/** One tensor of a JSON request or response, as the protocol writes it. */
export interface JsonTensor {
  name: string
  datatype: string
  shape: number[]
  data?: unknown
  parameters?: Record<string, unknown>
}

/** A server that speaks the Open Inference Protocol, known only by its address and what its metadata says. */
export interface Target {
  readonly url: string
  readonly model: string
  readonly version: string | undefined
  readonly metadata: { readonly inputs: readonly JsonTensor[]; readonly outputs: readonly JsonTensor[] }
  /** Extensions its server metadata advertises. */
  readonly extensions: readonly string[]
  /** A request the model answers 200. */
  readonly example: { readonly inputs: readonly JsonTensor[] }
}

/** One thing the protocol asks of a server. */
export interface Point {
  /** A sentence: what holds. */
  readonly name: string
  /** Where it is written: a section of the specification or of an extension. */
  readonly source: string
  /** `required` by the specification, or a `stricter` reading of it that we hold ourselves to. */
  readonly level: 'required' | 'stricter'
  /** The reason why this point says nothing of this target; undefined where it applies. */
  readonly notApplicable?: (target: Target) => string | undefined
  /** @throws {assert.AssertionError} when the server does not keep it */
  readonly check: (target: Target) => Promise<void>
}
