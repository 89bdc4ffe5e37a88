import type { Caller } from '../answer.ts'
import { DATATYPES, type Datatype } from '../protocol/datatypes.ts'
import {
  answerTooLarge,
  jsonTooLarge,
  leastJsonBytes,
  type ResponseLimits,
} from '../protocol/encode.ts'
import type { InferenceRequest, RequestedOutput } from '../protocol/request.ts'
import { takeRows } from '../protocol/rows.ts'
import type { Signature } from '../protocol/tensor.ts'
import type { RunSizes } from './run-sizes.ts'

/**
 * Writing a response with this many elements as JSON takes 5 ms, during which no other response is
 * written. Passing the request to a thread costs 0.1 ms.
 */
export const LARGE_JSON_ELEMENTS = 16 * 1024

/** The size of the response to a request. */
export interface AnswerSize {
  /** The size of the outputs plus the maximum size of their JSON form, in bytes. */
  readonly bytes: number
  /** The number of elements in outputs that are written as JSON. */
  readonly jsonElements: number
}

/** Checks the size of each response against the limits before the request runs. */
export class Admission {
  readonly #sizes: RunSizes
  readonly #limits: ResponseLimits
  readonly #datatypes: ReadonlyMap<string, Datatype>
  #waiting = 0

  constructor(signature: Signature, sizes: RunSizes, limits: ResponseLimits) {
    this.#sizes = sizes
    this.#limits = limits
    this.#datatypes = new Map(signature.outputs.map(({ name, datatype }) => [name, datatype]))
  }

  /** The number of requests that are waiting for memory for their responses. */
  get waiting(): number {
    return this.#waiting
  }

  /**
   * Waits until there is enough memory for a response.
   * @throws {DeadlinePassed}
   */
  async admit({ bytes }: AnswerSize, caller: Caller): Promise<void> {
    const admitted = caller.memory?.expectAnswer(bytes, caller)
    if (admitted === undefined) return
    this.#waiting++
    caller.trace?.enter('queue')
    try {
      await admitted
    } finally {
      this.#waiting--
    }
  }

  /**
   * Returns the size of the response to a request.
   * @returns undefined if the size is not known before a run
   * @throws {TooLarge} if the response exceeds the limits, whatever the values in the request
   */
  sizeOf({ inputs, outputs }: InferenceRequest): AnswerSize | undefined {
    const sizes = this.#sizes.outputsOf(inputs, outputs)
    if (sizes === undefined) return undefined
    const { maxBytes, maxJsonBytes } = this.#limits
    const json = { elements: 0, least: 0, most: 0 }
    let bytes = 0
    let leastBytes = 0
    for (const [i, size] of sizes.entries()) {
      const { name, binary, classes } = outputs[i] as RequestedOutput
      const datatype = this.#datatypes.get(name) as Datatype
      bytes += size.bytes
      // The strings and values of other requests do not predict the size of this response.
      if (this.#sizes.followShapes && datatype !== 'BYTES') leastBytes += size.bytes
      // An output returned as classes contains only a few strings per row.
      if (binary || classes !== undefined) continue
      const { jsonBytes } = DATATYPES[datatype]
      json.elements += size.elements
      if (this.#sizes.followShapes) json.least += leastJsonBytes(datatype, size.elements)
      // An escaped character takes at most six bytes in JSON, and counts as two bytes in memory.
      json.most += jsonBytes === undefined ? 3 * size.bytes : size.elements * jsonBytes.most
    }
    if (json.least > maxJsonBytes) throw jsonTooLarge(maxJsonBytes)
    if (leastBytes > maxBytes) throw answerTooLarge(maxBytes)
    const most = Math.min(bytes, maxBytes) + Math.min(json.most, maxJsonBytes)
    return { bytes: most, jsonElements: json.elements }
  }

  /**
   * Divides a request into runs. Each run has as many rows as the memory allows, or one row if no
   * row of this shape has run before. Once the size of the response is known, the request waits for
   * that much memory.
   * @param mostRows the maximum number of rows in a run, however much memory is free
   * @throws {TooLarge|DeadlinePassed}
   */
  async *runs(
    request: InferenceRequest,
    caller: Caller,
    mostRows = Number.POSITIVE_INFINITY,
  ): AsyncGenerator<InferenceRequest, void> {
    const { inputs } = request
    const total = inputs[0]?.shape[0] ?? 0
    const isDivisible =
      this.#sizes.areRowsIndependent && inputs.every(({ shape }) => shape[0] === total)
    let waitsForSize = true
    for (let from = 0; from < total || from === 0; ) {
      if (waitsForSize) waitsForSize = !(await this.#admit(request, caller))
      const most = isDivisible ? Math.min(mostRows, this.#sizes.mostRows(inputs)) : total
      const rows = Math.min(most, total - from)
      if (!(rows < total)) return yield request
      yield { ...request, inputs: inputs.map(tensor => takeRows(tensor, from, rows)) }
      from += rows
    }
  }

  /**
   * Waits for memory if the size of the response is known.
   * @returns false if the size is not known before a run
   */
  async #admit(request: InferenceRequest, caller: Caller): Promise<boolean> {
    const size = this.sizeOf(request)
    if (size === undefined) return false
    await this.admit(size, caller)
    return true
  }
}
