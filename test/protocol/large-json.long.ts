import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Datatype } from '../../function/protocol/datatypes.ts'
import { decodeParsedRequest, decodeRequest } from '../../function/protocol/decode.ts'
import { BadRequest, TooLarge } from '../../function/protocol/errors.ts'
import { parseExactly, parseJson } from '../../function/protocol/json.ts'
import { readJsonData } from '../../function/protocol/json-data.ts'
import { JsonData, parseAroundData } from '../../function/protocol/json-scan.ts'
import type { Signature, TensorMetadata } from '../../function/protocol/tensor.ts'
import { runs } from '../seed.ts'

/*
 * Tensor data of large bodies is read piece by piece. For any bytes, the result must be that of
 * JSON.parse, which reads small bodies.
 */

const DATATYPES = ['FP32', 'FP64', 'INT8', 'INT64', 'UINT64', 'BOOL', 'BYTES'] as const

const metadata = (datatype: Datatype, rank: number): TensorMetadata => ({
  name: 'x',
  datatype,
  shape: new Array(rank).fill(-1),
  dimensionNames: new Array(rank).fill(''),
  anyRank: false,
})

const number = fc.oneof(
  fc.double().map(String),
  fc.float().map(String),
  fc.integer().map(String),
  fc.bigInt({ min: -(2n ** 65n), max: 2n ** 65n }).map(String),
  fc.constantFrom(
    '-0',
    '1e3',
    '1.0',
    '5.1',
    '1E-7',
    '1e400',
    '01',
    '1.',
    '.5',
    '-',
    '+1',
    '1e',
    '0x1',
    '9007199254740993',
    '123456789012345678901',
  ),
)
const element = fc.oneof(
  { weight: 8, arbitrary: number },
  { weight: 4, arbitrary: fc.string({ unit: 'binary' }).map(string => JSON.stringify(string)) },
  fc.constantFrom(
    'true',
    'false',
    'null',
    '"NaN"',
    '"-Infinity"',
    '"a,b"',
    '"]"',
    '"\\u0022,"',
    '{}',
    '{"a":[1,2]}',
    '[]',
    '[[1]]',
    '',
    '"',
    'tru',
  ),
)
/** Most arrays contain elements of one kind, so that some are valid. */
const elements = fc.oneof(
  fc.array(fc.integer({ min: -100, max: 100 }).map(String)),
  fc.array(fc.double({ noNaN: true, noDefaultInfinity: true }).map(String)),
  fc.array(fc.constantFrom('true', 'false')),
  fc.array(
    fc
      .string({ unit: 'binary' })
      .map(string => JSON.stringify(string.replaceAll('\0', '').toWellFormed())),
  ),
  fc.array(element),
)
const space = fc.constantFrom('', '', '', ' ', '\n\t')

const nest = (parts: readonly string[], shape: readonly number[], gap: string): string => {
  if (shape.length === 0) return parts[0] ?? ''
  const size = Math.ceil(parts.length / Math.max(shape[0] as number, 1))
  const rows =
    shape.length === 1
      ? parts
      : Array.from({ length: shape[0] as number }, (_, i) =>
          nest(parts.slice(i * size, (i + 1) * size), shape.slice(1), gap),
        )
  return `[${gap}${rows.join(`${gap},${gap}`)}${gap}]`
}

/** An array in JSON, and a shape that fits, or almost fits. */
const arrays = fc
  .tuple(elements, fc.integer({ min: 0, max: 4 }), space, fc.nat(2))
  .map(([parts, columns, gap, kind]) => {
    const shape = columns === 0 ? [parts.length] : [Math.ceil(parts.length / columns), columns]
    const text =
      kind === 0 ? nest(parts, shape, gap) : `[${gap}${parts.join(`${gap},${gap}`)}${gap}]`
    return { text, shape }
  })

const mutate = (text: string, at: number, replacement: string) => {
  const i = text.length === 0 ? 0 : 1 + (at % Math.max(text.length - 2, 1))
  return (text.slice(0, i) + replacement + text.slice(i + 1)).toWellFormed()
}

const outcome = (read: () => unknown) => {
  try {
    return { value: read() }
  } catch (error) {
    assert.ok(error instanceof BadRequest, `${error}`)
    return { refused: error.message }
  }
}

const same = (
  inPieces: { value?: unknown; refused?: string },
  parsed: { value?: unknown; refused?: string },
  text: string,
) => {
  assert.equal(
    inPieces.refused === undefined,
    parsed.refused === undefined,
    `${text}: ${inPieces.refused} | ${parsed.refused}`,
  )
  assert.deepEqual(inPieces.value, parsed.value, text)
}

for (const datatype of DATATYPES) {
  test(`reads ${datatype} in pieces with the same values and errors as with JSON.parse`, () => {
    fc.assert(
      fc.property(
        arrays,
        fc.nat(40),
        fc.option(fc.tuple(fc.nat(), fc.constantFrom('', ',', '[', ']', '"', '1', ' ', '}', 'e')), {
          freq: 3,
        }),
        (array, pieceBytes, mutation) => {
          const text = mutation === null ? array.text : mutate(array.text, ...mutation)
          const bytes = Buffer.from(text)
          const tensor = metadata(datatype, array.shape.length)
          const isBig = datatype === 'INT64' || datatype === 'UINT64'
          const parsed = outcome(() => {
            try {
              return readJsonData(
                isBig ? parseExactly(text) : JSON.parse(text),
                array.shape,
                tensor,
              )
            } catch (error) {
              throw error instanceof SyntaxError ? new BadRequest(error.message) : error
            }
          })
          same(
            outcome(() =>
              readJsonData(
                new JsonData(bytes, 0, bytes.length, 'the body'),
                array.shape,
                tensor,
                pieceBytes,
              ),
            ),
            parsed,
            text,
          )
        },
      ),
      runs(1_500),
    )
  })
}

test('rejects a comma before the first value, even after white space', () => {
  const bytes = Buffer.from('[   ,1]')
  const data = new JsonData(bytes, 0, bytes.length, 'the body')
  assert.throws(() => readJsonData(data, [1], metadata('FP64', 1), 2), /a value is missing/)
})

const SIGNATURE: Signature = {
  inputs: [metadata('FP32', 2), { ...metadata('BYTES', 1), name: 'words' }],
  outputs: [{ ...metadata('FP32', 2), name: 'y' }],
}

test('reads the parts of a request around its data like JSON.parse, after changes of any bytes', () => {
  const requests = [
    '{"id":"a","inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1,2,3.5,-4e-7]},{"data":["a","b\\"],["],"name":"words","shape":[2],"datatype":"BYTES"}]}',
    ' {"inputs" : [ {"shape":[1,2], "data" : [ [ 1 , 2 ] ],"name":"x","datatype":"FP32"} , {"name":"words","datatype":"BYTES","shape":[0],"data":[]} ] , "outputs":[{"name":"y"}]} ',
    '{"parameters":{"data":1},"inputs":[{"name":"x","datatype":"FP32","shape":[0,2],"data":[],"parameters":{"data":"[1]"}},{"name":"words","datatype":"BYTES","shape":[1],"data":["é\\u00e9"]}]}',
  ]
  const bytes = fc.constantFrom(...'",:[]{}\\ 0123456789-eE.tfnuda\u0007\u00ff')
  fc.assert(
    fc.property(
      fc.constantFrom(...requests),
      fc.array(fc.tuple(fc.nat(), bytes, fc.boolean()), { maxLength: 3 }),
      (request, changes) => {
        let text = request
        for (const [at, byte, insert] of changes) {
          const i = at % text.length
          text = text.slice(0, i) + byte + text.slice(insert ? i : i + 1)
        }
        const body = Buffer.from(text)
        same(
          outcome(() =>
            decodeParsedRequest(
              parseAroundData(body, 'the body', SIGNATURE.inputs.length),
              SIGNATURE,
            ),
          ),
          outcome(() => decodeParsedRequest(parseJson(body, 'the body'), SIGNATURE)),
          text,
        )
      },
    ),
    runs(20_000),
  )
})

const numbers = (rows: number) => `[${Array.from({ length: rows }, (_, i) => `[${i},${-i / 8}]`)}]`
const large = (data: string, shape: string, more = '') =>
  Buffer.from(
    `{"inputs":[{"name":"x","datatype":"FP32","shape":${shape},"data":${data}},{"name":"words","datatype":"BYTES","shape":[0],"data":[]}]${more}}`,
  )

test('reads a large body, and reports mistakes in it as in a small body', () => {
  const rows = 100_000
  const { inputs } = decodeRequest(large(numbers(rows), `[${rows},2]`), undefined, SIGNATURE)
  assert.deepEqual(
    [inputs[0]?.data[2 * rows - 2], inputs[0]?.data[2 * rows - 1]],
    [rows - 1, -(rows - 1) / 8],
  )
  const refuses = (body: Buffer, message: RegExp) =>
    assert.throws(() => decodeRequest(body, undefined, SIGNATURE), message)
  refuses(
    large(numbers(rows), `[${rows + 1},2]`),
    /at depth 1 it has an array of length 100000, not an array of length 100001$/,
  )
  refuses(
    large(numbers(rows).replace('[70000,', '['), `[${rows},2]`),
    /at depth 2 it has an array of length 1, not an array of length 2$/,
  )
  refuses(
    large(numbers(rows).replace('[70000,', '["seven",'), `[${rows},2]`),
    /data\[140000\] is "seven"; FP32 accepts/,
  )
  refuses(
    large(numbers(rows).replace('[70000,', '[70000,,'), `[${rows},2]`),
    /: the body is not valid JSON: in the data of input "x": /,
  )
  refuses(
    large(`[${new Array(rows).fill(1)}]`, `[${rows},2]`),
    /shape \[100000,2\] has 200000 elements, but data has 100000$/,
  )
  refuses(
    large(`[${'9,'.repeat(rows)}{"a":"${'b'.repeat(200_000)}"}]`, `[${rows},2]`),
    /data\[100000\] is an object; FP32 accepts/,
  )
})

test('rejects a large body that is not a JSON object without parsing it', () => {
  const refuses = (text: string, message: RegExp) =>
    assert.throws(
      () => decodeRequest(Buffer.from(text), undefined, SIGNATURE),
      (error: Error) => error instanceof BadRequest && message.test(error.message),
    )
  refuses('x'.repeat(300_000), /^the body begins with "xxxxxxxxxxxxxxxxxxxx"; it must be a JSON/)
  refuses(`[${'1,'.repeat(300_000)}1]`, /^the body begins with "\[1,/)
  refuses(' '.repeat(300_000), /^the body is empty/)
})

test('rejects more inputs than the model has while it locates their data', () => {
  for (const inputs of ['{"data":[]},'.repeat(100_000), `{"a":1${',"data":[]'.repeat(100_000)}},`])
    assert.throws(
      () => parseAroundData(Buffer.from(`{"inputs":[${inputs}{}]}`), 'the body', 2),
      /^Error: more than 2 inputs have data; the model's number of inputs is 2$/,
    )
})

const withReviver = (text: string) =>
  JSON.parse(text, ((_key: string, value: unknown, { source }: { source: string }) =>
    typeof value === 'number' && !Number.isSafeInteger(value) && /^-?\d{16,20}$/.test(source)
      ? BigInt(source)
      : value) as never)

const leaf = fc.oneof(
  number,
  fc.constantFrom(
    '12345678901234567.0',
    '1e1234567890123456',
    '0.1234567890123456789',
    '01234567890123456',
    '"1234567890123456789"',
    '"a\\"1234567890123456789"',
    '"\\\\"',
    'null',
    ' ',
    '"',
  ),
)
const tree = fc.letrec<{ value: string }>(tie => ({
  value: fc.oneof(
    { maxDepth: 3 },
    leaf,
    fc.array(tie('value')).map(values => `[${values.join(', ')}]`),
    fc
      .array(
        fc.tuple(
          fc.constantFrom('"a"', '"1234567890123456789"', '"__proto__"', '1234567890123456789'),
          tie('value'),
        ),
      )
      .map(members => `{${members.map(([key, value]) => `${key} :${value}`)}}`),
  ),
})).value

test('reads integers beyond 2^53 like JSON.parse with a reviver, in valid and invalid JSON', () => {
  const attempt = (parse: (text: string) => unknown, text: string) => {
    try {
      return { value: parse(text) }
    } catch (error) {
      return { refused: (error as Error).name }
    }
  }
  fc.assert(
    fc.property(tree, value => {
      const text = `[${value}]`
      assert.deepStrictEqual(attempt(parseExactly, text), attempt(withReviver, text), text)
    }),
    runs(50_000),
  )
})

test('rejects more than 4 MiB of JSON outside tensor data', () => {
  const body = large('[1,2]', '[1,2]', `,"more":"${'a'.repeat(4 * 2 ** 20)}"`)
  assert.throws(
    () => decodeRequest(body, undefined, SIGNATURE),
    (error: Error) =>
      error instanceof TooLarge &&
      /more than the 4194304 bytes of JSON allowed outside tensor data/.test(error.message),
  )
})

test('rejects too many values outside tensor data, but accepts one long value', () => {
  const decode = (more: string) =>
    decodeRequest(large('[1,2]', '[1,2]', more), undefined, SIGNATURE)
  const padding = `,"padding":"${'[,'.repeat(100_000)}"`
  assert.equal(decode(padding).inputs[0]?.data.length, 2)
  assert.throws(
    () => decode(`${padding},"more":[0${',[]'.repeat(20_000)}]`),
    (error: Error) =>
      error instanceof BadRequest && /more than the 32768 JSON values/.test(error.message),
  )
})
