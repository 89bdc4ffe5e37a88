import { beginRequest, decodeParsedRequest, decodeRequest } from './decode.ts'
import {
  type EncodedResponse,
  encodeResponse,
  jsonTooLarge,
  type ResponseHead,
  type ResponseLimits,
  ResponseWriter,
} from './encode.ts'
import { BadRequest, TooLarge } from './errors.ts'
import type { ParsedJson } from './json.ts'
import type { InferenceRequest, RequestedOutput } from './request.ts'
import type { Signature, Tensor } from './tensor.ts'

/** Reads a request and writes its response: protocols differ only in these steps. */
export interface Codec<Encoded> {
  /** Returns a promise only if a transform reads the request. @throws {BadRequest|TooLarge} */
  decode(signature: Signature): InferenceRequest | Promise<InferenceRequest>
  /** Reads, in steps, the tensor data that decode() left unread. @throws {BadRequest} in a step */
  readData?(): Iterable<void>
  encoder(request: InferenceRequest, limits: ResponseLimits): Encoder<Encoded>
  /** The bytes for another thread to decode. Absent if the request is already parsed. */
  readonly bytes?: RequestBytes
}

/** Combines the outputs of a request's runs, one run after another, into the response. */
export interface Encoder<Encoded> {
  /** The name of finish() in a trace, if finish() does more than encode. */
  readonly part?: 'postprocess'
  /**
   * @returns steps that write the outputs; other requests are handled between steps. Undefined if
   * writing is quick
   * @throws {TooLarge|ModelError} here, or in a step
   */
  add(outputs: readonly Tensor[]): Iterable<void> | undefined
  /**
   * Returns a promise only if a transform produces the response.
   * @throws {BadRequest} if the protocol cannot represent these outputs
   */
  finish(response: ResponseHead): Encoded | Promise<Encoded>
}

/**
 * The data allowed in a response: a reply to an event in JSON cannot contain binary tensor data.
 */
export type ResponseData = 'json' | 'binary'

export type RequestBytes = BodyBytes | MessageBytes | PredictBytes

export interface BodyBytes {
  readonly kind?: undefined
  readonly body: Uint8Array
  /** See {@link decodeRequest}. */
  readonly jsonLength: number | undefined
  readonly responseData: ResponseData
}

export interface MessageBytes {
  readonly kind: 'message'
  readonly body: Uint8Array
  /** Whether the response must be marked as the final one. */
  readonly isFinal: boolean
}

export interface PredictBytes {
  readonly kind: 'predict'
  readonly body: Uint8Array
}

export class BytesCodec implements Codec<EncodedResponse> {
  readonly bytes: BodyBytes

  constructor(bytes: BodyBytes) {
    this.bytes = bytes
  }

  decode(signature: Signature): InferenceRequest {
    const { body, jsonLength, responseData } = this.bytes
    return allowed(decodeRequest(body, jsonLength, signature), responseData)
  }

  encoder({ outputs }: InferenceRequest, limits: ResponseLimits): Encoder<EncodedResponse> {
    return new ResponseEncoder(outputs, limits)
  }
}

/** The codec for JSON that a runtime parsed, or that is part of an event. */
export class ParsedCodec implements Codec<EncodedResponse> {
  private readonly json: ParsedJson
  private readonly responseData: ResponseData

  constructor(json: ParsedJson, responseData: ResponseData) {
    this.json = json
    this.responseData = responseData
  }

  decode(signature: Signature): InferenceRequest {
    return allowed(decodeParsedRequest(this.json, signature), this.responseData)
  }

  encoder({ outputs }: InferenceRequest, limits: ResponseLimits): Encoder<EncodedResponse> {
    return new ResponseEncoder(outputs, limits)
  }
}

/**
 * The codec for a large request. Frees the request's text as soon as it is read, and converts each
 * run's outputs to bytes at once, so that all rows and all outputs are never in memory together.
 */
export class LargeCodec implements Codec<EncodedResponse> {
  readonly bytes: BodyBytes
  private readonly limits: ResponseLimits
  private unread: Iterable<void> = []

  constructor(bytes: BodyBytes, limits: ResponseLimits) {
    this.bytes = bytes
    this.limits = limits
  }

  decode(signature: Signature): InferenceRequest {
    const { body, jsonLength, responseData } = this.bytes
    const { maxBytes, maxJsonBytes } = this.limits
    checkJsonBytes(jsonLength ?? body.byteLength, maxJsonBytes)
    const { request, steps } = beginRequest(body, jsonLength, signature, maxBytes)
    this.unread = steps
    return allowed(request, responseData)
  }

  *readData(): Generator<void, void> {
    yield* this.unread
    const { body, jsonLength } = this.bytes
    // Free the text before the run allocates memory.
    if (jsonLength === undefined) free(body)
  }

  encoder({ outputs }: InferenceRequest): Encoder<EncodedResponse> {
    return new ResponseWriter(outputs, this.limits)
  }
}

/** Outputs with more elements are written in steps. */
const AT_ONCE_ELEMENTS = 16 * 1024

/** Writes the response at once after one run with small outputs; otherwise in steps. */
class ResponseEncoder implements Encoder<EncodedResponse> {
  private readonly requested: readonly RequestedOutput[]
  private readonly limits: ResponseLimits
  private outputs: readonly Tensor[] | undefined
  private writer: ResponseWriter | undefined

  constructor(requested: readonly RequestedOutput[], limits: ResponseLimits) {
    this.requested = requested
    this.limits = limits
  }

  add(outputs: readonly Tensor[]): Iterable<void> | undefined {
    if (this.writer === undefined && this.outputs === undefined && isLittle(outputs)) {
      this.outputs = outputs
      return undefined
    }
    return this.write(outputs)
  }

  finish({ modelName, modelVersion, id }: ResponseHead): EncodedResponse {
    if (this.writer !== undefined) return this.writer.finish({ modelName, modelVersion, id })
    const outputs = this.outputs ?? []
    const response = encodeResponse({ modelName, modelVersion, id, outputs }, this.requested)
    const jsonBytes = response.binary?.jsonLength ?? Buffer.byteLength(response.json)
    if (jsonBytes > this.limits.maxJsonBytes) throw jsonTooLarge(this.limits)
    return response
  }

  private *write(outputs: readonly Tensor[]): Generator<void, void> {
    this.writer ??= new ResponseWriter(this.requested, this.limits)
    // The first run's small outputs were kept, but a second run has followed: write them now.
    if (this.outputs !== undefined) yield* this.writer.add(this.outputs)
    this.outputs = undefined
    yield* this.writer.add(outputs)
  }
}

function isLittle(outputs: readonly Tensor[]): boolean {
  let elements = 0
  for (const { data } of outputs) elements += data.length
  return elements <= AT_ONCE_ELEMENTS
}

/** @throws {BadRequest} for outputs that the response cannot carry */
function allowed(request: InferenceRequest, responseData: ResponseData): InferenceRequest {
  if (responseData === 'json' && request.outputs.some(({ binary }) => binary)) {
    throw new BadRequest(
      'binary_data outputs need an event in binary mode; the reply to a structured or batched event carries JSON',
    )
  }
  return request
}

export const free = ({ buffer }: Uint8Array): void => {
  ;(buffer as ArrayBuffer).transfer(0)
}

export function checkJsonBytes(bytes: number, maxJsonBytes: number): void {
  if (bytes <= maxJsonBytes) return
  throw new TooLarge(
    `${bytes} bytes of JSON exceed the ${maxJsonBytes} bytes allowed (MAX_JSON_BYTES); send large tensors as binary tensor data (parameters.binary_data_size)`,
  )
}
