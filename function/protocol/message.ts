import { readBinaryTensor, writeBinaryTensor } from './binary.ts'
import type { Codec, Encoder, MessageBytes } from './codec.ts'
import { hasContents, readContents, writeContents } from './contents.ts'
import { type InputData, readInputParameters, readRequest } from './decode.ts'
import {
  checkSameRows,
  type EncodedMessage,
  type ResponseHead,
  type ResponseLimits,
} from './encode.ts'
import { BadRequest, TooLarge } from './errors.ts'
import { INFERENCE } from './inference-proto.ts'
import { type JsonObject, show } from './json.ts'
import { Cursor, LENGTH } from './protobuf-cursor.ts'
import { checkFieldCount, decodeMessage, type Message } from './protobuf-decode.ts'
import { encodeMessage, Parts } from './protobuf-encode.ts'
import type { InferenceRequest } from './request.ts'
import type { Signature, Tensor, TensorData, TensorMetadata } from './tensor.ts'

/*
 * Reads inference requests and writes responses as protobuf messages. decode.ts also checks these
 * requests, so the rules for JSON apply.
 */

const REQUEST = INFERENCE.message('ModelInferRequest')
const RESPONSE = INFERENCE.message('ModelInferResponse')

/** The fields that are needed before the rest of the request is read. */
export interface RequestHead {
  readonly modelName: string
  readonly modelVersion: string
  readonly id: string
  /** Whether the client asks which response is final (Triton). */
  readonly wantsFinal: boolean
}

/** Fields of ModelInferRequest up to this number contain names and parameters. */
const HEAD_FIELDS = 4

/** @throws {BadRequest|TooLarge} if the message is not valid protobuf or has too many fields */
export function readHead(message: Uint8Array): RequestHead {
  const cursor = new Cursor(message)
  const fields: Uint8Array[] = []
  let fieldBegan = 0
  for (let count = 1; cursor.next(); count++) {
    checkFieldCount(count)
    if (cursor.number <= HEAD_FIELDS && cursor.wire === LENGTH)
      fields.push(message.subarray(fieldBegan, cursor.end))
    fieldBegan = cursor.end
  }
  const head = decodeMessage(REQUEST, Buffer.concat(fields))
  const final = head.parameters.get('triton_enable_empty_final_response')
  return {
    modelName: head.model_name,
    modelVersion: head.model_version,
    id: head.id,
    wantsFinal: final?.parameter_choice === true,
  }
}

export class MessageCodec implements Codec<EncodedMessage> {
  readonly bytes: MessageBytes
  readonly #limits: ResponseLimits
  #isRaw = false

  /** @param limits the limits of a large request */
  constructor(bytes: MessageBytes, limits: ResponseLimits = UNLIMITED) {
    this.bytes = bytes
    this.#limits = limits
  }

  decode(signature: Signature): InferenceRequest {
    const message = decodeMessage(REQUEST, this.bytes.body)
    this.#isRaw = message.raw_input_contents.length > 0
    const maxTensorBytes = this.#limits.maxBytes
    return readRequest(asJson(message), new InputsOfMessage(message), { signature, maxTensorBytes })
  }

  encoder(_request: InferenceRequest, limits: ResponseLimits): Encoder<EncodedMessage> {
    return new MessageWriter({ ...this.bytes, isRaw: this.#isRaw, limits })
  }
}

const UNLIMITED: ResponseLimits = {
  maxBytes: Number.POSITIVE_INFINITY,
  maxJsonBytes: Number.POSITIVE_INFINITY,
}

/** Returns the request as the protocol's JSON, without tensor data. */
function asJson({ id, parameters, inputs, outputs }: Message): JsonObject {
  return {
    ...(id !== '' && { id }),
    // The outputs take the form of the request's data. Parameters that only HTTP defines have no
    // effect.
    parameters: { ...parametersOf(parameters), binary_data_output: true },
    inputs: inputs.map(({ name, datatype, shape, parameters }: Message) => ({
      name,
      datatype,
      shape,
      ...(parameters.size > 0 && { parameters: parametersOf(parameters) }),
    })),
    outputs: outputs.map(({ name, parameters }: Message) => ({
      name,
      parameters: { ...parametersOf(parameters), binary_data: true },
    })),
  }
}

/** A parameter without a value counts as absent. */
const parametersOf = (parameters: ReadonlyMap<string, Message>): JsonObject =>
  Object.fromEntries(
    [...parameters].map(([name, parameter]) => [name, parameter?.parameter_choice]),
  )

/** Input data in each input's contents, or in the request's raw contents. */
class InputsOfMessage implements InputData {
  readonly #inputs: readonly Message[]
  readonly #raw: readonly Uint8Array[]

  /** @throws {BadRequest} if there are raw contents, but not one per input */
  constructor({ inputs, raw_input_contents: raw }: Message) {
    this.#inputs = inputs
    this.#raw = raw
    if (raw.length > 0 && raw.length !== inputs.length)
      throw new BadRequest(
        `the number of entries in raw_input_contents is ${raw.length}; it must equal the number of inputs, ${inputs.length}`,
      )
  }

  read(
    input: JsonObject,
    i: number,
    shape: readonly number[],
    metadata: TensorMetadata,
  ): TensorData {
    readInputParameters(input, metadata.name)
    const { contents = NOTHING } = this.#inputs[i] as Message
    const raw = this.#raw[i]
    if (raw === undefined) return readContents(contents, shape, metadata)
    if (contents.byteLength > 0)
      throw new BadRequest(
        `input ${show(metadata.name)}: both contents and raw_input_contents are given; send only one of them`,
      )
    return readBinaryTensor(raw, shape, metadata)
  }

  checkAllRead(): void {}
}

const NOTHING = new Uint8Array(0)

interface MessageWriterOptions {
  readonly isRaw: boolean
  readonly limits: ResponseLimits
  readonly isFinal?: boolean
}

interface WrittenOutput {
  readonly first: Tensor
  rows: number
  /** Raw contents, or InferTensorContents messages; several in a row equal one message. */
  readonly parts: Uint8Array[]
}

/**
 * Writes raw contents if the request has raw contents or an output is FP16; otherwise typed
 * contents.
 */
class MessageWriter implements Encoder<EncodedMessage> {
  readonly #options: MessageWriterOptions
  #outputs: readonly WrittenOutput[] = []
  #isRaw = false
  #size = 0

  constructor(options: MessageWriterOptions) {
    this.#options = options
  }

  add(outputs: readonly Tensor[]): undefined {
    if (this.#outputs.length === 0) {
      this.#outputs = outputs.map(first => ({ first, rows: 0, parts: [] }))
      this.#isRaw = this.#options.isRaw || outputs.some(({ datatype }) => !hasContents(datatype))
    }
    outputs.forEach((output, i) => {
      const written = this.#outputs[i] as WrittenOutput
      checkSameRows(written.first, output)
      written.rows += output.shape[0] ?? 0
      const parts = this.#isRaw ? [writeBinaryTensor(output)] : writeContents(output)
      this.#push(written.parts, parts)
    })
  }

  finish({ modelName, modelVersion, id }: ResponseHead): EncodedMessage {
    const contents = this.#outputs.map(({ parts }) => new Parts(parts))
    const { parts } = encodeMessage(RESPONSE, {
      model_name: modelName,
      model_version: modelVersion,
      id,
      parameters: this.#options.isFinal ? FINAL : undefined,
      outputs: this.#outputs.map(({ first, rows }, i) => ({
        name: first.name,
        datatype: first.datatype,
        shape: first.shape.length === 0 ? [] : [rows, ...first.shape.slice(1)],
        contents: this.#isRaw ? undefined : contents[i],
      })),
      raw_output_contents: this.#isRaw ? contents : undefined,
    })
    return parts
  }

  #push(to: Uint8Array[], parts: readonly Uint8Array[]): void {
    const { maxBytes } = this.#options.limits
    for (const part of parts) {
      this.#size += part.byteLength
      if (this.#size > maxBytes)
        throw new TooLarge(
          `the response is larger than the ${maxBytes} bytes allowed (MAX_BODY_BYTES); send fewer rows, or request fewer outputs`,
        )
      to.push(part)
    }
  }
}

/** Marks a response as final (Triton), because each request has only one response. */
const FINAL = new Map([['triton_final_response', { bool_param: true }]])
