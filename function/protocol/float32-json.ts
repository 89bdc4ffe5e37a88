import { shortest } from './shortest.ts'

/*
 * Writes FP32 values as JSON with the fewest digits that identify each value: 5.1, not
 * 5.099999904632568. That takes half the length and less than half the time of a double's 17
 * digits. JSON.parse and Math.fround give the same FP32.
 *
 * The candidates are integers of 7, 8 and 9 digits, divided by a power of ten. Up to 10^22, both
 * are exact doubles, so the quotient is the double that JSON.parse would read. Math.fround of the
 * quotient shows whether the digits identify the value; nine always do.
 */

const EXACT_POWERS = 22
/** Powers beyond 10^22 are rounded to the nearest double. */
const POWERS = Array.from({ length: 48 }, (_, i) => Number(`1e${i}`))
/** Bounds the relative error of dividing by a rounded power: two roundings of 2^-53 each. */
const ERROR = 2 ** -51

/** Smaller numbers are subnormal: they have fewer bits and may need fewer than six digits. */
const LEAST = 2 ** -126
/** JavaScript writes smaller numbers with an exponent. */
const LEAST_FIXED = Math.fround(1e-6)
/** Integers below MOST_INTEGER fit into 32 bits. From MOST_FRACTION on, FP32 has no fractions. */
const MOST_INTEGER = 2 ** 31
const MOST_FRACTION = 2 ** 23
/**
 * The only value in this range whose shortest digits are rounded up, not to the nearest (see
 * shortest()).
 */
const ROUNDED_UP = 2 ** -96

/** The longest element: a comma, a sign and 21 digits. Larger numbers have an exponent. */
const MOST_CHARACTERS = 23
const TEXT = Buffer.alloc(1_024 * MOST_CHARACTERS)

const [COMMA, MINUS, POINT, ZERO, E] = [...Buffer.from(',-.0e')] as [
  number,
  number,
  number,
  number,
  number,
]

/** Separates elements with commas. NaN and infinities are strings (RFC 8259, section 6). */
export function float32sToJson(data: Float32Array): string {
  let json = ''
  let at = 0
  for (let i = 0; i < data.length; i++) {
    if (i > 0) TEXT[at++] = COMMA
    at = write(data[i] as number, at)
    if (at > TEXT.length - MOST_CHARACTERS) {
      json += TEXT.toString('latin1', 0, at)
      at = 0
    }
  }
  return json + TEXT.toString('latin1', 0, at)
}

/** @returns the position after the element */
function write(value: number, at: number): number {
  const size = Math.abs(value)
  const isInteger = size < MOST_INTEGER && (size | 0) === size
  const isFraction = size >= LEAST && size < MOST_FRACTION && size !== ROUNDED_UP
  if (size === 0 || !(isInteger || isFraction)) return at + TEXT.write(textOf(value), at, 'latin1')
  let from = at
  if (value < 0) TEXT[from++] = MINUS
  if (isInteger) return writeInteger(size, from)
  find(size, decimalsOfSeven(size))
  return size < LEAST_FIXED ? writeExponent(from) : writeFixed(from)
}

/** Writes kinds of numbers that are rare in responses. */
function textOf(value: number): string {
  if (!Number.isFinite(value)) return `"${value}"`
  if (Object.is(value, -0)) return '-0'
  return String(Number.isInteger(value) && Math.abs(value) < 1e21 ? value : shortest(value))
}

/** The last decimal number found: `digits` / 10^`decimals`. */
const found = { digits: 0, decimals: 0 }

/** @returns d such that 10^6 <= value * 10^d < 10^7, apart from rounding */
function decimalsOfSeven(value: number): number {
  let decimals = value < 1 ? 7 : 6
  while (value * (POWERS[decimals] as number) >= 1e7) decimals--
  while (value * (POWERS[decimals] as number) < 1e6) decimals++
  return decimals
}

function find(value: number, decimals: number): void {
  if (!identifies(value, decimals)) {
    if (!identifies(value, decimals + 1)) identifies(value, decimals + 2)
    // Rounding a tie up may have left trailing zeros.
    dropZeros()
    return
  }
  if (decimals === 0 || dropZeros()) return
  // A shorter candidate differs from the value by at most half of the value's last bit. Below 2^23,
  // that is less than half of the seventh digit, so the candidate is these digits and ends with 0.
  if (found.digits < MOST_FRACTION) return
  // Fewer than six digits may identify a value whose seventh digit is not zero, such as 0.00097666.
  if (identifies(value, decimals - 1)) dropZeros()
  else identifies(value, decimals)
}

/** Rounds a value to some decimals. @returns whether the result identifies the value */
function identifies(value: number, decimals: number): boolean {
  const power = POWERS[decimals] as number
  const digits = (value * power + 0.5) | 0
  found.digits = digits
  found.decimals = decimals
  const read = digits / power
  if (decimals <= EXACT_POWERS) return Math.fround(read) === value
  const least = Math.fround(read * (1 - ERROR))
  const most = Math.fround(read * (1 + ERROR))
  if (least !== most) return Math.fround(Number(`${digits}e-${decimals}`)) === value
  return least === value
}

/** Removes trailing zeros. @returns whether there were any */
function dropZeros(): boolean {
  let { digits, decimals } = found
  while (decimals > 0) {
    const shorter = (digits / 10) | 0
    if (shorter * 10 !== digits) break
    digits = shorter
    decimals--
  }
  const dropped = decimals < found.decimals
  found.digits = digits
  found.decimals = decimals
  return dropped
}

function writeFixed(at: number): number {
  const { digits, decimals } = found
  const power = POWERS[decimals] as number
  if (digits < power) {
    TEXT[at] = ZERO
    TEXT[at + 1] = POINT
    return writeDigits(digits, at + 2, at + 2 + decimals)
  }
  const whole = Math.floor(digits / power)
  const point = writeInteger(whole, at)
  if (decimals === 0) return point
  TEXT[point] = POINT
  return writeDigits(digits - whole * power, point + 1, point + 1 + decimals)
}

function writeInteger(value: number, at: number): number {
  let end = at + 1
  for (let power = 10; value >= power; power *= 10) end++
  return writeDigits(value, at, end)
}

/** Writes an integer with leading zeros. @returns the position after it */
function writeDigits(value: number, from: number, end: number): number {
  let rest = value | 0
  let at = end - 1
  for (; at > from; at -= 2) {
    const shorter = (rest / 100) | 0
    const two = rest - shorter * 100
    // Divide by 10; exact below 100.
    const ten = (two * 205) >> 11
    TEXT[at - 1] = ZERO + ten
    TEXT[at] = ZERO + two - ten * 10
    rest = shorter
  }
  if (at === from) TEXT[at] = ZERO + rest
  return end
}

/** Writes an exponent as JavaScript does: 8.261233e-7. */
function writeExponent(at: number): number {
  // Write the digits one place further right, then move the first digit before the point.
  const end = writeInteger(found.digits, at + 1)
  const followers = end - at - 2
  TEXT[at] = TEXT[at + 1] as number
  TEXT[at + 1] = POINT
  let next = followers === 0 ? at + 1 : end
  TEXT[next++] = E
  TEXT[next++] = MINUS
  return writeInteger(found.decimals - followers, next)
}
