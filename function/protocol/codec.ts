import { beginRequest, decodeParsedRequest, decodeRequest } from './decode.ts'
import {
  type EncodedResponse,
  encodeResponse,
  type ResponseHead,
  type ResponseLimits,
  ResponseWriter,
} from './encode.ts'
import { BadRequest, TooLarge } from './errors.ts'
import type { ParsedJson } from './json.ts'
import type { InferenceRequest, RequestedOutput } from './request.ts'
import type { Signature, Tensor } from './tensor.ts'

/** Reads one request and writes its response: the two ends where protocols differ. */
export interface Codec<Encoded> {
  /** A promise only where the author's own code reads the request. @throws {BadRequest|TooLarge} */
  decode(signature: Signature): InferenceRequest | Promise<InferenceRequest>
  /** Reads the tensor data that decode() left unread, in steps. @throws {BadRequest} in a step */
  readData?(): Iterable<void>
  /** Writes the response to the decoded request, within the limits. */
  encoder(request: InferenceRequest, limits: ResponseLimits): Encoder<Encoded>
  /** All that another thread needs to do the same. Absent if the request is more than bytes. */
  readonly bytes?: RequestBytes
}

/** Takes the outputs of a request's runs, one run after the other, and makes them the response. */
export interface Encoder<Encoded> {
  /** What a trace calls finish(), where that is more than to encode. */
  readonly part?: 'postprocess'
  /**
   * @returns the steps of writing them, where it takes long: others may have their turn in between
   * @throws {TooLarge|ModelError} here, or in a step
   */
  add(outputs: readonly Tensor[]): Iterable<void> | undefined
  /**
   * A promise only where the author's own code makes the answer.
   * @throws {BadRequest} when the protocol cannot say these outputs
   */
  finish(response: ResponseHead): Encoded | Promise<Encoded>
}

/**
 * Whether a response may carry binary tensor data. A reply to an event in JSON carries JSON alone.
 */
export type ResponseData = 'json' | 'binary'

/** An inference request as bytes. */
export type RequestBytes = BodyBytes | MessageBytes | PredictBytes

/** As the body of a request over HTTP, or the data of an event. */
export interface BodyBytes {
  readonly kind?: undefined
  readonly body: Uint8Array
  /** As {@link decodeRequest} takes it. */
  readonly jsonLength: number | undefined
  readonly responseData: ResponseData
}

/** As a protobuf message, `ModelInferRequest`. */
export interface MessageBytes {
  readonly kind: 'message'
  readonly body: Uint8Array
  /** The response is to say that it is the last one. */
  readonly isFinal: boolean
}

/** As KServe's V1 says it. */
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

/** For a request whose JSON is parsed already, by a runtime or with an event's envelope. */
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
 * For a large request: its text is given back as soon as it is read, and each run's outputs become
 * bytes at once, so that never all rows and all outputs are held as JavaScript's own.
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
    // The text is not needed any more. Free it now, before the run takes memory, too.
    if (jsonLength === undefined) free(body)
  }

  encoder({ outputs }: InferenceRequest): Encoder<EncodedResponse> {
    return new ResponseWriter(outputs, this.limits)
  }
}

/** More elements are written in steps. */
const AT_ONCE_ELEMENTS = 16 * 1024

/** Writes the response to one run at once where that is little; any other in steps. */
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
    return encodeResponse({ modelName, modelVersion, id, outputs }, this.requested)
  }

  private *write(outputs: readonly Tensor[]): Generator<void, void> {
    this.writer ??= new ResponseWriter(this.requested, this.limits)
    // Of the first run, which was little, and not the only one.
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
      'binary_data outputs need an event in binary mode; the reply to a structured or batched one carries JSON',
    )
  }
  return request
}

/** Gives memory back that nothing else shares. */
export const free = ({ buffer }: Uint8Array): void => {
  ;(buffer as ArrayBuffer).transfer(0)
}

/** @throws {TooLarge} */
export function checkJsonBytes(bytes: number, maxJsonBytes: number): void {
  if (bytes <= maxJsonBytes) return
  throw new TooLarge(
    `${bytes} bytes of JSON are larger than the ${maxJsonBytes} bytes allowed (MAX_JSON_BYTES); send large tensors as binary tensor data (parameters.binary_data_size)`,
  )
}
