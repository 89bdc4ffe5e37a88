import assert from 'node:assert/strict'
import { deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { assertRefused, infer, readResponse } from '../answer.ts'
import { all, binary, inJson, limited } from '../applies.ts'
import { toJson } from '../json.ts'
import { refusals } from '../mistakes.ts'
import type { Point, Target } from '../point.ts'
import { binaryBody, binaryRequest, exampleRequest, inferPath, post, send } from '../request.ts'
import { rfc, silent } from '../sources.ts'

const ENCODED = rfc(9110, '8.4')

const text = (target: Target) => toJson(exampleRequest(target))

const encoded = (target: Target, encoding: string, body: Uint8Array, chunkBytes?: number) =>
  send(target, {
    path: inferPath(target),
    headers: { 'content-type': 'application/json', 'content-encoding': encoding },
    body,
    ...(chunkBytes !== undefined && { chunkBytes }),
  })

const REQUESTS: readonly { readonly encoding: string; readonly encode: (body: Uint8Array) => Uint8Array; readonly chunkBytes?: number }[] =
  [
    { encoding: 'gzip', encode: gzipSync },
    { encoding: 'deflate', encode: deflateSync },
    { encoding: 'identity', encode: body => body },
    { encoding: 'GZIP', encode: gzipSync },
    { encoding: 'x-gzip', encode: gzipSync },
    { encoding: 'gzip', encode: gzipSync, chunkBytes: 1 },
  ]

/** Long enough to be worth compressing, whatever the model. */
const LONG_ID = 'x'.repeat(100_000)

const longAnswer = (target: Target, acceptEncoding: string | undefined) =>
  post(target, { id: LONG_ID, ...exampleRequest(target) }, acceptEncoding === undefined ? {} : { 'accept-encoding': acceptEncoding })

const ANSWERS: readonly { readonly accepts: string | undefined; readonly encoding: string | undefined }[] = [
  { accepts: 'gzip', encoding: 'gzip' },
  { accepts: 'deflate', encoding: 'deflate' },
  { accepts: 'gzip, deflate, br', encoding: 'gzip' },
  { accepts: 'br;q=1.0, gzip;q=0.5, deflate;q=0.8', encoding: 'deflate' },
  { accepts: 'GZIP', encoding: 'gzip' },
  { accepts: '*', encoding: 'gzip' },
  { accepts: 'gzip;q=0', encoding: undefined },
  { accepts: 'gzip;q=0, *;q=0', encoding: undefined },
  { accepts: 'identity', encoding: undefined },
  { accepts: 'br, zstd', encoding: undefined },
  { accepts: '', encoding: undefined },
  { accepts: undefined, encoding: undefined },
]

const limitOf = ({ limits }: Target) => (limits as NonNullable<typeof limits>).maxBodyBytes

/** The example, padded with white space to so many bytes. */
const padded = (target: Target, bytes: number) => text(target).padEnd(bytes, ' ')

export const points: readonly Point[] = [
  ...REQUESTS.map(
    ({ encoding, encode, chunkBytes }): Point => ({
      name: `a request of Content-Encoding ${encoding} is read${chunkBytes ? ', even byte by byte' : ''}`,
      source: ENCODED,
      level: 'stricter',
      notApplicable: inJson,
      check: async target => {
        const reply = await encoded(target, encoding, encode(Buffer.from(text(target))), chunkBytes)
        assert.deepEqual(readResponse(target, reply), await infer(target))
      },
    }),
  ),
  ...['br', 'zstd', 'compress', 'nonsense', 'gzip, gzip'].map(
    (encoding): Point => ({
      name: `Content-Encoding ${encoding} is refused with 415, and Accept-Encoding says what is read`,
      source: rfc(9110, '15.5.16'),
      level: 'stricter',
      notApplicable: inJson,
      check: async target => {
        const reply = await encoded(target, encoding, Buffer.from(text(target)))
        assertRefused(reply, 415)
        assert.match(reply.headers['accept-encoding'] ?? '', /\bgzip\b/)
      },
    }),
  ),
  ...refusals('compressed bodies', [
    ...(
      [
        ['gzip that is none', 'gzip', target => Buffer.from(text(target))],
        ['gzip that is cut off', 'gzip', target => gzipSync(text(target)).subarray(0, -9)],
        [
          'gzip with a wrong checksum',
          'gzip',
          target => gzipSync(text(target)).map((byte, i, { length }) => (i === length - 6 ? ~byte : byte)),
        ],
        [
          'gzip with a spoilt middle',
          'gzip',
          target => gzipSync(text(target)).map((byte, i, { length }) => (i === length >> 1 ? ~byte : byte)),
        ],
        ['gzip with something behind it', 'gzip', target => Buffer.concat([gzipSync(text(target)), Buffer.from('more')])],
        ['an empty gzip body', 'gzip', () => Buffer.alloc(0)],
        ['gzip of nothing', 'gzip', () => gzipSync('')],
        ['deflate that is gzip', 'deflate', target => gzipSync(text(target))],
        ['gzip that is deflate', 'gzip', target => deflateSync(text(target))],
        ['gzip of gzip', 'gzip', target => gzipSync(gzipSync(text(target)))],
      ] satisfies [string, string, (target: Target) => Uint8Array][]
    ).map(([mistake, encoding, body]) => ({
      mistake,
      source: ENCODED,
      level: 'stricter' as const,
      notApplicable: inJson,
      send: (target: Target) => encoded(target, encoding, body(target)),
    })),
  ]),
  {
    name: 'deflate without its zlib frame is refused or read, never failed on',
    source: `${rfc(9110, '8.4.1.2')} (some clients send it so)`,
    level: 'stricter',
    notApplicable: inJson,
    check: async target => assert.ok([200, 400].includes((await encoded(target, 'deflate', deflateRawSync(text(target)))).status)),
  },
  {
    name: 'a binary request may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    source: silent('the encoding is undone before the body is read'),
    level: 'stricter',
    notApplicable: all(binary, inJson),
    check: async target => {
      const { headers, body } = binaryBody(binaryRequest(exampleRequest(target).inputs))
      const reply = await send(target, {
        path: inferPath(target),
        headers: { ...headers, 'content-encoding': 'gzip' },
        body: gzipSync(body),
      })
      assert.deepEqual(readResponse(target, reply), await infer(target))
    },
  },
  ...ANSWERS.map(
    ({ accepts, encoding }): Point => ({
      name: `a long answer to Accept-Encoding ${accepts === undefined ? 'absent' : `"${accepts}"`} is ${encoding ?? 'not compressed'}`,
      source: rfc(9110, '12.5.3'),
      level: encoding === undefined ? 'required' : 'stricter',
      notApplicable: inJson,
      check: async target => {
        const reply = await longAnswer(target, accepts)
        assert.equal(readResponse(target, reply).json.id, LONG_ID)
        assert.equal(reply.headers['content-encoding'], encoding)
      },
    }),
  ),
  {
    name: 'a compressed answer says that it varies',
    source: rfc(9110, '12.5.5'),
    level: 'stricter',
    notApplicable: inJson,
    check: async target => assert.match((await longAnswer(target, 'gzip')).headers.vary ?? '', /accept-encoding/i),
  },
  {
    name: 'a binary answer may be gzipped: Inference-Header-Content-Length is that of the JSON before',
    source: silent('the encoding is undone before the body is read'),
    level: 'stricter',
    notApplicable: all(binary, inJson),
    check: async target => {
      const request = { id: LONG_ID, ...exampleRequest(target), parameters: { binary_data_output: true } }
      const reply = await post(target, request, { 'accept-encoding': 'gzip' })
      assert.deepEqual(readResponse(target, reply).outputs, (await infer(target)).outputs)
      assert.equal(reply.headers['content-encoding'], 'gzip')
    },
  },
  {
    name: 'a body of exactly the largest size is read',
    source: rfc(9110, '15.5.14'),
    level: 'stricter',
    notApplicable: all(limited, inJson),
    check: async target => {
      assert.equal((await post(target, padded(target, limitOf(target)))).status, 200)
      assert.equal((await encoded(target, 'gzip', gzipSync(padded(target, limitOf(target))))).status, 200)
    },
  },
  {
    name: 'a body declared larger than allowed is refused with 413',
    source: rfc(9110, '15.5.14'),
    level: 'stricter',
    notApplicable: all(limited, inJson),
    check: async target => assertRefused(await post(target, padded(target, limitOf(target) + 1)), 413),
  },
  {
    name: 'a streamed body larger than allowed is refused with 413',
    source: rfc(9110, '15.5.14'),
    level: 'stricter',
    notApplicable: all(limited, inJson),
    check: async target => {
      const headers = { 'content-type': 'application/json' }
      const body = padded(target, limitOf(target) + 1)
      assertRefused(await send(target, { path: inferPath(target), headers, body, chunkBytes: 65_536 }), 413)
    },
  },
  ...(
    [
      ['gzip', gzipSync],
      ['deflate', deflateSync],
    ] as const
  ).map(
    ([encoding, encode]): Point => ({
      name: `a ${encoding} bomb is refused with 413`,
      source: rfc(9110, '15.5.14'),
      level: 'stricter',
      notApplicable: all(limited, inJson),
      check: async target => {
        assertRefused(await encoded(target, encoding, encode(padded(target, limitOf(target) + 1))), 413)
        assertRefused(await encoded(target, encoding, encode(Buffer.alloc(limitOf(target) * 10))), 413)
      },
    }),
  ),
]
