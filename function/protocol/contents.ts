import { readText } from './binary.ts'
import { DATATYPES, type Datatype } from './datatypes.ts'
import { BadRequest } from './errors.ts'
import { show } from './json.ts'
import {
  Cursor,
  FIXED32,
  FIXED64,
  highBits,
  LENGTH,
  malformed,
  readInteger,
  readVarint,
  VARINT,
  varintEnd,
} from './protobuf-cursor.ts'
import { elementCount, type Tensor, type TensorData, type TensorMetadata } from './tensor.ts'
import { encodeTexts } from './texts.ts'

/*
 * Typed contents (InferTensorContents) have one field per group of datatypes. Once a tensor's shape
 * fits the model, its data is read from the message's bytes directly into the tensor's memory.
 */

interface ContentsField {
  readonly number: number
  readonly name: string
  readonly wire: number
}

// biome-ignore format: one row per field reads best as a table
const FIELDS = {
  bool:   { number: 1, name: 'bool_contents',   wire: VARINT },
  int:    { number: 2, name: 'int_contents',    wire: VARINT },
  int64:  { number: 3, name: 'int64_contents',  wire: VARINT },
  uint:   { number: 4, name: 'uint_contents',   wire: VARINT },
  uint64: { number: 5, name: 'uint64_contents', wire: VARINT },
  fp32:   { number: 6, name: 'fp32_contents',   wire: FIXED32 },
  fp64:   { number: 7, name: 'fp64_contents',   wire: FIXED64 },
  bytes:  { number: 8, name: 'bytes_contents',  wire: LENGTH },
} as const satisfies Readonly<Record<string, ContentsField>>

/** Undefined if only raw contents can carry the datatype. */
const FIELD_OF: Readonly<Record<Datatype, ContentsField | undefined>> = {
  BOOL: FIELDS.bool,
  UINT8: FIELDS.uint,
  UINT16: FIELDS.uint,
  UINT32: FIELDS.uint,
  UINT64: FIELDS.uint64,
  INT8: FIELDS.int,
  INT16: FIELDS.int,
  INT32: FIELDS.int,
  INT64: FIELDS.int64,
  FP16: undefined,
  FP32: FIELDS.fp32,
  FP64: FIELDS.fp64,
  BYTES: FIELDS.bytes,
}

const NAMES = new Map<number, string>(
  Object.values(FIELDS).map(({ number, name }) => [number, name]),
)

export const hasContents = (datatype: Datatype) => FIELD_OF[datatype] !== undefined

/** @throws {BadRequest} naming the input and its expected contents */
export function readContents(
  contents: Uint8Array,
  shape: readonly number[],
  metadata: TensorMetadata,
): TensorData {
  const { datatype } = metadata
  const input = `input ${show(metadata.name)}`
  const field = FIELD_OF[datatype]
  if (field === undefined)
    throw new BadRequest(
      `${input}: ${datatype} has no typed contents; send the data in raw_input_contents`,
    )
  const expected = elementCount(shape)
  const found = countElements(contents, field, metadata)
  if (found !== expected)
    throw new BadRequest(
      `${input}: shape [${shape}] has ${expected} elements, but ${field.name} has ${found}`,
    )
  const data = DATATYPES[datatype].allocate(expected)
  new ContentsReader(contents, field, input).fill(data, datatype)
  return data
}

/** Counts a field's elements. @throws {BadRequest} if another datatype's field has data */
function countElements(contents: Uint8Array, field: ContentsField, metadata: TensorMetadata) {
  const cursor = new Cursor(contents)
  let count = 0
  while (cursor.next()) {
    const { number, wire, start, end } = cursor
    if (number === field.number) {
      if (wire === field.wire) count++
      else if (wire === LENGTH) count += countPacked(contents, field, cursor)
    } else if (NAMES.has(number) && (wire !== LENGTH || end > start))
      throw new BadRequest(
        `input ${show(metadata.name)}: ${NAMES.get(number)} is given; send ${metadata.datatype} data in ${field.name}`,
      )
  }
  return count
}

function countPacked(
  contents: Uint8Array,
  { name, wire }: ContentsField,
  { start, end }: Pick<Cursor, 'start' | 'end'>,
): number {
  if (wire === VARINT) {
    let count = 0
    for (let at = start; at < end; at++) if ((contents[at] as number) < 0x80) count++
    return count
  }
  const size = wire === FIXED32 ? 4 : 8
  if ((end - start) % size !== 0) throw malformed(`${name} ends within an element`)
  return (end - start) / size
}

type Elements = ReturnType<(typeof DATATYPES)[Datatype]['allocate']>

class ContentsReader {
  readonly #contents: Uint8Array
  readonly #field: ContentsField
  readonly #input: string
  #count = 0

  constructor(contents: Uint8Array, field: ContentsField, input: string) {
    this.#contents = contents
    this.#field = field
    this.#input = input
  }

  fill(data: Elements, datatype: Datatype): void {
    const cursor = new Cursor(this.#contents)
    while (cursor.next()) {
      if (cursor.number !== this.#field.number) continue
      if (this.#field.wire === LENGTH) {
        if (cursor.wire === LENGTH) this.#addText(data as string[], cursor.view)
      } else if (this.#field.wire === VARINT) this.#addVarints(data, datatype, cursor)
      else this.#addFixed(data as Float32Array, cursor)
    }
  }

  #addText(data: string[], bytes: Uint8Array): void {
    data[this.#count] = readText(bytes, this.#count, this.#input)
    this.#count++
  }

  /** Copies elements of 4 or 8 bytes, whose layout is the same in message and tensor. */
  #addFixed(data: Float32Array | Float64Array, { wire, view }: Cursor): void {
    if (wire !== LENGTH && wire !== this.#field.wire) return
    const size = data.BYTES_PER_ELEMENT
    const target = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    target.set(view, this.#count * size)
    this.#count += view.byteLength / size
  }

  #addVarints(data: Elements, datatype: Datatype, { wire, start, end }: Cursor): void {
    if (wire !== LENGTH && wire !== VARINT) return
    for (let at = start; at < end; at = varintEnd(this.#contents, at, end)) {
      if (data instanceof BigInt64Array || data instanceof BigUint64Array)
        this.#add64(data, at, end)
      else this.#addNumber(data as Int32Array, datatype, { at, end })
      this.#count++
    }
  }

  #add64({ buffer, byteOffset }: BigInt64Array | BigUint64Array, at: number, end: number): void {
    const low = readVarint(this.#contents, at, end)
    const halves = new Uint32Array(buffer, byteOffset)
    halves[2 * this.#count] = low
    halves[2 * this.#count + 1] = highBits
  }

  #addNumber(data: Int32Array, datatype: Datatype, { at, end }: { at: number; end: number }) {
    const signed = this.#field === FIELDS.int
    const value = readInteger(this.#contents, at, { end, signed })
    const { takes, fromJson } = DATATYPES[datatype]
    const element = this.#field === FIELDS.bool ? Number(value !== 0) : fromJson?.(Number(value))
    if (element === undefined)
      throw new BadRequest(
        `${this.#input}: ${this.#field.name}[${this.#count}] is ${value}; ${datatype} accepts ${takes}`,
      )
    data[this.#count] = element as number
  }
}

/** Encodes a tensor's data as an InferTensorContents. @throws {Error} for FP16 */
export function writeContents({ datatype, data }: Pick<Tensor, 'datatype' | 'data'>): Uint8Array[] {
  const field = FIELD_OF[datatype]
  if (field === undefined) throw new Error(`${datatype} has no typed contents`)
  if (data.length === 0) return []
  if (Array.isArray(data)) return [writeTexts(field, data)]
  const packed =
    field.wire === VARINT
      ? packVarints(data as Exclude<TensorData, readonly string[]>)
      : bytesOf(data as Float32Array)
  return [headOf(field, packed.byteLength), packed]
}

const bytesOf = ({ buffer, byteOffset, byteLength }: Float32Array) =>
  new Uint8Array(buffer, byteOffset, byteLength)

const writeTexts = ({ number }: ContentsField, texts: readonly string[]): Uint8Array =>
  encodeTexts(texts, {
    sizeOf: headSize,
    write: (to, at, length) => writeHead(to, at, { number, length }),
  })

function headOf({ number }: ContentsField, length: number): Uint8Array {
  const head = new Uint8Array(headSize(length))
  writeHead(head, 0, { number, length })
  return head
}

/** A varint has 7 bits per byte, and one byte at least. A length is below 2^32. */
const headSize = (length: number) => 1 + Math.max(Math.ceil((32 - Math.clz32(length)) / 7), 1)

/** Writes the tag and the length of a field. */
function writeHead(
  to: Uint8Array,
  at: number,
  { number, length }: { readonly number: number; readonly length: number },
): void {
  to[at] = number * 8 + LENGTH
  let next = at + 1
  let left = length
  for (; left >= 0x80; left >>>= 7) to[next++] = (left & 0x7f) | 0x80
  to[next] = left
}

type Numbers = Exclude<TensorData, readonly string[]>

/** Encodes numbers as varints. Treats 64-bit elements as two halves, because bigints are slow. */
function packVarints(data: Numbers): Uint8Array {
  const halves = halvesOf(data)
  const packed = Buffer.allocUnsafeSlow(packedSize(halves))
  let at = 0
  for (let i = 0; i < halves.length; i += 2) {
    let low = halves[i] as number
    let high = halves[i + 1] as number
    while (high !== 0 || low >= 0x80) {
      packed[at++] = (low & 0x7f) | 0x80
      low = ((low >>> 7) | (high << 25)) >>> 0
      high >>>= 7
    }
    packed[at++] = low
  }
  return packed
}

/** A varint has 7 bits per byte. */
function packedSize(halves: Uint32Array): number {
  let size = 0
  for (let i = 0; i < halves.length; i += 2) {
    const high = halves[i + 1] as number
    const bits = high === 0 ? 32 - Math.clz32(halves[i] as number) : 64 - Math.clz32(high)
    size += Math.max(Math.ceil(bits / 7), 1)
  }
  return size
}

/**
 * Returns each element's low and high 32 bits. Negative elements become 64-bit two's complement.
 */
function halvesOf(data: Numbers): Uint32Array {
  if (data.BYTES_PER_ELEMENT === 8)
    return new Uint32Array(data.buffer, data.byteOffset, 2 * data.length)
  const halves = new Uint32Array(2 * data.length)
  for (let i = 0; i < data.length; i++) {
    const value = data[i] as number
    halves[2 * i] = value
    halves[2 * i + 1] = value < 0 ? -1 : 0
  }
  return halves
}
