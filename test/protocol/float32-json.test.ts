import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { float32sToJson } from '../../function/protocol/float32-json.ts'
import { numbers } from '../../function/protocol/numbers.ts'
import { shortest } from '../../function/protocol/shortest.ts'

// Load WebAssembly now, because all tests are about the text that it writes.
numbers(1_000)

/**
 * The fewest digits that identify an FP32. Unlike the tested code, compares the value with both of
 * its neighbours.
 */
function fewestDigits(value: number): string {
  for (let digits = 1; digits < 9; digits++) {
    const nearest = value.toPrecision(digits)
    if (Math.fround(Number(nearest)) === value) return String(Number(nearest))
    const [mantissa, exponent] = Number(nearest)
      .toExponential(digits - 1)
      .split('e')
    const whole = Number(mantissa?.replace('.', ''))
    for (const other of [whole - 1, whole + 1]) {
      const short = Number(`${other}e${Number(exponent) - digits + 1}`)
      if (Math.fround(short) === value) return String(short)
    }
  }
  return String(Number(value.toPrecision(9)))
}

function expected(value: number): string {
  if (Math.abs(value) === ofBits(0x15ae43fe)) return `${7.0385313e-26 * Math.sign(value)}`
  if (!Number.isFinite(value)) return `"${value}"`
  if (Object.is(value, -0)) return '-0'
  if (Number.isInteger(value) && Math.abs(value) < 1e21) return String(value)
  return fewestDigits(value)
}

const bits = new Uint32Array(1)
const float = new Float32Array(bits.buffer)

function ofBits(pattern: number): number {
  bits[0] = pattern
  return float[0] as number
}

function check(values: readonly number[]): void {
  const data = Float32Array.from(values)
  const text = float32sToJson(data)
  assert.deepEqual(text.split(','), Array.from(data, expected))
  const read: (number | string)[] = JSON.parse(`[${text}]`)
  assert.deepEqual(
    read.map(value => Math.fround(Number(value))),
    [...data],
  )
}

suite('the JSON of an FP32', () => {
  test('writes the fewest digits that identify an FP32', () => {
    const values = Float32Array.of(
      0.1,
      5.1,
      1 / 3,
      100,
      -0.5,
      0.97868073,
      16777216,
      1e21,
      8.261233e-7,
    )
    assert.equal(
      float32sToJson(values),
      '0.1,5.1,0.33333334,100,-0.5,0.97868073,16777216,1e+21,8.261233e-7',
    )
  })

  test('keeps the sign of -0, and writes NaN and infinities as strings', () => {
    const values = Float32Array.of(
      0,
      -0,
      Number.NaN,
      Number.POSITIVE_INFINITY,
      Number.NEGATIVE_INFINITY,
    )
    assert.equal(float32sToJson(values), '0,-0,"NaN","Infinity","-Infinity"')
  })

  test('writes a number that is the same FP32 whether or not it is first rounded to FP64', () => {
    // 7.038531e-26 lies between these two. FP64 rounds it to the midpoint.
    const pair = [0x15ae43fd, 0x15ae43fe].map(ofBits)
    assert.equal(float32sToJson(Float32Array.from(pair)), '7.0385307e-26,7.0385313e-26')
    assert.deepEqual(pair.map(shortest), [7.0385307e-26, 7.0385313e-26])
  })

  test('writes exact values for every exponent, powers of two, subnormals and the largest FP32', () => {
    const mantissas = [0, 1, 2, 3, 0x2aaaaa, 0x3fffff, 0x400000, 0x555555, 0x7ffffe, 0x7fffff]
    for (let exponent = 0; exponent < 255; exponent++)
      check(
        mantissas.flatMap(mantissa => {
          const pattern = exponent * 2 ** 23 + mantissa
          return [ofBits(pattern), ofBits(pattern + 2 ** 31)]
        }),
      )
  })

  test('writes exact values next to every power of ten and every tie of seven digits near it', () => {
    for (let power = -45; power <= 38; power++)
      for (const start of [1, 1.0000005, 4.9999995, 9.999999, 9.9999995, 2 ** 23 / 1e7]) {
        bits[0] = 0
        float[0] = start * 10 ** power
        const pattern = bits[0]
        if (!Number.isFinite(ofBits(pattern + 3))) continue
        const around = [-3, -2, -1, 0, 1, 2, 3].map(step => ofBits(Math.max(0, pattern + step)))
        check(around)
      }
  })

  test('writes decimals of up to five digits without trailing zeros', () => {
    for (let power = -49; power <= 33; power++)
      check(
        Array.from({ length: 100 }, (_, i) =>
          Math.fround(Number(`${7 + 991 * i}e${power}`)),
        ).filter(Number.isFinite),
      )
    // In this range, neighbouring FP32 values differ by more than one unit in the seventh digit. The loop tries every number
    // of five digits.
    check(Array.from({ length: 2_000 }, (_, i) => Math.fround(Number(`${98_000 + i}e-8`))))
  })

  test('writes any FP32 exactly', () => {
    const anyFloat = fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(ofBits)
    fc.assert(fc.property(fc.array(anyFloat, { minLength: 1, maxLength: 40 }), check), {
      numRuns: 500,
    })
  })

  test('loads WebAssembly after 1,000 numbers', async () => {
    const copy = `${new URL('../../function/protocol/numbers.ts?unloaded', import.meta.url)}`
    const unloaded: typeof import('../../function/protocol/numbers.ts') = await import(copy)
    assert.ok(unloaded.numbers(999) === undefined)
    assert.ok(unloaded.numbers(1))
  })

  test('writes more elements than its buffer has room for', () => {
    const values = Float32Array.from({ length: 5_000 }, (_, i) =>
      Math.fround(Math.sin(i) / (i + 1)),
    )
    const one = Array.from(values, value => float32sToJson(Float32Array.of(value)))
    assert.equal(float32sToJson(values), one.join())
  })
})
