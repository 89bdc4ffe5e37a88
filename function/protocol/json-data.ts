import { DATATYPES, type Datatype, type DatatypeRow, isBigInteger } from './datatypes.ts'
import { BadRequest } from './errors.ts'
import { parseExactly, show, whyNotJson } from './json.ts'
import {
  CLOSE_ARRAY,
  COMMA,
  countElements,
  isBracket,
  JsonData,
  OPEN_ARRAY,
  skipSpace,
  skipValue,
  textOf,
} from './json-scan.ts'
import { elementCount, type TensorData, type TensorMetadata } from './tensor.ts'

/**
 * Reads tensor data as JSON: row-major, flat or nested exactly as the shape says.
 * @param data as JSON.parse gives it, with bigints beyond 2^53 for a datatype of 64 bits; or as it
 * lies in the body
 * @param pieceBytes of data in the body, so much is parsed at a time
 * @throws {BadRequest} naming the element and what it should be
 */
export function readJsonData(
  data: unknown,
  shape: readonly number[],
  metadata: TensorMetadata,
  pieceBytes = PIECE_BYTES,
): TensorData {
  const { name, datatype } = metadata
  if (DATATYPES[datatype].fromJson === undefined) {
    throw new BadRequest(
      `input ${show(name)}: ${datatype} has no JSON form; send it as binary tensor data (parameters.binary_data_size)`,
    )
  }
  if (data instanceof JsonData) return new PieceReader(data, shape, metadata, pieceBytes).read()
  if (!Array.isArray(data))
    throw new BadRequest(`input ${show(name)}: data is ${show(data)}; it must be an array`)
  const isNested = shape.length > 1 && Array.isArray(data[0])
  if (isNested && data.length !== shape[0]) throw ragged(name, shape, 0, show(data))
  const flat = isNested ? flatten(data, shape, 0, name) : data
  const expected = elementCount(shape)
  if (flat.length !== expected) throw miscounted(name, shape, flat.length)
  const elements = DATATYPES[datatype].allocate(expected)
  fill(elements, 0, flat, metadata)
  return elements
}

/**
 * JSON.parse takes up to twenty times the memory of its text: 64 MiB at once took 7 s and 2.7 GB,
 * in pieces 1 s and 150 MB.
 */
const PIECE_BYTES = 64 * 1024

/** An array that is being read. */
interface OpenArray {
  /** Where its bracket is. */
  readonly begin: number
  readonly depth: number
  readonly expected: number
  /** So many of its parts are read. */
  length: number
}

/** Parses an array some parts at a time, and keeps only the tensor's elements of them. */
class PieceReader {
  private readonly json: JsonData
  private readonly shape: readonly number[]
  private readonly metadata: TensorMetadata
  private readonly pieceBytes: number
  private readonly isNested: boolean
  private readonly elements: ReturnType<DatatypeRow['allocate']>
  /** So many of the elements are read. */
  private count = 0

  constructor(
    json: JsonData,
    shape: readonly number[],
    metadata: TensorMetadata,
    pieceBytes: number,
  ) {
    const { bytes, start, end } = json
    this.json = json
    this.shape = shape
    this.metadata = metadata
    this.pieceBytes = pieceBytes
    this.isNested = shape.length > 1 && bytes[skipSpace(bytes, start + 1)] === OPEN_ARRAY
    const expected = elementCount(shape)
    // An element takes a byte and a comma at least. Nothing is allocated for elements that cannot
    // be there.
    if (expected > (end - start) / 2) throw this.wrongLength(start, 0)
    this.elements = DATATYPES[metadata.datatype].allocate(expected)
  }

  read(): TensorData {
    this.readArray(this.json.start, 0)
    return this.elements
  }

  private readArray(begin: number, depth: number): void {
    const { bytes } = this.json
    const expected = this.isNested ? (this.shape[depth] as number) : this.elements.length
    const array: OpenArray = { begin, depth, expected, length: 0 }
    let piece = begin + 1
    let at = piece
    for (;;) {
      const part = skipSpace(bytes, at)
      const behind = skipSpace(bytes, skipValue(bytes, part))
      const isLast = bytes[behind] !== COMMA
      if (behind - part > this.pieceBytes && isBracket(bytes[part])) {
        // The comma before this part is at - 1.
        if (piece < at) this.take(array, piece, at - 1)
        this.readLargePart(array, part)
        piece = behind + 1
      } else if (isLast || behind - piece > this.pieceBytes) {
        this.take(array, piece, behind)
        piece = behind + 1
      }
      if (isLast) {
        this.checkEnd(array, behind)
        return
      }
      if (array.length > expected) throw this.wrongLength(begin, depth)
      at = behind + 1
    }
  }

  /** Parses some parts of an array, from the first one's beginning to the last one's end. */
  private take(array: OpenArray, from: number, to: number): void {
    const parts = this.parse(from, to)
    // Only an empty array has no value between its brackets.
    const isWhole = from === array.begin + 1 && this.json.bytes[to] === CLOSE_ARRAY
    if (parts.length === 0 && !isWhole) throw this.notJson(`a value is missing at byte ${from}`)
    array.length += parts.length
    if (array.length > array.expected) throw this.wrongLength(array.begin, array.depth)
    const flat = this.isNested ? flatten(parts, this.shape, array.depth, this.metadata.name) : parts
    fill(this.elements, this.count, flat, this.metadata)
    this.count += flat.length
  }

  /** A part that is too large to be parsed at once: it must be an array of the next dimension. */
  private readLargePart(array: OpenArray, at: number): void {
    const { bytes } = this.json
    const deepest = this.isNested ? this.shape.length - 1 : 0
    if (array.depth === deepest || bytes[at] !== OPEN_ARRAY) {
      const { name, datatype } = this.metadata
      const shown =
        bytes[at] === OPEN_ARRAY ? `an array of ${countElements(bytes, at)}` : 'an object'
      throw wrongElement(name, this.count, shown, datatype)
    }
    this.readArray(at, array.depth + 1)
    array.length++
  }

  /** @param at where the array's closing bracket must be */
  private checkEnd({ begin, depth, expected, length }: OpenArray, at: number): void {
    const { bytes, end } = this.json
    if (bytes[at] !== CLOSE_ARRAY) throw this.notJson(`neither a comma nor ] is at byte ${at}`)
    if (length !== expected) throw this.wrongLength(begin, depth)
    if (depth === 0 && at + 1 !== end) throw this.notJson(`the array ends at byte ${at}`)
  }

  private parse(from: number, to: number): unknown[] {
    const text = `[${textOf(this.json.bytes, from, to)}]`
    try {
      return isBigInteger(this.metadata.datatype) ? (parseExactly(text) as []) : JSON.parse(text)
    } catch (error) {
      throw this.notJson(whyNotJson(error, text))
    }
  }

  private wrongLength(begin: number, depth: number): BadRequest {
    const { name } = this.metadata
    const length = countElements(this.json.bytes, begin)
    return this.isNested
      ? ragged(name, this.shape, depth, `an array of ${length}`)
      : miscounted(name, this.shape, length)
  }

  private notJson(why: string): BadRequest {
    const input = `input ${show(this.metadata.name)}`
    return new BadRequest(`${this.json.where} is not valid JSON: in the data of ${input}: ${why}`)
  }
}

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
  { name, datatype }: TensorMetadata,
): void {
  const { fromJson } = DATATYPES[datatype]
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
    `input ${show(name)}: data[${at}] is ${shown}; ${datatype} takes ${DATATYPES[datatype].takes}`,
  )

const ragged = (name: string, shape: readonly number[], depth: number, shown: string) =>
  new BadRequest(
    `input ${show(name)}: data is nested, but not as shape [${shape}] says: at depth ${depth + 1} it has ${shown}, not an array of ${shape[depth]}`,
  )
