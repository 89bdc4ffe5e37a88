import type { OutgoingHttpHeaders } from 'node:http'
import type { Reply, Send } from './connection.ts'
import { toBytes } from './datatypes.ts'
import { toJson } from './json.ts'
import type { Target, Tensor, Value } from './point.ts'

export interface InferenceRequest {
  readonly id?: unknown
  readonly parameters?: unknown
  readonly inputs?: unknown
  readonly outputs?: unknown
  readonly [field: string]: unknown
}

export const get = ({ send }: { readonly send: Send }, path: string) =>
  send({ method: 'GET', path })

export function modelPath(
  { model, version }: Pick<Target, 'model' | 'version'>,
  { versioned = version !== undefined } = {},
): string {
  return `/v2/models/${encodeURIComponent(model)}${versioned ? `/versions/${encodeURIComponent(version as string)}` : ''}`
}

export const inferPath = (target: Target) => `${modelPath(target)}/infer`

/** Objects are sent as JSON, text and bytes unchanged. */
export function post(
  target: Target,
  body: InferenceRequest | string | Uint8Array,
  headers?: OutgoingHttpHeaders,
): Promise<Reply> {
  return target.send({
    path: inferPath(target),
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' || body instanceof Uint8Array ? body : toJson(body),
  })
}

export interface BinaryRequest {
  readonly json: InferenceRequest | string
  readonly parts: readonly Uint8Array[]
  /** Inference-Header-Content-Length; by default the JSON's length. */
  readonly jsonLength?: string | number | undefined
}

export function binaryBody({ json, parts, jsonLength }: BinaryRequest): {
  headers: OutgoingHttpHeaders
  body: Buffer
} {
  const header = typeof json === 'string' ? json : toJson(json)
  return {
    headers: {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': jsonLength ?? Buffer.byteLength(header),
    },
    body: Buffer.concat([Buffer.from(header), ...parts]),
  }
}

export function postBinary(
  target: Target,
  request: BinaryRequest,
  headers?: OutgoingHttpHeaders,
): Promise<Reply> {
  const binary = binaryBody(request)
  return target.send({
    path: inferPath(target),
    ...binary,
    headers: { ...binary.headers, ...headers },
  })
}

export const exampleRequest = ({
  example,
}: Target): InferenceRequest & { inputs: readonly Tensor[] } => ({ inputs: example.inputs })

export const withInput = (target: Target, change: object, index = 0): InferenceRequest => ({
  inputs: target.example.inputs.map((input, i) => (i === index ? { ...input, ...change } : input)),
})

/** The input's data follows as `size` bytes of binary tensor data. */
export const binaryInput = ({ name, datatype, shape }: Tensor, size: unknown) => ({
  name,
  datatype,
  shape,
  parameters: { binary_data_size: size },
})

export function binaryRequest(
  inputs: readonly Tensor[],
  more: InferenceRequest = {},
): { json: InferenceRequest; parts: Buffer[] } {
  const parts = inputs.map(({ datatype, data }) => toBytes(datatype, data))
  return {
    json: { ...more, inputs: inputs.map((input, i) => binaryInput(input, parts[i]?.byteLength)) },
    parts,
  }
}

export const outputsOf = ({ metadata }: Target, parameters?: Record<string, unknown>) =>
  metadata.outputs.map(({ name }) => ({ name, ...(parameters && { parameters }) }))

export const exampleInput = ({ example }: Target, index = 0): Tensor => {
  const input = example.inputs[index]
  if (input === undefined) throw new Error(`the model has no input ${index}`)
  return input
}

export const elementCount = (shape: readonly number[]) =>
  shape.reduce((count, dimension) => count * dimension, 1)

/** Repeats elements as needed. */
export function reshaped(tensor: Tensor, shape: readonly number[]): Tensor {
  return {
    ...tensor,
    shape,
    data: Array.from(
      { length: elementCount(shape) },
      (_, i) => tensor.data[i % tensor.data.length] as Value,
    ),
  }
}

export const rowsOf = (tensor: Tensor, times: number): Tensor =>
  reshaped(tensor, [(tensor.shape[0] as number) * times, ...tensor.shape.slice(1)])

export function nested(data: readonly unknown[], shape: readonly number[]): unknown {
  if (shape.length === 0) return data[0]
  const [length = 0, ...rest] = shape
  const size = elementCount(rest)
  return Array.from({ length }, (_, i) => nested(data.slice(i * size, (i + 1) * size), rest))
}
