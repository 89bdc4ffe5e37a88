import { divide, EXACT_DIGITS, fromDecimal } from './decimal'
import {
  DOUBLES,
  INPUT,
  LEAST_POWER,
  LEFT,
  LENGTHS,
  MOST_DEPTH,
  MOST_LEFT,
  MOST_POWER,
} from './layout'

const COMMA: u32 = 0x2c
const MINUS: u32 = 0x2d
const PLUS: u32 = 0x2b
const POINT: u32 = 0x2e
const ZERO: u32 = 0x30
const LOWER_E: u32 = 0x65
const SPACE: u32 = 0x20
const OPEN_ARRAY: u32 = 0x5b
const CLOSE_ARRAY: u32 = 0x5d

/** An integer with more digits may not fit into 64 bits. */
const MOST_DIGITS: usize = 19
/** Larger exponents are all beyond FP64. */
const MOST_EXPONENT: i32 = 9999

/** The address of the next byte. */
let at: usize = 0
let count: usize = 0
let leftCount: i32 = 0
/** The depth of the arrays that contain numbers; -1 before the first. */
let rowDepth: i32 = -1

/**
 * Reads a JSON array of numbers, or of such arrays. All arrays at the same depth must have the same
 * length.
 * @param start the position of the array in INPUT
 * @param first the index of the first value in DOUBLES
 * @returns the index after the last value; -1 if the array has another form, or is not valid JSON
 */
export function read(start: i32, first: i32): i32 {
  at = INPUT + start
  count = first
  leftCount = 0
  rowDepth = -1
  memory.fill(LENGTHS, 0, MOST_DEPTH * 4)
  return readArray(0) ? <i32>count : -1
}

/** @returns the position after the array that read() has read */
export function end(): i32 {
  return <i32>(at - INPUT)
}

/** @returns the count of numbers in LEFT */
export function left(): i32 {
  return leftCount
}

function readArray(depth: i32): bool {
  if (depth === MOST_DEPTH) return false
  at++
  let byte = skipSpace()
  if (byte !== OPEN_ARRAY) return readRow(depth)
  let length = 0
  while (true) {
    if (byte !== OPEN_ARRAY || !readArray(depth + 1)) return false
    length++
    byte = skipSpace()
    if (byte !== COMMA) return close(depth, length)
    at++
    byte = skipSpace()
  }
}

function readRow(depth: i32): bool {
  if (rowDepth === -1) rowDepth = depth
  if (depth !== rowDepth) return false
  const first = count
  let next = at
  let index = first
  while (true) {
    next = readNumber(next, index)
    if (next === 0) return false
    index++
    if (load<u8>(next) !== COMMA) {
      at = next
      if (skipSpace() !== COMMA) break
      next = at
    }
    next++
    if (load<u8>(next) <= SPACE) {
      at = next
      skipSpace()
      next = at
    }
  }
  count = index
  return close(depth, <i32>(count - first))
}

function close(depth: i32, length: i32): bool {
  if (load<u8>(at) !== CLOSE_ARRAY) return false
  at++
  const place = LENGTHS + ((<usize>depth) << 2)
  const known = load<i32>(place)
  if (known === 0) store<i32>(place, length)
  return known === 0 || known === length
}

/** @returns the byte after the white space */
function skipSpace(): u32 {
  let byte = <u32>load<u8>(at)
  while (byte === SPACE || byte === 0x0a || byte === 0x0d || byte === 0x09) byte = load<u8>(++at)
  return byte
}

/**
 * Reads a number into DOUBLES.
 * @returns the address after the number; 0 if it is not a number, or too many numbers are left
 */
@inline
function readNumber(start: usize, index: usize): usize {
  let next = start
  const isNegative = load<u8>(next) === MINUS
  next += <usize>isNegative
  const first = next
  let digits: u64 = 0
  let digit = <u32>load<u8>(next) - ZERO
  while (digit <= 9) {
    digits = digits * 10 + digit
    digit = <u32>load<u8>(++next) - ZERO
  }
  let places = next - first
  if (places === 0 || (places > 1 && load<u8>(first) === ZERO)) return 0
  let decimals: usize = 0
  if (digit === POINT - ZERO) {
    const point = ++next
    let eight = load<u64>(next)
    while (areDigits(eight)) {
      digits = digits * 100000000 + valueOf(eight)
      next += 8
      eight = load<u64>(next)
    }
    digit = <u32>load<u8>(next) - ZERO
    while (digit <= 9) {
      digits = digits * 10 + digit
      digit = <u32>load<u8>(++next) - ZERO
    }
    decimals = next - point
    if (decimals === 0) return 0
    places += decimals
  }
  if (places > EXACT_DIGITS || (digit | 0x20) === LOWER_E - ZERO)
    return readLong(start, next, index, digits, places, decimals)
  const value = divide(digits, decimals)
  store<f64>(DOUBLES + (index << 3), isNegative ? -value : value)
  return next
}

/** Returns whether eight bytes are all digits. */
@inline
function areDigits(bytes: u64): bool {
  const high = bytes & 0xf0f0f0f0f0f0f0f0
  return (high | (((bytes + 0x0606060606060606) & 0xf0f0f0f0f0f0f0f0) >> 4)) === 0x3333333333333333
}

/** Returns the value of eight digits. Adds pairs, then pairs of pairs, then both halves. */
@inline
function valueOf(text: u64): u64 {
  let value = (text & 0x0f0f0f0f0f0f0f0f) * 2561 >> 8
  value = (value & 0x00ff00ff00ff00ff) * 6553601 >> 16
  return (value & 0x0000ffff0000ffff) * 42949672960001 >> 32
}

/** Reads the exponent of a number, and stores the value. @returns as readNumber() */
function readLong(
  start: usize,
  end: usize,
  index: usize,
  digits: u64,
  places: usize,
  decimals: usize,
): usize {
  let next = end
  let power = -(<i32>decimals)
  if ((load<u8>(next) | 0x20) === LOWER_E) {
    next = readExponent(next + 1)
    if (next === 0) return 0
    power += exponent
  }
  if (places > MOST_DIGITS || power < LEAST_POWER || power > MOST_POWER)
    return leave(start, next, index)
  const value = fromDecimal(digits, power)
  store<f64>(DOUBLES + (index << 3), load<u8>(start) === MINUS ? -value : value)
  return next
}

/** The exponent that readExponent() has read. */
let exponent: i32 = 0

/** @returns the address after the exponent; 0 if it has no digits */
function readExponent(start: usize): usize {
  let next = start
  const sign = <u32>load<u8>(next)
  if (sign === PLUS || sign === MINUS) next++
  const first = next
  exponent = 0
  let digit = <u32>load<u8>(next) - ZERO
  while (digit <= 9) {
    exponent = min(exponent * 10 + <i32>digit, MOST_EXPONENT)
    digit = <u32>load<u8>(++next) - ZERO
  }
  if (sign === MINUS) exponent = -exponent
  return next === first ? 0 : next
}

/** Leaves a number to the caller. @returns the address after the number; 0 if too many are left */
function leave(start: usize, next: usize, index: usize): usize {
  if (leftCount === MOST_LEFT) return 0
  const place = LEFT + <usize>leftCount * 12
  store<u32>(place, <u32>index)
  store<u32>(place, <u32>(start - INPUT), 4)
  store<u32>(place, <u32>(next - INPUT), 8)
  leftCount++
  return next
}
