import { readHalf, writeHalf } from './half.ts'
import type { Value } from './point.ts'

export interface DatatypeRow {
  /** The number of bytes of an element; 0 for BYTES. */
  readonly bytes: number
  /** Values that servers often return changed. The minimum and the maximum come first. */
  readonly values: readonly Value[]
  readonly read: (view: DataView, at: number) => Value
  readonly write: (view: DataView, at: number, value: never) => void
}

const integer = (least: number, most: number) => ({
  values: [least, most, 0, 1, least + 1, most - 1],
})

const FLOATS = [0, -0, 1, -2.5, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY]

const nothing = () => {
  throw new Error('a BYTES element has no fixed length')
}

// biome-ignore format: one row per datatype reads best as a table
export const DATATYPES: Readonly<Record<string, DatatypeRow>> = {
  BOOL:   { bytes: 1, values: [true, false, true],          read: (view, at) => view.getUint8(at) !== 0,         write: (view, at, value: boolean) => view.setUint8(at, value ? 1 : 0) },
  UINT8:  { bytes: 1, ...integer(0, 255),                   read: (view, at) => view.getUint8(at),               write: (view, at, value: number) => view.setUint8(at, value) },
  UINT16: { bytes: 2, ...integer(0, 65535),                 read: (view, at) => view.getUint16(at, true),        write: (view, at, value: number) => view.setUint16(at, value, true) },
  UINT32: { bytes: 4, ...integer(0, 4294967295),            read: (view, at) => view.getUint32(at, true),        write: (view, at, value: number) => view.setUint32(at, value, true) },
  UINT64: { bytes: 8, values: [0n, 2n ** 64n - 1n, 2n ** 53n, 2n ** 53n + 1n, 2n ** 63n, 1n], read: (view, at) => view.getBigUint64(at, true), write: (view, at, value: bigint) => view.setBigUint64(at, value, true) },
  INT8:   { bytes: 1, ...integer(-128, 127),                read: (view, at) => view.getInt8(at),                write: (view, at, value: number) => view.setInt8(at, value) },
  INT16:  { bytes: 2, ...integer(-32768, 32767),            read: (view, at) => view.getInt16(at, true),         write: (view, at, value: number) => view.setInt16(at, value, true) },
  INT32:  { bytes: 4, ...integer(-2147483648, 2147483647),  read: (view, at) => view.getInt32(at, true),         write: (view, at, value: number) => view.setInt32(at, value, true) },
  INT64:  { bytes: 8, values: [-(2n ** 63n), 2n ** 63n - 1n, -(2n ** 53n) - 1n, 2n ** 53n + 1n, 0n, -1n], read: (view, at) => view.getBigInt64(at, true), write: (view, at, value: bigint) => view.setBigInt64(at, value, true) },
  FP16:   { bytes: 2, values: [...FLOATS, 65504, -65504, 2 ** -24], read: readHalf,                                 write: writeHalf },
  FP32:   { bytes: 4, values: [...FLOATS, 3.4028234663852886e38, 1.401298464324817e-45, Math.fround(0.1)], read: (view, at) => view.getFloat32(at, true), write: (view, at, value: number) => view.setFloat32(at, value, true) },
  FP64:   { bytes: 8, values: [...FLOATS, Number.MAX_VALUE, Number.MIN_VALUE, 0.1], read: (view, at) => view.getFloat64(at, true), write: (view, at, value: number) => view.setFloat64(at, value, true) },
  BYTES:  { bytes: 0, values: ['', 'setosa', 'naïve café', '日本語', '🌸', 'two\nlines\t"quoted" \\ \u2028', '\ufffd', ' '], read: nothing, write: nothing },
}

export const IN_JSON = Object.keys(DATATYPES).filter(datatype => datatype !== 'FP16')

export const INTEGERS = IN_JSON.filter(datatype => datatype.includes('INT'))

export const rowOf = (datatype: string): DatatypeRow => {
  const row = DATATYPES[datatype]
  if (row === undefined) throw new Error(`${datatype} is not a datatype of the protocol's table`)
  return row
}

/**
 * Values that any JSON parser preserves: no integers beyond 2^53, −0, denormal numbers or
 * infinities.
 */
export const plainValues = (datatype: string): readonly Value[] =>
  rowOf(datatype).values.filter(value => isPlain(datatype, value))

function isPlain(datatype: string, value: Value): boolean {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value))
  if (typeof value !== 'number') return true
  const least = { FP16: 2 ** -14, FP32: 2 ** -126, FP64: 2 ** -1022 }[datatype] ?? 1
  return (
    Number.isFinite(value) && !Object.is(value, -0) && (value === 0 || Math.abs(value) >= least)
  )
}

export function toBytes(datatype: string, values: readonly Value[]): Buffer {
  if (datatype === 'BYTES')
    return Buffer.concat(values.flatMap(value => lengthPrefixed(Buffer.from(value as string))))
  const { bytes, write } = rowOf(datatype)
  const buffer = Buffer.alloc(bytes * values.length)
  const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength)
  values.forEach((value, i) => {
    write(view, i * bytes, value as never)
  })
  return buffer
}

/** `says` is the length in the element's prefix. */
export function lengthPrefixed(element: Uint8Array, says = element.byteLength): Buffer[] {
  const prefix = Buffer.alloc(4)
  prefix.writeUInt32LE(says)
  return [prefix, Buffer.from(element)]
}

export function fromBytes(datatype: string, bytes: Buffer): Value[] {
  if (datatype === 'BYTES') return readStrings(bytes)
  const { bytes: size, read } = rowOf(datatype)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  return Array.from({ length: bytes.byteLength / size }, (_, i) => read(view, i * size))
}

function readStrings(bytes: Buffer): string[] {
  const strings: string[] = []
  for (let at = 0; at < bytes.byteLength; ) {
    const end = at + 4 + bytes.readUInt32LE(at)
    strings.push(bytes.toString('utf8', at + 4, end))
    at = end
  }
  return strings
}
