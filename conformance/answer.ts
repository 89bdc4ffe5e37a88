import assert from 'node:assert/strict'
import { inspect } from 'node:util'
import { brotliDecompressSync, gunzipSync, inflateSync, zstdDecompressSync } from 'node:zlib'
import type { Reply } from './connection.ts'
import { fromBytes, INTEGERS, rowOf } from './datatypes.ts'
import { parseJson } from './json.ts'
import type { JsonTensor, Target, Tensor, Value } from './point.ts'
import {
  binaryRequest,
  elementCount,
  exampleRequest,
  type InferenceRequest,
  post,
  postBinary,
} from './request.ts'

/** A reply, formatted for an error message. */
export function show({ status, headers, body }: Reply): string {
  const encoding = headers['content-encoding']
  return `${status} ${encoding === undefined ? body.toString('utf8', 0, 200) : `(${body.byteLength} bytes of ${encoding})`}`
}

/** Fails unless the reply has this status. */
export const assertStatus = (reply: Reply, status: number) =>
  assert.equal(reply.status, status, `${show(reply)}`)

/** The body as a JSON object, whatever its content type. */
export function jsonOf(reply: Reply): Record<string, unknown> {
  const json = parsed(reply, reply.body)
  assert.ok(
    typeof json === 'object' && json !== null && !Array.isArray(json),
    `no JSON object: ${show(reply)}`,
  )
  return json as Record<string, unknown>
}

/** The JSON of a reply, or of a part of its body. */
export function parsed(reply: Reply, body: Buffer): unknown {
  try {
    return parseJson(body.toString())
  } catch {
    return assert.fail(`no JSON: ${show(reply)}`)
  }
}

/** Checks for an error status; the body may have any form. */
export const assertFailed = (reply: Reply) =>
  assert.ok(reply.status >= 400, `no error: ${show(reply)}`)

/** Whether it is a JSON object with the protocol's error message. */
export function saysWhy({ body }: Reply): boolean {
  try {
    const { error } = parseJson(body.toString()) as { error?: unknown }
    return typeof error === 'string' && error !== ''
  } catch {
    return false
  }
}

/** Checks for a refusal in the protocol's form: an error status and a JSON error message. */
export function assertError(reply: Reply): void {
  assertFailed(reply)
  assert.ok(saysWhy(reply), `no {"error"}: ${show(reply)}`)
}

export function assertRefused(reply: Reply, ...statuses: readonly number[]): void {
  assertError(reply)
  assert.ok(statuses.includes(reply.status), show(reply))
}

/** A parsed and validated inference response. */
export interface Response {
  readonly json: Record<string, unknown>
  readonly outputs: readonly Tensor[]
  /** The outputs that came as binary tensor data. */
  readonly binary: readonly boolean[]
}

/** @throws {assert.AssertionError} when the response is no success, or contradicts itself */
export function readResponse(reply: Reply): Response {
  assertStatus(reply, 200)
  const headerLength = reply.headers['inference-header-content-length']
  const body = inflated(reply)
  if (headerLength !== undefined) {
    assert.match(
      String(headerLength),
      /^\d+$/,
      `Inference-Header-Content-Length is ${headerLength}`,
    )
    assert.ok(
      Number(headerLength) <= body.byteLength,
      `Inference-Header-Content-Length ${headerLength} of ${body.byteLength} bytes`,
    )
  }
  const jsonLength = headerLength === undefined ? body.byteLength : Number(headerLength)
  const json = parsed(reply, body.subarray(0, jsonLength)) as Record<string, unknown>
  assert.ok(Array.isArray(json?.outputs), `outputs is no array: ${show(reply)}`)
  let at = jsonLength
  const binary: boolean[] = []
  const outputs = (json.outputs as JsonTensor[]).map(output => {
    const { name, datatype, shape } = output
    const size = output.parameters?.binary_data_size
    binary.push(size !== undefined)
    let data: Value[]
    if (size === undefined) data = readJsonData(output)
    else {
      assert.ok(
        typeof size === 'number' && Number.isSafeInteger(size) && size >= 0,
        `binary_data_size of output ${name} is ${size}`,
      )
      assert.equal(output.data, undefined, `output ${name} has both data and binary_data_size`)
      data = fromBytes(datatype, body.subarray(at, at + size))
      at += size
    }
    assert.ok(
      Array.isArray(shape) &&
        shape.every(dimension => Number.isSafeInteger(dimension) && dimension >= 0),
      `shape ${JSON.stringify(shape)} of output ${name}`,
    )
    assert.equal(
      data.length,
      elementCount(shape),
      `output ${name} of shape [${shape}] has ${data.length} elements`,
    )
    return { name, datatype, shape, data }
  })
  assert.equal(
    at,
    body.byteLength,
    `binary_data_size of all outputs: ${at - jsonLength}; binary data: ${body.byteLength - jsonLength}`,
  )
  assert.equal(
    headerLength !== undefined,
    binary.includes(true),
    'Inference-Header-Content-Length goes with binary data, and only with it',
  )
  return { json, outputs, binary }
}

function inflated({ headers, body }: Reply): Buffer {
  const encoding = headers['content-encoding']
  switch (encoding) {
    case undefined:
    case 'identity':
      return body
    case 'gzip':
      return gunzipSync(body)
    case 'deflate':
      return inflateSync(body)
    case 'br':
      return brotliDecompressSync(body)
    case 'zstd':
      return zstdDecompressSync(body)
    default:
      return assert.fail(`Content-Encoding ${encoding} was not asked for`)
  }
}

function readJsonData({ datatype, data, name }: JsonTensor): Value[] {
  assert.ok(Array.isArray(data), `data of output ${name} is no array`)
  return (data as unknown[])
    .flat(Number.POSITIVE_INFINITY)
    .map(element => readElement(datatype, element))
}

function readElement(datatype: string, element: unknown): Value {
  const type = typeof element
  if (datatype === 'BOOL') assert.equal(type, 'boolean', `${element} in BOOL`)
  else if (datatype === 'BYTES') assert.equal(type, 'string', `${element} in BYTES`)
  else if (INTEGERS.includes(datatype)) {
    assert.ok(type === 'bigint' || Number.isInteger(element), `${element} in ${datatype}`)
    return rowOf(datatype).bytes === 8 ? BigInt(element as number) : Number(element)
  } else {
    assert.ok(
      type === 'number' ||
        type === 'bigint' ||
        ['NaN', 'Infinity', '-Infinity'].includes(element as string),
      `${element} in ${datatype}`,
    )
    return datatype === 'FP32' ? Math.fround(Number(element)) : Number(element)
  }
  return element as Value
}

/** Sends a JSON request and reads its response. */
export const infer = async (
  target: Target,
  request: InferenceRequest = exampleRequest(target),
): Promise<Response> => readResponse(await post(target, request))

/** Sends inputs as binary tensor data and reads the response; `more` is the rest of the request. */
export const inferBinary = async (
  target: Target,
  inputs: readonly Tensor[],
  more?: InferenceRequest,
): Promise<Response> => readResponse(await postBinary(target, binaryRequest(inputs, more)))

/**
 * Checks for the same outputs by name, in any order and beside any others. Floating-point numbers
 * may differ in the last bits, because a kernel may add in another order when requests share a run.
 * For a random model, the data is not compared.
 */
export function assertSame(
  { deterministic }: Pick<Target, 'deterministic'>,
  response: Response,
  expected: Response,
): void {
  const [got, right] = [byName(response), byName(expected)]
  assert.deepEqual(got.map(head), right.map(head))
  if (deterministic)
    for (const [i, output] of got.entries()) assertElements(output, right[i] as Tensor, isClose)
}

const byName = ({ outputs }: Response) =>
  outputs.toSorted((one, other) => (one.name < other.name ? -1 : 1))

const head = ({ name, datatype, shape }: Tensor) => ({ name, datatype, shape })

/** Names the first element that differs: a full diff takes long to compute and is unreadable. */
function assertElements(
  { name, data }: Tensor,
  expected: Pick<Tensor, 'data'>,
  isSame: (value: Value, expected: Value) => boolean,
): void {
  const at = data.findIndex((value, i) => !isSame(value, expected.data[i] as Value))
  if (at !== -1)
    assert.fail(
      `element ${at} of output "${name}" is ${say(data[at])}, not ${say(expected.data[at])}`,
    )
}

const say = (value: Value | undefined) => inspect(value, { maxStringLength: 60 })

/** Equal within tolerance. */
const isClose = (value: Value, expected: Value) =>
  Object.is(value, expected) ||
  (typeof value === 'number' &&
    typeof expected === 'number' &&
    !Number.isInteger(value) &&
    Math.abs(value - expected) <= 1e-4 * Math.max(1, Math.abs(expected)))

/** Equal by value; NaN equals NaN, and −0 does not equal 0. */
export function assertEchoed(
  response: Response,
  { shape, data }: Pick<Tensor, 'shape' | 'data'>,
): void {
  const [output] = response.outputs
  assert.ok(output !== undefined, 'there is no output')
  assert.deepEqual(output.shape, [...shape])
  assertElements(output, { data }, Object.is)
}
