import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { decodeMessage, type Message } from '../../function/protocol/protobuf-decode.ts'
import { encodeMessage, Parts } from '../../function/protocol/protobuf-encode.ts'
import { parseProto } from '../../function/protocol/protobuf-schema.ts'
import { runs } from '../seed.ts'

const FILE = parseProto(
  'all.proto',
  `syntax = "proto3";
package test;
// A comment.
message All {
  bool flag = 1;
  int32 small = 2;
  int64 large = 3;
  uint32 count = 4;
  uint64 huge = 5;
  float single = 6;
  double real = 7;
  string text = 8;
  bytes data = 9;
  repeated int64 numbers = 10;
  repeated string texts = 11;
  map<string, Inner> inners = 12;
  Inner inner = 13;
  oneof choice {
    bool yes = 14;
    string word = 15;
  }
  Kind kind = 16;
  repeated double reals = 2000;
  message Inner {
    int32 value = 1;
  }
}
enum Kind {
  NONE = 0;
  SOME = 2;
}`,
)
const ALL = FILE.message('All')

const hex = (text: string) => Buffer.from(text.replaceAll(' ', ''), 'hex')
const encode = (message: Message) => Buffer.concat(encodeMessage(ALL, message).parts)
const decode = (text: string) => decodeMessage(ALL, hex(text))

describe('a protobuf message', () => {
  /**
   * Messages with the bytes that protoc writes, from protobuf's page on the encoding or derived
   * from that page by hand.
   */
  const KNOWN: readonly (readonly [string, Message, string])[] = [
    ['nothing', {}, ''],
    ['a number that needs two bytes', { small: 150 }, '10 96 01'],
    ['a negative number, of ten bytes', { small: -2 }, '10 fe ff ff ff ff ff ff ff ff 01'],
    ['the least 64-bit integer', { large: -(2n ** 63n) }, '18 80 80 80 80 80 80 80 80 80 01'],
    ['the greatest 64-bit integer', { huge: 2n ** 64n - 1n }, '28 ff ff ff ff ff ff ff ff ff 01'],
    ['a number beyond 32 bits', { large: 2 ** 40 }, '18 80 80 80 80 80 20'],
    ['a text', { text: 'testing' }, '42 07 74 65 73 74 69 6e 67'],
    [
      'a float and a double',
      { single: 1.5, real: -0.25 },
      '35 00 00 c0 3f 39 00 00 00 00 00 00 d0 bf',
    ],
    ['packed numbers', { numbers: [3, 270, 86942] }, '52 06 03 8e 02 9e a7 05'],
    ['texts, one of which is empty', { texts: ['a', ''] }, '5a 01 61 5a 00'],
    ['a nested message', { inner: { value: 150 } }, '6a 03 08 96 01'],
    ['an empty nested message', { inner: {} }, '6a 00'],
    ['a oneof whose value is false', { yes: false }, '70 00'],
    ['a large field number', { reals: [1] }, '82 7d 08 00 00 00 00 00 00 f0 3f'],
  ]
  for (const [what, message, bytes] of KNOWN) {
    test(`writes and reads a message with ${what}`, () => {
      assert.equal(encode(message).toString('hex'), bytes.replaceAll(' ', ''))
      const { choice, ...read } = decode(bytes)
      assert.deepEqual({ ...read }, withNulls(message))
      assert.equal(choice, message.yes)
    })
  }

  test('reads absent fields as their default values', () => {
    const { flag, small, text, data, numbers, inner, kind, yes } = decode('')
    assert.deepEqual(
      [flag, small, text, data.byteLength, numbers, inner, kind, yes],
      [false, 0, '', 0, [], undefined, 0, undefined],
    )
  })

  test('reads the last of several equal map keys', () => {
    const { inners } = decode('62 07 0a 01 61 12 02 08 01 62 07 0a 01 61 12 02 08 02')
    assert.deepEqual(
      [...inners].map(([key, { value }]) => [key, value]),
      [['a', 2]],
    )
    const map = new Map([['__proto__', { value: 7 }]])
    const again = decodeMessage(ALL, encode({ inners: map }))
    assert.equal(again.inners.get('__proto__').value, 7)
  })

  test('reads a repeated number that is packed, unpacked, or a mixture of both', () => {
    assert.deepEqual(decode('50 03 50 8e 02 52 01 04').numbers, [3, 270, 4])
    assert.deepEqual(decode('81 7d 00 00 00 00 00 00 f0 3f').reals, [1])
  })

  test('skips unknown fields of every wire type', () => {
    const unknown =
      'f8 06 01 f9 06 0000000000000000 fa 06 01 00 fd 06 00000000 fb 06 08 01 0b 0c fc 06'
    assert.deepEqual({ ...decode(`${unknown} 10 05`) }, { small: 5 })
  })

  test('skips fields that have the wrong wire type', () => {
    assert.deepEqual({ ...decode('12 01 05 10 05') }, { small: 5 })
  })

  for (const [what, bytes, message] of [
    ['a number that is cut off', '10 96', /the number at byte 1 has no end/],
    [
      'a length beyond the end',
      '42 07 74',
      /field 8 ends at byte 9, beyond the end of its message at 3/,
    ],
    ['a number of eleven bytes', '10 80 80 80 80 80 80 80 80 80 80 01', /has no end/],
    ['the wire type 6', '16 00', /wire type 6/],
    ['the field number 0', '00 00', /has the number 0/],
    ['a group that does not end', 'fb 06 08 01', /the group 111 has no end/],
    ['a group that ends with another number', 'fb 06 0c', /has no end/],
    ['the end of a group that did not begin', '0c', /no start/],
    ['a text that is not UTF-8', '42 01 ff', /text is not UTF-8/],
    ['the same message field twice', '6a 00 6a 00', /inner appears twice/],
    ['an element that is cut off', '82 7d 04 00 00 00 00', /reals ends within an element/],
    ['a nested message that is cut off', '6a 02 08 96', /has no end/],
    ['a length of 64 bits', '42 ff ff ff ff ff ff ff ff ff 01', /exceeds 32 bits/],
  ] as const) {
    test(`rejects a message with ${what}`, () =>
      assert.throws(() => decode(bytes), { code: 'BAD_REQUEST', message }))
  }

  test('rejects deeply nested groups before they fill the memory', () =>
    assert.throws(
      () => decodeMessage(ALL, Buffer.alloc(10_000, hex('fb06'))),
      /nested more than 100 levels deep/,
    ))

  test('rejects a long group before it has skipped the complete group', () =>
    assert.throws(
      () =>
        decodeMessage(
          ALL,
          Buffer.concat([hex('7b'), Buffer.alloc(140_000, hex('7801')), hex('7c')]),
        ),
      /the group 15 has more than 65536 fields/,
    ))

  test('rejects too many fields before they become objects', () => {
    assert.throws(() => decodeMessage(ALL, Buffer.alloc(140_000, hex('5a00'))), {
      code: 'TOO_LARGE',
    })
    assert.throws(() => decode(`52 80 80 04 ${'01'.repeat(65_536)}`), { code: 'TOO_LARGE' })
  })

  test('accepts the character U+FFFD in a text', () =>
    assert.equal(decodeMessage(ALL, encode({ text: '\ufffd' })).text, '\ufffd'))

  test('writes a message without copying large byte arrays', () => {
    const data = new Uint8Array(5_000).fill(7)
    const { parts } = encodeMessage(ALL, { text: 'before', data, kind: 'SOME' })
    assert.ok(parts.includes(data))
    const read = decodeMessage(ALL, Buffer.concat(parts))
    assert.deepEqual([read.text, read.data.byteLength, read.kind], ['before', 5_000, 2])
  })

  test('writes byte arrays and nested messages that are given in pieces', () => {
    const data = new Parts([Buffer.from('ab'), new Uint8Array(2_000), Buffer.from('c')])
    const inner = encodeMessage(ALL.byNumber[13]?.type as never, { value: 9 })
    const read = decodeMessage(ALL, encode({ data, inner }))
    assert.deepEqual([read.data.byteLength, read.data.at(-1), read.inner.value], [2_003, 99, 9])
  })
})

const withNulls = (message: Message) => structuredClone(message)

test('reads every message as it was written', () =>
  fc.assert(
    fc.property(
      fc.record(
        {
          small: fc.integer(),
          large: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
          huge: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
          real: fc.double(),
          text: fc.string({ unit: 'binary' }),
          data: fc.uint8Array({ maxLength: 3_000 }),
          numbers: fc.array(fc.maxSafeInteger()),
          texts: fc.array(fc.string()),
        },
        { requiredKeys: [] },
      ),
      message => {
        const read = decodeMessage(ALL, encode(message))
        for (const [name, value] of Object.entries(message)) {
          if (value instanceof Uint8Array) assert.deepEqual([...read[name]], [...value])
          else if (typeof value === 'bigint') assert.equal(BigInt(read[name]), value)
          else assert.deepEqual(read[name], value)
        }
      },
    ),
    runs(200),
  ))

test('the error for bytes that are not a message has the code BAD_REQUEST', () =>
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), bytes => {
      try {
        decodeMessage(ALL, bytes)
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'BAD_REQUEST')
      }
    }),
    runs(500),
  ))

test('reports the unexpected word in a .proto file that it cannot parse', () => {
  const parse = (text: string) => () => parseProto('x.proto', text)
  assert.throws(parse('syntax = "proto2";'), /expected "proto3", found "proto2"/)
  assert.throws(parse('syntax = "proto3"; package a; message B { C c = 1; }'), /C is not defined/)
  assert.throws(parse('syntax = "proto3"; package a; message B {'), /ends unexpectedly/)
})
