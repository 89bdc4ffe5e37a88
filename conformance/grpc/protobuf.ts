/** A minimal protobuf reader and writer, with field numbers and no schema. */

export type FieldValue = bigint | Buffer

export type Fields = ReadonlyMap<number, readonly FieldValue[]>

const VARINT = 0
const FIXED64 = 1
const LENGTH = 2
const FIXED32 = 5

export function varint(value: number | bigint): Buffer {
  const bytes: number[] = []
  let left = BigInt.asUintN(64, BigInt(value))
  for (; left >= 0x80n; left >>= 7n) bytes.push(Number(left & 0x7fn) | 0x80)
  return Buffer.from([...bytes, Number(left)])
}

export const number = (field: number, value: number | bigint | boolean): Buffer =>
  Buffer.concat([varint(field * 8 + VARINT), varint(BigInt(value))])

export const bytes = (field: number, value: string | Uint8Array): Buffer => {
  const content = Buffer.from(value as string)
  return Buffer.concat([varint(field * 8 + LENGTH), varint(content.byteLength), content])
}

export function double(field: number, value: number): Buffer {
  const content = Buffer.alloc(8)
  content.writeDoubleLE(value)
  return Buffer.concat([varint(field * 8 + FIXED64), content])
}

export const packed = (field: number, values: readonly (number | bigint | boolean)[]): Buffer =>
  values.length === 0
    ? Buffer.alloc(0)
    : bytes(field, Buffer.concat(values.map(value => varint(BigInt(value)))))

export function readFields(message: Uint8Array): Fields {
  const content = Buffer.from(message)
  const fields = new Map<number, FieldValue[]>()
  let at = 0
  const readVarint = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = content[at++]
      if (byte === undefined || shift > 63n)
        throw new Error('the message contains an unterminated varint')
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  const take = (length: number): Buffer => {
    if (at + length > content.byteLength)
      throw new Error('a field of the message is longer than the message')
    at += length
    return content.subarray(at - length, at)
  }
  const readValue = (wire: number): FieldValue => {
    if (wire === VARINT) return readVarint()
    if (wire === FIXED64) return take(8)
    if (wire === FIXED32) return take(4)
    if (wire === LENGTH) return take(Number(readVarint()))
    throw new Error(`the message has a field of the unsupported wire type ${wire}`)
  }
  while (at < content.byteLength) {
    const tag = Number(readVarint())
    const values = fields.get(tag >> 3) ?? []
    values.push(readValue(tag & 7))
    fields.set(tag >> 3, values)
  }
  return fields
}

export const textOf = (fields: Fields, field: number): string =>
  String(fields.get(field)?.at(-1) ?? '')

export const isTrue = (fields: Fields, field: number): boolean =>
  (fields.get(field)?.at(-1) ?? 0n) !== 0n

export const messagesOf = (fields: Fields, field: number): readonly Buffer[] =>
  (fields.get(field) ?? []).filter(value => typeof value !== 'bigint')

/** A repeated integer field, packed or not, as 64-bit two's complement. */
export function integersOf(fields: Fields, field: number): bigint[] {
  return (fields.get(field) ?? []).flatMap(value => {
    if (typeof value === 'bigint') return [BigInt.asIntN(64, value)]
    // Wraps each number in a message of its own to decode it.
    const numbers: bigint[] = []
    for (let at = 0; at < value.byteLength; ) {
      let end = at
      while ((value[end] ?? 0) >= 0x80) end++
      const [read = 0n] = readFields(
        Buffer.concat([Buffer.of(8), value.subarray(at, end + 1)]),
      ).get(1) as bigint[]
      numbers.push(BigInt.asIntN(64, read))
      at = end + 1
    }
    return numbers
  })
}
