import {
  DATATYPES,
  type Datatype,
  isBigInteger,
  isNumeric,
  type TensorElements,
} from './datatypes.ts'
import { BadRequest } from './errors.ts'
import { parseExactly, show, whyNotJson } from './json.ts'
import { JsonNumbers, type NumberArray, readElements } from './json-numbers.ts'
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
 * Reads tensor data in JSON: row-major, and flat or nested exactly like the shape.
 * @param data the parsed data, with bigints beyond 2^53 for a 64-bit datatype; or numbers read from
 * the bytes; or the data's location in the body
 * @param pieceBytes the size of the pieces in which data in the body is parsed
 * @throws {BadRequest} naming the element and the allowed values
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
  if (data instanceof JsonData) {
    const reader = new PieceReader(data, shape, metadata, { pieceBytes })
    for (const _ of reader.steps());
    return reader.elements
  }
  if (data instanceof JsonNumbers) {
    if (!suits(data, shape, datatype)) return readJsonData(data.parse(), shape, metadata)
    const elements = DATATYPES[datatype].allocate(data.values.length)
    new Filler(elements, 0, { shape, metadata }).flat(data.values)
    return elements
  }
  if (!Array.isArray(data))
    throw new BadRequest(`input ${show(name)}: data is ${show(data)}; it must be an array`)
  const isNested = shape.length > 1 && Array.isArray(data[0])
  if (isNested && data.length !== shape[0]) throw ragged(name, shape, 0, show(data))
  const expected = elementCount(shape)
  if (!isNested && data.length !== expected) throw miscounted(name, shape, data.length)
  const elements = DATATYPES[datatype].allocate(expected)
  const filler = new Filler(elements, 0, { shape, metadata })
  if (isNested) filler.nested(data, 0)
  else filler.flat(data)
  return elements
}

/** Whether the numbers match the shape in count and nesting, and no number has lost digits. */
function suits(read: NumberArray, shape: readonly number[], datatype: Datatype) {
  const { values, lengths } = read
  return (
    values.length === elementCount(shape) &&
    (lengths.length === 1 || String(lengths) === String(shape)) &&
    (!isBigInteger(datatype) || areSafe(read))
  )
}

const areSafe = ({ values }: NumberArray) => values.every(Number.isSafeInteger)

export interface DataReader {
  /** Each step takes a few milliseconds. @throws {BadRequest} */
  steps(): Iterable<void>
}

/** Tensor data that is not a single array in the body. */
export abstract class ScatteredData {
  /** Also reads the data of other inputs. */
  abstract readonly reader: DataReader
  /** Allocates memory for the elements. @throws {BadRequest} */
  abstract allocate(shape: readonly number[], metadata: TensorMetadata): TensorData
}

/**
 * Like {@link readJsonData}, but leaves data in the body to a reader.
 * @param readers receives the reader
 */
export function readJsonDataLater(
  data: unknown,
  shape: readonly number[],
  metadata: TensorMetadata,
  readers: Set<DataReader>,
): TensorData {
  if (data instanceof ScatteredData) {
    const elements = data.allocate(shape, metadata)
    readers.add(data.reader)
    return elements
  }
  if (!(data instanceof JsonData) || DATATYPES[metadata.datatype].fromJson === undefined)
    return readJsonData(data, shape, metadata)
  const reader = new PieceReader(data, shape, metadata)
  readers.add(reader)
  return reader.elements
}

/**
 * The size of the pieces that are parsed. JSON.parse needs up to twenty times the memory of its
 * text: 64 MiB at once took 7 s and 2.7 GB; in pieces, 1 s and 150 MB.
 */
export const PIECE_BYTES = 64 * 1024

interface OpenArray {
  readonly begin: number
  readonly depth: number
  readonly expected: number
  length: number
}

/** The memory for a reader's elements; by default, a new array. */
interface PieceOptions {
  readonly into?: TensorElements
  readonly from?: number
  readonly pieceBytes?: number
}

/** Parses an array piece by piece, and keeps only the elements. */
export class PieceReader implements DataReader {
  readonly elements: TensorElements
  private readonly json: JsonData
  private readonly shape: readonly number[]
  private readonly metadata: TensorMetadata
  private readonly pieceBytes: number
  private readonly isNested: boolean
  private readonly expected: number
  private readonly filler: Filler

  constructor(
    json: JsonData,
    shape: readonly number[],
    metadata: TensorMetadata,
    { into, from = 0, pieceBytes = PIECE_BYTES }: PieceOptions = {},
  ) {
    const { bytes, start, end } = json
    this.json = json
    this.shape = shape
    this.metadata = metadata
    this.pieceBytes = pieceBytes
    this.isNested = shape.length > 1 && bytes[skipSpace(bytes, start + 1)] === OPEN_ARRAY
    this.expected = elementCount(shape)
    // An element needs at least a byte and a comma. Allocate no memory for more elements than the
    // bytes can contain.
    if (this.expected > (end - start) / 2) throw this.wrongLength(start, 0)
    this.elements = into ?? DATATYPES[metadata.datatype].allocate(this.expected)
    this.filler = new Filler(this.elements, from, { shape, metadata })
  }

  steps(): Generator<void, void> {
    return this.readArray(this.json.start, 0)
  }

  private *readArray(begin: number, depth: number): Generator<void, void> {
    const { bytes } = this.json
    const expected = this.isNested ? (this.shape[depth] as number) : this.expected
    const array: OpenArray = { begin, depth, expected, length: 0 }
    let piece = begin + 1
    let at = piece
    for (;;) {
      const comma = at === piece && !this.isNested ? bytes.indexOf(COMMA, at + this.pieceBytes) : -1
      // Only numbers precede this comma, so the comma is in no string or inner array.
      if (comma !== -1 && this.takeNumbers(array, piece, comma)) {
        piece = comma + 1
        at = piece
        yield
        continue
      }
      const part = skipSpace(bytes, at)
      const behind = skipSpace(bytes, skipValue(bytes, part))
      const isLast = bytes[behind] !== COMMA
      if (behind - part > this.pieceBytes && isBracket(bytes[part])) {
        // The comma before this part is at `at - 1`.
        if (piece < at) this.take(array, piece, at - 1)
        yield* this.readLargePart(array, part)
        piece = behind + 1
      } else if (isLast || behind - piece > this.pieceBytes) {
        this.take(array, piece, behind)
        piece = behind + 1
        yield
      }
      if (isLast) {
        this.checkEnd(array, behind)
        return
      }
      if (array.length > expected) throw this.wrongLength(begin, depth)
      at = behind + 1
    }
  }

  private take(array: OpenArray, from: number, to: number): void {
    if (this.takeNumbers(array, from, to)) return
    const parts = this.parse(from, to)
    // Only an empty array has no value between its brackets.
    const isWhole = from === array.begin + 1 && this.json.bytes[to] === CLOSE_ARRAY
    if (parts.length === 0 && !isWhole) throw this.notJson(`a value is missing at byte ${from}`)
    this.count(array, parts.length)
    if (this.isNested) this.filler.nested(parts, array.depth)
    else this.filler.flat(parts)
  }

  /** Like {@link take}, but only for numbers. @returns false for other elements */
  private takeNumbers(array: OpenArray, from: number, to: number): boolean {
    const { datatype } = this.metadata
    if (!isNumeric(datatype)) return false
    const read = readElements(this.json.bytes.subarray(from, to))
    if (read === undefined || (isBigInteger(datatype) && !areSafe(read))) return false
    const { values, lengths } = read
    const inner = this.isNested ? this.shape.slice(array.depth + 1) : []
    if (String(lengths.slice(1)) !== String(inner)) return false
    this.count(array, lengths[0] as number)
    this.filler.flat(values)
    return true
  }

  private count(array: OpenArray, parts: number): void {
    array.length += parts
    if (array.length > array.expected) throw this.wrongLength(array.begin, array.depth)
  }

  /** Reads a part that is too large to parse at once: an array of the next dimension. */
  private *readLargePart(array: OpenArray, at: number): Generator<void, void> {
    const { bytes } = this.json
    const deepest = this.isNested ? this.shape.length - 1 : 0
    if (array.depth === deepest || bytes[at] !== OPEN_ARRAY) {
      const { name, datatype } = this.metadata
      const shown =
        bytes[at] === OPEN_ARRAY ? `an array of length ${countElements(bytes, at)}` : 'an object'
      throw wrongElement(name, this.filler.next, shown, datatype)
    }
    yield* this.readArray(at, array.depth + 1)
    array.length++
  }

  /** @param at the expected position of the closing bracket */
  private checkEnd({ begin, depth, expected, length }: OpenArray, at: number): void {
    const { bytes, end } = this.json
    if (bytes[at] !== CLOSE_ARRAY) throw this.notJson(`expected a comma or ] at byte ${at}`)
    if (length !== expected) throw this.wrongLength(begin, depth)
    if (depth === 0 && at + 1 !== end)
      throw this.notJson(`text follows the end of the array at byte ${at}`)
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
      ? ragged(name, this.shape, depth, `an array of length ${length}`)
      : miscounted(name, this.shape, length)
  }

  private notJson(why: string): BadRequest {
    const input = `input ${show(this.metadata.name)}`
    return new BadRequest(`${this.json.where} is not valid JSON: in the data of ${input}: ${why}`)
  }
}

/**
 * Writes parsed rows to a tensor.
 * @param from position of the first element
 * @param rows each nested like the dimensions after the first
 */
export function fillRows(
  elements: TensorElements,
  from: number,
  rows: readonly unknown[],
  { shape, metadata }: Filled,
): void {
  new Filler(elements, from, { shape, metadata }).nested(rows, 0)
}

interface Filled {
  readonly shape: readonly number[]
  readonly metadata: TensorMetadata
}

class Filler {
  next: number
  private readonly elements: TensorElements
  private readonly shape: readonly number[]
  private readonly metadata: TensorMetadata

  constructor(elements: TensorElements, from: number, { shape, metadata }: Filled) {
    this.elements = elements
    this.next = from
    this.shape = shape
    this.metadata = metadata
  }

  /** @param parts parts of the dimension `depth`, each nested like the following dimensions */
  nested(parts: readonly unknown[], depth: number): void {
    const inner = depth + 1
    if (inner === this.shape.length) {
      this.flat(parts)
      return
    }
    const length = this.shape[inner]
    for (const part of parts) {
      if (!Array.isArray(part) || part.length !== length)
        throw ragged(this.metadata.name, this.shape, inner, show(part))
      this.nested(part, inner)
    }
  }

  flat(values: ArrayLike<unknown>): void {
    const { elements, next, metadata } = this
    const areNumbers = !Array.isArray(elements) && metadata.datatype !== 'BOOL'
    let i = areNumbers ? fillNumbers(elements, next, values) : 0
    const { fromJson } = DATATYPES[metadata.datatype]
    for (; i < values.length; i++) {
      const element = fromJson?.(values[i])
      if (element === undefined)
        throw wrongElement(metadata.name, next + i, show(values[i]), metadata.datatype)
      ;(elements as (typeof element)[])[next + i] = element
    }
    this.next += values.length
  }
}

/**
 * Writes numbers up to the first value that the array cannot represent: integers must stay
 * unchanged, and floats finite.
 * @returns the count of numbers written
 */
function fillNumbers(
  elements: Exclude<TensorElements, string[]>,
  from: number,
  values: ArrayLike<unknown>,
): number {
  if (elements instanceof BigInt64Array || elements instanceof BigUint64Array) return 0
  const areFloats = elements instanceof Float32Array || elements instanceof Float64Array
  for (let i = 0; i < values.length; i++) {
    const value = values[i]
    if (typeof value !== 'number') return i
    elements[from + i] = value
    const written = elements[from + i] as number
    if (areFloats ? !Number.isFinite(written) : written !== value) return i
  }
  return values.length
}

export const miscounted = (name: string, shape: readonly number[], length: number) =>
  new BadRequest(
    `input ${show(name)}: shape [${shape}] has ${elementCount(shape)} elements, but data has ${length}`,
  )

export const wrongElement = (name: string, at: number, shown: string, datatype: Datatype) =>
  new BadRequest(
    `input ${show(name)}: data[${at}] is ${shown}; ${datatype} accepts ${DATATYPES[datatype].takes}`,
  )

const ragged = (name: string, shape: readonly number[], depth: number, shown: string) =>
  new BadRequest(
    `input ${show(name)}: data is nested, but does not match shape [${shape}]: at depth ${depth + 1} it has ${shown}, not an array of length ${shape[depth]}`,
  )
