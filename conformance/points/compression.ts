import assert from 'node:assert/strict'
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { assertRefused, assertSame, assertStatus, infer, readResponse, show } from '../answer.ts'
import { all, binary, inJson, limited } from '../applies.ts'
import { toJson } from '../json.ts'
import { refusals } from '../mistakes.ts'
import type { Point, Target } from '../point.ts'
import { binaryBody, binaryRequest, exampleRequest, inferPath, post } from '../request.ts'
import { rfc, silent } from '../sources.ts'

const ENCODED = rfc(9110, '8.4')

const text = (target: Target) => toJson(exampleRequest(target))

const encoded = (target: Target, encoding: string, body: Uint8Array, chunkBytes?: number) =>
  target.send({
    path: inferPath(target),
    headers: { 'content-type': 'application/json', 'content-encoding': encoding },
    body,
    ...(chunkBytes !== undefined && { chunkBytes }),
  })

const REQUESTS: readonly {
  readonly encoding: string
  readonly encode: (body: Uint8Array) => Uint8Array
  readonly chunkBytes?: number
}[] = [
  { encoding: 'gzip', encode: gzipSync },
  { encoding: 'deflate', encode: deflateSync },
  { encoding: 'identity', encode: body => body },
  { encoding: 'GZIP', encode: gzipSync },
  { encoding: 'x-gzip', encode: gzipSync },
  { encoding: 'gzip', encode: gzipSync, chunkBytes: 1 },
]

/** Makes the response of any model long enough to be worth compressing. */
const LONG_ID = 'x'.repeat(100_000)

const longAnswer = (target: Target, acceptEncoding: string | undefined) =>
  post(
    target,
    { id: LONG_ID, ...exampleRequest(target) },
    acceptEncoding === undefined ? {} : { 'accept-encoding': acceptEncoding },
  )

const ANSWERS: readonly {
  readonly accepts: string | undefined
  readonly codings: readonly (string | undefined)[]
}[] = [
  { accepts: 'gzip', codings: ['gzip'] },
  { accepts: 'deflate', codings: ['deflate'] },
  { accepts: 'gzip, deflate, br', codings: ['gzip', 'deflate', 'br'] },
  { accepts: 'br;q=1.0, gzip;q=0.5, deflate;q=0.8', codings: ['br', 'deflate'] },
  { accepts: 'GZIP', codings: ['gzip'] },
  { accepts: '*', codings: ['gzip', 'deflate', 'br', 'zstd'] },
  { accepts: 'gzip;q=0', codings: [undefined] },
  { accepts: 'gzip;q=0, *;q=0', codings: [undefined] },
  { accepts: 'identity', codings: [undefined] },
  { accepts: 'br, zstd', codings: [undefined, 'br', 'zstd'] },
  { accepts: '', codings: [undefined] },
  { accepts: undefined, codings: [undefined] },
]

const sayCodings = (codings: readonly (string | undefined)[]) =>
  [
    ...codings.filter(coding => coding !== undefined),
    ...(codings.includes(undefined) ? ['not compressed'] : []),
  ].join(' or ')

const limitOf = ({ limits }: Target) => (limits as NonNullable<typeof limits>).maxBodyBytes

const padded = (target: Target, bytes: number) => text(target).padEnd(bytes, ' ')

const CODINGS = ['br', 'zstd', 'compress', 'nonsense', 'gzip, gzip']

const SPOILT: readonly [mistake: string, encoding: string, body: (target: Target) => Uint8Array][] =
  [
    ['invalid gzip', 'gzip', target => Buffer.from(text(target))],
    ['truncated gzip', 'gzip', target => gzipSync(text(target)).subarray(0, -9)],
    [
      'gzip with a wrong checksum',
      'gzip',
      target =>
        gzipSync(text(target)).map((byte, i, { length }) => (i === length - 6 ? ~byte : byte)),
    ],
    [
      'gzip with a corrupt byte in the middle',
      'gzip',
      target =>
        gzipSync(text(target)).map((byte, i, { length }) => (i === length >> 1 ? ~byte : byte)),
    ],
    [
      'gzip followed by other bytes',
      'gzip',
      target => Buffer.concat([gzipSync(text(target)), Buffer.from('more')]),
    ],
    ['an empty gzip body', 'gzip', () => Buffer.alloc(0)],
    ['the gzip of an empty body', 'gzip', () => gzipSync('')],
    ['gzip data declared as deflate', 'deflate', target => gzipSync(text(target))],
    ['deflate data declared as gzip', 'gzip', target => deflateSync(text(target))],
    ['a body compressed twice with gzip', 'gzip', target => gzipSync(gzipSync(text(target)))],
  ]

export const points: readonly Point[] = [
  ...REQUESTS.map(
    ({ encoding, encode, chunkBytes }): Point => ({
      name: `a request with Content-Encoding ${encoding} is read${chunkBytes ? ', even one byte at a time' : ''}`,
      source: ENCODED,
      level: 'stricter',
      expected: '200 with the example’s outputs',
      notApplicable: inJson,
      check: async target => {
        const reply = await encoded(target, encoding, encode(Buffer.from(text(target))), chunkBytes)
        assertSame(target, readResponse(reply), await infer(target))
      },
    }),
  ),
  ...refusals(
    'unsupported or mismatched content codings',
    CODINGS.map(encoding => ({
      mistake: `Content-Encoding ${encoding} on an uncompressed body`,
      source: ENCODED,
      level: 'stricter',
      notApplicable: inJson,
      send: target => encoded(target, encoding, Buffer.from(text(target))),
    })),
    [415, 400],
  ),
  {
    name: 'an unsupported content coding gets 415 and an Accept-Encoding header',
    source: rfc(9110, '15.5.16'),
    level: 'stricter',
    expected: '415 with Accept-Encoding',
    notApplicable: inJson,
    check: async target => {
      const reply = await encoded(target, 'nonsense', Buffer.from(text(target)))
      assertStatus(reply, 415)
      assert.notEqual(
        reply.headers['accept-encoding'],
        undefined,
        'the response has no Accept-Encoding header',
      )
    },
  },
  ...refusals(
    'invalid compressed bodies',
    SPOILT.map(([mistake, encoding, body]) => ({
      mistake,
      source: ENCODED,
      level: 'stricter',
      notApplicable: inJson,
      send: target => encoded(target, encoding, body(target)),
    })),
    [400, 415],
  ),
  {
    name: 'deflate without the zlib wrapper is read or rejected, without a server error',
    source: `${rfc(9110, '8.4.1.2')} (some clients send raw deflate)`,
    level: 'stricter',
    expected: '200, 400 or 415',
    notApplicable: inJson,
    check: async target => {
      const reply = await encoded(target, 'deflate', deflateRawSync(text(target)))
      assert.ok([200, 400, 415].includes(reply.status), show(reply))
    },
  },
  {
    name: 'a binary request may use gzip: Inference-Header-Content-Length is the length of the JSON before compression',
    source: silent('the body is decompressed before it is read'),
    level: 'stricter',
    expected: '200 with the example’s outputs',
    notApplicable: all(binary, inJson),
    check: async target => {
      const { headers, body } = binaryBody(binaryRequest(exampleRequest(target).inputs))
      const reply = await target.send({
        path: inferPath(target),
        headers: { ...headers, 'content-encoding': 'gzip' },
        body: gzipSync(body),
      })
      assertSame(target, readResponse(reply), await infer(target))
    },
  },
  ...ANSWERS.map(
    ({ accepts, codings }): Point => ({
      name: `a long response to ${accepts === undefined ? 'no Accept-Encoding' : `Accept-Encoding "${accepts}"`} is ${sayCodings(codings)}`,
      source: rfc(9110, '12.5.3'),
      level: 'stricter',
      expected: codings.includes(undefined)
        ? 'no Content-Encoding, or a coding in the name of the point'
        : 'a Content-Encoding in the name of the point',
      notApplicable: inJson,
      check: async target => {
        const reply = await longAnswer(target, accepts)
        assert.ok(readResponse(reply).json.id === LONG_ID, 'the response has a different id')
        assert.ok(
          codings.includes(reply.headers['content-encoding']),
          `Content-Encoding is ${reply.headers['content-encoding']}`,
        )
      },
    }),
  ),
  {
    name: 'a compressed response has Vary: Accept-Encoding',
    source: rfc(9110, '12.5.5'),
    level: 'stricter',
    expected: 'Vary: Accept-Encoding, if the response is compressed',
    notApplicable: inJson,
    check: async target => {
      const { headers } = await longAnswer(target, 'gzip')
      if (headers['content-encoding'] !== undefined)
        assert.match(headers.vary ?? '', /accept-encoding|\*/i)
    },
  },
  {
    name: 'a binary response may use gzip: Inference-Header-Content-Length is the length of the JSON before compression',
    source: silent('the body is decompressed before it is read'),
    level: 'stricter',
    expected: 'Content-Encoding: gzip, and the example’s outputs',
    notApplicable: all(binary, inJson),
    check: async target => {
      const request = {
        id: LONG_ID,
        ...exampleRequest(target),
        parameters: { binary_data_output: true },
      }
      const reply = await post(target, request, { 'accept-encoding': 'gzip' })
      assertSame(target, readResponse(reply), await infer(target))
      assert.equal(reply.headers['content-encoding'], 'gzip')
    },
  },
  {
    name: 'a body of exactly the maximum size is read',
    source: rfc(9110, '15.5.14'),
    level: 'stricter',
    expected: '200',
    notApplicable: all(limited, inJson),
    check: async target => {
      assertStatus(await post(target, padded(target, limitOf(target))), 200)
      assertStatus(await encoded(target, 'gzip', gzipSync(padded(target, limitOf(target)))), 200)
    },
  },
  {
    name: 'a body whose Content-Length exceeds the maximum is rejected with 413',
    source: rfc(9110, '15.5.14'),
    level: 'stricter',
    expected: '413 with {"error"}',
    notApplicable: all(limited, inJson),
    check: async target =>
      assertRefused(await post(target, padded(target, limitOf(target) + 1)), 413),
  },
  {
    name: 'a streamed body larger than the maximum is rejected with 413',
    source: rfc(9110, '15.5.14'),
    level: 'stricter',
    expected: '413 with {"error"}',
    notApplicable: all(limited, inJson),
    check: async target => {
      const headers = { 'content-type': 'application/json' }
      const body = padded(target, limitOf(target) + 1)
      assertRefused(
        await target.send({ path: inferPath(target), headers, body, chunkBytes: 65_536 }),
        413,
      )
    },
  },
  ...(
    [
      ['gzip', gzipSync],
      ['deflate', deflateSync],
    ] as const
  ).map(
    ([encoding, encode]): Point => ({
      name: `a ${encoding} bomb is rejected with 413`,
      source: rfc(9110, '15.5.14'),
      level: 'stricter',
      expected: '413 with {"error"}',
      notApplicable: all(limited, inJson),
      check: async target => {
        assertRefused(
          await encoded(target, encoding, encode(padded(target, limitOf(target) + 1))),
          413,
        )
        assertRefused(
          await encoded(target, encoding, encode(Buffer.alloc(limitOf(target) * 10))),
          413,
        )
      },
    }),
  ),
]
