import { LEAST_POWER, POWERS } from './layout'

/** The powers of ten that FP64 represents exactly: 10^0 to 10^22. */
const EXACT_POWERS: i32 = 22
const EXACT: usize = memory.data(23 * 8, 16)

/** The largest integer below which FP64 represents all integers. */
const EXACT_INTEGER: u64 = 1 << 53

/** Must be called once, before any other function. */
export function fillExactPowers(): void {
  let power: f64 = 1
  for (let i = 0; i <= EXACT_POWERS; i++) {
    store<f64>(EXACT + ((<usize>i) << 3), power)
    power *= 10
  }
}

/** All integers with this many digits are below 2^53. */
export const EXACT_DIGITS: usize = 15

/** @returns digits / 10^decimals, for at most EXACT_DIGITS digits */
@inline
export function divide(digits: u64, decimals: usize): f64 {
  // Both operands are exact, so only the quotient is rounded (Clinger, 1990).
  return <f64>(<i64>digits) / load<f64>(EXACT + (decimals << 3))
}

/** @returns digits * 10^power, rounded to the nearest FP64, ties to even */
export function fromDecimal(digits: u64, power: i32): f64 {
  if (digits <= EXACT_INTEGER && abs(power) <= EXACT_POWERS) {
    const factor = load<f64>(EXACT + ((<usize>abs(power)) << 3))
    return power < 0 ? <f64>(<i64>digits) / factor : <f64>(<i64>digits) * factor
  }
  return digits === 0 ? 0 : multiply(digits, power)
}

/** @returns the 64 most significant bits of a * b */
@inline
function high(a: u64, b: u64): u64 {
  const a0 = a & 0xffffffff
  const a1 = a >> 32
  const b0 = b & 0xffffffff
  const b1 = b >> 32
  const middle = a1 * b0 + ((a0 * b0) >> 32)
  const other = a0 * b1 + (middle & 0xffffffff)
  return a1 * b1 + (middle >> 32) + (other >> 32)
}

/**
 * Multiplies digits * 10^power in integers of 128 bits, which always suffice (Lemire, "Number
 * Parsing at a Gigabyte per Second", 2021; Mushtak and Lemire, "Fast Number Parsing Without
 * Fallback", 2023). The powers are limited, so the result is neither subnormal nor infinite.
 */
function multiply(digits: u64, power: i32): f64 {
  const shift = clz(digits)
  const normalized = digits << shift
  const place = POWERS + ((<usize>(power - LEAST_POWER)) << 4)
  let upper = high(normalized, load<u64>(place))
  let lower = normalized * load<u64>(place)
  // Nine bits of `upper` are beyond the precision needed. If they are all set, a carry could change
  // the others.
  if ((upper & 0x1ff) === 0x1ff) {
    const carry = high(normalized, load<u64>(place, 8))
    lower += carry
    if (lower < carry) upper++
  }
  const top = <i32>(upper >> 63)
  let mantissa = upper >> (top + 9)
  let binary = ((217706 * power) >> 16) + 63 + top - <i32>shift + 1023
  const isTie = lower <= 1 && power >= -4 && power <= 23 && (mantissa & 3) === 1
  if (isTie && mantissa << (top + 9) === upper) mantissa &= ~1
  mantissa = (mantissa + (mantissa & 1)) >> 1
  if (mantissa === EXACT_INTEGER) {
    mantissa >>= 1
    binary++
  }
  return reinterpret<f64>((mantissa & 0xfffffffffffff) | ((<u64>binary) << 52))
}
