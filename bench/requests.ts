import assert from 'node:assert/strict'
import type { Exchange, HttpAnswer, Verify } from './load.ts'

/*
 * The prepared bytes of each request, and a check of its response: a subject that returns wrong
 * responses is not measured.
 */

export interface Target {
  at(path: string): Exchange
}

type Headers = Readonly<Record<string, string | number>>

function target(
  verify: Verify,
  headers: Headers,
  ...parts: readonly (string | Uint8Array)[]
): Target {
  return { at: path => ({ request: post(path, headers, parts), verify }) }
}

function post(path: string, headers: Headers, parts: readonly (string | Uint8Array)[]): Buffer {
  const body = Buffer.concat(
    parts.map(part => (typeof part === 'string' ? Buffer.from(part) : part)),
  )
  return Buffer.concat([head('POST', path, { ...headers, 'Content-Length': body.length }), body])
}

const head = (method: string, path: string, headers: Headers) =>
  Buffer.from(
    `${method} ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\n${Object.entries(headers)
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')}\r\n`,
  )

const JSON_TYPE = { 'Content-Type': 'application/json' }

/** The row in nearly all requests: a flower of the class setosa. */
const SETOSA = [5.1, 3.5, 1.4, 0.2]

interface V2Response {
  readonly outputs: readonly {
    readonly name: string
    readonly shape: readonly number[]
    readonly data: readonly unknown[]
  }[]
}

const classifies = (rows: number) => (answer: HttpAnswer) =>
  checkResponse(JSON.parse(answer.body.toString()), rows)

function checkResponse({ outputs }: V2Response, rows: number): void {
  const classes = outputs.find(({ name }) => name === 'predicted_class')?.data ?? []
  assert.equal(classes.length, rows)
  assert.ok(
    classes.every(label => label === 'setosa'),
    `the response has the classes ${classes.slice(0, 3)}; expected setosa`,
  )
}

const rowsOf = (rows: number) => Array.from({ length: rows }, () => SETOSA).flat()

const requestOf = (rows: number, data = rowsOf(rows)) => ({
  inputs: [{ name: 'input', datatype: 'FP32', shape: [rows, 4], data }],
})

export const V2_REQUEST = target(classifies(1), JSON_TYPE, JSON.stringify(requestOf(1)))

/** The generator from the C standard's example: each run sends the same flowers. */
function createRandom(): () => number {
  let state = 1
  return () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
    return state / 2 ** 31
  }
}

/** Flowers with four decimals, close enough to SETOSA to have the same class. */
function flowers(rows: number, random: () => number): number[] {
  return Array.from({ length: rows }, () =>
    SETOSA.map(size => Number((size * (0.95 + random() / 10)).toFixed(4))),
  ).flat()
}

const BODIES = 16

/**
 * No two bodies are equal: V8 caches the text of numbers, so a repeated body would measure the
 * cache.
 */
export function jsonRows(rows: number): Target {
  const random = createRandom()
  const bodies = Array.from({ length: BODIES }, () =>
    JSON.stringify(requestOf(rows, flowers(rows, random))),
  )
  return {
    at(path) {
      const [request, ...others] = bodies.map(body => post(path, JSON_TYPE, [body]))
      return { request: request as Buffer, others, verify: classifies(rows) }
    },
  }
}

/** Checks the probabilities; the output may have any name. */
const mostLikely = (answer: HttpAnswer) => {
  const { outputs }: V2Response = JSON.parse(answer.body.toString())
  assert.equal(outputs.length, 1)
  const [setosa, ...others] = outputs.flatMap(({ data }) => data.flat()) as [number, ...number[]]
  assert.ok(
    Math.abs(setosa - 0.97868) < 1e-4 && others.length === 2,
    `the response has the probability ${setosa}; expected 0.97868`,
  )
}

export const PROBABILITIES_REQUEST = target(
  mostLikely,
  JSON_TYPE,
  JSON.stringify({ ...requestOf(1), outputs: [{ name: 'probabilities' }] }),
)
/** A request for a server that chooses its own output names. */
export const ANY_OUTPUT_REQUEST = target(mostLikely, JSON_TYPE, JSON.stringify(requestOf(1)))

/** A flower of another class: a server that returns setosa for it does not run the model. */
export const OTHER_REQUEST = target(
  ({ body }) => {
    const { outputs }: V2Response = JSON.parse(body.toString())
    assert.deepEqual(outputs.find(({ name }) => name === 'predicted_class')?.data.flat(), [
      'virginica',
    ])
  },
  JSON_TYPE,
  JSON.stringify({
    inputs: [{ name: 'input', datatype: 'FP32', shape: [1, 4], data: [6.3, 3.3, 6, 2.5] }],
  }),
)

export function binaryRows(rows: number, outputs?: readonly string[]): Target {
  const tensor = Buffer.from(Float32Array.from(rowsOf(rows)).buffer)
  const json = JSON.stringify({
    inputs: [
      {
        name: 'input',
        datatype: 'FP32',
        shape: [rows, 4],
        parameters: { binary_data_size: tensor.length },
      },
    ],
    ...(outputs === undefined ? {} : { outputs: outputs.map(name => ({ name })) }),
    parameters: { binary_data_output: true },
  })
  const verify = ({ headers, body }: HttpAnswer) => {
    const length = Number(headers['inference-header-content-length'])
    const { outputs } = JSON.parse(body.toString('utf8', 0, length))
    const sizes = outputs.map(
      (output: { parameters: { binary_data_size: number } }) => output.parameters.binary_data_size,
    )
    assert.equal(body.length, length + sizes.reduce((sum: number, size: number) => sum + size, 0))
    assert.deepEqual(
      outputs.map((output: { shape: number[] }) => output.shape[0]),
      outputs.map(() => rows),
    )
    if (outputs.some(({ name }: { name: string }) => name === 'predicted_class'))
      assert.equal(body.toString('utf8', body.length - 6), 'setosa')
  }
  const headers = {
    'Content-Type': 'application/octet-stream',
    'Inference-Header-Content-Length': Buffer.byteLength(json),
  }
  return target(verify, headers, json, tensor)
}

/**
 * A JSON request of about this many bytes, with the same flower in every row. A JSON response would
 * exceed the limit.
 */
export function jsonOfSize(bytes: number): Target {
  const row = `${SETOSA.join()},`
  const wrap = (rows: number, data: string) =>
    `{"inputs":[{"name":"input","datatype":"FP32","shape":[${rows},4],"data":[${data}]}],"outputs":[{"name":"probabilities","parameters":{"binary_data":true}}]}`
  const rows = Math.floor((bytes - wrap(99_999_999, '').length) / row.length)
  const data = Buffer.alloc(rows * row.length - 1, row)
  const [before, after] = wrap(rows, '|').split('|') as [string, string]
  return target(sized, JSON_TYPE, before, data, after)
}

/** Checks only the length, because parsing such a response would disturb the load. */
const sized = ({ body }: HttpAnswer) => assert.ok(body.length > 1_000)

const EVENT = { specversion: '1.0', id: 'b-1', source: '/bench', type: 'bench.iris.request' }

/** Binary content mode: the attributes are headers, and the data is the body. */
export const BINARY_EVENT = target(
  classifies(1),
  {
    ...JSON_TYPE,
    ...Object.fromEntries(Object.entries(EVENT).map(([name, value]) => [`ce-${name}`, value])),
  },
  JSON.stringify(requestOf(1)),
)

/** Structured content mode: the body is JSON with the attributes and the data. */
export const STRUCTURED_EVENT = target(
  ({ body }) => checkResponse(JSON.parse(body.toString()).data, 1),
  { 'Content-Type': 'application/cloudevents+json' },
  JSON.stringify({ ...EVENT, datacontenttype: 'application/json', data: requestOf(1) }),
)

/** A request for the slow models: one row of two numbers, which the model returns. */
export const SLOW_REQUEST = target(
  ({ body }) => assert.deepEqual(JSON.parse(body.toString()).outputs.at(-1).data, [1, 1]),
  JSON_TYPE,
  JSON.stringify({ inputs: [{ name: 'x', datatype: 'FP32', shape: [1, 2], data: [1, 1] }] }),
)

export const PROBE: Exchange = {
  request: head('GET', '/v2/health/live', {}),
  verify: ({ body }) => assert.deepEqual(JSON.parse(body.toString()), { live: true }),
}

/**
 * FP32 inputs and the response as binary tensor data.
 * @param bytes the length of the outputs' data
 */
export function binaryOf(
  { name, shape, data }: { name: string; shape: readonly number[]; data: readonly number[] },
  bytes: number,
): Target {
  const tensor = Buffer.from(Float32Array.from(data).buffer)
  const parameters = { binary_data_size: tensor.length }
  const json = JSON.stringify({
    inputs: [{ name, datatype: 'FP32', shape, parameters }],
    parameters: { binary_data_output: true },
  })
  const verify = ({ headers, body }: HttpAnswer) =>
    assert.equal(body.length, Number(headers['inference-header-content-length']) + bytes)
  const headers = {
    'Content-Type': 'application/octet-stream',
    'Inference-Header-Content-Length': Buffer.byteLength(json),
  }
  return target(verify, headers, json, tensor)
}

export const jsonOf = (
  inputs: readonly object[],
  right: (outputs: V2Response['outputs']) => boolean,
): Target =>
  target(
    ({ body }) => assert.ok(right(JSON.parse(body.toString()).outputs)),
    JSON_TYPE,
    JSON.stringify({ inputs }),
  )
