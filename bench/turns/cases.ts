import { gzipSync } from 'node:zlib'
import { V1_PATH, V2_PATH } from './servers.ts'

/*
 * Every kind of body, header and response at its limit. Refusals are included, because they must
 * not block the event loop either.
 */

export interface Case {
  readonly name: string
  readonly server: string
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: () => string | Uint8Array
  readonly times?: number
}

const KIB = 1_024
const MIB = 2 ** 20

/** A batch with as many events as fit into 1 MiB, at most `most`. */
const batch = (event: (i: number) => object, most = Number.POSITIVE_INFINITY) => {
  const size = JSON.stringify(event(100_000)).length + 1
  const length = Math.min(most, Math.floor((MIB - 2) / size))
  return JSON.stringify(Array.from({ length }, (_, i) => event(i)))
}

const attributes = (i: number) => ({ specversion: '1.0', id: `${i}`, source: '/s', type: 't' })
const ROW = [5.1, 3.5, 1.4, 0.2]
const input = (rows: number, data: unknown) => ({
  name: 'input',
  datatype: 'FP32',
  shape: [rows, 4],
  data,
})
const request = (rows: number, more: object = {}) =>
  JSON.stringify({ inputs: [input(rows, new Array(rows).fill(ROW).flat())], ...more })
const rowsIn = (bytes: number) => Math.floor((bytes - 100) / 16)

const vector = (datatype: string, bytes: number, element: string) => {
  const count = Math.floor((bytes - 100) / (element.length + 1))
  const data = new Array(count).fill(element).join()
  return `{"inputs":[{"name":"x","datatype":"${datatype}","shape":[${count}],"data":[${data}]}]}`
}

const repeat = (before: string, text: string, after: string, bytes: number) =>
  before + text.repeat(Math.floor((bytes - before.length - after.length) / text.length)) + after

const BATCH = { 'content-type': 'application/cloudevents-batch+json' }
const STRUCTURED = { 'content-type': 'application/cloudevents+json' }
const BINARY = {
  'content-type': 'application/json',
  'ce-specversion': '1.0',
  'ce-id': '1',
  'ce-source': '/s',
  'ce-type': 't',
}
const CJK = '漢'

const SMALL = 128 * KIB
const JSON_LIMIT = 16 * MIB

const v1Rows = (bytes: number) =>
  `{"instances":[${new Array(rowsIn(bytes)).fill(JSON.stringify(ROW)).join()}]}`
const picture = () => new Array(3 * 224 * 224).fill(0.123456).join()

const V2_BODIES: Case[] = [
  ['rows, 128 KiB', () => request(rowsIn(SMALL))],
  ['rows, 2 MiB', () => request(rowsIn(2 * MIB))],
  ['rows, 16 MiB', () => request(rowsIn(JSON_LIMIT))],
  ['empty data, 128 KiB', () => repeat('{"inputs":[{}', ',{"data":[]}', ']}', SMALL)],
  ['empty data, 16 MiB', () => repeat('{"inputs":[{}', ',{"data":[]}', ']}', JSON_LIMIT)],
  [
    'repeated key "data", 16 MiB',
    () => repeat('{"inputs":[{"a":1', ',"data":[]', '}]}', JSON_LIMIT),
  ],
  ['arrays, 128 KiB', () => repeat('[0', ',[]', ']', SMALL)],
  ['arrays beside the data, 4 MiB', () => repeat('{"a":[0', ',[]', ']}', 4 * MIB)],
  [
    'keys, 128 KiB',
    () => `{"a":0${Array.from({ length: 11_000 }, (_, i) => `,"${i}":0`).join('')}}`,
  ],
  ['one string, 128 KiB', () => repeat('{"id":"', '\\"', '"}', SMALL)],
  ['one string, 16 MiB', () => repeat('{"id":"', '\\"', '"}', JSON_LIMIT)],
  ['not JSON, 16 MiB', () => 'x'.repeat(JSON_LIMIT)],
  ['gzip bomb of 64 MiB', () => gzipSync(Buffer.alloc(64 * MIB, ' '))],
].map(([name, body]) => ({
  name: `V2: ${name}`,
  server: 'iris',
  body: body as () => string,
  ...(name === 'gzip bomb of 64 MiB' && { headers: { 'content-encoding': 'gzip' } }),
}))

const INLINE: Case[] = V2_BODIES.filter(({ name }) => /(?:16|2|4) MiB$/.test(name)).map(one => ({
  ...one,
  name: `inline, ${one.name}`,
  server: 'iris inline',
}))

const INTEGERS: Case[] = [
  [
    'INT64, one number with 16 digits, 127 KiB',
    () => vector('INT64', 127 * KIB, '1').replace('[1,', '[1234567890123456,'),
  ],
  [
    'INT64, all numbers with 19 digits, 127 KiB',
    () => vector('INT64', 127 * KIB, '1234567890123456789'),
  ],
].map(([name, body]) => ({ name: `V2: ${name}`, server: 'INT64', body: body as () => string }))

const BATCHES: Case[] = [
  ['without data', () => batch(attributes)],
  [
    'with one row per event',
    () => batch(i => ({ ...attributes(i), data: { inputs: [input(1, ROW)] } })),
  ],
  ['of invalid events', () => batch(i => ({ ...attributes(i), data: { inputs: 0 } }))],
  ['of 256 invalid events', () => batch(i => ({ ...attributes(i), data: { inputs: 0 } }), 256)],
  [
    'with long host names',
    () => batch(i => ({ ...attributes(i), dataschema: `http://${CJK.repeat(5_000)}/` })),
  ],
  ['with Base64', () => batch(i => ({ ...attributes(i), data_base64: 'AAAA' }))],
  ['of numbers', () => repeat('[0', ',0', ']', MIB)],
  ['of arrays', () => repeat('[[]', ',[]', ']', MIB)],
].map(([name, body]) => ({
  name: `batch of 1 MiB ${name}`,
  server: 'iris',
  path: '/',
  headers: BATCH,
  body: body as () => string,
}))

const INTEGER_EVENTS: Case[] = [
  {
    name: 'batch of 1 MiB, INT64 of 16 digits',
    server: 'INT64',
    path: '/',
    headers: BATCH,
    body: () =>
      batch(i => ({
        ...attributes(i),
        data: { inputs: [{ name: 'x', datatype: 'INT64', shape: [1], data: [1234567890123456] }] },
      })).replace('1234567890123456]', '1234567890123456789]'),
  },
  {
    name: 'event of 1 MiB, INT64, structured',
    server: 'INT64',
    path: '/',
    headers: STRUCTURED,
    body: () => {
      const data = vector('INT64', MIB - 200, '1').replace('[1,', '[1234567890123456,')
      return `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":${data}}`
    },
  },
]

const EVENTS: Case[] = [
  {
    name: 'event of 1 MiB, structured',
    server: 'iris',
    path: '/',
    headers: STRUCTURED,
    body: () =>
      `{"specversion":"1.0","id":"1","source":"/s","type":"t","data":${request(rowsIn(MIB - 300))}}`,
  },
  {
    name: 'event of 1 MiB of attributes',
    server: 'iris',
    path: '/',
    headers: STRUCTURED,
    body: () =>
      JSON.stringify({
        ...attributes(1),
        ...Object.fromEntries(Array.from({ length: 80_000 }, (_, i) => [`a${i}`, 1])),
      }),
  },
  ...[
    ['dataschema', `http://${encodeURIComponent(CJK).repeat(1_650)}/`],
    ['subject', '%E6%BC%A2'.repeat(1_650)],
    ['time', '2'.repeat(15_000)],
    ['source', '%20'.repeat(5_000)],
    ['x', '"'.repeat(15_000)],
    ['y', `"${'\\"'.repeat(7_000)}`],
  ].map(([name, value]) => ({
    name: `event with 15 KB of ce-${name}`,
    server: 'iris',
    path: '/',
    headers: { ...BINARY, [`ce-${name}`]: value as string },
    body: () => request(1),
  })),
]

const HEADERS: Case[] = [
  ['accept-encoding', 'gzip;q=0.5,'.repeat(1_300)],
  ['accept', 'text/html,'.repeat(1_500)],
  ['if-none-match', '"a",'.repeat(3_700)],
  ['traceparent', '0'.repeat(15_000)],
  ['tracestate', 'a=b,'.repeat(3_700)],
  ['cookie', 'a=b;'.repeat(3_700)],
  ['host', 'a'.repeat(15_000)],
  ['host', Buffer.from(CJK.repeat(4_900)).toString('latin1')],
  ['content-type', `application/json${'; a=b'.repeat(2_900)}`],
  ['content-type', `application/json;${' '.repeat(14_900)}x`],
  ['x-request-id', 'a'.repeat(15_000)],
  ['authorization', `Bearer ${'a.'.repeat(7_000)}`],
  ['inference-header-content-length', '1'.repeat(15_000)],
  ['x-forwarded-proto', 'https'.repeat(2_000)],
].flatMap(([name, value]) => [
  {
    name: `POST with 15 KB of ${name} (${value?.slice(0, 20)}…)`,
    server: 'iris',
    headers: { [name as string]: value as string },
    body: () => request(1),
  },
  {
    name: `GET / with 15 KB of ${name} (${value?.slice(0, 20)}…)`,
    server: 'iris',
    method: 'GET',
    path: '/',
    headers: { accept: 'text/html', [name as string]: value as string },
  },
])

const TARGETS: Case[] = [
  ['absolute form', `http://${'a'.repeat(15_000)}/v2`],
  ['absolute form, international', `http://${'%E6%BC%A2'.repeat(1_650)}/v2`],
  ['absolute form, punycode', `http://xn--${'a'.repeat(15_000)}/v2`],
  ['path', `/${'a'.repeat(15_000)}`],
  ['model', `/v2/models/${'%41'.repeat(4_900)}/infer`],
  ['V1 model', `/v1/models/${'%41'.repeat(4_900)}:predict`],
  ['slashes', '/'.repeat(15_000)],
  ['query', `/v2?${'a=b&'.repeat(3_700)}`],
].flatMap(([name, path]) =>
  ['iris', 'predictor'].map(server => ({
    name: `${server}, target of 15 KB: ${name}`,
    server,
    method: 'GET',
    path: path as string,
  })),
)

const V1: Case[] = [
  ['rows, 128 KiB', () => v1Rows(SMALL)],
  ['rows, 1 MiB', () => v1Rows(MIB)],
  ['rows, 4 MiB', () => v1Rows(4 * MIB)],
  ['rows, 16 MiB', () => v1Rows(JSON_LIMIT)],
  [
    'objects, 16 MiB',
    () => repeat('{"instances":[{"input":[1,2,3,4]}', ',{"input":[1,2,3,4]}', ']}', JSON_LIMIT),
  ],
  ['columns, 16 MiB', () => v1Rows(JSON_LIMIT).replace('instances', 'inputs')],
  ['empty rows, 16 MiB', () => repeat('{"instances":[[]', ',[]', ']}', JSON_LIMIT)],
  ['empty objects, 16 MiB', () => repeat('{"instances":[{}', ',{}', ']}', JSON_LIMIT)],
  ['strings, 16 MiB', () => repeat('{"instances":["', '\\"', '"]}', JSON_LIMIT)],
].map(([name, body]) => ({
  name: `V1: ${name}`,
  server: 'predictor',
  path: V1_PATH,
  body: body as () => string,
}))

const PICTURES: Case[] = [
  {
    name: 'V1: two pictures, 6 MB',
    server: 'pictures',
    path: '/v1/models/echo:predict',
    body: () => {
      const one = `[${new Array(3).fill(`[${new Array(224).fill(`[${new Array(224).fill(0.12345).join()}]`).join()}]`).join()}]`
      return `{"instances":[${one},${one}]}`
    },
  },
  {
    name: 'V2: eight pictures, 24 MB',
    server: 'pictures',
    path: '/v2/models/echo/infer',
    body: () =>
      `{"inputs":[{"name":"x","datatype":"FP32","shape":[8,3,224,224],"data":[${new Array(8).fill(picture()).join()}]}]}`,
  },
]

const PAGES: Case[] = [
  { path: '/', times: 100 },
  { path: '/docs', times: 100 },
  { path: '/openapi.json', times: 100 },
  { path: V2_PATH.replace('/infer', ''), times: 100 },
  { path: '/metrics', times: 1 },
].map(({ path, times }) => ({
  name: `${times} × GET ${path}, gzip`,
  server: 'iris',
  method: 'GET',
  path,
  headers: { accept: 'text/html', 'accept-encoding': 'gzip' },
  times,
}))

const ANSWERS: Case[] = [
  {
    name: 'response of 256 rows, gzip',
    server: 'iris',
    headers: { 'accept-encoding': 'gzip' },
    body: () => request(256),
  },
  {
    name: 'binary response to 64 MiB',
    server: 'iris',
    headers: { 'inference-header-content-length': '190' },
    body: () => {
      const rows = 4 * MIB - 16
      const size = { binary_data_size: 16 * rows }
      const input = { name: 'input', datatype: 'FP32', shape: [rows, 4], parameters: size }
      const json = { parameters: { binary_data_output: true }, inputs: [input] }
      return Buffer.concat([Buffer.from(JSON.stringify(json).padEnd(190)), Buffer.alloc(16 * rows)])
    },
  },
]

export const CASES: readonly Case[] = [
  ...V2_BODIES,
  ...INTEGERS,
  ...V1,
  ...PICTURES,
  ...BATCHES,
  ...INTEGER_EVENTS,
  ...EVENTS,
  ...INLINE,
  ...HEADERS,
  ...TARGETS,
  ...PAGES,
  ...ANSWERS,
]
