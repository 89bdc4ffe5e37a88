import { isUtf8 } from 'node:buffer'
import { TooLarge } from './errors.ts'
import {
  Cursor,
  FIXED32,
  FIXED64,
  LENGTH,
  malformed,
  readInteger,
  VARINT,
  varintEnd,
} from './protobuf-cursor.ts'
import { EnumType, type Field, MessageType } from './protobuf-schema.ts'

/** Fields, keyed by their names in the .proto file. Absent fields have proto3's default. */
// biome-ignore lint/suspicious/noExplicitAny: the schema defines the types of the fields
export type Message = Record<string, any>

/**
 * The maximum number of fields in a message: two bytes can become an object of a hundred bytes.
 * Tensor data does not count, because it stays bytes until its shape is known.
 */
const MOST_FIELDS = 64 * 1024

/** @throws {TooLarge} if a message has too many fields */
export function checkFieldCount(count: number): void {
  if (count > MOST_FIELDS)
    throw new TooLarge(`the message has more than ${MOST_FIELDS} fields outside tensor data`)
}

/**
 * Reads a message. Values of type bytes and messages of lazy types are views of the input. A map
 * becomes a Map. An integer that a number cannot represent exactly becomes a bigint.
 * @throws {BadRequest} if the message is not valid protobuf, or a text is not UTF-8
 * @throws {TooLarge} if the message has more than 65,536 fields
 */
export const decodeMessage = (type: MessageType, bytes: Uint8Array): Message =>
  new Decoder(bytes).message(type, 0, bytes.length)

class Decoder {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  readonly #text: Buffer
  #fields = 0

  constructor(bytes: Uint8Array) {
    const { buffer, byteOffset, byteLength } = bytes
    this.#bytes = bytes
    this.#view = new DataView(buffer, byteOffset, byteLength)
    this.#text = Buffer.from(buffer, byteOffset, byteLength)
  }

  message(type: MessageType, start: number, end: number): Message {
    const message: Message = Object.create(type.defaults)
    const cursor = new Cursor(this.#bytes, start, end)
    while (cursor.next()) {
      this.#count()
      const field = type.byNumber[cursor.number]
      // A field whose wire type differs from its declared type is skipped, as unknown fields are.
      if (field === undefined) continue
      const wire = wireOf(field)
      if (cursor.wire === wire) this.#add(message, field, cursor)
      else if (cursor.wire === LENGTH && field.repeated) this.#addPacked(message, field, cursor)
    }
    return message
  }

  #count(): void {
    checkFieldCount(++this.#fields)
  }

  #add(message: Message, field: Field, { start, end }: Cursor): void {
    const { name, type, repeated } = field
    const value = this.#value(field, start, end)
    if (!repeated) {
      if (type instanceof MessageType && Object.hasOwn(message, name))
        throw malformed(`${name} appears twice`)
      message[name] = value
      if (field.oneof !== undefined) message[field.oneof] = value
    } else if (type instanceof MessageType && type.isMapEntry) {
      if (!Object.hasOwn(message, name)) message[name] = new Map()
      message[name].set(value.key, value.value)
    } else this.#push(message, name, value)
  }

  #addPacked(message: Message, field: Field, { start, end }: Cursor): void {
    const size = SIZES[wireOf(field)]
    for (let at = start; at < end; ) {
      this.#count()
      const next = size === undefined ? varintEnd(this.#bytes, at, end) : at + size
      if (next > end) throw malformed(`${field.name} ends within an element`)
      this.#push(message, field.name, this.#value(field, at, next))
      at = next
    }
  }

  #push(message: Message, name: string, value: unknown): void {
    if (Object.hasOwn(message, name)) message[name].push(value)
    else message[name] = [value]
  }

  #value({ name, type }: Field, start: number, end: number): Message[string] {
    if (type instanceof MessageType)
      return type.lazy ? this.#bytes.subarray(start, end) : this.message(type, start, end)
    if (type instanceof EnumType) return Number(readInteger(this.#bytes, start, SIGNED(end))) | 0
    switch (type) {
      case 'string':
        return this.#string(name, start, end)
      case 'bytes':
        return this.#bytes.subarray(start, end)
      case 'float':
        return this.#view.getFloat32(start, true)
      case 'double':
        return this.#view.getFloat64(start, true)
      case 'bool':
        return readInteger(this.#bytes, start, SIGNED(end)) !== 0
      case 'int32':
        return Number(BigInt.asIntN(32, BigInt(readInteger(this.#bytes, start, SIGNED(end)))))
      default:
        return readInteger(this.#bytes, start, { end, signed: type === 'int64' })
    }
  }

  #string(name: string, start: number, end: number): string {
    const text = this.#text.toString('utf8', start, end)
    // toString() replaces bytes that are not UTF-8 with U+FFFD.
    if (text.includes('\ufffd') && !isUtf8(this.#bytes.subarray(start, end)))
      throw malformed(`${name} is not UTF-8`)
    return text
  }
}

const SIGNED = (end: number) => ({ end, signed: true })

/** Bytes per element, keyed by wire type; undefined for a varint. */
const SIZES: Readonly<Record<number, number | undefined>> = { [FIXED32]: 4, [FIXED64]: 8 }

function wireOf({ type }: Field): number {
  if (type instanceof MessageType || type === 'string' || type === 'bytes') return LENGTH
  if (type === 'float') return FIXED32
  return type === 'double' ? FIXED64 : VARINT
}
