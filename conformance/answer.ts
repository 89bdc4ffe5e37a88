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

export function show({ status, headers, body }: Reply): string {
  const encoding = headers['content-encoding']
  return `${status} ${encoding === undefined ? body.toString('utf8', 0, 200) : `(${body.byteLength} bytes of ${encoding})`}`
}

export const assertStatus = (reply: Reply, status: number) =>
  assert.equal(reply.status, status, `${show(reply)}`)

/** Reads the body as JSON, whatever its content type. */
export function jsonOf(reply: Reply): Record<string, unknown> {
  const json = parsed(reply, reply.body)
  assert.ok(
    typeof json === 'object' && json !== null && !Array.isArray(json),
    `not a JSON object: ${show(reply)}`,
  )
  return json as Record<string, unknown>
}

export function parsed(reply: Reply, body: Buffer): unknown {
  try {
    return parseJson(body.toString())
  } catch {
    return assert.fail(`not JSON: ${show(reply)}`)
  }
}

export const assertFailed = (reply: Reply) =>
  assert.ok(reply.status >= 400, `no error status: ${show(reply)}`)

export function saysWhy({ body }: Reply): boolean {
  try {
    const { error } = parseJson(body.toString()) as { error?: unknown }
    return typeof error === 'string' && error !== ''
  } catch {
    return false
  }
}

export function assertError(reply: Reply): void {
  assertFailed(reply)
  assert.ok(saysWhy(reply), `no "error" in the body: ${show(reply)}`)
}

export function assertRefused(reply: Reply, ...statuses: readonly number[]): void {
  assertError(reply)
  assert.ok(statuses.includes(reply.status), show(reply))
}

export interface Response {
  readonly json: Record<string, unknown>
  readonly outputs: readonly Tensor[]
  readonly binary: readonly boolean[]
}

/** @throws {assert.AssertionError} if the response is an error or inconsistent */
export function readResponse(reply: Reply): Response {
  assertStatus(reply, 200)
  const headerLength = reply.headers['inference-header-content-length']
  const body = inflated(reply)
  if (headerLength !== undefined) {
    assert.match(
      String(headerLength),
      /^\d+$/,
      `Inference-Header-Content-Length is "${headerLength}", not a number of bytes`,
    )
    assert.ok(
      Number(headerLength) <= body.byteLength,
      `Inference-Header-Content-Length is ${headerLength}, but the body has ${body.byteLength} bytes`,
    )
  }
  const jsonLength = headerLength === undefined ? body.byteLength : Number(headerLength)
  const json = parsed(reply, body.subarray(0, jsonLength)) as Record<string, unknown>
  assert.ok(Array.isArray(json?.outputs), `"outputs" is not an array: ${show(reply)}`)
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
        `binary_data_size of output ${name} is ${size}, not a number of bytes`,
      )
      assert.equal(output.data, undefined, `output ${name} has both data and binary_data_size`)
      data = fromBytes(datatype, body.subarray(at, at + size))
      at += size
    }
    assert.ok(
      Array.isArray(shape) &&
        shape.every(dimension => Number.isSafeInteger(dimension) && dimension >= 0),
      `output ${name} has the invalid shape ${JSON.stringify(shape)}`,
    )
    assert.equal(
      data.length,
      elementCount(shape),
      `output ${name} has shape [${shape}], but ${data.length} elements`,
    )
    return { name, datatype, shape, data }
  })
  assert.equal(
    at,
    body.byteLength,
    `the binary_data_size of all outputs adds up to ${at - jsonLength}, but the binary data has ${body.byteLength - jsonLength} bytes`,
  )
  assert.equal(
    headerLength !== undefined,
    binary.includes(true),
    'a response must have Inference-Header-Content-Length if, and only if, an output is binary',
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
      return assert.fail(`the request did not accept Content-Encoding ${encoding}`)
  }
}

function readJsonData({ datatype, data, name }: JsonTensor): Value[] {
  assert.ok(Array.isArray(data), `the data of output ${name} is not an array`)
  return (data as unknown[])
    .flat(Number.POSITIVE_INFINITY)
    .map(element => readElement(datatype, element))
}

function readElement(datatype: string, element: unknown): Value {
  const type = typeof element
  if (datatype === 'BOOL') assert.equal(type, 'boolean', `${element} is not a BOOL value`)
  else if (datatype === 'BYTES') assert.equal(type, 'string', `${element} is not a BYTES value`)
  else if (INTEGERS.includes(datatype)) {
    assert.ok(
      type === 'bigint' || Number.isInteger(element),
      `${element} is not a value of ${datatype}`,
    )
    return rowOf(datatype).bytes === 8 ? BigInt(element as number) : Number(element)
  } else {
    assert.ok(
      type === 'number' ||
        type === 'bigint' ||
        ['NaN', 'Infinity', '-Infinity'].includes(element as string),
      `${element} is not a value of ${datatype}`,
    )
    return datatype === 'FP32' ? Math.fround(Number(element)) : Number(element)
  }
  return element as Value
}

export const infer = async (
  target: Target,
  request: InferenceRequest = exampleRequest(target),
): Promise<Response> => readResponse(await post(target, request))

export const inferBinary = async (
  target: Target,
  inputs: readonly Tensor[],
  more?: InferenceRequest,
): Promise<Response> => readResponse(await postBinary(target, binaryRequest(inputs, more)))

/**
 * The outputs may be in any order. The last bits of floating-point numbers may differ, because
 * requests may share a run. Does not compare the data of a random model.
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

/** Reports only the first difference: a full diff is slow and unreadable. */
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

/**
 * Whether two values are equal. Numbers that are not integers may differ by a relative tolerance of
 * 1e-4.
 */
const isClose = (value: Value, expected: Value) =>
  Object.is(value, expected) ||
  (typeof value === 'number' &&
    typeof expected === 'number' &&
    !Number.isInteger(value) &&
    Math.abs(value - expected) <= 1e-4 * Math.max(1, Math.abs(expected)))

/** NaN equals NaN, and −0 does not equal 0. */
export function assertEchoed(
  response: Response,
  { shape, data }: Pick<Tensor, 'shape' | 'data'>,
): void {
  const [output] = response.outputs
  assert.ok(output !== undefined, 'the response has no output')
  assert.deepEqual(output.shape, [...shape])
  assertElements(output, { data }, Object.is)
}
