import { writeBinaryTensor } from './binary.ts'
import { DATATYPES, type Datatype } from './datatypes.ts'
import { ModelError, TooLarge } from './errors.ts'
import type { RequestedOutput } from './request.ts'
import type { Tensor, TensorData } from './tensor.ts'

export interface ResponseHead {
  readonly modelName: string
  readonly modelVersion?: string | undefined
  readonly id?: string | undefined
}

/**
 * An inference response (Open Inference Protocol, "Inference Response JSON Object"), with the
 * outputs in the requested order.
 */
export interface InferenceResponse extends ResponseHead {
  readonly outputs: readonly Tensor[]
}

/** JSON, or JSON of `jsonLength` bytes and then binary tensor data. */
export interface EncodedResponse {
  /** One text, or several pieces if the JSON is large. */
  readonly json: string | readonly Uint8Array[]
  /**
   * Absent if no output is binary: the response is then plain JSON (binary tensor data extension).
   */
  readonly binary?: { readonly jsonLength: number; readonly parts: readonly Uint8Array[] }
}

/** A protobuf message in parts, to be sent in order. */
export type EncodedMessage = readonly Uint8Array[]

export function partsOf(response: EncodedResponse | EncodedMessage): (string | Uint8Array)[] {
  if (!('json' in response)) return [...response]
  const { json, binary } = response
  return [...(typeof json === 'string' ? [json] : json), ...(binary?.parts ?? [])]
}

/** Returns the response with `change` applied to each part that is bytes. */
export function mapBytes(
  response: EncodedResponse,
  change: (part: Uint8Array) => Uint8Array,
): EncodedResponse {
  const { json, binary } = response
  if (typeof json === 'string' && binary === undefined) return response
  return {
    json: typeof json === 'string' ? json : json.map(part => change(part)),
    ...(binary && { binary: { ...binary, parts: binary.parts.map(part => change(part)) } }),
  }
}

export interface EncodedAtOnce extends EncodedResponse {
  readonly json: string
}

/** @param requested says for each of the response's outputs, in order, whether it is binary */
export function encodeResponse(
  response: InferenceResponse,
  requested: readonly RequestedOutput[],
): EncodedAtOnce {
  let json = beginResponse(response)
  const parts: Uint8Array[] = []
  for (let i = 0; i < response.outputs.length; i++) {
    const output = response.outputs[i] as Tensor
    json += beginOutput(output, output.shape, i)
    if (requested[i]?.binary) {
      const part = writeBinaryTensor(output)
      parts.push(part)
      json += `,"parameters":{"binary_data_size":${part.byteLength}}}`
    } else {
      json += `,"data":${encodeData(output)}}`
    }
  }
  json += ']}'
  return parts.length === 0
    ? { json }
    : { json, binary: { jsonLength: Buffer.byteLength(json), parts } }
}

function beginResponse({ modelName, modelVersion, id }: ResponseHead): string {
  let json = `{"model_name":${quoted(modelName)}`
  if (modelVersion !== undefined) json += `,"model_version":${quoted(modelVersion)}`
  if (id !== undefined) json += `,"id":${JSON.stringify(id)}`
  return `${json},"outputs":[`
}

const beginOutput = (
  { name, datatype }: Omit<Tensor, 'data'>,
  shape: readonly number[],
  i: number,
) =>
  `${i === 0 ? '' : ','}{"name":${quoted(name)},"datatype":"${datatype}","shape":[${textOf(shape)}]`

/** Avoids Array.prototype.join for one or two dimensions, the most frequent cases. */
function textOf(shape: readonly number[]): string {
  if (shape.length === 1) return String(shape[0])
  return shape.length === 2 ? `${shape[0]},${shape[1]}` : shape.join()
}

const ELEMENTS_AT_A_TIME = 16 * 1024

/** In bytes. */
export interface ResponseLimits {
  readonly maxBytes: number
  readonly maxJsonBytes: number
}

/** The error names the variable that sets the limit. */
export function jsonTooLarge(
  { maxBytes, maxJsonBytes }: ResponseLimits,
  advice = BINARY,
): TooLarge {
  const [most, variable] =
    maxBytes <= maxJsonBytes ? [maxBytes, 'MAX_BODY_BYTES'] : [maxJsonBytes, 'MAX_JSON_BYTES']
  return new TooLarge(
    `the response as JSON is larger than the ${most} bytes allowed (${variable}); ${advice}`,
  )
}

/** Limits the JSON of a response that is written part by part. */
export class JsonSize {
  private readonly limits: ResponseLimits
  private readonly advice: string
  private bytes = 0

  /** @param advice tells the caller how to get a smaller response */
  constructor(limits: ResponseLimits, advice: string) {
    this.limits = limits
    this.advice = advice
  }

  /** @throws {TooLarge} if all parts together exceed the limit */
  add(bytes: number): void {
    const { maxBytes, maxJsonBytes } = this.limits
    this.bytes += bytes
    if (this.bytes > Math.min(maxBytes, maxJsonBytes)) throw jsonTooLarge(this.limits, this.advice)
  }
}

const BINARY =
  'request binary tensor data (parameters {"binary_data_output": true}), or send fewer rows'

export const answerTooLarge = (maxBytes: number): TooLarge =>
  new TooLarge(
    `the response is larger than the ${maxBytes} bytes allowed (MAX_BODY_BYTES); send fewer rows, or request fewer outputs or binary tensor data`,
  )

/** The minimum bytes of an output's JSON, without the brackets. */
export const leastJsonBytes = (datatype: Datatype, elements: number): number =>
  Math.max(0, elements * (DATATYPES[datatype].jsonBytes?.least ?? LEAST_TEXT) - 1)

/** The bytes of an empty text in JSON, with its comma. */
const LEAST_TEXT = 3

interface WrittenOutput {
  readonly binary: boolean
  first: Omit<Tensor, 'data'> | undefined
  rows: number
  readonly parts: Uint8Array[]
}

/**
 * Writes a response whose outputs arrive a few rows at a time. Keeps only the encoded bytes, in its
 * own memory.
 */
export class ResponseWriter {
  private readonly outputs: readonly WrittenOutput[]
  private readonly limits: ResponseLimits
  private size = 0
  private jsonSize = 0

  constructor(requested: readonly RequestedOutput[], limits: ResponseLimits) {
    this.outputs = requested.map(({ binary }) => ({ binary, first: undefined, rows: 0, parts: [] }))
    this.limits = limits
  }

  /**
   * Writes a run's outputs, in steps of a few milliseconds.
   * @throws {TooLarge} if the response exceeds a limit
   * @throws {ModelError} if these rows differ in shape from earlier ones
   */
  *add(outputs: readonly Tensor[]): Generator<void, void> {
    this.checkLeast(outputs)
    for (let i = 0; i < outputs.length; i++) {
      const output = outputs[i] as Tensor
      const written = this.outputs[i] as WrittenOutput
      written.first ??= shapeOf(output)
      checkSameRows(written.first, output)
      written.rows += output.shape[0] ?? 0
      if (written.binary) this.push(written.parts, writeBinaryTensor(output))
      else yield* this.addJson(written.parts, output)
    }
  }

  finish(response: ResponseHead): EncodedResponse {
    const json: Uint8Array[] = []
    const binary: Uint8Array[] = []
    let text = beginResponse(response)
    this.outputs.forEach(({ binary: isBinary, first, rows, parts }, i) => {
      if (first === undefined)
        throw new Error('finish() was called before add(); a response needs at least one run')
      const shape = first.shape.length === 0 ? [] : [rows, ...first.shape.slice(1)]
      text += beginOutput(first, shape, i)
      if (isBinary) {
        text += `,"parameters":{"binary_data_size":${sizeOf(parts)}}}`
        binary.push(...parts)
      } else {
        json.push(UTF8.encode(`${text},"data":[`), ...parts)
        text = ']}'
      }
    })
    json.push(UTF8.encode(`${text}]}`))
    return this.outputs.some(({ binary }) => binary)
      ? { json, binary: { jsonLength: sizeOf(json), parts: binary } }
      : { json }
  }

  /** Throws if even the shortest JSON of these outputs is too long. */
  private checkLeast(outputs: readonly Tensor[]): void {
    let least = this.jsonSize
    for (const [i, { datatype, data }] of outputs.entries())
      if (!this.outputs[i]?.binary) least += leastJsonBytes(datatype, data.length)
    if (least > this.limits.maxJsonBytes) throw jsonTooLarge(this.limits)
  }

  private *addJson(parts: Uint8Array[], output: Tensor): Generator<void, void> {
    for (let from = 0; from < output.data.length; from += ELEMENTS_AT_A_TIME) {
      const data = output.data.slice(from, from + ELEMENTS_AT_A_TIME) as TensorData
      const text = encodeElements({ datatype: output.datatype, data })
      const part = UTF8.encode(parts.length === 0 ? text : `,${text}`)
      this.jsonSize += part.byteLength
      if (this.jsonSize > this.limits.maxJsonBytes) throw jsonTooLarge(this.limits)
      this.push(parts, part)
      yield
    }
  }

  private push(parts: Uint8Array[], part: Uint8Array): void {
    const { maxBytes } = this.limits
    this.size += part.byteLength
    if (this.size > maxBytes) throw answerTooLarge(maxBytes)
    parts.push(part)
  }
}

/** Without the data, so that its memory can be freed. */
const shapeOf = ({ name, datatype, shape }: Tensor) => ({ name, datatype, shape })

/** @throws {ModelError} if two runs of a request returned rows of different shapes */
export function checkSameRows(first: Pick<Tensor, 'shape'>, { name, shape }: Tensor): void {
  const [before, now] = [first.shape.slice(1), shape.slice(1)]
  if (before.join() === now.join()) return
  throw new ModelError(`output "${name}" has rows of different shapes: [${before}] and [${now}]`)
}

const UTF8 = new TextEncoder()

const sizeOf = (parts: readonly Uint8Array[]) =>
  parts.reduce((sum, { byteLength }) => sum + byteLength, 0)

/** A model has few names, so their JSON is cached. */
function quoted(name: string): string {
  let json = QUOTED.get(name)
  if (json === undefined) {
    json = JSON.stringify(name)
    QUOTED.set(name, json)
  }
  return json
}

const QUOTED = new Map<string, string>()

/** Encodes data as the protocol's JSON array: flat and row-major. */
export const encodeData = (tensor: Pick<Tensor, 'datatype' | 'data'>): string =>
  `[${encodeElements(tensor)}]`

function encodeElements({ datatype, data }: Pick<Tensor, 'datatype' | 'data'>): string {
  const { toJson } = DATATYPES[datatype]
  if (toJson === undefined) throw new Error(`${datatype} has no JSON form`)
  return toJson(data as never)
}
