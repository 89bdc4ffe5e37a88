import { isUtf8 } from 'node:buffer'
import { BadRequest, TooLarge } from './errors.ts'
import { type ParsedJson, parseJson, show, withoutMark } from './json.ts'

/**
 * Limits the JSON outside tensor data: names, shapes, an id and parameters. Parsed values need up
 * to twenty times the memory of their text, and parsing 100,000 keys takes 90 ms.
 */
const MOST_BESIDE_DATA = { bytes: 4 * 2 ** 20, values: 32 * 1024 }

/**
 * An unread JSON array of tensor data, from its opening bracket to just after its closing bracket.
 */
export class JsonData {
  readonly bytes: Uint8Array
  readonly start: number
  readonly end: number
  readonly where: string

  constructor(bytes: Uint8Array, start: number, end: number, where: string) {
    this.bytes = bytes
    this.start = start
    this.end = end
    this.where = where
  }
}

const QUOTE = 0x22
export const COMMA = 0x2c
export const OPEN_ARRAY = 0x5b
const BACKSLASH = 0x5c
export const CLOSE_ARRAY = 0x5d
const COLON = 0x3a
export const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/**
 * Parses an inference request like {@link parseJson}, but leaves each input's `data` in the body,
 * as {@link JsonData}.
 * @param mostInputs the number of the model's inputs
 * @throws {BadRequest} as parseJson, if more inputs have data than the model has inputs, and for
 * more than 32,768 values outside the data
 * @throws {TooLarge} for more than 4 MiB outside the data
 */
export function parseAroundData(body: Uint8Array, where: string, mostInputs: number): ParsedJson {
  if (!isUtf8(body)) throw new BadRequest(`${where} is not valid UTF-8`)
  const bytes = withoutMark(body)
  checkObject(bytes, where)
  const found: { readonly input: number; readonly data: JsonData }[] = []
  eachData(bytes, where, (input, at) => {
    if (found.length === mostInputs)
      throw new BadRequest(
        `more than ${mostInputs} inputs have data; the model's number of inputs is ${mostInputs}`,
      )
    const end = skipValue(bytes, at)
    found.push({ input, data: new JsonData(bytes, at, end, where) })
    return end
  })
  const places = found.map(({ data }) => data)
  const { value } = parseJson(without(bytes, places, where), where)
  for (const { input, data } of found) {
    // The JSON is valid, so each input's data is at the location found.
    const { inputs } = value as { inputs: { data: unknown }[] }
    ;(inputs[input] as { data: unknown }).data = data
  }
  return { value, exact: () => value }
}

/** Rejects a large body without parsing, if the body is not a JSON object. */
function checkObject(bytes: Uint8Array, where: string): void {
  const begin = skipSpace(bytes, 0)
  if (bytes[begin] === OPEN_OBJECT) return
  throw new BadRequest(
    begin === bytes.length
      ? `${where} is empty; expected a JSON object`
      : `${where} begins with ${show(textOf(bytes, begin, begin + 20))}; it must be a JSON object`,
  )
}

export interface Place {
  readonly start: number
  readonly end: number
}

/**
 * Replaces the values in these places with empty arrays.
 * @throws {BadRequest} if more than 32,768 values are left
 * @throws {TooLarge} if more than 4 MiB are left
 */
export function without(bytes: Uint8Array, places: readonly Place[], where: string): Uint8Array {
  const around = aroundPlaces(bytes, places)
  const size = around.reduce((sum, { byteLength }) => sum + byteLength, 0)
  checkBesideData(size, where)
  const rest = Buffer.concat(around, size)
  if (holdsMoreValues(rest, MOST_BESIDE_DATA.values)) {
    throw new BadRequest(
      `${where} contains more than the ${MOST_BESIDE_DATA.values} JSON values allowed outside tensor data`,
    )
  }
  return rest
}

/** Returns the bytes in pieces, with an empty array in each of these places. */
export function aroundPlaces(bytes: Uint8Array, places: readonly Place[]): Uint8Array[] {
  const around: Uint8Array[] = []
  let at = 0
  for (const { start, end } of places) {
    around.push(bytes.subarray(at, start), EMPTY_ARRAY)
    at = end
  }
  around.push(bytes.subarray(at, endOfText(bytes)))
  return around
}

function holdsMoreValues(bytes: Uint8Array, most: number): boolean {
  let count = 1
  for (let at = 0; at < bytes.length && count <= most; at++) {
    const byte = bytes[at]
    if (byte === QUOTE) at = skipString(bytes, at) - 1
    else if (byte === COMMA || isBracket(byte)) count++
  }
  return count > most
}

function checkBesideData(size: number, where: string): void {
  if (size <= MOST_BESIDE_DATA.bytes) return
  throw new TooLarge(
    `${where} contains more than the ${MOST_BESIDE_DATA.bytes} bytes of JSON allowed outside tensor data`,
  )
}

function endOfText(bytes: Uint8Array): number {
  let end = bytes.length
  while (isSpace(bytes[end - 1])) end--
  return end
}

/** Replaces data. It does not turn invalid JSON into valid JSON. */
const EMPTY_ARRAY = Buffer.from('[]')

/**
 * Locates each input's `data` if it is an array. JSON.parse later detects invalid JSON and reads
 * keys with escapes. Applies the limits during the search, because views of millions of arrays
 * would fill the memory.
 * @param visit receives the input's index and the start of its data; returns the end of the data
 */
export function eachData(
  bytes: Uint8Array,
  where: string,
  visit: (input: number, at: number) => number,
): void {
  let dataBytes = 0
  const visitInput = (input: number) => (key: string, at: number) => {
    checkBesideData(at - dataBytes, where)
    if (key !== 'data' || bytes[at] !== OPEN_ARRAY) return skipValue(bytes, at)
    const end = visit(input, at)
    dataBytes += end - at
    return end
  }
  const visitElement = (at: number, input: number) => {
    checkBesideData(at - dataBytes, where)
    return eachMember(bytes, at, visitInput(input))
  }
  eachMember(bytes, skipSpace(bytes, 0), (key, at) => {
    checkBesideData(at - dataBytes, where)
    return key === 'inputs' ? eachElement(bytes, at, visitElement) : skipValue(bytes, at)
  })
}

/** Locates the values of these members, in the order of the bytes. */
export function findMembers(
  bytes: Uint8Array,
  names: readonly string[],
): readonly (Place & { readonly name: string })[] {
  const found: (Place & { readonly name: string })[] = []
  eachMember(bytes, skipSpace(bytes, 0), (name, start) => {
    const end = skipValue(bytes, start)
    if (names.includes(name) && found.length <= names.length) found.push({ name, start, end })
    return end
  })
  return found
}

export const isArray = (bytes: Uint8Array): boolean => bytes[skipSpace(bytes, 0)] === OPEN_ARRAY

export const isObjectText = (bytes: Uint8Array): boolean =>
  bytes[skipSpace(bytes, 0)] === OPEN_OBJECT

const notArray = (where: string, why: string) =>
  new BadRequest(`${where} is not valid JSON: ${why}`)

/**
 * Locates the elements of an array. The caller parses each element later, which detects invalid
 * JSON.
 * @throws {BadRequest} if `bytes` is not an array
 */
export function* findElements(bytes: Uint8Array, where: string): Generator<Place, void> {
  let at = skipSpace(bytes, skipSpace(bytes, 0) + 1)
  const isEmpty = bytes[at] === CLOSE_ARRAY
  while (!isEmpty) {
    const start = at
    const end = skipValue(bytes, start)
    if (start === end) throw notArray(where, `a value is missing at byte ${start}`)
    yield { start, end }
    at = skipSpace(bytes, end)
    if (bytes[at] === CLOSE_ARRAY) break
    if (bytes[at] !== COMMA) throw notArray(where, `expected a comma or ] at byte ${at}`)
    at = skipSpace(bytes, at + 1)
  }
  const behind = skipSpace(bytes, at + 1)
  if (behind < bytes.length)
    throw notArray(where, `text follows the end of the array at byte ${at}`)
}

/**
 * Visits each member of an object.
 * @param visit receives each key and the start of its value; returns the end of the value
 * @returns the position after the object
 */
function eachMember(
  bytes: Uint8Array,
  begin: number,
  visit: (key: string, at: number) => number,
): number {
  if (bytes[begin] !== OPEN_OBJECT) return skipValue(bytes, begin)
  let at = skipSpace(bytes, begin + 1)
  while (bytes[at] === QUOTE) {
    const end = skipString(bytes, at)
    const key = textOf(bytes, at + 1, end - 1)
    at = skipSpace(bytes, end)
    if (bytes[at] !== COLON) return bytes.length
    at = skipSpace(bytes, visit(key, skipSpace(bytes, at + 1)))
    if (bytes[at] === COMMA) at = skipSpace(bytes, at + 1)
  }
  return bytes[at] === CLOSE_OBJECT ? at + 1 : bytes.length
}

/** Like {@link eachMember}, for the elements of an array. */
function eachElement(
  bytes: Uint8Array,
  begin: number,
  visit: (at: number, index: number) => number,
): number {
  if (bytes[begin] !== OPEN_ARRAY) return skipValue(bytes, begin)
  let at = skipSpace(bytes, begin + 1)
  for (let index = 0; at < bytes.length && bytes[at] !== CLOSE_ARRAY; index++) {
    at = skipSpace(bytes, visit(at, index))
    if (bytes[at] === COMMA) at = skipSpace(bytes, at + 1)
    else if (bytes[at] !== CLOSE_ARRAY) return bytes.length
  }
  return at + 1
}

export const isBracket = (byte: number | undefined) => byte === OPEN_ARRAY || byte === OPEN_OBJECT

export function skipSpace(bytes: Uint8Array, from: number): number {
  let at = from
  while (isSpace(bytes[at])) at++
  return at
}

const isSpace = (byte: number | undefined) =>
  byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09

function skipString(bytes: Uint8Array, open: number): number {
  for (let at = open + 1; at < bytes.length; at++) {
    if (bytes[at] === BACKSLASH) at++
    else if (bytes[at] === QUOTE) return at + 1
  }
  return bytes.length
}

/** Returns the end of a value. Only counts brackets; does not detect invalid JSON. */
export function skipValue(bytes: Uint8Array, from: number): number {
  if (isBracket(bytes[from])) return skipBrackets(bytes, from)
  if (bytes[from] === QUOTE) return skipString(bytes, from)
  let at = from
  while (at < bytes.length && !isEnd(bytes[at])) at++
  return at
}

const isEnd = (byte: number | undefined) =>
  byte === COMMA || byte === CLOSE_ARRAY || byte === CLOSE_OBJECT || isSpace(byte)

/**
 * Returns the end of an array or object. The inner loop takes 1.5 ns per byte; alternatives took
 * two or three times as long.
 */
function skipBrackets(bytes: Uint8Array, from: number): number {
  const { length } = bytes
  let depth = 0
  for (let at = from; at < length; at++) {
    let byte = bytes[at] as number
    // Skip most bytes of tensor data: neither quotes nor brackets.
    while (byte < OPEN_ARRAY && byte !== QUOTE) {
      at++
      if (at === length) return length
      byte = bytes[at] as number
    }
    if (byte === QUOTE) at = skipString(bytes, at) - 1
    else if (isBracket(byte)) depth++
    else if (byte === CLOSE_ARRAY || byte === CLOSE_OBJECT) {
      depth--
      if (depth === 0) return at + 1
    }
  }
  return length
}

export function countElements(bytes: Uint8Array, begin: number): number {
  let count = 0
  eachElement(bytes, begin, at => {
    count++
    return Math.max(skipValue(bytes, at), at + 1)
  })
  return count
}

export const textOf = (bytes: Uint8Array, from: number, to: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + from, Math.max(to - from, 0)).toString('utf8')
