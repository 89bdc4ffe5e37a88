import assert from 'node:assert/strict'
import { gunzipSync, inflateSync } from 'node:zlib'
import { DATATYPES, fromBytes, INTEGERS, rowOf } from './datatypes.ts'
import { parseJson } from './json.ts'
import type { JsonTensor, Target, Tensor, Value } from './point.ts'
import { binaryRequest, elementCount, exampleRequest, type InferenceRequest, post, postBinary, type Reply } from './request.ts'

/** A reply as an error message shows it. */
const show = ({ status, body }: Reply) => `${status} ${body.toString('utf8', 0, 300)}`

/** The body as JSON. */
export function jsonOf(reply: Reply): Record<string, unknown> {
  assert.match(reply.headers['content-type'] ?? '', /^application\/json\b/i, `content type of ${show(reply)}`)
  return parseJson(reply.body.toString()) as Record<string, unknown>
}

/** Refused in the protocol's form: an HTTP error status, and a JSON object that says why. */
export function assertError(reply: Reply): void {
  assert.ok(reply.status >= 400, `expected an error, got ${show(reply)}`)
  const { error } = jsonOf(reply)
  assert.ok(typeof error === 'string' && error !== '', `expected {"error": "…"}, got ${show(reply)}`)
}

export function assertRefused(reply: Reply, status: number): void {
  assertError(reply)
  assert.equal(reply.status, status, show(reply))
}

/** An inference response, read and found to be in order. */
export interface Response {
  readonly json: Record<string, unknown>
  readonly outputs: readonly Tensor[]
  /** Which of the outputs came as binary tensor data. */
  readonly binary: readonly boolean[]
}

/** @throws {assert.AssertionError} when it is no successful response, or one that contradicts itself or the metadata */
export function readResponse(target: Target, reply: Reply): Response {
  assert.equal(reply.status, 200, show(reply))
  const headerLength = reply.headers['inference-header-content-length']
  const body = inflated(reply)
  if (headerLength === undefined) {
    assert.match(reply.headers['content-type'] ?? '', /^application\/json\b/i)
  } else {
    assert.match(String(headerLength), /^\d+$/)
    assert.ok(Number(headerLength) <= body.byteLength, `Inference-Header-Content-Length ${headerLength} of ${body.byteLength} bytes`)
  }
  const jsonLength = headerLength === undefined ? body.byteLength : Number(headerLength)
  const json = parseJson(body.toString('utf8', 0, jsonLength)) as Record<string, unknown>
  assert.ok(Array.isArray(json.outputs), 'outputs is no array')
  let at = jsonLength
  const binary: boolean[] = []
  const outputs = (json.outputs as JsonTensor[]).map(output => {
    const size = output.parameters?.binary_data_size
    binary.push(size !== undefined)
    let data: Value[]
    if (size === undefined) data = readJsonData(output)
    else {
      assert.ok(typeof size === 'number' && Number.isSafeInteger(size) && size >= 0, `binary_data_size is ${size}`)
      assert.equal(output.data, undefined, 'both data and binary_data_size')
      data = fromBytes(output.datatype, body.subarray(at, at + size))
      at += size
    }
    const tensor = { name: output.name, datatype: output.datatype, shape: output.shape, data }
    assertFits(target, tensor)
    return tensor
  })
  assert.equal(at, body.byteLength, 'the binary_data_size of all outputs do not add up to the binary data')
  assert.equal(headerLength !== undefined, binary.includes(true), 'Inference-Header-Content-Length goes with binary data, and only with it')
  return { json, outputs, binary }
}

function inflated({ headers, body }: Reply): Buffer {
  switch (headers['content-encoding']) {
    case undefined:
      return body
    case 'gzip':
      return gunzipSync(body)
    case 'deflate':
      return inflateSync(body)
    default:
      return assert.fail(`Content-Encoding ${headers['content-encoding']} was not asked for`)
  }
}

function readJsonData({ datatype, data, name }: JsonTensor): Value[] {
  assert.ok(Array.isArray(data), `data of output ${name} is no array`)
  return (data as unknown[]).flat(Number.POSITIVE_INFINITY).map(element => readElement(datatype, element))
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
      type === 'number' || type === 'bigint' || ['NaN', 'Infinity', '-Infinity'].includes(element as string),
      `${element} in ${datatype}`,
    )
    return datatype === 'FP32' ? Math.fround(Number(element)) : Number(element)
  }
  return element as Value
}

/** The output is one of the metadata's, and its data is what its shape says. */
function assertFits({ metadata }: Target, { name, datatype, shape, data }: Tensor): void {
  const known = metadata.outputs.find(output => output.name === name)
  assert.ok(known !== undefined, `the metadata has no output ${name}`)
  assert.equal(datatype, known.datatype, `datatype of output ${name}`)
  assert.ok(Object.hasOwn(DATATYPES, datatype))
  assert.ok(
    Array.isArray(shape) && shape.every(dimension => Number.isSafeInteger(dimension) && dimension >= 0),
    `shape [${shape}] of output ${name}`,
  )
  assert.equal(data.length, elementCount(shape), `elements of output ${name} of shape [${shape}]`)
  const fits = shape.length === known.shape.length && known.shape.every((dimension, i) => dimension === -1 || dimension === shape[i])
  assert.ok(fits, `shape [${shape}] of output ${name} does not fit the metadata's [${known.shape}]`)
}

/** Sends a JSON request and reads its response. */
export const infer = async (target: Target, request: InferenceRequest = exampleRequest(target)): Promise<Response> =>
  readResponse(target, await post(target, request))

/** Sends inputs as binary tensor data and reads the response; `more` is the rest of the request. */
export const inferBinary = async (target: Target, inputs: readonly Tensor[], more?: InferenceRequest): Promise<Response> =>
  readResponse(target, await postBinary(target, binaryRequest(inputs, more)))

/** The same outputs, but for the last bits of floating-point numbers: a kernel may add in another order where requests share a run. */
export function assertClose({ outputs }: Response, expected: Response): void {
  const settled = outputs.map((output, i) => ({
    ...output,
    data: output.data.map((value, at) => settle(value, expected.outputs[i]?.data[at])),
  }))
  assert.deepEqual(settled, expected.outputs)
}

/** The expected value where this one is as good as it. */
function settle(value: Value, expected: Value | undefined): Value {
  const floats = typeof value === 'number' && typeof expected === 'number' && !Number.isInteger(value)
  return floats && Math.abs(value - expected) <= 1e-4 * Math.max(1, Math.abs(expected)) ? expected : value
}

/** Equal by value; NaN equals NaN, and −0 does not equal 0. */
export function assertEchoed(response: Response, { shape, data }: Pick<Tensor, 'shape' | 'data'>): void {
  assert.deepEqual([response.outputs[0]?.shape, response.outputs[0]?.data], [[...shape], [...data]])
}
