import { FIXED32, FIXED64, LENGTH, VARINT } from './protobuf-cursor.ts'
import type { Message } from './protobuf-decode.ts'
import { EnumType, type Field, MessageType } from './protobuf-schema.ts'

/** Bytes in pieces, for a `bytes` field or an encoded message. */
export class Parts {
  readonly parts: readonly Uint8Array[]
  readonly byteLength: number

  constructor(parts: readonly Uint8Array[]) {
    this.parts = parts
    this.byteLength = parts.reduce((sum, { byteLength }) => sum + byteLength, 0)
  }
}

/** Longer byte arrays are not copied. */
const MOST_COPIED = 1024

/**
 * Writes a message. Omits values that equal proto3's default, except in repeated fields and in a
 * oneof.
 * @returns the message's bytes, in pieces if it contains large byte arrays
 */
export function encodeMessage(type: MessageType, message: Message): Parts {
  const writer = new Writer()
  writer.message(type, message)
  return new Parts(writer.finish())
}

/**
 * Writes from the end to the start: a nested message is preceded by its length, which is known only
 * once the message is written.
 */
class Writer {
  readonly #parts: Uint8Array[] = []
  #buffer = Buffer.allocUnsafe(256)
  #at = this.#buffer.length
  #flushed = 0

  finish(): Uint8Array[] {
    this.#flush()
    return this.#parts.reverse()
  }

  message(type: MessageType, message: Message): void {
    for (let i = type.fields.length - 1; i >= 0; i--) {
      const field = type.fields[i] as Field
      const value = message[field.name]
      if (value === undefined) continue
      if (!field.repeated) {
        if (field.oneof !== undefined || !isDefault(value)) this.#field(field, value)
      } else if (value instanceof Map) this.#map(field, value)
      else if (isPackable(field)) this.#packed(field, value)
      else for (let e = value.length - 1; e >= 0; e--) this.#field(field, value[e])
    }
  }

  get #size(): number {
    return this.#flushed + this.#buffer.length - this.#at
  }

  #map(field: Field, map: ReadonlyMap<unknown, unknown>): void {
    for (const [key, value] of [...map].reverse()) this.#field(field, { key, value })
  }

  #packed(field: Field, values: readonly unknown[]): void {
    if (values.length === 0) return
    const before = this.#size
    for (let i = values.length - 1; i >= 0; i--) this.#scalar(field, values[i])
    this.#varint(this.#size - before)
    this.#tag(field, LENGTH)
  }

  #field(field: Field, value: unknown): void {
    const { type } = field
    const before = this.#size
    if (value instanceof Parts) this.#pieces(value)
    else if (type instanceof MessageType) this.message(type, value as Message)
    else if (type === 'string') this.#string(value as string)
    else if (type === 'bytes') this.#bytes(value as Uint8Array)
    else {
      this.#tag(field, this.#scalar(field, value))
      return
    }
    this.#varint(this.#size - before)
    this.#tag(field, LENGTH)
  }

  #scalar({ type }: Field, value: unknown): number {
    if (type === 'float' || type === 'double') {
      const size = type === 'float' ? 4 : 8
      this.#reserve(size)
      this.#at -= size
      if (size === 4) this.#buffer.writeFloatLE(value as number, this.#at)
      else this.#buffer.writeDoubleLE(value as number, this.#at)
      return size === 4 ? FIXED32 : FIXED64
    }
    if (type instanceof EnumType && typeof value === 'string') {
      const number = type.values.get(value)
      if (number === undefined) throw new Error(`${type.fullName} has no ${value}`)
      this.#varint(number)
    } else this.#varint(typeof value === 'boolean' ? Number(value) : (value as number))
    return VARINT
  }

  #string(text: string): void {
    const size = Buffer.byteLength(text)
    this.#reserve(size)
    this.#at -= size
    this.#buffer.write(text, this.#at)
  }

  #pieces({ parts }: Parts): void {
    for (let i = parts.length - 1; i >= 0; i--) this.#bytes(parts[i] as Uint8Array)
  }

  #bytes(bytes: Uint8Array): void {
    if (bytes.byteLength > MOST_COPIED) {
      this.#flush()
      this.#parts.push(bytes)
      this.#flushed += bytes.byteLength
      return
    }
    this.#reserve(bytes.byteLength)
    this.#at -= bytes.byteLength
    this.#buffer.set(bytes, this.#at)
  }

  #tag({ number }: Field, wire: number): void {
    this.#varint(number * 8 + wire)
  }

  #varint(value: number | bigint): void {
    if (typeof value === 'number' && value >= 0 && value < 0x80) {
      this.#reserve(1)
      this.#buffer[--this.#at] = value
      return
    }
    const bytes = varintOf(value)
    this.#reserve(bytes.length)
    this.#at -= bytes.length
    this.#buffer.set(bytes, this.#at)
  }

  #reserve(bytes: number): void {
    if (this.#at >= bytes) return
    const used = this.#buffer.subarray(this.#at)
    const grown = Buffer.allocUnsafe(Math.max(256, 2 * this.#buffer.length, used.length + bytes))
    this.#at = grown.length - used.length
    grown.set(used, this.#at)
    this.#buffer = grown
  }

  #flush(): void {
    if (this.#at === this.#buffer.length) return
    const written = this.#buffer.subarray(this.#at)
    this.#parts.push(written)
    this.#flushed += written.byteLength
    this.#buffer = this.#buffer.subarray(0, this.#at)
  }
}

/** Encodes a varint. A negative number becomes 64-bit two's complement. */
function varintOf(value: number | bigint): number[] {
  const bytes: number[] = []
  if (typeof value === 'number' && value >= 0) {
    let left = value
    for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes.push((left % 0x80) | 0x80)
    bytes.push(left)
    return bytes
  }
  let left = BigInt.asUintN(64, BigInt(value))
  for (; left >= 0x80n; left >>= 7n) bytes.push(Number(left & 0x7fn) | 0x80)
  bytes.push(Number(left))
  return bytes
}

const isDefault = (value: unknown) =>
  value === '' ||
  Object.is(value, 0) ||
  value === false ||
  (value instanceof Uint8Array && value.byteLength === 0)

const isPackable = ({ type }: Field) =>
  !(type instanceof MessageType) && type !== 'string' && type !== 'bytes'
