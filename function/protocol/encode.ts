import { writeBinaryTensor } from './binary.ts'
import { ModelError, TooLarge } from './errors.ts'
import type { RequestedOutput } from './request.ts'
import type { Tensor, TensorData } from './tensor.ts'

/** An inference response (Open Inference Protocol, "Inference Response JSON Object"), its outputs in the order asked for. */
export interface InferenceResponse {
  readonly modelName: string
  /** Absent for a model without versions. */
  readonly modelVersion?: string | undefined
  /** Absent where the request had none. */
  readonly id?: string | undefined
  readonly outputs: readonly Tensor[]
}

/** A response as bytes: JSON alone, or JSON of `jsonLength` bytes followed by binary tensor data. */
export interface EncodedResponse {
  /** In pieces where it is large. */
  readonly json: string | readonly Uint8Array[]
  /** Absent where no output is binary; then the response is plain JSON (binary tensor data extension). */
  readonly binary?: { readonly jsonLength: number; readonly parts: readonly Uint8Array[] }
}

/** The response's bytes, in parts to be sent one after the other. */
export const partsOf = ({ json, binary }: EncodedResponse): (string | Uint8Array)[] => [
  ...(typeof json === 'string' ? [json] : json),
  ...(binary?.parts ?? []),
]

/** A response whose JSON is one text. */
export interface EncodedAtOnce extends EncodedResponse {
  readonly json: string
}

/** @param requested one entry an output, same order: which are to be binary */
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

function beginResponse({
  modelName,
  modelVersion,
  id,
}: Omit<InferenceResponse, 'outputs'>): string {
  let json = `{"model_name":${quoted(modelName)}`
  if (modelVersion !== undefined) json += `,"model_version":${quoted(modelVersion)}`
  if (id !== undefined) json += `,"id":${JSON.stringify(id)}`
  return `${json},"outputs":[`
}

const beginOutput = ({ name, datatype }: Tensor, shape: readonly number[], i: number) =>
  `${i === 0 ? '' : ','}{"name":${quoted(name)},"datatype":"${datatype}","shape":[${shape}]`

/** A response whose outputs come some rows at a time; nothing but its bytes is kept, in memory of their own. */
export interface ResponseWriter {
  /** @throws {TooLarge} when the response becomes larger than it may @throws {ModelError} when rows do not fit those before */
  add(outputs: readonly Tensor[]): void
  finish(response: Omit<InferenceResponse, 'outputs'>): EncodedResponse
}

/** So many elements are made into text at a time. */
const ELEMENTS_AT_A_TIME = 16 * 1024

/**
 * @param requested one entry an output, in the order outputs are added
 * @param mostBytes that the response may have @param mostJsonBytes of it as JSON
 */
export function createResponseWriter(
  requested: readonly RequestedOutput[],
  mostBytes: number,
  mostJsonBytes = mostBytes,
): ResponseWriter {
  const written = requested.map(({ binary }) => ({
    binary,
    first: undefined as Tensor | undefined,
    rows: 0,
    parts: [] as Uint8Array[],
  }))
  let size = 0
  let jsonSize = 0

  function push(parts: Uint8Array[], part: Uint8Array): void {
    size += part.byteLength
    if (size > mostBytes) {
      throw new TooLarge(
        `the answer is larger than the ${mostBytes} bytes allowed (MAX_BODY_BYTES); send fewer rows, or ask for fewer outputs or for binary tensor data`,
      )
    }
    parts.push(part)
  }

  function pushJson(parts: Uint8Array[], part: Uint8Array): void {
    push(parts, part)
    jsonSize += part.byteLength
    if (jsonSize > mostJsonBytes) {
      throw new TooLarge(
        `the answer as JSON is larger than the ${mostJsonBytes} bytes allowed; ask for binary tensor data (parameters {"binary_data_output": true}), or send fewer rows`,
      )
    }
  }

  return {
    add(outputs) {
      outputs.forEach((output, i) => {
        const state = written[i] as (typeof written)[number]
        state.first ??= output
        if (state.first.shape.slice(1).join() !== output.shape.slice(1).join()) {
          throw new ModelError(
            `output "${output.name}" has rows of shape [${state.first.shape.slice(1)}] and of [${output.shape.slice(1)}]`,
          )
        }
        state.rows += output.shape[0] ?? 0
        if (state.binary) push(state.parts, writeBinaryTensor(output))
        else
          for (let from = 0; from < output.data.length; from += ELEMENTS_AT_A_TIME) {
            const text = encodeElements({
              ...output,
              data: output.data.slice(from, from + ELEMENTS_AT_A_TIME) as TensorData,
            })
            pushJson(state.parts, UTF8.encode(state.parts.length === 0 ? text : `,${text}`))
          }
      })
    },
    finish(response) {
      const json: Uint8Array[] = []
      const binary: Uint8Array[] = []
      let text = beginResponse(response)
      written.forEach(({ binary: isBinary, first, rows, parts }, i) => {
        if (first === undefined) throw new Error('a response has at least one run')
        text += beginOutput(
          first,
          first.shape.length === 0 ? [] : [rows, ...first.shape.slice(1)],
          i,
        )
        if (isBinary) {
          text += `,"parameters":{"binary_data_size":${sizeOf(parts)}}}`
          binary.push(...parts)
        } else {
          json.push(UTF8.encode(`${text},"data":[`), ...parts)
          text = ']}'
        }
      })
      json.push(UTF8.encode(`${text}]}`))
      return written.some(({ binary }) => binary)
        ? { json, binary: { jsonLength: sizeOf(json), parts: binary } }
        : { json }
    },
  }
}

const UTF8 = new TextEncoder()

const sizeOf = (parts: readonly Uint8Array[]) =>
  parts.reduce((sum, { byteLength }) => sum + byteLength, 0)

/** The model's own names, of which there are few, as JSON. */
function quoted(name: string): string {
  let json = QUOTED.get(name)
  if (json === undefined) {
    json = JSON.stringify(name)
    QUOTED.set(name, json)
  }
  return json
}

const QUOTED = new Map<string, string>()

/** A tensor's data as the JSON array the protocol asks for: flat, row-major. */
export const encodeData = (tensor: Pick<Tensor, 'datatype' | 'data'>): string =>
  `[${encodeElements(tensor)}]`

function encodeElements({ datatype, data }: Pick<Tensor, 'datatype' | 'data'>): string {
  switch (datatype) {
    case 'FP32':
    case 'FP64':
      return encodeFloats(data as Float32Array | Float64Array)
    case 'BOOL':
      return Array.from(data as Uint8Array, element => element !== 0).join()
    case 'BYTES':
      return JSON.stringify(data).slice(1, -1)
    default:
      // Integers, 64-bit ones too, are written in full: join() prints a bigint's every digit.
      return (data as Int32Array).join(',')
  }
}

/** JSON numbers cannot be NaN or infinite, and join() would lose the sign of −0. */
function encodeFloats(data: Float32Array | Float64Array): string {
  let json = ''
  for (let i = 0; i < data.length; i++) {
    const element = data[i] as number
    if (i > 0) json += ','
    if (Number.isFinite(element)) json += element === 0 && Object.is(element, -0) ? '-0' : element
    else json += `"${element}"`
  }
  return json
}
