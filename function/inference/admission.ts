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
 * Writing this many elements as JSON blocks the main thread for 5 ms. Passing the request to a
 * worker costs 0.1 ms.
 */
export const LARGE_JSON_ELEMENTS = 16 * 1024

export interface AnswerSize {
  /** The bytes of the outputs in memory, plus the maximum bytes of their JSON. */
  readonly bytes: number
  readonly jsonElements: number
}

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

  get waiting(): number {
    return this.#waiting
  }

  /**
   * Waits for the memory of a response.
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
   * @returns undefined if the response's size is unknown before a run
   * @throws {TooLarge} if the response exceeds the limits, whatever values the request contains
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
      // The text lengths in other responses do not predict those in this response.
      if (this.#sizes.followShapes && datatype !== 'BYTES') leastBytes += size.bytes
      // Classes need no limit, because they are only a few strings per row.
      if (binary || classes !== undefined) continue
      const { jsonBytes } = DATATYPES[datatype]
      json.elements += size.elements
      if (this.#sizes.followShapes) json.least += leastJsonBytes(datatype, size.elements)
      // An escaped character takes up to six bytes in JSON, and counts as two bytes in memory.
      json.most += jsonBytes === undefined ? 3 * size.bytes : size.elements * jsonBytes.most
    }
    if (json.least > maxJsonBytes) throw jsonTooLarge(this.#limits)
    if (leastBytes > maxBytes) throw answerTooLarge(maxBytes)
    const most = Math.min(bytes, maxBytes) + Math.min(json.most, maxJsonBytes)
    return { bytes: most, jsonElements: json.elements }
  }

  /**
   * Divides a request into runs with as many rows as the memory allows, or with one row if no row
   * of this shape has run before. Once the response's size is known, waits until there is memory
   * for the response.
   * @param mostRows the maximum rows in a run, even if the memory allows more
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

  /** @returns false if the response's size is unknown before a run */
  async #admit(request: InferenceRequest, caller: Caller): Promise<boolean> {
    const size = this.sizeOf(request)
    if (size === undefined) return false
    await this.admit(size, caller)
    return true
  }
}
