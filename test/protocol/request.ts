import * as http from 'node:http'
import * as https from 'node:https'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { toBytes } from './datatypes.ts'
import { toJson } from './json.ts'
import type { Target, Tensor, Value } from './point.ts'

/** What came back. */
export interface Reply {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

export interface Sent {
  readonly method?: string
  readonly path: string
  readonly headers?: http.OutgoingHttpHeaders
  readonly body?: string | Uint8Array
  /** Without a Content-Length, in chunks of so many bytes. */
  readonly chunkBytes?: number
}

/** An inference request as JSON to be; a point changes what it is about. */
export interface InferenceRequest {
  readonly id?: unknown
  readonly parameters?: unknown
  readonly inputs?: unknown
  readonly outputs?: unknown
  readonly [field: string]: unknown
}

const agents = { 'http:': new http.Agent({ keepAlive: true }), 'https:': new https.Agent({ keepAlive: true }) }

/** Sends one HTTP request as it is: no header is added but Host, Connection and the body's length. */
export function send(target: Pick<Target, 'url'>, { method = 'POST', path, headers = {}, body, chunkBytes }: Sent): Promise<Reply> {
  const { protocol, hostname, port } = new URL(target.url)
  const client = protocol === 'https:' ? https : http
  const length = body === undefined || chunkBytes !== undefined ? undefined : { 'content-length': Buffer.byteLength(body) }
  return new Promise((resolve, reject) => {
    const request = client.request({
      hostname: hostname.replace(/^\[|\]$/g, ''),
      port,
      path,
      method,
      headers: { ...length, ...headers },
      agent: agents[protocol as 'http:'],
    })
    request.on('error', reject)
    request.on('response', async response => {
      const chunks: Buffer[] = []
      try {
        for await (const chunk of response) chunks.push(chunk)
      } catch (error) {
        return reject(error)
      }
      resolve({ status: response.statusCode as number, headers: response.headers, body: Buffer.concat(chunks) })
    })
    if (body === undefined || chunkBytes === undefined) request.end(body)
    else writeChunks(request, Buffer.from(body), chunkBytes)
  })
}

async function writeChunks(request: http.ClientRequest, body: Buffer, chunkBytes: number): Promise<void> {
  request.setNoDelay()
  for (let at = 0; at < body.byteLength && !request.destroyed; at += chunkBytes) {
    await new Promise(written => request.write(body.subarray(at, at + chunkBytes), written))
  }
  request.end()
}

/** Sends a chunked request over a socket of its own, every byte in a packet of its own: the lengths of chunks are cut in half too. */
export async function sendBytewise(target: Target, body: string): Promise<string> {
  const { hostname, port, host } = new URL(target.url)
  const socket = connect({ host: hostname, port: Number(port || 80), noDelay: true })
  const half = body.length >> 1
  const chunks = [body.slice(0, half), body.slice(half), ''].map(chunk => `${Buffer.byteLength(chunk).toString(16)}\r\n${chunk}\r\n`)
  const head = `POST ${inferPath(target)} HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n`
  for (const byte of Buffer.from(head + chunks.join(''))) await new Promise(written => socket.write(Buffer.of(byte), written))
  return text(socket)
}

export const get = (target: Pick<Target, 'url'>, path: string) => send(target, { method: 'GET', path })

export function modelPath({ model, version }: Pick<Target, 'model' | 'version'>, { versioned = version !== undefined } = {}): string {
  return `/v2/models/${encodeURIComponent(model)}${versioned ? `/versions/${encodeURIComponent(version as string)}` : ''}`
}

export const inferPath = (target: Target) => `${modelPath(target)}/infer`

/** Posts an inference request as JSON, or a text or bytes as they are. */
export function post(target: Target, body: InferenceRequest | string | Uint8Array, headers?: http.OutgoingHttpHeaders): Promise<Reply> {
  return send(target, {
    path: inferPath(target),
    headers: { 'content-type': 'application/json', ...headers },
    body: typeof body === 'string' || body instanceof Uint8Array ? body : toJson(body),
  })
}

/** JSON followed by binary tensor data. */
export interface BinaryRequest {
  readonly json: InferenceRequest | string
  readonly parts: readonly Uint8Array[]
  /** What Inference-Header-Content-Length says; the JSON's length unless told otherwise. */
  readonly jsonLength?: string | number | undefined
}

export function binaryBody({ json, parts, jsonLength }: BinaryRequest): { headers: http.OutgoingHttpHeaders; body: Buffer } {
  const header = typeof json === 'string' ? json : toJson(json)
  return {
    headers: {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': jsonLength ?? Buffer.byteLength(header),
    },
    body: Buffer.concat([Buffer.from(header), ...parts]),
  }
}

/** Posts JSON with binary tensor data behind it. */
export function postBinary(target: Target, request: BinaryRequest, headers?: http.OutgoingHttpHeaders): Promise<Reply> {
  const binary = binaryBody(request)
  return send(target, { path: inferPath(target), ...binary, headers: { ...binary.headers, ...headers } })
}

/** The example as a JSON request. */
export const exampleRequest = ({ example }: Target): InferenceRequest & { inputs: readonly Tensor[] } => ({ inputs: example.inputs })

/** The example with one input changed. */
export const withInput = (target: Target, change: object, index = 0): InferenceRequest => ({
  inputs: target.example.inputs.map((input, i) => (i === index ? { ...input, ...change } : input)),
})

/** An input's JSON where its data follows as `size` bytes of binary tensor data. */
export const binaryInput = ({ name, datatype, shape }: Tensor, size: unknown) => ({
  name,
  datatype,
  shape,
  parameters: { binary_data_size: size },
})

/** A binary request of these inputs. */
export function binaryRequest(inputs: readonly Tensor[], more: InferenceRequest = {}): { json: InferenceRequest; parts: Buffer[] } {
  const parts = inputs.map(({ datatype, data }) => toBytes(datatype, data))
  return { json: { ...more, inputs: inputs.map((input, i) => binaryInput(input, parts[i]?.byteLength)) }, parts }
}

/** All outputs, asked for with those parameters. */
export const outputsOf = ({ metadata }: Target, parameters?: Record<string, unknown>) =>
  metadata.outputs.map(({ name }) => ({ name, ...(parameters && { parameters }) }))

export const exampleInput = ({ example }: Target, index = 0): Tensor => {
  const input = example.inputs[index]
  if (input === undefined) throw new Error(`the model has no input ${index}`)
  return input
}

export const elementCount = (shape: readonly number[]) => shape.reduce((count, dimension) => count * dimension, 1)

/** The tensor in another shape, its elements repeated as often as that takes. */
export function reshaped(tensor: Tensor, shape: readonly number[]): Tensor {
  return { ...tensor, shape, data: Array.from({ length: elementCount(shape) }, (_, i) => tensor.data[i % tensor.data.length] as Value) }
}

/** The tensor with its first dimension so many times as long. */
export const rowsOf = (tensor: Tensor, times: number): Tensor =>
  reshaped(tensor, [(tensor.shape[0] as number) * times, ...tensor.shape.slice(1)])

/** Flat values nested as the shape says. */
export function nested(data: readonly unknown[], shape: readonly number[]): unknown {
  if (shape.length === 0) return data[0]
  const [length = 0, ...rest] = shape
  const size = elementCount(rest)
  return Array.from({ length }, (_, i) => nested(data.slice(i * size, (i + 1) * size), rest))
}
