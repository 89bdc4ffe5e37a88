import { type Datatype, rowOf } from './datatypes.ts'
import { BadRequest } from './errors.ts'
import { parseExactly, show } from './json.ts'
import {
  CLOSE_ARRAY,
  COMMA,
  countElements,
  JsonData,
  OPEN_ARRAY,
  OPEN_OBJECT,
  skipSpace,
  skipValue,
  textOf,
} from './json-scan.ts'
import { elementCount, type TensorData, type TensorMetadata } from './tensor.ts'

/**
 * Reads tensor data as JSON: row-major, flat or nested exactly as the shape says.
 * @param data as JSON.parse gives it, with bigints beyond 2^53 for a datatype of 64 bits; or as it lies in the body
 * @param pieceBytes of what lies in the body, so much is parsed at a time
 * @throws {BadRequest} naming the element and what it should be
 */
export function readJsonData(
  data: unknown,
  shape: readonly number[],
  metadata: TensorMetadata,
  pieceBytes = PIECE_BYTES,
): TensorData {
  const { name, datatype } = metadata
  if (rowOf(datatype).fromJson === undefined) {
    throw new BadRequest(
      `input ${show(name)}: ${datatype} has no JSON form; send it as binary tensor data (parameters.binary_data_size)`,
    )
  }
  if (data instanceof JsonData) return readInPieces(data, shape, metadata, pieceBytes)
  if (!Array.isArray(data))
    throw new BadRequest(`input ${show(name)}: data is ${show(data)}; it must be an array`)
  const isNested = shape.length > 1 && Array.isArray(data[0])
  if (isNested && data.length !== shape[0]) throw ragged(name, shape, 0, show(data))
  const flat = isNested ? flatten(data, shape, 0, name) : data
  const expected = elementCount(shape)
  if (flat.length !== expected) throw miscounted(name, shape, flat.length)
  const elements = rowOf(datatype).allocate(expected)
  fill(elements, 0, flat, name, datatype)
  return elements
}

/** JSON.parse makes up to twenty times of what it parses: of 64 MiB at once that took 7 s and 2.7 GB, in pieces a second and 150 MB. */
const PIECE_BYTES = 64 * 1024

/** An array is parsed some parts at a time, and of them only the tensor's elements are kept. */
function readInPieces(
  { bytes, start, end, where }: JsonData,
  shape: readonly number[],
  { name, datatype }: TensorMetadata,
  pieceBytes: number,
): TensorData {
  const isNested = shape.length > 1 && bytes[skipSpace(bytes, start + 1)] === OPEN_ARRAY
  const deepest = isNested ? shape.length - 1 : 0
  const expected = elementCount(shape)
  const parse = datatype === 'INT64' || datatype === 'UINT64' ? parseExactly : JSON.parse
  // An element takes a byte and a comma at least: nothing is allocated for what is not there.
  if (expected > (end - start) / 2) throw wrongLength(start, 0)
  const elements = rowOf(datatype).allocate(expected)
  let count = 0

  function readArray(begin: number, depth: number): void {
    const expectedLength = isNested ? (shape[depth] as number) : expected
    let length = 0
    let piece = begin + 1
    let at = piece
    for (;;) {
      const part = skipSpace(bytes, at)
      const behind = skipSpace(bytes, skipValue(bytes, part))
      const isLast = bytes[behind] !== COMMA
      if (behind - part > pieceBytes && isBracket(bytes[part])) {
        // The comma before this part is at - 1.
        if (piece < at) take(at - 1)
        if (depth === deepest || bytes[part] !== OPEN_ARRAY)
          throw wrongElement(name, count, showLarge(part), datatype)
        readArray(part, depth + 1)
        length++
        piece = behind + 1
      } else if (isLast || behind - piece > pieceBytes) {
        take(behind)
        piece = behind + 1
      }
      if (isLast && bytes[behind] !== CLOSE_ARRAY)
        throw notJson(`neither a comma nor ] is at byte ${behind}`)
      if (length > expectedLength || (isLast && length < expectedLength))
        throw wrongLength(begin, depth)
      if (isLast && depth === 0 && behind + 1 !== end)
        throw notJson(`the array ends at byte ${behind}`)
      if (isLast) return
      at = behind + 1
    }

    function take(to: number): void {
      const parts = parsePiece(piece, to)
      if (parts.length === 0 && piece > begin + 1)
        throw notJson(`a value is missing at byte ${piece}`)
      length += parts.length
      if (length > expectedLength) throw wrongLength(begin, depth)
      const flat = isNested ? flatten(parts, shape, depth, name) : parts
      fill(elements, count, flat, name, datatype)
      count += flat.length
    }
  }

  function parsePiece(from: number, to: number): unknown[] {
    try {
      return parse(`[${textOf(bytes, from, to)}]`) as unknown[]
    } catch (error) {
      throw notJson((error as Error).message)
    }
  }

  function wrongLength(begin: number, depth: number): BadRequest {
    const length = countElements(bytes, begin)
    return isNested
      ? ragged(name, shape, depth, `an array of ${length}`)
      : miscounted(name, shape, length)
  }

  const showLarge = (part: number) =>
    bytes[part] === OPEN_ARRAY ? `an array of ${countElements(bytes, part)}` : 'an object'

  const notJson = (why: string) =>
    new BadRequest(`${where} is not valid JSON: in the data of input ${show(name)}: ${why}`)

  readArray(start, 0)
  return elements
}

const isBracket = (byte: number | undefined) => byte === OPEN_ARRAY || byte === OPEN_OBJECT

/** @param parts each an array of the shape's dimensions behind `depth` */
function flatten(
  parts: readonly unknown[],
  shape: readonly number[],
  depth: number,
  name: string,
): readonly unknown[] {
  let level = parts
  for (let d = depth + 1; d < shape.length; d++) {
    const next: unknown[] = []
    for (const part of level) {
      if (!Array.isArray(part) || part.length !== shape[d]) throw ragged(name, shape, d, show(part))
      for (const element of part) next.push(element)
    }
    level = next
  }
  return level
}

function fill(
  elements: TensorData | string[],
  from: number,
  values: readonly unknown[],
  name: string,
  datatype: Datatype,
): void {
  const { fromJson } = rowOf(datatype)
  for (let i = 0; i < values.length; i++) {
    const element = fromJson?.(values[i])
    if (element === undefined) throw wrongElement(name, from + i, show(values[i]), datatype)
    ;(elements as (typeof element)[])[from + i] = element
  }
}

const miscounted = (name: string, shape: readonly number[], length: number) =>
  new BadRequest(
    `input ${show(name)}: shape [${shape}] holds ${elementCount(shape)} elements, data holds ${length}`,
  )

const wrongElement = (name: string, at: number, shown: string, datatype: Datatype) =>
  new BadRequest(
    `input ${show(name)}: data[${at}] is ${shown}; ${datatype} takes ${rowOf(datatype).takes}`,
  )

const ragged = (name: string, shape: readonly number[], depth: number, shown: string) =>
  new BadRequest(
    `input ${show(name)}: data is nested, but not as shape [${shape}] says: at depth ${depth + 1} it has ${shown}, not an array of ${shape[depth]}`,
  )
