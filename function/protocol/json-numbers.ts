import { type ParsedJson, parseExactly, parseJson, withoutMark } from './json.ts'
import {
  aroundPlaces,
  CLOSE_ARRAY,
  COMMA,
  eachData,
  OPEN_ARRAY,
  type Place,
  skipSpace,
  textOf,
} from './json-scan.ts'

/**
 * Parses an inference request like {@link parseJson}, but reads each input's `data` from the bytes,
 * as {@link JsonNumbers}. JSON.parse reads the other text.
 * @param body of at most 128 KiB
 * @returns undefined if {@link NumberReader} cannot read the data, or the JSON is invalid;
 * parseJson then reports the error
 */
export function parseAroundNumbers(
  body: Uint8Array,
  where: string,
  mostInputs: number,
): ParsedJson | undefined {
  const bytes = withoutMark(body)
  const reader = new NumberReader(bytes)
  const found: { readonly input: number; readonly data: JsonNumbers }[] = []
  let isUnread = false
  eachData(bytes, where, (input, at) => {
    const data = found.length < mostInputs ? reader.read(at) : undefined
    if (data !== undefined) found.push({ input, data })
    else isUnread = true
    return data?.end ?? bytes.length
  })
  if (isUnread || found.length === 0) return undefined
  const places = found.map(({ data }) => data)
  const rest = Buffer.concat(aroundPlaces(bytes, places))
  let value: unknown
  try {
    value = parseJson(rest, where).value
  } catch {
    // This error's positions would not match the body.
    return undefined
  }
  // The JSON is valid, so each input's data is at the location found.
  const { inputs } = value as { inputs: { data: unknown }[] }
  for (const { input, data } of found) (inputs[input] as { data: unknown }).data = data
  return { value, exact: () => value }
}

/** The numbers of a JSON array. Nested arrays at the same depth have the same length. */
export class JsonNumbers implements Place {
  readonly start: number
  readonly end: number
  /** The same values as JSON.parse returns. The next request overwrites them. */
  readonly values: Float64Array
  /** The lengths of the array and its nested arrays, the outermost first. */
  readonly lengths: readonly number[]
  private readonly bytes: Uint8Array

  constructor(
    bytes: Uint8Array,
    { start, end }: Place,
    { values, lengths }: Pick<JsonNumbers, 'values' | 'lengths'>,
  ) {
    this.bytes = bytes
    this.start = start
    this.end = end
    this.values = values
    this.lengths = lengths
  }

  /** Parses the array as JSON.parse does, but with bigints beyond 2^53. */
  parse(): unknown {
    return parseExactly(textOf(this.bytes, this.start, this.end))
  }
}

const PLUS = 0x2b
const MINUS = 0x2d
const POINT = 0x2e
const ZERO = 0x30
const NINE = 0x39
const LOWER_E = 0x65
const SPACE = 0x20

const isDigit = (byte: number) => byte >= ZERO && byte <= NINE

const NO_NUMBER = -1

/** Integers with this many digits are below 2^53, so doubles represent them exactly. */
const EXACT_DIGITS = 15

/** Doubles represent powers of ten up to 10^22 exactly. */
const POWERS = Float64Array.from({ length: EXACT_DIGITS }, (_, i) => Number(`1e${i}`))

/** Deeper arrays are left to JSON.parse. */
const MAX_DEPTH = 16

/**
 * Limits the long numbers, which have more digits or an exponent. With many of them, JSON.parse is
 * faster.
 */
const LONG = { atFirst: 16, oneIn: 8 }

/** In a body of at most 128 KiB, a number and its comma need at least two bytes. */
const MAX_NUMBERS = 64 * 1024

/**
 * All requests share this memory: allocating it for each would take longer than reading the
 * numbers.
 */
let shared: Float64Array | undefined

/**
 * Reads numbers in half the time of JSON.parse. The digits and the power of ten are exact, so only
 * their quotient is rounded, to the same value as in JSON.parse. Number() reads longer numbers.
 */
class NumberReader {
  private readonly bytes: Uint8Array
  private readonly values: Float64Array
  /** The bytes as characters. */
  private text: string | undefined
  /** The position of the next byte. */
  private at = 0
  /** All numbers read, and the long ones, which Number() read. */
  private count = 0
  private longCount = 0
  /** The lengths of the arrays at each depth, and the depth of the arrays of numbers. */
  private lengths: number[] = []
  private rowDepth = -1

  constructor(bytes: Uint8Array) {
    this.bytes = bytes
    shared ??= new Float64Array(MAX_NUMBERS)
    this.values = shared
  }

  /** @returns undefined unless the array contains only numbers, or only arrays of equal lengths */
  read(start: number): JsonNumbers | undefined {
    const first = this.count
    this.at = start
    this.lengths = []
    this.rowDepth = -1
    if (!this.readArray(0)) return undefined
    return new JsonNumbers(
      this.bytes,
      { start, end: this.at },
      { values: this.values.subarray(first, this.count), lengths: this.lengths },
    )
  }

  private readArray(depth: number): boolean {
    const { bytes } = this
    this.at = skipSpace(bytes, this.at + 1)
    if (bytes[this.at] !== OPEN_ARRAY) return this.readRow(depth)
    if (depth === MAX_DEPTH) return false
    for (let length = 1; ; length++) {
      if (bytes[this.at] !== OPEN_ARRAY || !this.readArray(depth + 1)) return false
      this.at = skipSpace(bytes, this.at)
      if (bytes[this.at] !== COMMA) return this.close(depth, length)
      this.at = skipSpace(bytes, this.at + 1)
    }
  }

  private readRow(depth: number): boolean {
    const { bytes } = this
    if (this.rowDepth === -1) this.rowDepth = depth
    if (depth !== this.rowDepth) return false
    const first = this.count
    for (;;) {
      let at = this.readNumber(this.at)
      if (at === NO_NUMBER) return false
      if (bytes[at] !== COMMA) {
        at = skipSpace(bytes, at)
        this.at = at
        if (bytes[at] !== COMMA) return this.close(depth, this.count - first)
      }
      at++
      this.at = (bytes[at] as number) > SPACE ? at : skipSpace(bytes, at)
    }
  }

  private close(depth: number, length: number): boolean {
    if (this.bytes[this.at] !== CLOSE_ARRAY) return false
    this.at++
    this.lengths[depth] ??= length
    return this.lengths[depth] === length
  }

  /** @returns the position after the number */
  private readNumber(start: number): number {
    const { bytes } = this
    let at = start
    let byte = bytes[at] as number
    const isNegative = byte === MINUS
    if (isNegative) byte = bytes[++at] as number
    const first = at
    let digits = 0
    for (; isDigit(byte); byte = bytes[++at] as number) digits = digits * 10 + (byte - ZERO)
    if (at === first || (bytes[first] === ZERO && at > first + 1)) return NO_NUMBER
    let decimals = 0
    if (byte === POINT) {
      const point = at
      byte = bytes[++at] as number
      for (; isDigit(byte); byte = bytes[++at] as number) digits = digits * 10 + (byte - ZERO)
      decimals = at - point - 1
      if (decimals === 0) return NO_NUMBER
    }
    if (at - first > EXACT_DIGITS || (byte | 0x20) === LOWER_E) return this.readLong(start, at)
    const value = decimals === 0 ? digits : digits / (POWERS[decimals] as number)
    this.values[this.count++] = isNegative ? -value : value
    return at
  }

  /** @param end the position after the number's digits */
  private readLong(start: number, end: number): number {
    const { bytes } = this
    this.longCount++
    if (this.longCount > LONG.atFirst + this.count / LONG.oneIn) return NO_NUMBER
    let at = end
    if (((bytes[at] as number) | 0x20) === LOWER_E) {
      at++
      if (bytes[at] === PLUS || bytes[at] === MINUS) at++
      const first = at
      while (isDigit(bytes[at] as number)) at++
      if (at === first) return NO_NUMBER
    }
    this.text ??= Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
    this.values[this.count++] = Number(this.text.slice(start, at))
    return at
  }
}
