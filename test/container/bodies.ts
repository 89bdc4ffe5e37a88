import { gzipSync } from 'node:zlib'
import { irisBody } from '../http/client.ts'

/** A large request, for the shipped model; for texts, for test/models/identity-bytes. */
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

/** A body of this many bytes that classifies as many rows as fit. */
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

/** One row, the request of the other callers meanwhile. */
export const SINGLE_ROW: Large = { headers: JSON_TYPE, body: Buffer.from(irisBody()) }
export const SINGLE_TEXT = texts(110, 'a')

/**
 * Bodies by kind, built when their turn comes: several take more memory than a small machine has.
 */
export type LargeBodies = Readonly<Record<string, () => Large>>

/** Bodies that a server with this MAX_BODY_BYTES accepts, or refuses after reading them. */
export function largeBodies(largest: number): LargeBodies {
  // As JSON, more than four times as long as the request: just within the limit.
  const answered = (14 / 64) * largest
  return {
    'JSON, answered as JSON': () => ({ headers: JSON_TYPE, body: json(answered) }),
    'JSON, answered as binary': () => ({
      headers: JSON_TYPE,
      body: json(largest, BINARY_PROBABILITIES),
    }),
    'JSON, its answer too large': () => ({ headers: JSON_TYPE, body: json(largest) }),
    'JSON in gzip': () => ({
      headers: { ...JSON_TYPE, 'content-encoding': 'gzip' },
      body: gzipSync(json(largest, BINARY_PROBABILITIES)),
    }),
    'JSON of 1 MiB': () => ({ headers: JSON_TYPE, body: json(Math.min(2 ** 20, answered)) }),
    'binary, answered as binary': () => binary(largest, BINARY_PROBABILITIES),
    'binary, answered as JSON': () => binary((12 / 64) * largest, [{ name: 'probabilities' }]),
    'refused: a form': () => ({
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: json(answered),
    }),
    'refused: no JSON at its end': () => ({
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
