import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Datatype } from '../../function/protocol/datatypes.ts'
import { TooLarge } from '../../function/protocol/errors.ts'
import { parseJson } from '../../function/protocol/json.ts'
import { decodePredict } from '../../function/protocol/predict.ts'
import { LargePredictCodec } from '../../function/protocol/predict-large.ts'
import { PredictWriter } from '../../function/protocol/predict-writer.ts'
import type { Signature, Tensor, TensorMetadata } from '../../function/protocol/tensor.ts'
import { runs } from '../seed.ts'

/*
 * A large V1 request is read piece by piece. For any bytes, the result must be that of JSON.parse,
 * which reads small requests.
 */

const metadata = (name: string, datatype: Datatype, rank: number): TensorMetadata => ({
  name,
  datatype,
  shape: new Array(rank).fill(-1),
  dimensionNames: new Array(rank).fill(''),
  anyRank: false,
})

const LIMITS = { maxBytes: 2 ** 30, maxJsonBytes: 2 ** 30 }
const outputs = [metadata('y', 'FP32', 2)]
const SIGNATURES: readonly Signature[] = [
  { inputs: [metadata('a', 'FP32', 2)], outputs },
  { inputs: [metadata('a', 'INT64', 1)], outputs },
  { inputs: [metadata('a', 'FP64', 2), metadata('b', 'BYTES', 1)], outputs },
  { inputs: [metadata('a', 'INT64', 3), metadata('b', 'BOOL', 2)], outputs },
  { inputs: [metadata('a', 'INT64', 1), metadata('b', 'FP64', 2)], outputs },
  { inputs: [{ ...metadata('a', 'FP32', 1), anyRank: true }], outputs },
]

const LEAVES: Readonly<Record<string, readonly string[]>> = {
  FP32: ['1', '-0.5', '1e-3', '"NaN"'],
  FP64: ['1', '2.5', '-123456789012345678'],
  INT64: ['1', '-7', '9223372036854775807', '1234567890123456789'],
  BOOL: ['true', 'false'],
  BYTES: ['"x"', '"a,b]"', '"\\"é"'],
}

function valueText(shape: readonly number[], datatype: Datatype): fc.Arbitrary<string> {
  const [length, ...inner] = shape
  if (length === undefined) return fc.constantFrom(...(LEAVES[datatype] ?? []))
  return fc
    .array(valueText(inner, datatype), { minLength: length, maxLength: length })
    .map(values => `[${values.join(', ')}]`)
}

/** Most requests fit the model. */
const requestOf = ({ inputs }: Signature) =>
  fc
    .record({
      rows: fc.nat(5),
      dims: fc.array(fc.integer({ min: 1, max: 3 }), { minLength: 3, maxLength: 3 }),
      form: fc.constantFrom('objects', 'plain', 'columns', 'column'),
    })
    .chain(({ rows, dims, form }) => {
      const shape = (rank: number) => dims.slice(0, rank - 1)
      const values = inputs.map(({ shape: { length }, datatype }) =>
        fc.array(valueText(shape(length), datatype), { minLength: rows, maxLength: rows }),
      )
      return fc.tuple(...values).map(columns => {
        if (form === 'columns') {
          const members = inputs.map(({ name }, i) => `"${name}" : [${columns[i]}]`)
          return `{"inputs":{${members}}}`
        }
        if (form === 'column') return `{"inputs" : [${columns[0]}]}`
        if (form === 'plain') return ` {"instances": [${columns[0]}] }`
        const objects = Array.from(
          { length: rows },
          (_, row) => `{${inputs.map(({ name }, i) => `"${name}":${columns[i]?.[row]}`)}}`,
        )
        return `{"signature_name":"serving_default","instances":[${objects.join(' , ')}]}`
      })
    })

const outcome = (decode: () => unknown) => {
  try {
    return { value: decode() }
  } catch (error) {
    return { refused: (error as { code: string }).code, message: (error as Error).message }
  }
}

function decodeLarge(body: Uint8Array, signature: Signature, pieceBytes: number) {
  const bytes = { kind: 'predict', body: Uint8Array.from(body) } as const
  const codec = new LargePredictCodec(bytes, LIMITS, pieceBytes)
  const request = codec.decode(signature)
  for (const _ of codec.readData());
  return request
}

test('reads a request piece by piece like JSON.parse, after changes of any bytes', () => {
  const example = fc
    .constantFrom(...SIGNATURES)
    .chain(signature => requestOf(signature).map(text => ({ signature, text })))
  const bytes = fc.constantFrom(...'",:[]{}\\ 0123456789-eE.tfnuab')
  const changes = fc.array(fc.tuple(fc.nat(), bytes, fc.boolean()), { maxLength: 2 })
  fc.assert(
    fc.property(example, changes, fc.nat(60), ({ signature, text: whole }, changes, piece) => {
      let text = whole
      for (const [at, byte, insert] of changes) {
        const i = at % text.length
        text = text.slice(0, i) + byte + text.slice(insert ? i : i + 1)
      }
      const body = Buffer.from(text)
      const parsed = outcome(() => {
        const { instances: _, ...request } = decodePredict(parseJson(body, 'the body'), signature)
        return request
      })
      const pieces = outcome(() => decodeLarge(body, signature, piece))
      assert.equal(pieces.refused, parsed.refused, `${text}: ${pieces.message} | ${parsed.message}`)
      assert.deepEqual(pieces.value, parsed.value, text)
    }),
    runs(50_000),
  )
})

test('allocates no memory for more rows than the body can contain', () => {
  const body = Buffer.from(`{"instances":[{"a":[${'1,'.repeat(50)}1]}${',{}'.repeat(100_000)}]}`)
  assert.throws(
    () => decodeLarge(body, SIGNATURES[0] as Signature, 100),
    /the first instance has the shape \[51\], but the body is too short for 100001 instances of this shape/,
  )
})

const tensor = (name: string, shape: number[], from = 0): Tensor => ({
  name,
  datatype: 'FP64',
  shape,
  data: Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => from + i),
})

const textOf = ({ json }: { json: string | readonly Uint8Array[] }) =>
  typeof json === 'string' ? json : Buffer.concat(json).toString()

function write(instances: number | undefined, runs: readonly (readonly Tensor[])[]) {
  const writer = new PredictWriter(instances, LIMITS)
  let steps = 0
  for (const outputs of runs) for (const _ of writer.add(outputs)) steps++
  return { text: textOf(writer.finish()), steps }
}

function nest({ shape, data }: Tensor): unknown {
  const [length, ...inner] = shape
  if (length === undefined) return data[0]
  const size = inner.reduce((a, b) => a * b, 1)
  return Array.from({ length }, (_, i) =>
    nest({ ...tensor('', inner), data: data.slice(i * size, (i + 1) * size) as Float64Array }),
  )
}

for (const shape of [
  [3],
  [3, 2],
  [3, 1, 2],
  [3, 0],
  [3, 20_000],
  [3, 2, 2, 9_000],
  [3, 40_000, 1],
]) {
  test(`writes nested outputs of shape [${shape}], after one run or several runs`, () => {
    const y = tensor('y', shape)
    const size = y.data.length / 3
    const two = {
      ...tensor('y', [2, ...shape.slice(1)]),
      data: y.data.slice(0, 2 * size),
    } as Tensor
    const one = { ...tensor('y', [1, ...shape.slice(1)]), data: y.data.slice(2 * size) } as Tensor
    const z = tensor('z', [3, 2])
    const rows = nest(y) as unknown[]
    const zs = nest(z) as unknown[]
    const expected = JSON.stringify({ predictions: rows })
    const { text, steps } = write(3, [[y]])
    assert.equal(text, expected)
    // A step writes 64 KiB of text and at most 16,384 further elements.
    assert.ok(steps >= Math.floor(text.length / (64 * 1024 + 16_384 * 8)), `${steps} steps`)
    assert.equal(write(3, [[two], [one]]).text, expected)
    assert.equal(write(undefined, [[two], [one]]).text, JSON.stringify({ outputs: rows }))
    assert.equal(write(undefined, [[y, z]]).text, JSON.stringify({ outputs: { y: rows, z: zs } }))
    assert.equal(
      write(3, [[y, z]]).text,
      JSON.stringify({ predictions: rows.map((y, i) => ({ y, z: zs[i] })) }),
    )
  })
}

test('writes a scalar output without brackets in a response by columns, and rejects it in a response by rows', () => {
  const y = tensor('y', [])
  assert.equal(write(undefined, [[y]]).text, '{"outputs":0}')
  assert.throws(() => write(1, [[y]]), /not one row for each of the 1 instances/)
})

test('stops writing a response that exceeds a limit, and names the variable of the limit', () => {
  const y = tensor('y', [3, 100_000])
  for (const [limits, says] of [
    [{ maxBytes: 1e9, maxJsonBytes: 1e6 }, /than the 1000000 bytes allowed \(MAX_JSON_BYTES\)/],
    [{ maxBytes: 1e6, maxJsonBytes: 1e9 }, /than the 1000000 bytes allowed \(MAX_BODY_BYTES\)/],
  ] as const) {
    let steps = 0
    const writeAll = () => {
      for (const _ of new PredictWriter(3, limits).add([y])) steps++
    }
    assert.throws(writeAll, (error: Error) => error instanceof TooLarge && says.test(error.message))
    assert.ok(steps < 20, `${steps} steps`)
  }
})
