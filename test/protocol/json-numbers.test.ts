import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { suite, test } from 'node:test'
import { promisify } from 'node:util'
import fc from 'fast-check'
import type { Datatype } from '../../function/protocol/datatypes.ts'
import { decodeParsedRequest, decodeRequest } from '../../function/protocol/decode.ts'
import { encodeData } from '../../function/protocol/encode.ts'
import { parseJson } from '../../function/protocol/json.ts'
import { JsonNumbers, parseAroundNumbers } from '../../function/protocol/json-numbers.ts'
import { numbers } from '../../function/protocol/numbers.ts'
import type { Signature } from '../../function/protocol/tensor.ts'

// Load WebAssembly now, so that it reads even the first numbers.
numbers(1_000)

const execute = promisify(execFile)

const RUNS = Number(process.env.RUNS ?? 1)

function signatureOf(datatypes: Record<string, Datatype>): Signature {
  const inputs = Object.entries(datatypes).map(([name, datatype]) => ({
    name,
    datatype,
    shape: [],
    dimensionNames: [],
    anyRank: true,
  }))
  return { inputs, outputs: [] }
}

/** Spaces that make a body long enough for its numbers to be read from the bytes. */
const PADDING = ' '.repeat(1024)

const bodyOf = (data: string, shape: string, datatype: Datatype) =>
  `${PADDING}{"inputs":[{"name":"x","shape":${shape},"datatype":"${datatype}","data":${data}}]}`

function outcome(decode: () => unknown): unknown {
  try {
    return decode()
  } catch (error) {
    const { name, message } = error as Error
    return `${name}: ${message}`
  }
}

/** The result must be that of JSON.parse and a conversion of its values. */
function check(body: string | Uint8Array, signature: Signature): void {
  const bytes = Buffer.from(body as string)
  assert.deepStrictEqual(
    outcome(() => decodeRequest(bytes, undefined, signature)),
    outcome(() => decodeParsedRequest(parseJson(bytes, 'the body'), signature)),
    bytes.toString().trimStart(),
  )
}

function readNumbers(data: string): JsonNumbers | undefined {
  const parsed = parseAroundNumbers(Buffer.from(`{"inputs":[{"data":${data}}]}`), 'the body', 1)
  if (parsed === undefined) return undefined
  const read = (parsed.value as { inputs: { data: unknown }[] }).inputs[0]?.data
  assert.ok(read instanceof JsonNumbers)
  return read
}

const AT_ONCE = 16

/** The numbers must be read from the bytes and have the values of JSON.parse. */
function checkNumbers(texts: readonly string[]): void {
  for (let from = 0; from < texts.length; from += AT_ONCE) {
    const some = texts.slice(from, from + AT_ONCE)
    const read = [...(readNumbers(`[${some}]`)?.values ?? [])]
    assert.deepStrictEqual(read, JSON.parse(`[${some}]`), String(some))
    const half = Math.ceil(some.length / 2)
    check(bodyOf(`[${some.slice(0, half)}]`, `[${half}]`, 'FP32'), signatureOf({ x: 'FP32' }))
  }
}

function everyDigit(value: number): string {
  let whole = BigInt(Math.trunc(value))
  let rest = value - Math.trunc(value)
  let digits = ''
  while (rest > 0) {
    rest *= 2
    whole = whole * 2n + BigInt(Math.trunc(rest))
    rest -= Math.trunc(rest)
    digits += '0'
  }
  // whole / 2^n = whole * 5^n / 10^n
  const scaled = String(whole * 5n ** BigInt(digits.length)).padStart(digits.length + 1, '0')
  const point = scaled.length - digits.length
  return digits === '' ? scaled : `${scaled.slice(0, point)}.${scaled.slice(point)}`
}

const float = new Float32Array(1)
const bits = new Uint32Array(float.buffer)

function ofBits(pattern: number): number {
  bits[0] = pattern
  return float[0] as number
}

suite('numbers that are read from the bytes of JSON', () => {
  test('reads the same numbers as JSON.parse for every exponent and count of digits', () => {
    const mantissas = ['1', '9', '4.9406564584124654', '2.2250738585072011', '1.79769313486231570']
    const digits = '98765432109876543210'
    for (let exponent = -400; exponent <= 400; exponent++)
      checkNumbers(mantissas.map(mantissa => `${mantissa}e${exponent}`))
    for (let count = 1; count <= digits.length; count++) {
      const some = digits.slice(0, count)
      const points = Array.from({ length: count - 1 }, (_, i) =>
        [some.slice(0, i + 1), some.slice(i + 1)].join('.'),
      )
      const zeros = Array.from({ length: 30 }, (_, i) => `0.${'0'.repeat(i)}${some}`)
      const texts = [some, ...points, ...zeros]
      checkNumbers([...texts, ...texts.map(text => `-${text}`)])
    }
  })

  test('reads the same numbers as JSON.parse at and next to the midpoint of two FP32 or FP64 values', () => {
    for (let exponent = 90; exponent < 190; exponent++) {
      const low = ofBits(exponent * 2 ** 23 + 0x2aaaaa)
      const middle = (low + ofBits(exponent * 2 ** 23 + 0x2aaaab)) / 2
      const text = everyDigit(middle)
      const point = text.includes('.') ? '' : '.'
      checkNumbers([text, `${text}${point}0000000001`, everyDigit(low), String(middle)])
    }
    const ties = ['9007199254740993', '9007199254740993.0000001', '9007199254740995', '1e23']
    checkNumbers([...ties, '0.50000000000000005551115123125782702118158340454101562', '8.5e-46'])
  })

  test('keeps the sign of zero and skips white space', () => {
    checkNumbers(['0', '-0', '-0.0', '0.000', '-0e7', '0E-400', '-1e-400'])
    const spaced = readNumbers(' [\t-0 ,\r\n 1.5\n, 2 ] '.trim())
    assert.deepStrictEqual([...(spaced?.values ?? [])], [-0, 1.5, 2])
  })

  test('reports the lengths of nested arrays', () => {
    const lengths = (data: string) => [...(readNumbers(data)?.lengths ?? [])]
    assert.deepEqual(lengths('[1,2,3]'), [3])
    assert.deepEqual(lengths('[ [1 , 2 ] ,\n[3,4],[5,6]]'), [3, 2])
    assert.deepEqual(lengths('[[[1],[2]],[[3],[4]]]'), [2, 2, 1])
  })

  test('reads any number of up to 19 digits as JSON.parse does', () => {
    const number = fc
      .tuple(fc.bigInt({ min: 0n, max: 10n ** 19n - 1n }), fc.integer({ min: -80, max: 60 }))
      .map(([digits, power]) => `${digits}e${power}`)
    fc.assert(fc.property(fc.array(number, { minLength: 1, maxLength: AT_ONCE }), checkNumbers), {
      numRuns: 2_000 * RUNS,
    })
  })

  test('reads the 19 digits around any midpoint of two FP64 values as JSON.parse does', () => {
    const midpoint = fc
      .tuple(fc.bigInt({ min: 2n ** 52n, max: 2n ** 53n - 1n }), fc.integer({ min: -250, max: 90 }))
      .map(([mantissa, binary]) => {
        const twice = 2n * mantissa + 1n
        const whole = binary > 0 ? twice << BigInt(binary - 1) : twice * 5n ** BigInt(1 - binary)
        const first = BigInt(String(whole).slice(0, 19))
        const power = String(whole).length - 19 + Math.min(0, binary - 1)
        return [first - 1n, first, first + 1n].map(digits => `${digits}e${power}`)
      })
    fc.assert(fc.property(midpoint, checkNumbers), { numRuns: 2_000 * RUNS })
  })

  test('leaves an array to JSON.parse if it has more than 1,024 numbers of 20 digits', () => {
    const long = Array.from({ length: 1_025 }, (_, i) => `0.${'1234567890'.repeat(2)}${i}`)
    checkNumbers(long.slice(0, AT_ONCE))
    assert.equal(readNumbers(`[${long.slice(1)}]`)?.values.length, 1_024)
    assert.equal(readNumbers(`[${long}]`), undefined)
  })

  test('reads and writes the same numbers without WebAssembly', async () => {
    const data = Array.from({ length: 300 }, (_, i) => Math.fround(Math.sin(i)))
    const script = `
      import { decodeRequest } from './function/protocol/decode.ts'
      import { encodeData } from './function/protocol/encode.ts'
      const body = Buffer.from(${JSON.stringify(bodyOf(JSON.stringify(data), '[300]', 'FP32'))})
      const signature = ${JSON.stringify(signatureOf({ x: 'FP32' }))}
      globalThis.WebAssembly = undefined
      const { inputs } = decodeRequest(body, undefined, signature)
      console.log(encodeData(inputs[0]))`
    const { stdout } = await execute(
      process.execPath,
      ['--input-type=module-typescript', '--eval', script],
      { timeout: 60_000 },
    )
    const written = encodeData({ datatype: 'FP32', data: Float32Array.from(data) })
    assert.equal(stdout, `${written}\n`)
  })

  test('leaves numbers to JSON.parse if more inputs have data than the model has inputs', () => {
    const body = Buffer.from('{"inputs":[{"data":[1]},{"data":[2]}]}')
    assert.equal(parseAroundNumbers(body, 'the body', 1), undefined)
    assert.ok(parseAroundNumbers(body, 'the body', 2))
  })
})

/** Many of these arrays are invalid. */
const DATA = [
  ...['01', '-', '-a', '1.', '.5', '+1', '1e', '1e+', '1.e5', '--1', '1 2', '1,,2', '1,', ',1'],
  ...['NaN', '-Infinity', '"NaN"', '"Infinity"', '"1"', 'true', 'null', '{}', '{"a":1}', '', ' '],
  ...[
    '0x10',
    '1_0',
    '１',
    '1\u00a0',
    '\v1',
    '\u20281',
    '\ufeff1',
    '1e400',
    '-1e39',
    '3.4028235e38',
  ],
  ...['3.40282357e38', '1.5', '-1', '-0', '256', '4294967296', '9007199254740993', '1e15', '1.0'],
  ...['18446744073709551615', '-9223372036854775808', '9223372036854775808', '9007199254740991'],
  ...[
    '[]',
    '[1]',
    '[[1]]',
    '1,[2]',
    '[1],2',
    '[1],[2]',
    '[1],[2,3]',
    '[1,2],[3],[4,5,6]',
    '[[1]],[1]',
    '[1],[[1]]',
  ],
  ...['1]', '[1', '1}', '[1]]', '[1],', '[1],]', '1,"NaN"', '1,2,true', '1//', '1/**/', '1e5,2E-3'],
].map(inner => `[${inner}]`)

const SHAPES = [
  '[1]',
  '[2]',
  '[3]',
  '[1,1]',
  '[2,1]',
  '[1,2]',
  '[]',
  '[0]',
  '[1,1,1]',
  '[2,1,1]',
  '[3,2]',
  '[-1]',
  '3',
]

const DATATYPES: readonly Datatype[] = ['FP32', 'FP64', 'INT64', 'UINT64', 'UINT8', 'INT32', 'FP16']

suite('a request whose numbers are read from the bytes', () => {
  test('returns the values and errors of JSON.parse for any data, shape and datatype', () => {
    for (const datatype of [...DATATYPES, 'BOOL', 'BYTES'] as const)
      for (const shape of SHAPES)
        for (const data of DATA) check(bodyOf(data, shape, datatype), signatureOf({ x: datatype }))
  })

  test('returns the errors of JSON.parse for nesting at and beyond the limits', () => {
    for (const depth of [15, 16, 17, 18, 96, 97, 98, 200]) {
      const data = `${'['.repeat(depth)}1${']'.repeat(depth)}`
      check(bodyOf(data, `[${Array(depth).fill(1)}]`, 'FP32'), signatureOf({ x: 'FP32' }))
    }
  })

  const input = '{"name":"x","shape":[2],"datatype":"FP32","data":[1,2]}'
  const other = '{"data":[[3],[4.5]],"datatype":"INT64","shape":[2,1],"name":"y"}'
  const bigInteger = '9007199254740993'
  const bodies = [
    `{"inputs":[${input}]}`,
    `{"inputs":[${input},${other}]}`,
    `{"inputs":[${other},${input}],"id":"é","outputs":[],"parameters":{}}`,
    `{"inputs":[${other.replace('4.5', '4')},${input}]}`,
    `{"inputs":[${other.replace('4.5', bigInteger)},${input}]}`,
    `{"inputs":[${input},${other.replace('[[3],[4.5]]', `[${Array(20).fill(bigInteger)}]`).replace('[2,1]', '[20]')}]}`,
    `{"inputs":[${input},${input}]}`,
    `{"inputs":[${input}],"inputs":[${input}]}`,
    `{"inputs":[${input.replace('"data"', '"data":[1,2],"data"')}]}`,
    `{"inputs":[${input.replace('"data"', '"data":[1,2],"d\\u0061ta"')}]}`,
    `{"inputs":[${input.replace('"data"', '"d\\u0061ta"')}]}`,
    `{"inputs":[${input.replace('"data"', '"__proto__":{"data":[1]},"data"')}]}`,
    `{"inputs":[${input.replace('"data"', '"data":7,"date"')}]}`,
    `{"inputs":[${input.replace('"FP32"', '"FP64"')}]}`,
    `{"inputs":[7,${input},${other}]}`,
    `{"inputs":[[{"data":[1]}],${input}]}`,
    `{"inputs":{"data":[1,2]}}`,
    `{"data":[1,2]}`,
    `[${input}]`,
    `{"inputs":[${input}]} x`,
    `{"inputs":[${input} ${input}]}`,
    `{"id":NaN,"inputs":[${input}]}`,
    `\ufeff{"inputs":[${input}]}`,
    `\ufeff\ufeff{"inputs":[${input}]}`,
  ]
  const signature = signatureOf({ x: 'FP32', y: 'INT64' })

  test('returns the values and errors of JSON.parse for any text around the data', () => {
    for (const body of bodies) {
      for (const known of [signature, signatureOf({ x: 'FP32' })]) {
        check(PADDING + body, known)
        check(body + PADDING, known)
      }
    }
  })

  test('returns the errors of JSON.parse for a truncated request and for each byte that is not UTF-8', () => {
    const bytes = Buffer.from(PADDING + bodies[1])
    for (let at = PADDING.length; at < bytes.length; at++) {
      check(bytes.subarray(0, at), signature)
      const bent = Buffer.from(bytes)
      bent[at] = 0xc3
      check(bent, signature)
    }
  })

  test('returns the values and errors of JSON.parse after any small change of a request', () => {
    const number = fc.oneof(
      fc.double({ noNaN: true, noDefaultInfinity: true }).map(value => JSON.stringify(value)),
      fc.integer().map(String),
      fc.integer({ min: -(10 ** 7), max: 10 ** 7 }).map(value => String(value / 1000)),
      fc.bigInt({ min: -(10n ** 22n), max: 10n ** 22n }).map(String),
      fc.stringMatching(/^-?(0|[1-9]\d{0,24})(\.\d{1,24})?([eE][+-]?\d{1,3})?$/),
    )
    const row = fc.integer({ min: 1, max: 4 })
    const change = fc.record({
      at: fc.double({ min: 0, max: 0.999, noNaN: true }),
      drop: fc.nat(2),
      put: fc.constantFrom(
        '',
        ' ',
        ',',
        '[',
        ']',
        '0',
        '-',
        '.',
        'e',
        '"',
        '{',
        '}',
        '1',
        '\t',
        'é',
      ),
    })
    fc.assert(
      fc.property(
        fc.array(number, { minLength: 1, maxLength: 40 }),
        row,
        fc.constantFrom(...DATATYPES),
        fc.array(change, { maxLength: 2 }),
        (numbers, width, datatype, changes) => {
          const rows = Array.from({ length: Math.ceil(numbers.length / width) }, (_, i) =>
            numbers.slice(i * width, (i + 1) * width),
          )
          const nested = `[${rows.map(part => `[${part.join(', ')}]`)}]`
          for (const [data, shape] of [
            [`[${numbers}]`, `[${numbers.length}]`],
            [nested, `[${rows.length},${width}]`],
          ] as const) {
            let body = bodyOf(data, shape, datatype).trimStart()
            for (const { at, drop, put } of changes) {
              const from = Math.floor(at * body.length)
              body = body.slice(0, from) + put + body.slice(from + drop)
            }
            check(PADDING + body, signatureOf({ x: datatype }))
          }
        },
      ),
      { numRuns: 500 * RUNS },
    )
  })
})
