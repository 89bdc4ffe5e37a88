import { isUtf8 } from 'node:buffer'
import { BadRequest } from './errors.ts'

/** Triton's limit (docs/protocol: JSON nesting depth 100). */
const MAX_DEPTH = 100

const QUOTE = 0x22
const COLON = 0x3a
const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
const CLOSE_ARRAY = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

export interface ParsedJson {
  readonly value: unknown
  /**
   * The same value, with integers beyond 2^53 as bigints, which keep all digits. The first call
   * parses again, so only readers of INT64 and UINT64 tensors call it.
   */
  readonly exact: () => unknown
}

/**
 * Parses a request's JSON strictly (RFC 8259): only UTF-8, no duplicate keys, at most 100 levels of
 * nesting. Ignores a byte order mark, as section 8.1 allows.
 * @throws {BadRequest} naming `where` and the problem
 */
export function parseJson(bytes: Uint8Array, where: string): ParsedJson {
  if (!isUtf8(bytes)) throw new BadRequest(`${where} is not valid UTF-8`)
  const unmarked = withoutMark(bytes)
  const text = (
    unmarked instanceof Buffer
      ? unmarked
      : Buffer.from(unmarked.buffer, unmarked.byteOffset, unmarked.byteLength)
  ).toString('utf8')
  if (text.trim() === '') throw new BadRequest(`${where} is empty; expected a JSON object`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new BadRequest(`${where} is not valid JSON: ${whyNotJson(error, text)}`)
  }
  const { keys, objects, depth } = countWritten(unmarked)
  if (depth > MAX_DEPTH)
    throw new BadRequest(`${where} is nested more than ${MAX_DEPTH} levels deep`)
  if (keys !== keysHeld(value, objects)) {
    throw new BadRequest(`${where} has an object with the same key twice; send each key once`)
  }
  let exactValue: unknown
  const exact = () => {
    exactValue ??= MAY_HOLD_BIG_INTEGERS.test(text) ? parseBigIntegers(text) : value
    return exactValue
  }
  return { value, exact }
}

/**
 * Returns the message of JSON.parse()'s error. For a bare NaN or Infinity, which Python's json
 * module writes, adds how to send these values.
 */
export function whyNotJson(error: unknown, text: string): string {
  const { message } = error as Error
  return BARE_STOP.test(message) && BARE_NUMBER.test(text)
    ? `${message}; JSON has no such numbers; send the strings "NaN", "Infinity" or "-Infinity"`
    : message
}

const BARE_STOP = /^Unexpected token '[NI]'|^No number after minus sign/
const BARE_NUMBER = /[[,:\s](?:NaN|-?Infinity)\s*[\],}]/

/** Integers beyond 2^53 have at least 16 digits, not counting digits after a point. */
const MAY_HOLD_BIG_INTEGERS = /[[,:\s-]\d{16}/

/**
 * Integers of 16 to 20 digits that are values, not keys or parts of longer numbers. A 64-bit
 * integer has at most 20 digits. A longer integer fits no tensor, and a bigint of ten million
 * digits takes seconds.
 */
const BIG_INTEGERS = /(?<![\d.eE+-])-?[1-9]\d{15,19}(?![\d.eE]|\s*:)/g

export const parseExactly = (text: string): unknown =>
  MAY_HOLD_BIG_INTEGERS.test(text) ? parseBigIntegers(text) : JSON.parse(text)

/**
 * Parses JSON with integers beyond 2^53 as bigints. A reviver would be called for every value: with
 * one such integer, 127 KiB took 60 ms. Instead, replaces these integers with strings that have a
 * random prefix, which no caller can guess, and converts them after JSON.parse.
 */
function parseBigIntegers(text: string): unknown {
  const mark = `${Math.random()}:`
  let marked = ''
  let at = 0
  while (at < text.length) {
    const open = text.indexOf('"', at)
    const behind = open === -1 ? text.length : open
    marked += text
      .slice(at, behind)
      .replaceAll(BIG_INTEGERS, source =>
        Number.isSafeInteger(Number(source)) ? source : `"${mark}${source}"`,
      )
    at = open === -1 ? behind : closingQuote(text, open) + 1
    marked += text.slice(behind, at)
  }
  return withBigIntegers(JSON.parse(marked), mark)
}

function withBigIntegers(value: unknown, mark: string): unknown {
  if (typeof value === 'string')
    return value.startsWith(mark) ? BigInt(value.slice(mark.length)) : value
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) {
    for (let i = 0; i < value.length; i++)
      if (typeof value[i] !== 'number') value[i] = withBigIntegers(value[i], mark)
  } else {
    for (const [key, member] of Object.entries(value))
      Object.defineProperty(value, key, { value: withBigIntegers(member, mark) })
  }
  return value
}

export type JsonObject = { readonly [key: string]: unknown }

export const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Describes a JSON value for an error message, briefly and on one line. */
export function show(value: unknown): string {
  const shown =
    typeof value === 'bigint'
      ? String(value)
      : typeof value === 'number'
        ? showNumber(value)
        : showOther(value)
  return shown.length > 60 ? `${shown.slice(0, 57)}...` : shown
}

const showNumber = (value: number) =>
  Object.is(value, -0) ? '-0' : Number.isFinite(value) ? String(value) : 'a number beyond FP64'

function showOther(value: unknown): string {
  if (Array.isArray(value)) return `an array of length ${value.length}`
  if (isObject(value)) return 'an object'
  return JSON.stringify(typeof value === 'string' ? value.slice(0, 60) : value) ?? 'nothing'
}

export const withoutMark = (bytes: Uint8Array): Uint8Array =>
  bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes

interface Written {
  readonly keys: number
  readonly objects: number
  readonly depth: number
}

/**
 * Counts the keys in the text: strings followed by a colon. JSON.parse keeps the last of two equal
 * keys, so a different number of keys in the parsed value reveals duplicates.
 */
function countWritten(bytes: Uint8Array): Written {
  const { length } = bytes
  let [keys, objects, depth, deepest] = [0, 0, 0, 0]
  for (let at = 0; at < length; at++) {
    let byte = bytes[at] as number
    while (byte < OPEN_ARRAY && byte !== QUOTE && at < length) {
      at++
      byte = bytes[at] as number
    }
    if (byte === QUOTE) {
      at = behindString(bytes, at)
      while ((bytes[at] as number) <= 0x20) at++
      if (bytes[at] === COLON) keys++
      else at--
    } else if (byte === OPEN_ARRAY || byte === OPEN_OBJECT) {
      if (byte === OPEN_OBJECT) objects++
      depth++
      if (depth > deepest) deepest = depth
    } else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) depth--
  }
  return { keys, objects, depth: deepest }
}

/** Most strings are shorter. indexOf finds the end of a longer string faster. */
const SHORT_STRING = 32

function behindString(bytes: Uint8Array, open: number): number {
  let at = open + 1
  for (const near = at + SHORT_STRING; at < near; at++) {
    if (bytes[at] === QUOTE) return at + 1
    if (bytes[at] === BACKSLASH) at++
  }
  for (;;) {
    at = bytes.indexOf(QUOTE, at)
    if (at === -1) return bytes.length
    let backslashes = 0
    while (bytes[at - 1 - backslashes] === BACKSLASH) backslashes++
    at++
    if (backslashes % 2 === 0) return at
  }
}

function closingQuote(text: string, open: number): number {
  let close = text.indexOf('"', open + 1)
  while (isEscaped(text, close)) close = text.indexOf('"', close + 1)
  return close === -1 ? text.length : close
}

function isEscaped(text: string, at: number): boolean {
  let backslashes = 0
  while (text.charCodeAt(at - 1 - backslashes) === BACKSLASH) backslashes++
  return backslashes % 2 === 1
}

/**
 * Counts the keys of `objects` objects. Searches arrays last, so that a request's objects are found
 * before the elements of its tensors.
 */
function keysHeld(root: unknown, objects: number): number {
  let keys = 0
  let left = objects
  const found: JsonObject[] = []
  const arrays: (readonly unknown[])[] = []
  const add = (value: unknown) => {
    if (typeof value !== 'object' || value === null) return
    if (Array.isArray(value)) arrays.push(value)
    else found.push(value as JsonObject)
  }
  add(root)
  while (left > 0) {
    const object = found.pop()
    if (object === undefined) {
      const array = arrays.pop()
      if (array === undefined) break
      for (const element of array) if (typeof element === 'object') add(element)
    } else {
      left--
      for (const key in object) {
        keys++
        add(object[key])
      }
    }
  }
  return keys
}
