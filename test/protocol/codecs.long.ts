import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc, { type Arbitrary } from 'fast-check'
import {
  countBinaryElements,
  readBinaryTensor,
  writeBinaryTensor,
} from '../../function/protocol/binary.ts'
import { DATATYPES, type Datatype } from '../../function/protocol/datatypes.ts'
import { decodeRequest } from '../../function/protocol/decode.ts'
import { encodeData, encodeResponse } from '../../function/protocol/encode.ts'
import { BadRequest } from '../../function/protocol/errors.ts'
import { parseJson } from '../../function/protocol/json.ts'
import {
  elementCount,
  type Signature,
  type Tensor,
  type TensorMetadata,
} from '../../function/protocol/tensor.ts'
import { runs } from '../seed.ts'

/** On failure, fast-check prints the counterexample and the seed that reproduces it. */
const property = <T>(name: string, arbitrary: Arbitrary<T>, holds: (value: T) => void, all = 300) =>
  test(name, () => fc.assert(fc.property(arbitrary, holds), runs(all)))

const integer = (bits: number, signed: boolean) => {
  const [min, max] = signed ? [-(2 ** (bits - 1)), 2 ** (bits - 1) - 1] : [0, 2 ** bits - 1]
  return fc.oneof(fc.constantFrom(min, max), fc.double({ min, max, noNaN: true }).map(Math.trunc))
}

const bigInteger = (min: bigint, max: bigint) =>
  fc.oneof(fc.constantFrom(min, max, 2n ** 53n, 2n ** 53n + 1n), fc.bigInt({ min, max }))

/** ONNX Runtime for Node accepts only well-formed text without NUL. */
const text = fc
  .oneof(fc.string({ unit: 'binary' }), fc.string({ unit: 'grapheme' }))
  .map(string => string.toWellFormed().replaceAll('\0', ''))

const ELEMENTS: Record<Datatype, Arbitrary<number | bigint | string>> = {
  BOOL: fc.constantFrom(0, 1),
  UINT8: integer(8, false),
  UINT16: integer(16, false),
  UINT32: integer(32, false),
  UINT64: bigInteger(0n, 2n ** 64n - 1n),
  INT8: integer(8, true),
  INT16: integer(16, true),
  INT32: integer(32, true),
  INT64: bigInteger(-(2n ** 63n), 2n ** 63n - 1n),
  FP16: integer(16, false),
  FP32: fc.float(),
  FP64: fc.double(),
  BYTES: text,
}

const shapes = fc.array(fc.nat({ max: 4 }), { maxLength: 4 })

const tensorOf = (datatype: Datatype): Arbitrary<Tensor> =>
  shapes.chain(shape =>
    fc
      .array(ELEMENTS[datatype], { minLength: elementCount(shape), maxLength: elementCount(shape) })
      .map(elements => {
        const data = DATATYPES[datatype].allocate(elements.length)
        elements.forEach((element, i) => {
          data[i] = element
        })
        return { name: 'x', datatype, shape, data }
      }),
  )

const variableShape = ({ name, datatype, shape }: Tensor): TensorMetadata => ({
  name,
  datatype,
  shape: shape.map(() => -1),
  dimensionNames: shape.map(() => ''),
  anyRank: false,
})

const taking = (tensor: Tensor): Signature => ({ inputs: [variableShape(tensor)], outputs: [] })

const encode = (tensor: Tensor, binary: boolean) =>
  encodeResponse({ modelName: 'identity', outputs: [tensor] }, [{ name: 'x', binary }])

function asRequest(tensor: Tensor, binary: boolean): Buffer {
  const { json, binary: data } = encode(tensor, binary)
  return Buffer.concat([
    Buffer.from(json.replace('"outputs":', '"inputs": ')),
    ...(data?.parts ?? []),
  ])
}

for (const datatype of Object.keys(DATATYPES) as Datatype[]) {
  property(
    `decodes ${datatype} in binary form to the tensor that was encoded`,
    tensorOf(datatype),
    tensor => {
      const body = asRequest(tensor, true)
      const { inputs } = decodeRequest(
        body,
        encode(tensor, true).binary?.jsonLength,
        taking(tensor),
      )
      assert.deepEqual(inputs, [tensor])
    },
  )

  property(
    `reads binary ${datatype} at any offset in a buffer`,
    fc.tuple(tensorOf(datatype), fc.nat({ max: 8 })),
    ([tensor, offset]) => {
      const bytes = Buffer.concat([Buffer.alloc(offset), writeBinaryTensor(tensor)]).subarray(
        offset,
      )
      assert.deepEqual(readBinaryTensor(bytes, tensor.shape, variableShape(tensor)), tensor.data)
      assert.equal(countBinaryElements(bytes, variableShape(tensor)), elementCount(tensor.shape))
    },
  )

  property(
    `rejects binary ${datatype} with too few or too many bytes`,
    fc.tuple(tensorOf(datatype), fc.nat(), fc.boolean()),
    ([tensor, cut, longer]) => {
      const bytes = Buffer.from(writeBinaryTensor(tensor))
      const changed = longer
        ? Buffer.concat([bytes, Buffer.alloc(1 + (cut % 9))])
        : bytes.subarray(0, bytes.length === 0 ? 0 : cut % bytes.length)
      if (changed.length === bytes.length) return
      assert.throws(
        () => readBinaryTensor(changed, tensor.shape, variableShape(tensor)),
        BadRequest,
      )
    },
  )

  if (datatype === 'FP16') continue

  property(
    `decodes ${datatype} in JSON to the tensor that was encoded`,
    tensorOf(datatype),
    tensor => {
      const { inputs } = decodeRequest(asRequest(tensor, false), undefined, taking(tensor))
      assert.deepEqual(inputs, [tensor])
    },
  )

  property(`reads ${datatype} in nested JSON arrays like flat data`, tensorOf(datatype), tensor => {
    const nested = nest(encodeElements(tensor), tensor.shape)
    const body = `{"inputs":[{"name":"x","datatype":"${datatype}","shape":[${tensor.shape}],"data":${nested}}]}`
    if (tensor.shape.length === 0) return
    assert.deepEqual(decodeRequest(Buffer.from(body), undefined, taking(tensor)).inputs, [tensor])
  })

  property(`encodes ${datatype} as JSON that JSON.parse accepts`, tensorOf(datatype), tensor => {
    assert.equal(
      JSON.parse(encode(tensor, false).json).outputs[0].data.length,
      elementCount(tensor.shape),
    )
  })
}

const encodeElements = (tensor: Tensor): string[] =>
  Array.from({ length: tensor.data.length }, (_, i) =>
    encodeData({ ...tensor, data: tensor.data.slice(i, i + 1) as Tensor['data'] }).slice(1, -1),
  )

function nest(elements: readonly string[], [length = 0, ...rest]: readonly number[]): string {
  if (rest.length === 0) return `[${elements}]`
  const size = elementCount(rest)
  return `[${Array.from({ length }, (_, i) => nest(elements.slice(i * size, (i + 1) * size), rest))}]`
}

/** JSON in one of many spellings; `duplicate` is whether an object has a duplicate key. */
interface Written {
  readonly json: string
  readonly duplicate: boolean
}

const gap = fc.stringMatching(/^[ \t\r\n]{0,2}$/)

/** Texts that would confuse a parser that only searches for quotes and colons. */
const trickyText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 5 }),
  fc
    .array(
      fc.constantFrom(
        '"',
        '\\',
        ':',
        '{',
        '}',
        '[',
        ']',
        ',',
        ' ',
        '\n',
        'a',
        '__proto__',
        '\\u0022',
        'é',
        '\ud800',
      ),
      {
        maxLength: 6,
      },
    )
    .map(parts => parts.join('')),
)

const stringJson = (string: string) =>
  fc.array(fc.boolean(), { minLength: string.length, maxLength: string.length }).map(escaped => {
    const units = Array.from({ length: string.length }, (_, i) =>
      escaped[i]
        ? `\\u${string.charCodeAt(i).toString(16).padStart(4, '0')}`
        : JSON.stringify(string.charAt(i)).slice(1, -1),
    )
    return `"${units.join('')}"`
  })

/**
 * A key without backslashes: after JSON.parse has read a key with a backslash, it misreads other
 * keys that are written with escapes (nodejs/node#63785).
 */
const key = fc
  .oneof(
    fc.constantFrom('a', 'b', '"', ':', '', '__proto__', 'constructor', 'toString', '1', '01'),
    trickyText,
  )
  .map(name => name.replaceAll('\\', '/'))

const written = fc.letrec<{ value: Written; leaf: Written; array: Written; object: Written }>(
  tie => ({
    value: fc.oneof({ maxDepth: 4, depthSize: 'small' }, tie('leaf'), tie('array'), tie('object')),
    leaf: fc
      .oneof(
        trickyText.chain(stringJson),
        fc.constantFrom(
          'true',
          'false',
          'null',
          '-0',
          '1.5e3',
          '12345678901234567890',
          '":"',
          '"\\\\"',
          '"\\":"',
        ),
        fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
      )
      .map(json => ({ json, duplicate: false })),
    array: fc.tuple(fc.array(tie('value'), { maxLength: 4 }), gap).map(([values, space]) => ({
      json: `[${space}${values.map(({ json }) => json + space)}]`,
      duplicate: values.some(({ duplicate }) => duplicate),
    })),
    object: fc
      .array(
        key.chain(name => fc.tuple(fc.constant(name), stringJson(name), tie('value'), gap)),
        { maxLength: 5 },
      )
      .map(fields => ({
        json: `{${fields.map(([, name, { json }, space]) => `${space}${name}${space}:${space}${json}${space}`)}}`,
        duplicate:
          new Set(fields.map(([name]) => name)).size < fields.length ||
          fields.some(([, , { duplicate }]) => duplicate),
      })),
  }),
).object

const bytes = (json: string) => Buffer.from(json)

property(
  'rejects JSON with a duplicate key, and reads any other JSON like JSON.parse',
  written,
  ({ json, duplicate }) => {
    if (duplicate) assert.throws(() => parseJson(bytes(json), 'the text'), /the same key twice/)
    else assert.deepEqual(parseJson(bytes(json), 'the text').value, JSON.parse(json))
  },
  3000,
)

property(
  'rejects a text that JSON.parse rejects, with a BadRequest',
  fc.tuple(written, fc.nat(), fc.constantFrom('', '"', '\\', ':', '{', ',', '\0')),
  ([{ json }, at, spoil]) => {
    const cut = at % (json.length + 1)
    const changed = json.slice(0, cut) + spoil + json.slice(cut + 1)
    // A lone surrogate cannot be encoded in UTF-8.
    fc.pre(changed.isWellFormed())
    let valid = true
    try {
      JSON.parse(changed)
    } catch {
      valid = false
    }
    if (!valid) assert.throws(() => parseJson(bytes(changed), 'the text'), BadRequest)
  },
  3000,
)

property(
  'reads any bytes or rejects them with a BadRequest',
  fc.uint8Array({ maxLength: 64 }),
  input => {
    try {
      parseJson(input, 'the bytes')
    } catch (error) {
      assert.ok(error instanceof BadRequest, String(error))
    }
  },
)

property(
  'reads 64-bit integers exactly anywhere in an array',
  fc.array(fc.tuple(gap, fc.bigInt({ min: -(2n ** 63n), max: 2n ** 64n }))),
  integers => {
    const json = `{"a":[${integers.map(([space, value]) => `${space}${value}${space}`)}]}`
    const { a } = parseJson(bytes(json), 'the text').exact() as { a: (number | bigint)[] }
    assert.deepEqual(
      a.map(value => BigInt(value)),
      integers.map(([, value]) => value),
    )
  },
)

property(
  'converts only integers to bigints',
  fc.array(fc.oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.string())),
  values => {
    const { exact } = parseJson(bytes(JSON.stringify({ values })), 'the text')
    const read = exact() as { values: unknown[] }
    read.values.forEach((value, i) => {
      if (typeof value === 'bigint') assert.equal(Number(value), values[i])
      else assert.deepEqual(value, JSON.parse(JSON.stringify(values[i])))
    })
  },
)

test('rejects fewer BYTES elements than the shape has, and reports their number', () => {
  const one = Buffer.from('\x08\0\0\0abcdefgh')
  const tensor: Tensor = { name: 'x', datatype: 'BYTES', shape: [1], data: [''] }
  assert.throws(() => readBinaryTensor(one, [2], variableShape(tensor)), {
    message: 'input "x": shape [2] has 2 elements, but the binary data has 1',
  })
})

test('rejects an integer with two million digits within 0.2 s of CPU time', () => {
  const tensor: Tensor = { name: 'x', datatype: 'INT64', shape: [1], data: new BigInt64Array(1) }
  const body = `{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[${'9'.repeat(2_000_000)}]}]}`
  const before = process.threadCpuUsage()
  assert.throws(() => decodeRequest(bytes(body), undefined, taking(tensor)), BadRequest)
  // Measure CPU time, so that other load on the machine does not count.
  const { user, system } = process.threadCpuUsage(before)
  assert.ok(user + system < 200_000)
})

/** Two variable dimensions, which no test model has. */
const matrix: Tensor = { name: 'x', datatype: 'UINT8', shape: [0, 0], data: new Uint8Array(0) }

for (const { mistake, shape, data } of [
  { mistake: 'negative dimensions whose product is right', shape: [-2, -2], data: [1, 2, 3, 4] },
  { mistake: 'a huge dimension and a dimension of 0', shape: [0, 2 ** 62], data: [] },
  { mistake: 'huge dimensions whose product wraps to 0', shape: [2 ** 32, 2 ** 32], data: [] },
  {
    mistake: 'rows that do not have the length in the shape',
    shape: [2, 3],
    data: [
      [1, 2],
      [3, 4, 5, 6],
    ],
  },
])
  test(`rejects a shape with ${mistake}, in JSON and in binary form`, () => {
    const input = { name: 'x', datatype: 'UINT8', shape }
    const json = JSON.stringify({ inputs: [{ ...input, data }] })
    assert.throws(() => decodeRequest(bytes(json), undefined, taking(matrix)), BadRequest)
    const binary = JSON.stringify({
      inputs: [{ ...input, parameters: { binary_data_size: data.length } }],
    })
    assert.throws(
      () =>
        decodeRequest(
          Buffer.concat([bytes(binary), Buffer.alloc(data.length)]),
          binary.length,
          taking(matrix),
        ),
      BadRequest,
    )
  })
