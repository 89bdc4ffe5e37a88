import { writeBinaryTensor } from './binary.ts'
import type { RequestedOutput } from './request.ts'
import type { Tensor } from './tensor.ts'

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
  readonly json: string
  /** Absent where no output is binary; then the response is plain JSON (binary tensor data extension). */
  readonly binary?: { readonly jsonLength: number; readonly parts: readonly Uint8Array[] }
}

/** @param requested one entry an output, same order: which are to be binary */
export function encodeResponse(response: InferenceResponse, requested: readonly RequestedOutput[]): EncodedResponse {
  let json = `{"model_name":${quoted(response.modelName)}`
  if (response.modelVersion !== undefined) json += `,"model_version":${quoted(response.modelVersion)}`
  if (response.id !== undefined) json += `,"id":${JSON.stringify(response.id)}`
  json += ',"outputs":['
  const parts: Uint8Array[] = []
  for (let i = 0; i < response.outputs.length; i++) {
    const output = response.outputs[i] as Tensor
    json += `${i === 0 ? '' : ','}{"name":${quoted(output.name)},"datatype":"${output.datatype}","shape":[${output.shape}]`
    if (requested[i]?.binary) {
      const part = writeBinaryTensor(output)
      parts.push(part)
      json += `,"parameters":{"binary_data_size":${part.byteLength}}}`
    } else {
      json += `,"data":${encodeData(output)}}`
    }
  }
  json += ']}'
  return parts.length === 0 ? { json } : { json, binary: { jsonLength: Buffer.byteLength(json), parts } }
}

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
export function encodeData({ datatype, data }: Tensor): string {
  switch (datatype) {
    case 'FP32':
    case 'FP64':
      return encodeFloats(data as Float32Array | Float64Array)
    case 'BOOL':
      return `[${Array.from(data as Uint8Array, element => element !== 0)}]`
    case 'BYTES':
      return JSON.stringify(data)
    default:
      // Integers, 64-bit ones too, are written in full: join() prints a bigint's every digit.
      return `[${(data as Int32Array).join(',')}]`
  }
}

/** JSON numbers cannot be NaN or infinite, and join() would lose the sign of −0. */
function encodeFloats(data: Float32Array | Float64Array): string {
  let json = '['
  for (let i = 0; i < data.length; i++) {
    const element = data[i] as number
    if (i > 0) json += ','
    if (Number.isFinite(element)) json += element === 0 && Object.is(element, -0) ? '-0' : element
    else json += `"${element}"`
  }
  return `${json}]`
}
