import { deflateSync, gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { toBytes, type WrittenTensor, writeExactly } from '../tensors.ts'
import {
  anyCharacter,
  bend,
  bends,
  items,
  members,
  oddText,
  text,
  type Written,
  write,
} from './written.ts'

export interface Described {
  readonly name: string
  readonly datatype: string
  readonly shape: readonly number[]
}

export interface Target {
  readonly name: string
  readonly version: string | undefined
  readonly inputs: readonly Described[]
  readonly outputs: readonly Described[]
  /** Whether the graph has no shapes. The metadata cannot express this. */
  readonly anyRank: boolean
  readonly identity: boolean
  readonly v1: boolean
}

export const KINDS = [
  'json',
  'binary',
  'mutated',
  'encoding',
  'path',
  'method',
  'header',
  'event',
  'framing',
  'pipelined',
  'hang-up',
  'V1',
  'event mutated',
  'event encoding',
  'event header',
  'event framing',
  'event pipelined',
  'event hang-up',
  'large',
  'message',
  'message framing',
  'frames',
] as const
export type Kind = (typeof KINDS)[number]

export interface Asked {
  readonly method: string
  readonly path: string
  /** The headers in the order in which they are sent; names may repeat. */
  readonly headers: readonly (readonly [name: string, value: string])[]
  readonly body: Buffer
  /** The sizes of the body's chunks; by default, the request has a Content-Length. */
  readonly chunks?: readonly number[] | undefined
  /** Whether the request is valid, so that only status 200 is correct. */
  readonly right?: boolean
  /** Whether status 413 is also correct: tensors and responses have limits, too. */
  readonly mayBeTooLarge?: boolean
}

export interface FuzzRequest {
  readonly kind: Kind
  readonly bytes: Buffer
  /** The offsets, modulo the length, at which writing pauses for a turn of the event loop. */
  readonly cuts: readonly number[]
  /**
   * keep: the connection stays open; end: the client half-closes it after the request; destroy: the
   * client closes it.
   */
  readonly ending: 'keep' | 'end' | 'destroy'
  /** The request in the bytes, if they contain exactly one. */
  readonly asked?: Asked
  readonly call?: Call
  /** The number of HTTP/2 requests that must get a response. */
  readonly streams?: number
}

export interface Call {
  readonly method: string
  readonly metadata: Readonly<Record<string, string>>
  /** The contents of a valid call, which its response must match. */
  readonly right?: { readonly id: string; readonly tensors: readonly WrittenTensor[] } | undefined
}

export const whole = (kind: Kind, asked: fc.Arbitrary<Asked>): fc.Arbitrary<FuzzRequest> =>
  fc
    .record({ asked, cuts: cuts() })
    .map(({ asked, cuts }) => ({ kind, bytes: toHttp(asked), cuts, ending: 'keep', asked }))

export function requests(target: Target): fc.Arbitrary<FuzzRequest> {
  const json = jsonRequest(target)
  const binary = binaryRequest(target)
  const event = eventRequest(target)
  const v1 = v1Request(target)
  const any = target.v1 ? fc.oneof(json, binary, event, v1) : fc.oneof(json, binary, event)
  const path = oddPath(target)
  return fc.oneof(
    ...(target.v1 ? [{ weight: 24, arbitrary: whole('V1', v1) }] : []),
    { weight: 24, arbitrary: whole('json', json) },
    { weight: 16, arbitrary: whole('binary', binary) },
    { weight: 14, arbitrary: whole('mutated', mutatedBody(any)) },
    { weight: 6, arbitrary: whole('encoding', encoded(any)) },
    { weight: 7, arbitrary: whole('path', path) },
    { weight: 4, arbitrary: whole('method', oddMethod(target)) },
    { weight: 7, arbitrary: whole('header', oddHeaders(fc.oneof(json, binary))) },
    { weight: 16, arbitrary: whole('event', event) },
    { weight: 10, arbitrary: brokenFraming('framing', any) },
    {
      weight: 2,
      arbitrary: pipelined(
        'pipelined',
        fc.oneof(
          json,
          binary,
          path.filter(({ method }) => method !== 'HEAD'),
        ),
      ),
    },
    { weight: 2, arbitrary: hangUp('hang-up', any) },
  )
}

export function events(target: Target): fc.Arbitrary<FuzzRequest> {
  const event = eventRequest(target)
  return fc.oneof(
    { weight: 60, arbitrary: whole('event', event) },
    { weight: 16, arbitrary: whole('event mutated', mutatedBody(event)) },
    { weight: 6, arbitrary: whole('event encoding', encoded(event)) },
    { weight: 7, arbitrary: whole('event header', oddHeaders(event)) },
    { weight: 6, arbitrary: brokenFraming('event framing', event) },
    { weight: 3, arbitrary: pipelined('event pipelined', event) },
    { weight: 2, arbitrary: hangUp('event hang-up', event) },
  )
}

/** Adds Content-Length if the request has a body or is a POST. */
export function toHttp({ method, path, headers, body, chunks }: Asked): Buffer {
  let head = `${method} ${path} HTTP/1.1\r\n`
  for (const [name, value] of headers) head += `${name}: ${value}\r\n`
  if (chunks === undefined) {
    if (body.byteLength > 0 || method === 'POST') head += `Content-Length: ${body.byteLength}\r\n`
    return Buffer.concat([Buffer.from(`${head}\r\n`, 'latin1'), body])
  }
  const parts: Buffer[] = [Buffer.from(`${head}Transfer-Encoding: chunked\r\n\r\n`, 'latin1')]
  let from = 0
  for (let i = 0; from < body.byteLength; i++) {
    const part = body.subarray(from, from + (chunks[i] ?? body.byteLength))
    parts.push(Buffer.from(`${part.byteLength.toString(16)}\r\n`), part, CRLF)
    from += part.byteLength
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')])
}

const CRLF = Buffer.from('\r\n')
const HOST = ['Host', 'function'] as const

export const cuts = () =>
  fc.oneof({ weight: 9, arbitrary: fc.constant([]) }, fc.array(fc.nat(20_000), { maxLength: 4 }))

export const post = (
  path: string,
  headers: Asked['headers'],
  body: Buffer,
  chunks?: readonly number[],
): Asked => ({
  method: 'POST',
  path,
  headers: [HOST, ...headers],
  body,
  chunks,
})

const inferPath = ({ name, version }: Target): fc.Arbitrary<string> => {
  const model = `/v2/models/${encodeURIComponent(name)}`
  return fc.constantFrom(
    `${model}/infer`,
    version === undefined ? `${model}/infer` : `${model}/versions/${version}/infer`,
    '/',
  )
}

const chunks = () =>
  fc.oneof(
    { weight: 9, arbitrary: fc.constant(undefined) },
    fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 6 }),
  )

export const JSON_TYPE = ['Content-Type', 'application/json'] as const
export const BINARY_TYPE = ['Content-Type', 'application/octet-stream'] as const

// Tensors

const ELEMENTS: Readonly<Record<string, fc.Arbitrary<number | bigint | string | boolean>>> = {
  FP32: fc.oneof(
    { weight: 3, arbitrary: fc.float({ noDefaultInfinity: true, noNaN: true }) },
    fc.constantFrom(0, 5.1, -0, 1e-45, 3.4028234e38),
    fc.constantFrom('NaN', 'Infinity', '-Infinity'),
  ),
  FP64: fc.double({ noDefaultInfinity: true, noNaN: true }),
  INT64: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  UINT64: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  INT32: fc.integer(),
  UINT32: fc.nat(),
  INT16: fc.integer({ min: -32768, max: 32767 }),
  UINT16: fc.nat(65535),
  INT8: fc.integer({ min: -128, max: 127 }),
  UINT8: fc.nat(255),
  BOOL: fc.boolean(),
  BYTES: fc
    .oneof(
      fc.string({
        unit: fc.constantFrom(
          'a',
          'Z',
          '0',
          ' ',
          '"',
          '\\',
          '/',
          'é',
          'e\u0301',
          '日',
          '🌸',
          '👩‍🔬',
          '\u200d',
          '\u202e',
        ),
        maxLength: 30,
      }),
      fc.string({ unit: anyCharacter, maxLength: 10 }),
    )
    .map(string => string.replaceAll('\0', '').toWellFormed()),
}

export function elementOf(datatype: string): fc.Arbitrary<number | bigint | string | boolean> {
  const element = ELEMENTS[datatype]
  if (element === undefined) throw new Error(`no elements for the datatype ${datatype}`)
  return element
}

const rows = () =>
  fc.oneof(
    { weight: 12, arbitrary: fc.integer({ min: 0, max: 4 }) },
    { weight: 1, arbitrary: fc.constantFrom(17, 300) },
  )

export function tensors({ inputs, anyRank }: Target): fc.Arbitrary<WrittenTensor[]> {
  return rows().chain(rows =>
    fc.tuple(
      ...inputs.map(({ name, datatype, shape }) => {
        const dimensions = anyRank
          ? fc.oneof(
              { weight: 9, arbitrary: fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 4 }) },
              fc.constantFrom(
                [0, 2 ** 20],
                [2 ** 10, 2 ** 10, 0],
                new Array(64).fill(1),
                [0, 0, 0],
                new Array(64).fill(0),
              ),
            )
          : fc.constant(shape.map(size => (size === -1 ? rows : size)))
        return dimensions.chain(shape => {
          const length = shape.reduce((product, size) => product * size, 1)
          // A long tensor repeats a few elements, because only its length matters.
          return fc
            .array(elementOf(datatype), {
              minLength: Math.min(length, 24),
              maxLength: Math.min(length, 24),
            })
            .map(few => ({
              name,
              datatype,
              shape,
              data: Array.from({ length }, (_, i) => few[i % few.length] as number),
            }))
        })
      }),
    ),
  )
}

function dataOf({ data = [], shape }: WrittenTensor, nested: boolean): Written {
  let level: Written[] = data.map(value => text(writeExactly(value)))
  if (!nested || shape.length < 2 || data.length === 0) return { items: level }
  for (const size of shape.slice(1).toReversed())
    level = Array.from({ length: level.length / size }, (_, i) =>
      items(...level.slice(i * size, (i + 1) * size)),
    )
  return { items: level }
}

/** @param binary the number of bytes of binary tensor data to send instead of `data` */
export function inputOf(tensor: WrittenTensor, nested: boolean, binary?: number): Written {
  return members(
    ['name', text(JSON.stringify(tensor.name))],
    ['shape', items(...tensor.shape.map(size => text(String(size))))],
    ['datatype', text(`"${tensor.datatype}"`)],
    binary === undefined
      ? ['data', dataOf(tensor, nested)]
      : ['parameters', members(['binary_data_size', text(String(binary))])],
  )
}

export const ids = fc.oneof(
  fc.constant(undefined),
  fc.constantFrom('req-001', '', '__proto__', 'é 🌸 "\\', 'a\r\nb: c', '\ud800', '\0'),
  fc.string({ unit: anyCharacter, maxLength: 30 }),
)

const parameters = () =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constant(undefined) },
    fc.constantFrom(
      '{}',
      '{"binary_data_output":true}',
      '{"binary_data_output":false}',
      '{"timeout":30000000}',
      '{"timeout":0,"sequence_id":7}',
      '{"x":"y","priority":-1}',
    ),
  )

/** FP16 outputs are binary, because JSON cannot express them. */
function outputsOf({ outputs }: Target): fc.Arbitrary<Written | undefined> {
  const asked = fc
    .shuffledSubarray([...outputs], { minLength: 1 })
    .chain(some =>
      fc.tuple(
        ...some.map(({ name, datatype }) =>
          fc
            .constantFrom(true, false, undefined)
            .map(binary => ({ name, binary: datatype === 'FP16' ? true : binary })),
        ),
      ),
    )
  const written = asked.map(some =>
    items(
      ...some.map(({ name, binary }) =>
        members(
          ['name', text(JSON.stringify(name))],
          binary === undefined
            ? undefined
            : ['parameters', members(['binary_data', text(String(binary))])],
        ),
      ),
    ),
  )
  const none: Written | undefined = outputs.some(({ datatype }) => datatype === 'FP16')
    ? items(members(['name', text('"y"')]))
    : undefined
  return fc.oneof(fc.constant(none), written)
}

export const requestOf = (
  id: string | undefined,
  inputs: readonly Written[],
  outputs: Written | undefined,
  parameters: string | undefined,
): Written =>
  members(
    id === undefined ? undefined : ['id', text(JSON.stringify(id))],
    parameters === undefined ? undefined : ['parameters', text(parameters)],
    ['inputs', items(...inputs)],
    outputs === undefined ? undefined : ['outputs', outputs],
  )

const jsonText = (target: Target): fc.Arbitrary<{ json: string; right: boolean }> =>
  fc
    .record({
      tensors: tensors(target),
      nested: fc.boolean(),
      id: ids,
      outputs: outputsOf(target),
      parameters: parameters(),
      bends,
      odd: oddDocument(),
    })
    .map(({ tensors, nested, id, outputs, parameters, bends, odd }) => {
      const inputs = tensors.map(tensor => inputOf(tensor, nested))
      return {
        json: odd(write(bend(requestOf(id, inputs, outputs, parameters), bends))),
        right: bends.length === 0 && odd === asItIs,
      }
    })

const asItIs = (json: string) => json

const oddDocument = (): fc.Arbitrary<(json: string) => string> =>
  fc.oneof(
    { weight: 30, arbitrary: fc.constant(asItIs) },
    oddText.map(odd => () => odd),
    fc.constantFrom<(json: string) => string>(
      json => `\ufeff${json}`,
      json => `${json}${json}`,
      json => `${json}\0`,
      json => ` \n\t\r${json}\n`,
      json => `[${json}]`,
      json => `)]}',\n${json}`,
      json => json.replaceAll('"', "'"),
      json => json.replaceAll(',', ' ,\n'),
      json => JSON.stringify(json),
      json => `${json.slice(0, -1)},"inputs":[]}`,
      json => json.replaceAll('a', '\\u0061'),
    ),
  )

const contentTypes = () =>
  fc.oneof(
    { weight: 12, arbitrary: fc.constant([JSON_TYPE]) },
    { weight: 2, arbitrary: fc.constant([]) },
    fc
      .oneof(
        fc.constantFrom(
          'application/json; charset=utf-8',
          'APPLICATION/JSON;charset="UTF-8"',
          'application/json; charset=latin1',
          'application/json;;',
          'application/json; charset',
          '',
        ),
        fc.constantFrom(
          'application/octet-stream',
          'application/x-www-form-urlencoded',
          'text/plain',
          'multipart/form-data; boundary=x',
          'application/vnd.x+json',
          '*/*',
          ';',
          '/',
        ),
        fc.constantFrom(
          `application/json;${' '.repeat(5_000)}x`,
          `${'; charset = '.repeat(700)}`,
          'application/json; charset=utf-8; charset=utf-16',
          'application/cloudevents',
          'application/cloudevents+xml',
        ),
        headerText,
      )
      .map(value => [['Content-Type', value] as const]),
  )

const headerText = fc.oneof(
  fc.string({
    unit: fc.integer({ min: 0x20, max: 0x7e }).map(code => String.fromCharCode(code)),
    maxLength: 60,
  }),
  fc.string({
    unit: fc
      .oneof(fc.integer({ min: 0x20, max: 0x7e }), fc.integer({ min: 0x80, max: 0xff }))
      .map(code => String.fromCharCode(code)),
    maxLength: 30,
  }),
)

const jsonRequest = (target: Target): fc.Arbitrary<Asked> =>
  fc
    .record({
      path: inferPath(target),
      json: jsonText(target),
      type: contentTypes(),
      chunks: chunks(),
    })
    .map(({ path, json: { json, right }, type, chunks }) => ({
      ...post(path, type, Buffer.from(json), chunks),
      right: right && (type[0] === JSON_TYPE || type.length === 0),
    }))

// KServe's V1

const v1Request = (target: Target): fc.Arbitrary<Asked> =>
  fc
    .record({
      tensors: tensors(target),
      byRows: fc.boolean(),
      named: fc.boolean(),
      bends,
      odd: oddDocument(),
      type: contentTypes(),
      chunks: chunks(),
    })
    .map(({ tensors, byRows, named, bends, odd, type, chunks }) => {
      const columns = tensors.map(tensor => [tensor.name, nestedValue(tensor)] as const)
      const together = (values: readonly (readonly [string, Written])[]) =>
        named || values.length !== 1 ? members(...values) : (values[0]?.[1] as Written)
      const rows = Math.min(...tensors.map(({ shape }) => shape[0] ?? 0))
      const rowOf = (row: number) =>
        together(
          columns.map(([name, value]) => [
            name,
            ('items' in value && value.items[row]) || text('null'),
          ]),
        )
      const request = byRows
        ? members(['instances', items(...Array.from({ length: rows }, (_, row) => rowOf(row)))])
        : members(['inputs', together(columns)])
      return {
        ...post(
          `/v1/models/${encodeURIComponent(target.name)}:predict`,
          type,
          Buffer.from(odd(write(bend(request, bends)))),
          chunks,
        ),
        right:
          bends.length === 0 &&
          odd === asItIs &&
          (type[0] === JSON_TYPE || type.length === 0) &&
          countsRows(target),
      }
    })

const nestedValue = (tensor: WrittenTensor): Written =>
  tensor.shape.length > 0 ? dataOf(tensor, true) : text(writeExactly(tensor.data?.[0] ?? 0))

/** V1 requests always work if rows are variable and JSON can express all datatypes. */
const countsRows = ({ inputs, outputs, anyRank }: Target) =>
  !anyRank &&
  [...inputs, ...outputs].every(({ shape, datatype }) => shape[0] === -1 && datatype !== 'FP16')

// Binary tensor data

/** The binary tensor data may contradict the JSON or the header. */
function binaryRequest(target: Target): fc.Arbitrary<Asked> {
  const lie = fc.oneof(
    { weight: 8, arbitrary: fc.constant(0) },
    fc.constantFrom(-1, 1, -4, 4, 8, 1_000, 2 ** 32, 2 ** 53, -1_000),
  )
  const length = fc.oneof(
    { weight: 9, arbitrary: fc.constant((exact: number) => String(exact)) },
    fc.oneof(
      fc.integer({ min: -9, max: 9 }).map(by => (exact: number) => String(exact + by)),
      fc
        .constantFrom(
          '0',
          '',
          'abc',
          '-1',
          '1e3',
          '0x10',
          ' 12 ',
          '12, 12',
          '99999999999999999999',
          '2147483648',
          '999999999999999',
          '007',
          '+5',
          '1.0',
          '\u00b2',
        )
        .map(value => () => value),
    ),
  )
  return fc
    .record({
      path: inferPath(target),
      tensors: tensors(target),
      asJson: fc.array(
        fc.integer({ min: 0, max: 5 }).map(one => one === 0),
        { minLength: target.inputs.length, maxLength: target.inputs.length },
      ),
      lies: fc.array(lie, { minLength: target.inputs.length, maxLength: target.inputs.length }),
      id: ids,
      outputs: outputsOf(target),
      parameters: parameters(),
      bends,
      length,
      tail: fc.oneof(
        { weight: 12, arbitrary: fc.constant(0) },
        fc.constantFrom(-1, -5, 1, 3, 4_000),
      ),
      raw: fc.integer({ min: 0, max: 9 }).map(one => one === 0),
      damage: fc.oneof({ weight: 3, arbitrary: fc.constant([]) }, damages()),
      type: fc.oneof({ weight: 6, arbitrary: fc.constant([BINARY_TYPE]) }, contentTypes()),
      chunks: chunks(),
    })
    .map(
      ({
        path,
        tensors,
        asJson,
        lies,
        id,
        outputs,
        parameters,
        bends,
        length,
        tail,
        raw,
        damage,
        type,
        chunks,
      }) => {
        const parts = tensors.map((tensor, i) => (asJson[i] ? undefined : toBytes(tensor)))
        const binary = damaged(Buffer.concat(parts.filter(part => part !== undefined)), damage)
        const whole =
          tail < 0 ? binary.subarray(0, tail) : Buffer.concat([binary, Buffer.alloc(tail, 1)])
        if (raw) return post(path, [...type, [LENGTH_HEADER, '0']], whole, chunks)
        const inputs = tensors.map((tensor, i) =>
          inputOf(
            tensor,
            false,
            parts[i] === undefined ? undefined : parts[i].byteLength + (lies[i] ?? 0),
          ),
        )
        const json = Buffer.from(write(bend(requestOf(id, inputs, outputs, parameters), bends)))
        const said = length(json.byteLength)
        const right =
          bends.length + damage.length === 0 &&
          tail === 0 &&
          lies.every(lie => lie === 0) &&
          said === String(json.byteLength) &&
          type[0] === BINARY_TYPE
        return {
          ...post(path, [...type, [LENGTH_HEADER, said]], Buffer.concat([json, whole]), chunks),
          right,
        }
      },
    )
}

export const LENGTH_HEADER = 'Inference-Header-Content-Length'

// Bytes

export interface Damage {
  readonly how: 'flip' | 'insert' | 'delete' | 'truncate' | 'twice' | 'set'
  readonly at: number
  readonly by: number
}

export const damages = (): fc.Arbitrary<Damage[]> =>
  fc.array(
    fc.record({
      how: fc.constantFrom<Damage['how']>('flip', 'insert', 'delete', 'truncate', 'twice', 'set'),
      at: fc.nat(100_000),
      by: fc.nat(255),
    }),
    { minLength: 1, maxLength: 4 },
  )

const TELLING = [
  0x00, 0xff, 0x22, 0x5c, 0x7b, 0x7d, 0x5b, 0x5d, 0x2c, 0x3a, 0x0a, 0x0d, 0x20, 0x2d, 0x30, 0x39,
  0x65, 0xc0, 0xed, 0x80, 0xef, 0x25,
]

export function damaged(bytes: Buffer, damages: readonly Damage[]): Buffer {
  let all = Buffer.from(bytes)
  for (const { how, at, by } of damages) {
    const place = at % (all.byteLength + 1)
    const [before, after] = [all.subarray(0, place), all.subarray(place)]
    const telling = TELLING[by % TELLING.length] as number
    if (how === 'flip' && place < all.byteLength)
      all[place] = (all[place] as number) ^ (1 << (by % 8))
    else if (how === 'set' && place < all.byteLength) all[place] = telling
    else if (how === 'insert')
      all = Buffer.concat([before, Buffer.alloc((by % 3) + 1, telling), after])
    else if (how === 'delete') all = Buffer.concat([before, after.subarray((by % 9) + 1)])
    else if (how === 'truncate' && by < 128) all = Buffer.from(before)
    else if (how === 'twice') all = Buffer.concat([before, after.subarray(0, by), after])
  }
  return all
}

const mutatedBody = (asked: fc.Arbitrary<Asked>): fc.Arbitrary<Asked> =>
  fc
    .record({ asked, damages: damages() })
    .map(({ asked, damages }) => ({ ...asked, body: damaged(asked.body, damages), right: false }))

function encoded(asked: fc.Arbitrary<Asked>): fc.Arbitrary<Asked> {
  const bomb = gzipSync(Buffer.alloc(16 * 2 ** 20, ' '))
  const how: fc.Arbitrary<(body: Buffer) => [encoding: string, body: Buffer]> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.constantFrom<(body: Buffer) => [string, Buffer]>(
        body => ['gzip', gzipSync(body)],
        body => ['deflate', deflateSync(body)],
        body => ['X-GZIP ', gzipSync(body)],
      ),
    },
    {
      weight: 6,
      arbitrary: fc.constantFrom<(body: Buffer) => [string, Buffer]>(
        body => ['gzip', body],
        body => ['deflate', gzipSync(body)],
        body => ['gzip', gzipSync(body).subarray(0, -5)],
        body => ['gzip', Buffer.concat([gzipSync(body), Buffer.from('rest')])],
        body => [
          'gzip',
          Buffer.concat([gzipSync(body.subarray(0, 9)), gzipSync(body.subarray(9))]),
        ],
        body => ['gzip', gzipSync(gzipSync(body))],
        body => ['gzip, gzip', gzipSync(gzipSync(body))],
        body => ['identity', body],
        body => ['', body],
        () => ['gzip', Buffer.alloc(0)],
        () => ['gzip', bomb],
        ...[
          'br',
          'zstd',
          'compress',
          'identity, gzip',
          '*',
          'gzip;q=1',
          '__proto__',
          'constructor',
        ].map(name => (body: Buffer): [string, Buffer] => [name, body]),
      ),
    },
    {
      weight: 3,
      arbitrary: damages().map(damages => (body: Buffer): [string, Buffer] => [
        'gzip',
        damaged(gzipSync(body), damages),
      ]),
    },
  )
  return fc.record({ asked, how }).map(({ asked, how }) => {
    const [encoding, body] = how(asked.body)
    return {
      ...asked,
      headers: [...asked.headers, ['Content-Encoding', encoding] as const],
      body,
      right: false,
    }
  })
}

// Paths, methods, headers

function oddPath(target: Target): fc.Arbitrary<Asked> {
  const model = `/v2/models/${encodeURIComponent(target.name)}`
  const version = `${model}/versions/${target.version ?? '1'}`
  const good = [
    '/',
    '/v2',
    '/v2/',
    '/v2/health/live',
    '/v2/health/ready',
    '/health',
    '/ready',
    '/health/liveness',
    '/health/readiness',
    '/metrics',
    '/openapi.json',
    '/docs',
    '/v1/models',
    model.replace('v2', 'v1'),
    `${model.replace('v2', 'v1')}:predict`,
    model,
    version,
    `${model}/ready`,
    `${version}/ready`,
    `${model}/infer`,
    `${version}/infer`,
  ]
  const odd = [
    ...[
      '//',
      '/.',
      '/..',
      '/../',
      '/../../etc/passwd',
      '/%2e%2e/%2e%2e/etc/passwd',
      '/v2//',
      '/v2/models',
      '/v2/models/',
      '/v2/models//',
      '/v2/models//infer',
      '/v2/models/%',
      '/v2/models/%2/infer',
      '/v2/models/%zz',
      '/v2/models/%E0%A4%A/infer',
      '/v2/models/%ff',
      '/v2/models/%00/infer',
    ],
    ...[
      '/v2/models/__proto__',
      '/v2/models/constructor/infer',
      '/__proto__',
      '/constructor',
      '/toString',
      '/v2/models/%5f%5fproto%5f%5f',
      '/V2',
      '/v2/MODELS',
      '/v2/health',
      '/v2/health/',
      '/v2/health/live/',
      '/metrics/',
      '/docs/',
      '/docs/x',
      '/docs/..%2f..%2fpackage.json',
      '/docs/%',
      '/openapi.json/',
      '/favicon.ico',
      '/robots.txt',
    ],
    ...[
      '?',
      '/?',
      '/?a=b',
      '/v2?x=%',
      '/docs?x',
      '/#x',
      '*',
      'http://function/v2',
      'http://function',
      'https://other:99999/v2',
      'http://[::1',
      'http://function/%',
      'http:///v2',
      'HTTP://FUNCTION/v2?x',
      'mailto:a@b',
      '/v2/models/a b',
      '/v2/\u00e9',
      '/\u00ff\u00fe',
      '/;',
      '/v2;x=1',
      '/|',
      '/\\',
      '/"<script>',
      "/'",
    ],
    ...[
      `${model}/versions`,
      `${model}/versions/`,
      `${model}/versions/99`,
      `${model}/versions/%`,
      `${version}/`,
      `${version}/x`,
      `${model}/infer/`,
      `${model}/infer//`,
      `${model}/infer/x`,
      `${model}%2Finfer`,
      `${model}/%69nfer`,
      `${model}/versions/${'9'.repeat(5_000)}`,
      `${model}/../infer`,
    ],
    ...[
      '/v1',
      '/v1/models/',
      '/v1/models/:predict',
      '/v1/models/__proto__:predict',
      '/v1/models/%:predict',
      `${model.replace('v2', 'v1')}%3Apredict`,
      `${model.replace('v2', 'v1')}:predict:predict`,
      `${model.replace('v2', 'v1')}:explain`,
      `${model}:predict`,
    ],
    `/${'a'.repeat(8_000)}`,
    `/v2/models/${'%61'.repeat(3_000)}/infer`,
    `/${'a'.repeat(20_000)}`,
    `/v2/models/${'/'.repeat(9_000)}infer`,
    `/?${'a=b&'.repeat(2_000)}`,
  ]
  const path = fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...good) },
    { weight: 5, arbitrary: fc.constantFrom(...odd) },
    fc.webPath(),
    fc.record({ path: fc.constantFrom(...good, ...odd), damages: damages() }).map(
      ({ path, damages }) =>
        `/${damaged(Buffer.from(path, 'latin1'), damages)
          .toString('latin1')
          // Control characters would break the framing, which brokenFraming tests.
          .replaceAll(/[\p{Cc} ]/gu, '_')}`,
    ),
    fc
      .string({ unit: anyCharacter, maxLength: 30 })
      .map(path => `/v2/models/${encodeURIComponent(path.toWellFormed())}/infer`),
  )
  const accept = fc.constantFrom(
    [],
    [['Accept', 'text/html'] as const],
    [['Accept', '*/*'] as const],
    [
      ['Accept', 'text/html,application/xhtml+xml;q=0.9'] as const,
      ['Accept-Encoding', 'gzip, deflate, br'] as const,
    ],
  )
  return fc
    .record({ path, accept, method: fc.constantFrom('GET', 'GET', 'GET', 'POST', 'HEAD') })
    .map(({ path, accept, method }) => ({
      method,
      path,
      headers: [HOST, ...accept],
      body: Buffer.alloc(0),
    }))
}

const METHODS = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'PATCH',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'SEARCH',
  'QUERY',
  'M-SEARCH',
  'PURGE',
  'SUBSCRIBE',
  'get',
  'Post',
  'FOO',
  'GETT',
  'POSTPOST',
]

function oddMethod(target: Target): fc.Arbitrary<Asked> {
  const model = `/v2/models/${encodeURIComponent(target.name)}`
  return fc
    .record({
      method: fc.constantFrom(...METHODS),
      path: fc.constantFrom(
        '/',
        '*',
        '/v2',
        model,
        `${model}/infer`,
        `${model}/ready`,
        '/metrics',
        '/docs',
        '/openapi.json',
        '/nothing',
        '/v2/models/other/infer',
      ),
      json: fc.oneof(
        fc.constant(''),
        jsonText(target).map(({ json }) => json),
      ),
    })
    .map(({ method, path, json }) => ({
      method,
      path,
      headers: [HOST, ...(json === '' ? [] : [JSON_TYPE])],
      body: Buffer.from(json),
    }))
}

function oddHeaders(asked: fc.Arbitrary<Asked>): fc.Arbitrary<Asked> {
  const header = fc.oneof(
    fc.constantFrom<readonly [string, string]>(
      ...(['100-continue', '100-Continue', '200-ok', ''] as const).map(
        value => ['Expect', value] as const,
      ),
      ...(
        [
          'gzip',
          'deflate',
          'gzip;q=0',
          'gzip;q=abc, deflate;q=1',
          '*',
          '*;q=0',
          'br',
          'identity',
          ',,;;q=,',
          'x-gzip',
        ] as const
      ).map(value => ['Accept-Encoding', value] as const),
      ...(
        [
          'close',
          'keep-alive',
          'Upgrade',
          'keep-alive, Upgrade',
          'content-length',
          'TE, trailers',
          '',
        ] as const
      ).map(value => ['Connection', value] as const),
      ...(['websocket', 'h2c', 'TLS/1.0', 'nonsense'] as const).map(
        value => ['Upgrade', value] as const,
      ),
      ...(['', 'a\u00e9\u00ff', 'x'.repeat(4_000), '\t', '"', '\u0080'] as const).map(
        value => ['X-Request-Id', value] as const,
      ),
      ...(['', 'evil', 'a:b:c', '[::1', 'x'.repeat(1_000)] as const).map(
        value => ['Host', value] as const,
      ),
      ['HTTP2-Settings', 'AAMAAABkAAQAAP__'],
      ['Traceparent', '00-zz'],
      ['Traceparent', '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'],
      ['Cookie', 'a=b; __proto__=1'],
      ['Range', 'bytes=0-1'],
      ['If-None-Match', '*'],
      ['Origin', 'null'],
      ['Authorization', 'Basic %%%'],
      ['X-HTTP-Method-Override', 'DELETE'],
      ['Forwarded', 'for="_x'],
      ['__proto__', 'x'],
      ['constructor', 'x'],
      ['Content-Length2', '5'],
      ['Trailer', 'X-Y'],
      ['TE', 'trailers'],
      ['Content-Type', 'text/plain'],
      [LENGTH_HEADER, '5'],
      ['Ce-Id', ''],
      ['Ce-Bogus', 'x'],
      ['X-Long', 'y'.repeat(12_000)],
      ['X-Longer', 'y'.repeat(17_000)],
    ),
    fc.tuple(
      fc.constantFrom(
        'X-Request-Id',
        'Accept-Encoding',
        'Accept',
        'Traceparent',
        'User-Agent',
        'Content-Language',
      ),
      headerText,
    ),
    fc.tuple(
      fc
        .string({
          unit: fc.constantFrom(..."abcXYZ019!#$%&'*+-.^_`|~"),
          minLength: 1,
          maxLength: 12,
        })
        .map(name => `X${name}`),
      headerText,
    ),
  )
  return fc
    .record({
      asked,
      more: fc.array(header, { minLength: 1, maxLength: 4 }),
      many: fc.oneof({ weight: 20, arbitrary: fc.constant(0) }, fc.constantFrom(50, 500, 1_500)),
    })
    .map(({ asked, more, many }) => ({
      ...asked,
      headers: [
        ...asked.headers,
        ...more,
        ...Array.from({ length: many }, (_, i) => [`X-${i}`, ''] as const),
      ],
      right: false,
    }))
}

// Events

const ODD_ATTRIBUTES: Readonly<Record<string, readonly string[]>> = {
  specversion: ['1.0', '0.3', '1', '', '1.0 ', '2.0'],
  id: [
    '1',
    'é',
    '%',
    '%zz',
    '%00',
    '%E2%82%AC',
    '%ED%A0%80',
    '%FF',
    '"quoted"',
    '"a\\"b"',
    '"',
    ' ',
    'a b',
    `${'x'.repeat(3_000)}`,
    '__proto__',
    '%0D%0AX: y',
  ],
  source: [
    '/fuzz',
    '',
    'urn:x',
    '/onnx-function/iris-classifier',
    'a b',
    '%20',
    'http://[',
    '//',
    '#',
    '?',
  ],
  type: [
    'fuzz.request',
    '.request',
    'request',
    'fuzz.response',
    'org.kubeflow.serving.inference.request',
    '',
    'x'.repeat(2_000),
  ],
  subject: ['', 'x', '%00', '%20'],
  time: [
    '2024-01-01T00:00:00Z',
    '2024-01-01',
    '2024-13-41T99:99:99Z',
    '',
    '0000-00-00T00:00:00Z',
    '2024-01-01t00:00:00.123456789+23:59',
  ],
  dataschema: ['http://x/y', 'x', '', 'urn:'],
  datacontenttype: [
    'application/json',
    'text/plain',
    'application/octet-stream',
    'application/vnd.x+json',
    'json',
    '',
    'application/json; charset=latin1',
  ],
  correlationid: ['c', '%F0%9F%8C%B8', ''],
  traceparent: ['00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', ''],
  tracestate: ['a=b', ''],
  Upper: ['x'],
  'with-dash': ['x'],
  with_underscore: ['x'],
  data: ['x'],
  specversion2: ['x'],
  x: ['1', 'true', ''],
}

interface Attribute {
  readonly name: string
  readonly value: string
}

const REQUIRED: readonly Attribute[] = [
  { name: 'specversion', value: '1.0' },
  { name: 'id', value: 'e-1' },
  { name: 'source', value: '/fuzz' },
  { name: 'type', value: 'fuzz.request' },
]

const attributes = (): fc.Arbitrary<Attribute[]> => {
  const odd = fc.constantFrom(...Object.keys(ODD_ATTRIBUTES)).chain(name =>
    fc.record({
      name: fc.constant(name),
      value: fc.oneof(fc.constantFrom(...(ODD_ATTRIBUTES[name] ?? [''])), headerText),
    }),
  )
  return fc
    .record({
      without: fc.oneof({ weight: 8, arbitrary: fc.constant(-1) }, fc.nat(3)),
      odd: fc.oneof(
        { weight: 2, arbitrary: fc.constant<Attribute[]>([]) },
        fc.array(odd, { maxLength: 3 }),
      ),
    })
    .map(({ without, odd }) => {
      const kept = REQUIRED.filter(
        ({ name }, i) => i !== without && !odd.some(other => other.name === name),
      )
      return [
        ...kept,
        ...odd.filter(({ name }, i) => odd.findIndex(other => other.name === name) === i),
      ]
    })
}

const eventRequest = (target: Target): fc.Arbitrary<Asked> =>
  fc.oneof(
    { weight: 4, arbitrary: binaryEvent(target) },
    { weight: 4, arbitrary: structuredEvent(target) },
    { weight: 3, arbitrary: batchedEvents(target) },
    strangeEvent(target),
  )

const binaryEvent = (target: Target): fc.Arbitrary<Asked> =>
  fc
    .record({
      attributes: attributes(),
      asked: fc.oneof({ weight: 5, arbitrary: jsonRequest(target) }, binaryRequest(target)),
    })
    .map(({ attributes, asked }) => ({
      ...asked,
      path: '/',
      headers: [
        ...asked.headers,
        ...attributes.map(({ name, value }) => [`ce-${name}`, value] as const),
      ],
      right:
        asked.right === true &&
        attributes.length === 4 &&
        attributes.every((attribute, i) => attribute === REQUIRED[i]),
    }))

const eventJson = (target: Target): fc.Arbitrary<Written> =>
  fc
    .record({
      attributes: attributes(),
      // JSON can express every character, so percent-encoding has no meaning in it.
      decoded: fc.boolean(),
      data: fc.oneof(
        { weight: 8, arbitrary: jsonText(target).map(({ json }) => ['data', text(json)] as const) },
        jsonText(target).map(
          ({ json }) =>
            ['data_base64', text(JSON.stringify(Buffer.from(json).toString('base64')))] as const,
        ),
        oddText.map(odd => ['data', text(odd)] as const),
        oddText.map(odd => ['data_base64', text(odd)] as const),
        fc.constant(undefined),
      ),
      bends: fc.oneof({ weight: 2, arbitrary: fc.constant([]) }, bends),
    })
    .map(({ attributes, decoded, data, bends }) =>
      bend(
        members(
          ...attributes.map(
            ({ name, value }) =>
              [name, text(JSON.stringify(decoded ? unescaped(value) : value))] as const,
          ),
          data,
        ),
        bends,
      ),
    )

function unescaped(value: string): string {
  try {
    return decodeURIComponent(value)
  } catch {
    return value
  }
}

const eventType = (right: string) =>
  fc.oneof(
    {
      weight: 10,
      arbitrary: fc.constantFrom(right, `${right}; charset=utf-8`, right.toUpperCase()),
    },
    fc.constantFrom(
      `${right}; charset=latin1`,
      'application/cloudevents',
      'application/cloudevents+xml',
      'application/cloudevents-batch',
      'application/cloudeventsjson',
      `${right};`,
      `${right}x`,
    ),
  )

const structuredEvent = (target: Target): fc.Arbitrary<Asked> =>
  fc
    .record({
      event: eventJson(target),
      type: eventType('application/cloudevents+json'),
      odd: oddDocument(),
      chunks: chunks(),
    })
    .map(({ event, type, odd, chunks }) =>
      post('/', [['Content-Type', type]], Buffer.from(odd(write(event))), chunks),
    )

const batchedEvents = (target: Target): fc.Arbitrary<Asked> =>
  fc
    .record({
      events: fc.array(eventJson(target), { maxLength: 5 }),
      type: eventType('application/cloudevents-batch+json'),
      odd: oddDocument(),
    })
    .map(({ events, type, odd }) =>
      post('/', [['Content-Type', type]], Buffer.from(odd(write(items(...events))))),
    )

const strangeEvent = (target: Target): fc.Arbitrary<Asked> =>
  fc
    .record({
      event: eventJson(target),
      attributes: attributes(),
      path: fc.oneof(inferPath(target), fc.constantFrom('/v2', '/events', '/?x=1')),
    })
    .map(({ event, attributes, path }) =>
      post(
        path,
        [
          ['Content-Type', 'application/cloudevents+json'],
          ...attributes.map(({ name, value }) => [`ce-${name}`, value] as const),
        ],
        Buffer.from(write(event)),
      ),
    )

// Incomplete or invalid HTTP requests

const BROKEN = [
  ...[
    '\r\n',
    '\r\n\r\n\r\n',
    '\n\n',
    'GET',
    'GET /',
    'GET /\r\n',
    'GET / HTTP/1.1',
    'GET / HTTP/1.1\r\n',
    'GET / HTTP/1.1\n\n',
    'GET / HTTP/1.0\r\n\r\n',
    'GET / HTTP/0.9\r\n\r\n',
    'GET / HTTP/2.0\r\n\r\n',
    'GET / HTTP/9.9\r\n\r\n',
    'GET / HTTP/1.\r\n\r\n',
    'GET / http/1.1\r\n\r\n',
  ],
  ...[
    'GET  / HTTP/1.1\r\n\r\n',
    ' GET / HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET\t/\tHTTP/1.1\r\n\r\n',
    'G\0T / HTTP/1.1\r\n\r\n',
    'GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET /\u00e9 HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET / x HTTP/1.1\r\nHost: x\r\n\r\n',
    'GET v2 HTTP/1.1\r\nHost: x\r\n\r\n',
    '/ GET HTTP/1.1\r\n\r\n',
    'HTTP/1.1 200 OK\r\n\r\n',
    'CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n',
    'CONNECT / HTTP/1.1\r\n\r\n',
    'GET / HTTP/1.1\r\n\r\n',
  ],
  ...[
    // The line break prevents the connection from beginning with the preface of HTTP/2.
    '\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0',
    '\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03',
    'SSH-2.0-OpenSSH_9.6\r\n',
    'PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n',
    '\0'.repeat(100),
    '\xff'.repeat(100),
    'A'.repeat(70_000),
    '{"inputs":[]}',
  ],
]

const HEAD = 'POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
const BROKEN_BODIES = [
  ...[
    '-1',
    '+5',
    '5, 5',
    '5,6',
    '0x5',
    '',
    ' ',
    '5 5',
    '1e1',
    '5.0',
    '99999999999999999999999',
    '18446744073709551615',
    '9007199254740993',
    '2147483648',
    '\u00b2',
    'a',
  ].map(length => `${HEAD}Content-Length: ${length}\r\n\r\n{"a":1}`),
  ...[
    'Content-Length: 5\r\nContent-Length: 6',
    'Content-Length: 7\r\nContent-Length: 7',
    'Content-Length: 7\r\nTransfer-Encoding: chunked',
    'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity',
    'Transfer-Encoding: gzip',
    'Transfer-Encoding: chunked, gzip',
    'Transfer-Encoding: xchunked',
    'Transfer-Encoding : chunked',
    'Transfer-Encoding:\tchunked',
  ].map(headers => `${HEAD}${headers}\r\n\r\n{"a":1}`),
  ...[
    'zz\r\n',
    '-1\r\n',
    'fffffffffffffffff\r\n',
    '7fffffffffffffff\r\n{}',
    '5\r\n{"a":1}\r\n0\r\n\r\n',
    '9\r\n{"a":1}\r\n0\r\n\r\n',
    '7\r\n{"a":1}',
    '7\r\n{"a":1}\r\n',
    '7\r\n{"a":1}\r\n0\r\n',
    '7 \r\n{"a":1}\r\n0\r\n\r\n',
    '7;a=b\r\n{"a":1}\r\n0\r\n\r\n',
    `7;${'x'.repeat(20_000)}\r\n{"a":1}\r\n0\r\n\r\n`,
    '7\n{"a":1}\n0\n\n',
    '0x7\r\n{"a":1}\r\n0\r\n\r\n',
    '07\r\n{"a":1}\r\n00\r\n\r\n',
    '7\r\n{"a":1}\r\n0\r\nTrailer: x\r\n\r\n',
    `7\r\n{"a":1}\r\n0\r\nTrailer: ${'x'.repeat(20_000)}\r\n\r\n`,
    '7\r\n{"a":1}\r\n0\r\nno trailer\r\n\r\n',
    '\r\n\r\n',
    `${'1\r\n{\r\n'.repeat(3_000)}0\r\n\r\n`,
  ].map(chunks => `${HEAD}Transfer-Encoding: chunked\r\n\r\n${chunks}`),
  ...[
    'no colon',
    ': no name',
    'space : x',
    ' folded: x',
    'X: a\r\n folded',
    'X: a\0b',
    'X: a\nY: b',
    'X: a\rb',
    'X\u00e9: y',
    'X\0: y',
    'Host: y',
    `X: ${'y'.repeat(20_000)}`,
    `${'x'.repeat(20_000)}: y`,
    Array.from({ length: 3_000 }, (_, i) => `X${i}: y`).join('\r\n'),
    'Expect: 100-continue',
    'Content-Encoding: gzip',
  ].map(header => `${HEAD}${header}\r\nContent-Length: 7\r\n\r\n{"a":1}`),
  `${HEAD}Expect: 100-continue\r\nContent-Length: 99999999999\r\n\r\n`,
  `${HEAD}Transfer-Encoding: chunked\r\n\r\n${`40000\r\n${' '.repeat(0x40000)}\r\n`.repeat(10)}0\r\n\r\n`,
  `${HEAD}Content-Length: 3000000\r\n\r\n${'x'.repeat(100_000)}`,
]

function brokenFraming(kind: Kind, good: fc.Arbitrary<Asked>): fc.Arbitrary<FuzzRequest> {
  const bytes = fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom(...BROKEN).map(head => Buffer.from(head, 'latin1')) },
    {
      weight: 4,
      arbitrary: fc.constantFrom(...BROKEN_BODIES).map(head => Buffer.from(head, 'latin1')),
    },
    fc.uint8Array({ maxLength: 300 }).map(bytes => Buffer.from(bytes)),
    {
      weight: 3,
      arbitrary: fc
        .record({ asked: good, damages: damages() })
        .map(({ asked, damages }) => damaged(toHttp(asked), damages)),
    },
    // The declared length is smaller or larger than the body.
    {
      weight: 3,
      arbitrary: fc
        .record({ asked: good, by: fc.integer({ min: -40, max: 40 }) })
        .map(({ asked, by }) => withLength(asked, asked.body.byteLength + by)),
    },
    fc.record({ asked: good, at: fc.nat(100_000) }).map(({ asked, at }) => {
      const bytes = toHttp(asked)
      return bytes.subarray(0, at % bytes.byteLength)
    }),
  )
  return fc
    .record({ bytes, cuts: cuts() })
    .map(({ bytes, cuts }) => ({ kind, bytes, cuts, ending: 'end' }))
}

const withLength = ({ method, path, headers, body }: Asked, length: number): Buffer =>
  Buffer.concat([
    Buffer.from(
      `${method} ${path} HTTP/1.1\r\n${[...headers, ['Content-Length', String(length)]].map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`,
      'latin1',
    ),
    body,
  ])

const pipelined = (kind: Kind, asked: fc.Arbitrary<Asked>): fc.Arbitrary<FuzzRequest> =>
  fc
    .record({
      asked: fc.array(asked, { minLength: 2, maxLength: 5 }),
      last: fc.oneof(fc.constant(''), fc.constantFrom(...BROKEN, ...BROKEN_BODIES)),
      cuts: cuts(),
    })
    .map(({ asked, last, cuts }) => ({
      kind,
      bytes: Buffer.concat([...asked.map(toHttp), Buffer.from(last, 'latin1')]),
      cuts,
      ending: 'end',
    }))

/** All or part of a request, from a client that then closes the connection. */
const hangUp = (kind: Kind, asked: fc.Arbitrary<Asked>): fc.Arbitrary<FuzzRequest> =>
  fc
    .record({ asked, part: fc.integer({ min: 1, max: 100 }), cuts: cuts() })
    .map(({ asked, part, cuts }) => {
      const bytes = toHttp(asked)
      return {
        kind,
        bytes: bytes.subarray(0, Math.ceil((bytes.byteLength * part) / 100)),
        cuts,
        ending: 'destroy',
      }
    })
