import { isUtf8 } from 'node:buffer'
import { type Codec, checkJsonBytes, type Encoder, free, type PredictBytes } from './codec.ts'
import { DATATYPES, isBigInteger, type TensorElements } from './datatypes.ts'
import { beginParsedRequest } from './decode.ts'
import type { EncodedResponse, ResponseLimits } from './encode.ts'
import { BadRequest } from './errors.ts'
import { isObject, type JsonObject, type ParsedJson, parseJson, show, withoutMark } from './json.ts'
import {
  type DataReader,
  fillRows,
  PIECE_BYTES,
  PieceReader,
  ScatteredData,
  wrongElement,
} from './json-data.ts'
import {
  countElements,
  findElements,
  findMembers,
  isArray,
  isObjectText,
  JsonData,
  type Place,
  skipSpace,
  without,
} from './json-scan.ts'
import {
  checkSayable,
  columnsOf,
  completed,
  instancesOf,
  namedColumns,
  requestOf,
  shapeOf,
} from './predict.ts'
import { PredictWriter } from './predict-writer.ts'
import type { InferenceRequest } from './request.ts'
import { elementCount, type Signature, type TensorData, type TensorMetadata } from './tensor.ts'

/*
 * Reads a large V1 request piece by piece, with the same result as predict.ts, which parses small
 * requests at once.
 */

const BODY = 'the body'

/** The maximum rank, as in NumPy, for models that accept any shape. */
const MOST_DIMENSIONS = 64

export class LargePredictCodec implements Codec<EncodedResponse> {
  private readonly request: PredictBytes
  private readonly limits: ResponseLimits
  private readonly pieceBytes: number
  private instances: number | undefined
  private unread: Iterable<void> = []

  /** @param pieceBytes the size of the pieces that are parsed */
  constructor(bytes: PredictBytes, limits: ResponseLimits, pieceBytes = PIECE_BYTES) {
    this.request = bytes
    this.limits = limits
    this.pieceBytes = pieceBytes
  }

  decode(signature: Signature): InferenceRequest {
    const { body } = this.request
    checkJsonBytes(body.byteLength, this.limits.maxJsonBytes)
    checkSayable(signature)
    const { value, instances } = readPredict(body, signature, this.pieceBytes)
    this.instances = instances
    const json = { value, exact: () => value }
    const { request, steps } = beginParsedRequest(json, signature, this.limits.maxBytes)
    this.unread = steps
    return request
  }

  *readData(): Generator<void, void> {
    yield* this.unread
    // Free the text before the run allocates memory.
    free(this.request.body)
  }

  encoder(): Encoder<EncodedResponse> {
    return new PredictWriter(this.instances, this.limits)
  }
}

interface Read {
  /** The equivalent V2 request, with its data still in the bytes. */
  readonly value: JsonObject
  readonly instances: number | undefined
}

const LETTER_N = 'n'.charCodeAt(0)

function readPredict(body: Uint8Array, signature: Signature, pieceBytes: number): Read {
  if (!isUtf8(body)) throw new BadRequest(`${BODY} is not valid UTF-8`)
  const bytes = withoutMark(body)
  // A member that is null counts as absent, and is parsed with the rest of the JSON.
  const members = findMembers(bytes, ['instances', 'inputs']).filter(
    ({ start }) => bytes[start] !== LETTER_N,
  )
  const { value } = parseJson(without(bytes, members, BODY), BODY)
  const isByRows = instancesOf(value) !== undefined
  const place = members.find(({ name }) => name === (isByRows ? 'instances' : 'inputs'))
  // The key contains escapes, so its value was parsed with the rest of the JSON.
  if (place === undefined)
    throw new BadRequest(
      `${BODY} has escapes in the key "instances" or "inputs"; write the key without escapes`,
    )
  const within = bytes.subarray(place.start, place.end)
  return isByRows ? readRows(within, signature, pieceBytes) : readColumns(within, signature)
}

function readColumns(bytes: Uint8Array, signature: Signature): Read {
  const names = signature.inputs.map(({ name }) => name)
  let columns: JsonObject
  if (isObjectText(bytes)) {
    const places = findMembers(bytes, names)
    const { value } = parseJson(without(bytes, places, BODY), BODY)
    const found = places.map(place => [place.name, dataAt(bytes, place)])
    columns = { ...(value as JsonObject), ...Object.fromEntries(found) }
  } else {
    const column = dataAt(bytes, { start: 0, end: bytes.length })
    const [name, ...others] = names
    columns =
      name !== undefined && others.length === 0
        ? { [name]: column }
        : // namedColumns throws the precise error.
          namedColumns(isArray(bytes) ? new Array(countElements(bytes, 0)) : column, signature)
  }
  return { value: requestOf(columns, signature, tensorAt), instances: undefined }
}

/** Returns an array's location in the bytes. Parses any other value. */
function dataAt(bytes: Uint8Array, { start, end }: Place): unknown {
  const value = bytes.subarray(start, end)
  return isArray(value)
    ? new JsonData(value, 0, value.length, BODY)
    : parseJson(without(value, [], BODY), BODY).value
}

function tensorAt(value: unknown, fits: readonly number[]): JsonObject {
  const shape = value instanceof JsonData ? shapeAt(value.bytes) : shapeOf(value)
  const data = value instanceof JsonData || Array.isArray(value) ? value : [value]
  return { shape: completed(shape, fits), data }
}

function shapeAt(bytes: Uint8Array): number[] {
  const shape: number[] = []
  for (let at = 0; isArrayAt(bytes, at) && shape.length <= MOST_DIMENSIONS; ) {
    shape.push(countElements(bytes, at))
    at = skipSpace(bytes, at + 1)
  }
  return shape
}

const isArrayAt = (bytes: Uint8Array, at: number) => isArray(bytes.subarray(at, at + 1))

function readRows(bytes: Uint8Array, signature: Signature, pieceBytes: number): Read {
  if (!isArray(bytes)) {
    const shown = show(parseJson(without(bytes, [], BODY), BODY).value)
    throw new BadRequest(`instances is ${shown}; it must be an array with one element per row`)
  }
  const { inputs } = signature
  const first = findElements(bytes, BODY).next().value
  if (first === undefined) {
    const none = Object.fromEntries(inputs.map(({ name }) => [name, []]))
    return { value: requestOf(none, signature, tensorAt), instances: 0 }
  }
  const [only, ...others] = inputs
  if (only !== undefined && others.length === 0 && !isObjectText(valueAt(bytes, first))) {
    const columns = { [only.name]: new JsonData(bytes, 0, bytes.length, BODY) }
    return { value: requestOf(columns, signature, tensorAt), instances: countElements(bytes, 0) }
  }
  const rows = new RowsReader(bytes, signature, pieceBytes)
  const columns = rows.columns(valueAt(bytes, first))
  const value = requestOf(columns, signature, column => (column as Column).tensor)
  return { value, instances: rows.count }
}

class Column extends ScatteredData {
  readonly reader: RowsReader
  readonly shape: readonly number[]
  metadata: TensorMetadata | undefined
  elements: TensorElements | undefined

  constructor(reader: RowsReader, shape: readonly number[]) {
    super()
    this.reader = reader
    this.shape = shape
  }

  get tensor(): JsonObject {
    return { shape: [this.reader.count, ...this.shape], data: this }
  }

  allocate(shape: readonly number[], metadata: TensorMetadata): TensorData {
    const elements = elementCount(shape)
    // An element needs at least a byte and a comma.
    if (elements > this.reader.byteLength / 2) {
      throw new BadRequest(
        `input ${show(metadata.name)}: the first instance has the shape [${this.shape}], but the body is too short for ${this.reader.count} instances of this shape`,
      )
    }
    this.metadata = metadata
    this.elements = DATATYPES[metadata.datatype].allocate(elements)
    return this.elements as TensorData
  }
}

/** Reads rows that are objects with a value for each input. */
class RowsReader implements DataReader {
  readonly count: number
  private readonly bytes: Uint8Array
  private readonly signature: Signature
  private readonly exactNames: ReadonlySet<string>
  private readonly pieceBytes: number
  private readonly byName = new Map<string, Column>()

  constructor(bytes: Uint8Array, signature: Signature, pieceBytes: number) {
    this.bytes = bytes
    this.signature = signature
    this.pieceBytes = pieceBytes
    this.count = countElements(bytes, 0)
    const exact = signature.inputs.filter(({ datatype }) => isBigInteger(datatype))
    this.exactNames = new Set(exact.map(({ name }) => name))
  }

  get byteLength(): number {
    return this.bytes.byteLength
  }

  /** @param first the first row, whose shapes every row must have */
  columns(first: Uint8Array): JsonObject {
    const { valuesOf, places } = this.parse(first, 0)
    for (const { name, shape } of this.signature.inputs) {
      const place = places.find(place => place.name === name)
      const found =
        place === undefined ? shapeOf(valuesOf(name)[0]) : shapeAt(valueAt(first, place))
      this.byName.set(name, new Column(this, completed(found, shape.slice(1))))
    }
    return Object.fromEntries(this.byName)
  }

  *steps(): Generator<void, void> {
    let row = 0
    let piece: { start: number; end: number; row: number } | undefined
    const take = () => {
      if (piece !== undefined)
        this.readPiece(this.bytes.subarray(piece.start, piece.end), piece.row)
      piece = undefined
    }
    for (const { start, end } of findElements(this.bytes, BODY)) {
      if (end - start > this.pieceBytes) {
        take()
        yield* this.readLarge(this.bytes.subarray(start, end), row)
      } else if (piece === undefined) piece = { start, end, row }
      else piece.end = end
      row++
      if (piece !== undefined && piece.end - piece.start > this.pieceBytes) yield take()
    }
    take()
  }

  private readPiece(bytes: Uint8Array, row: number): void {
    const json = parseJson(Buffer.concat([OPEN, bytes, CLOSE]), BODY)
    const valuesOf = this.valuesIn(json, row, rows => rows as unknown[])
    for (const [name, column] of this.byName) fill(column, row, valuesOf(name))
  }

  /** Reads a row that is too large to parse at once: one value after the other. */
  private *readLarge(bytes: Uint8Array, row: number): Generator<void, void> {
    const { valuesOf, places } = this.parse(bytes, row)
    for (const [name, column] of this.byName) {
      const place = places.find(place => place.name === name)
      if (place === undefined) fill(column, row, valuesOf(name))
      else yield* readValue(column, row, valueAt(bytes, place), this.pieceBytes)
    }
  }

  /** Parses a row. Leaves the arrays of a large row unparsed, and returns their places. */
  private parse(bytes: Uint8Array, row: number) {
    const names = this.signature.inputs.map(({ name }) => name)
    const isLarge = isObjectText(bytes) && bytes.byteLength > this.pieceBytes
    const places = isLarge
      ? findMembers(bytes, names).filter(place => isArray(valueAt(bytes, place)))
      : []
    const json = parseJson(without(bytes, places, BODY), BODY)
    return { valuesOf: this.valuesIn(json, row, value => [value]), places }
  }

  /**
   * Returns each input's values in some rows. Only inputs of 64-bit integers keep all digits, as in
   * a small request, because other datatypes do not accept bigints.
   */
  private valuesIn(
    { value, exact }: ParsedJson,
    row: number,
    rowsOf: (value: unknown) => readonly unknown[],
  ): (name: string) => readonly unknown[] {
    const rounded = objectColumns(rowsOf(value), this.signature, row)
    const whole = this.exactNames.size > 0 ? exact() : value
    const exactly = whole === value ? rounded : objectColumns(rowsOf(whole), this.signature, row)
    return name => (this.exactNames.has(name) ? exactly : rounded)[name] ?? []
  }
}

/** Every row must be an object, as the first row is. */
function objectColumns(rows: readonly unknown[], signature: Signature, row: number) {
  const wrong = rows.findIndex(value => !isObject(value))
  return wrong === -1
    ? columnsOf(rows, signature, row)
    : columnsOf([rows[wrong], {}], signature, row + wrong)
}

const OPEN = Buffer.from('[')
const CLOSE = Buffer.from(']')

const valueAt = (bytes: Uint8Array, { start, end }: Place) => bytes.subarray(start, end)

function fill(column: Column, row: number, values: readonly unknown[]): void {
  const { elements, metadata, shape } = column
  if (elements === undefined || metadata === undefined) return
  const filled = { shape: [values.length, ...shape], metadata }
  fillRows(elements, row * elementCount(shape), values, filled)
}

function readValue(
  column: Column,
  row: number,
  bytes: Uint8Array,
  pieceBytes: number,
): Iterable<void> {
  const { elements, metadata, shape } = column
  if (elements === undefined || metadata === undefined) return []
  const from = row * elementCount(shape)
  if (shape.length === 0) {
    const shown = `an array of length ${countElements(bytes, 0)}`
    throw wrongElement(metadata.name, from, shown, metadata.datatype)
  }
  const json = new JsonData(bytes, 0, bytes.length, BODY)
  return new PieceReader(json, shape, metadata, { into: elements, from, pieceBytes }).steps()
}
