import { gzipSync } from 'node:zlib'
import { irisBody } from '../http/client.ts'

/** A large request for the shipped model, or for test/models/identity-bytes if its data is text. */
export interface Large {
  readonly path?: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

const JSON_TYPE = { 'content-type': 'application/json' }
const EVENT = {
  specversion: '1.0',
  id: '1',
  source: '/garden',
  type: 'com.example.iris.classify.request',
}
const BINARY_PROBABILITIES = [{ name: 'probabilities', parameters: { binary_data: true } }]

/** A JSON request with as many rows as fit into `bytes`. */
function json(bytes: number, outputs?: object): Buffer {
  const row = '5.1,3.5,1.4,0.2'
  const rest = outputs === undefined ? '' : `,"outputs":${JSON.stringify(outputs)}`
  const rows = Math.floor((bytes - 150 - rest.length) / (row.length + 1))
  return Buffer.from(
    `{"inputs":[{"name":"input","shape":[${rows},4],"datatype":"FP32","data":[${Array(rows).fill(row).join()}]}]${rest}}`,
  )
}

function binary(bytes: number, outputs: object): Large {
  const rows = Math.floor((bytes - 300) / 16)
  const input = {
    name: 'input',
    shape: [rows, 4],
    datatype: 'FP32',
    parameters: { binary_data_size: 16 * rows },
  }
  const head = Buffer.from(JSON.stringify({ inputs: [input], outputs }))
  const data = Buffer.from(new Float32Array(4 * rows).fill(1.4).buffer)
  return {
    headers: { 'inference-header-content-length': String(head.byteLength) },
    body: Buffer.concat([head, data]),
  }
}

function texts(bytes: number, text: string): Large {
  const element = JSON.stringify(text)
  const count = Math.floor((bytes - 100) / (element.length + 1))
  const body = `{"inputs":[{"name":"x","shape":[${count}],"datatype":"BYTES","data":[${Array(count).fill(element).join()}]}]}`
  return { path: '/v2/models/identity-bytes/infer', headers: JSON_TYPE, body: Buffer.from(body) }
}

const structured = (data: Buffer): Large => ({
  path: '/',
  headers: { 'content-type': 'application/cloudevents+json' },
  body: Buffer.concat([
    Buffer.from(`${JSON.stringify(EVENT).slice(0, -1)},"data":`),
    data,
    Buffer.from('}'),
  ]),
})

export const SINGLE_ROW: Large = { headers: JSON_TYPE, body: Buffer.from(irisBody()) }
export const SINGLE_TEXT = texts(110, 'a')

/**
 * Each body is built when it is sent, because a small machine has no room for all bodies at once.
 */
export type LargeBodies = Readonly<Record<string, () => Large>>

/** Bodies that a server with this MAX_BODY_BYTES accepts, or rejects after reading them. */
export function largeBodies(largest: number): LargeBodies {
  // The JSON response is more than four times as long as the request, and just within the limit.
  const answered = (14 / 64) * largest
  return {
    'JSON with a JSON response': () => ({ headers: JSON_TYPE, body: json(answered) }),
    'JSON with a binary response': () => ({
      headers: JSON_TYPE,
      body: json(largest, BINARY_PROBABILITIES),
    }),
    'JSON with a response that is too large': () => ({ headers: JSON_TYPE, body: json(largest) }),
    'JSON compressed with gzip': () => ({
      headers: { ...JSON_TYPE, 'content-encoding': 'gzip' },
      body: gzipSync(json(largest, BINARY_PROBABILITIES)),
    }),
    'JSON of 1 MiB': () => ({ headers: JSON_TYPE, body: json(Math.min(2 ** 20, answered)) }),
    'binary with a binary response': () => binary(largest, BINARY_PROBABILITIES),
    'binary with a JSON response': () => binary((12 / 64) * largest, [{ name: 'probabilities' }]),
    'rejected because of form data': () => ({
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: json(answered),
    }),
    'rejected because of invalid JSON at the end': () => ({
      headers: JSON_TYPE,
      body: Buffer.concat([json(answered), Buffer.from('x')]),
    }),
    'structured events': () => structured(json(answered - 1024)),
    'binary events': () => ({
      path: '/',
      headers: {
        ...JSON_TYPE,
        ...Object.fromEntries(Object.entries(EVENT).map(([name, value]) => [`ce-${name}`, value])),
      },
      body: json(answered),
    }),
  }
}

export const largeTexts = (largest: number): LargeBodies => ({
  'short texts': () => texts(largest, 'ab'),
  'long texts': () => texts(largest, 'x'.repeat(100)),
})
