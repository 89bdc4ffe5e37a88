import { FLOATS, LEAST_POWER, POWERS, TEXT } from './layout'

const COMMA: u8 = 0x2c
const MINUS: u8 = 0x2d
const POINT: u8 = 0x2e
const ZERO: u32 = 0x30
const LOWER_E: u8 = 0x65
/** "0.000000", the first byte last. */
const SMALL: u64 = (<u64>0x30303030 << 32) | 0x30302e30
/** "00000000" */
const ZEROS: u64 = (<u64>0x30303030 << 32) | 0x30303030

/** The smallest integers with two, three, ... digits. Zero has one digit. */
const TENS: usize = memory.data<u32>([
  0, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000, 1000000000,
])

/** The largest FP32 below 10^9. The digits of larger values do not fit. */
const MOST: f32 = 999999936

/**
 * The only FP32 whose shortest decimal number, 7.038531e-26, becomes another FP32 if it is first
 * rounded to FP64, as JSON.parse does (all FP32 values were tried).
 */
const ROUNDED_TWICE: u32 = 0x15ae43fd

/** The address after the text that write() has written. */
let end: usize = 0

/**
 * Writes FP32 values with the fewest digits that identify each value. A comma precedes each value.
 * Leaves NaN, infinities, -0, ROUNDED_TWICE and values of 10^9 and more to the caller.
 * @param from the index of the first value in FLOATS
 * @param to the index after the last value
 * @returns the index of the first value that is left; `to` if all values are written
 */
export function write(from: i32, to: i32): i32 {
  let at = TEXT
  let i = from
  for (; i < to; i++) {
    const bits = load<u32>(FLOATS + (<usize>i << 2))
    const size = bits & 0x7fffffff
    if (!(reinterpret<f32>(size) <= MOST) || bits == 0x80000000 || size == ROUNDED_TWICE) break
    store<u8>(at, COMMA)
    store<u8>(at, MINUS, 1)
    at += 1 + (bits >> 31)
    at = writeDecimal(withoutZeros(decimalOf(size)), at)
  }
  end = at
  return i
}

/** Returns the length of the text that write() has written. */
export function written(): i32 {
  return <i32>(end - TEXT)
}

/** A decimal number: digits * 10^power, with the digits in the lower 32 bits. */
type Decimal = u64

@inline
function decimal(digits: u32, power: i32): Decimal {
  return (<u64>power << 32) | digits
}

/**
 * Finds the decimal number with the fewest digits that identifies an FP32; of several, the nearest
 * (Giulietti, "The Schubfach way to render doubles", 2020). It may end with zeros.
 */
@inline
function decimalOf(bits: u32): Decimal {
  const fraction = bits & 0x7fffff
  const biased = <i32>(bits >> 23)
  const c = biased == 0 ? fraction : fraction | 0x800000
  const q = max(biased, 1) - 150
  // Integers keep all their digits.
  if (q >= 0) return decimal(c << q, 0)
  if (q > -24 && (c & ((1 << -q) - 1)) == 0) return decimal(c >> -q, 0)
  if (c == 0) return 0
  // The FP32 below a power of two is nearer than the FP32 above it.
  const isNearer = <u32>(fraction == 0 && biased > 1)
  const k = (q * 1262611 - (isNearer ? 524031 : 0)) >> 22
  const h = q + ((-k * 1741647) >> 19) + 1
  const g = powerOfTen(-k)
  // The interval whose numbers are all read as this FP32, in quarters of 10^k. It includes its
  // bounds if the fraction is even.
  const low = multiply(g, (4 * c - 2 + isNearer) << h) + (c & 1)
  const high = multiply(g, (4 * c + 2) << h) - (c & 1)
  return shortest(low, multiply(g, (4 * c) << h), high, k)
}

/** Returns the shortest decimal number between the bounds. */
@inline
function shortest(low: u32, value: u32, high: u32, k: i32): Decimal {
  const long = value >> 2
  const isDown = low <= long * 4
  const isUp = (long + 1) * 4 <= high
  const short = long / 10
  const isShortDown = low <= short * 40
  const isShortUp = (short + 1) * 40 <= high
  const up = select<u32>(<u32>isUp, <u32>(value >= long * 4 + 2), isDown != isUp)
  // select() does not branch: a branch would be predicted wrongly for a third of all values.
  const isShort = <u32>(isShortDown != isShortUp) & <u32>(long >= 10)
  return decimal(select<u32>(short + <u32>isShortUp, long + up, isShort), k + isShort)
}

/** Returns the 64 most significant bits of 10^power, rounded up. */
@inline
function powerOfTen(power: i32): u64 {
  const isExact = power >= 0 && power <= 27
  return load<u64>(POWERS + (<usize>(power - LEAST_POWER) << 4)) + <u64>!isExact
}

/** Returns g * c / 2^64, with the last bit set if the quotient is not exact (round to odd). */
@inline
function multiply(g: u64, c: u32): u32 {
  const sum = (g >> 32) * c + (((g & 0xffffffff) * c) >> 32)
  return <u32>(sum >> 32) | <u32>(<u32>sum > 1)
}

/**
 * Removes zeros at the end of a fraction. They never reach the point: the shortest decimal number
 * of an FP32 that is not an integer is not an integer.
 */
@inline
function withoutZeros(number: Decimal): Decimal {
  let digits = <u32>number
  let power = <i32>(number >> 32)
  if (power == 0 || (digits / 10) * 10 != digits) return number
  while (true) {
    const shorter = digits / 100
    if (shorter * 100 != digits) break
    digits = shorter
    power += 2
  }
  const shorter = digits / 10
  return shorter * 10 == digits ? decimal(shorter, power + 1) : decimal(digits, power)
}

/** Writes a decimal number as JavaScript does. Returns the address after it. */
@inline
function writeDecimal(number: Decimal, at: usize): usize {
  const digits = <u32>number
  const power = <i32>(number >> 32)
  const about = ((32 - clz<u32>(digits)) * 1233) >> 12
  const count = about + <u32>(digits >= load<u32>(TENS + (about << 2)))
  const first = digits / 100000000
  const nine = <u32>(count == 9)
  const few = count - nine
  const text = asciiOf(digits - first * 100000000) >> <u64>(8 * (8 - few))
  const point = <i32>count + power
  if (point <= 0 && point > -6) {
    store<u64>(at, SMALL)
    return writeDigits(first, nine, text, at + 2 - point) + few
  }
  if (power >= 0) return writeDigits(first, nine, text, at) + few
  if (point <= 0) return writeExponent(at, writeDigits(first, nine, text, at + 1) + few, power)
  const rest = writeDigits(first, nine, text, at)
  const whole = <u32>point - nine
  store<u8>(rest + whole, POINT)
  store<u64>(rest + whole + 1, text >> (8 * whole))
  return rest + few + 1
}

/** Writes the digits. Returns the address after the first digit if there are nine, otherwise `at`. */
@inline
function writeDigits(first: u32, nine: u32, text: u64, at: usize): usize {
  store<u8>(at, ZERO + first)
  store<u64>(at + nine, text)
  return at + nine
}

/**
 * Writes a number below 10^-6, such as 8.261233e-7.
 * @param start the address for the number, whose digits begin one byte later
 * @param after the address after the digits
 */
function writeExponent(start: usize, after: usize, power: i32): usize {
  const count = <i32>(after - start) - 1
  store<u8>(start, load<u8>(start, 1))
  store<u8>(start, POINT, 1)
  let at = count == 1 ? start + 1 : after
  const exponent = 1 - count - power
  store<u8>(at, LOWER_E)
  store<u8>(at, MINUS, 1)
  at += 2
  if (exponent >= 10) store<u8>(at++, ZERO + exponent / 10)
  store<u8>(at, ZERO + (exponent % 10))
  return at + 1
}

/** Returns eight digits as text, the first digit in the lowest byte. */
@inline
function asciiOf(value: u32): u64 {
  const upper = value / 10000
  // Divide two numbers by 100 at once, then four by 10. For these sizes the quotients are exact.
  const fours = <u64>upper | (<u64>(value - upper * 10000) << 32)
  const hundreds = ((fours * 10486) >> 20) & 0x0000007f0000007f
  const twos = hundreds | ((fours - hundreds * 100) << 16)
  const tens = ((twos * 103) >> 10) & 0x000f000f000f000f
  return (tens | ((twos - tens * 10) << 8)) | ZEROS
}
