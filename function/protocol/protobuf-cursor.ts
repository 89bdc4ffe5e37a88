import { BadRequest } from './errors.ts'

/** See protobuf encoding, "Message Structure". */
export const VARINT = 0
export const FIXED64 = 1
export const LENGTH = 2
export const GROUP = 3
const END_GROUP = 4
export const FIXED32 = 5

const LONGEST_VARINT = 10

const MOST_NESTED_GROUPS = 100

/** Groups are skipped without a pause, so the fields of a group are limited. */
const MOST_FIELDS_OF_GROUP = 64 * 1024

export const malformed = (why: string) =>
  new BadRequest(`the message is not valid protobuf: ${why}`)

/**
 * Reads a message field by field. The cursor itself describes the current field, so that no memory
 * is allocated per field.
 */
export class Cursor {
  readonly bytes: Uint8Array
  readonly #end: number
  #at: number
  number = 0
  wire = 0
  /** The start and the end of the field's value, without the length of a LENGTH field. */
  start = 0
  end = 0

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes
    this.#at = start
    this.#end = end
  }

  /**
   * Advances to the next field.
   * @returns false after the last field
   * @throws {BadRequest} if the bytes are not a message
   */
  next(): boolean {
    if (this.#at >= this.#end) return false
    this.#readTag()
    if (this.wire === END_GROUP)
      throw malformed(`the group that ends at byte ${this.#at} has no start`)
    if (this.wire === GROUP) this.#skipGroup()
    else this.#skipValue()
    return true
  }

  get view(): Uint8Array {
    return this.bytes.subarray(this.start, this.end)
  }

  #readTag(): void {
    const tag = this.#readSmall()
    this.number = tag >>> 3
    this.wire = tag & 7
    if (this.number === 0) throw malformed(`a field before byte ${this.#at} has the number 0`)
  }

  #skipValue(): void {
    const { wire } = this
    if (wire === LENGTH) {
      const length = this.#readSmall()
      this.start = this.#at
      this.#at += length
    } else {
      this.start = this.#at
      if (wire === VARINT) this.#at = varintEnd(this.bytes, this.#at, this.#end)
      else if (wire === FIXED64) this.#at += 8
      else if (wire === FIXED32) this.#at += 4
      else throw malformed(`field ${this.number} has the wire type ${wire}, which does not exist`)
    }
    this.end = this.#at
    if (this.#at > this.#end)
      throw malformed(
        `field ${this.number} ends at byte ${this.#at}, beyond the end of its message at ${this.#end}`,
      )
  }

  /** Groups belong to proto2; no message here defines one. */
  #skipGroup(): void {
    const { number } = this
    const open = [number]
    for (let fields = 0; open.length > 0; fields++) {
      if (fields > MOST_FIELDS_OF_GROUP)
        throw malformed(`the group ${number} has more than ${MOST_FIELDS_OF_GROUP} fields`)
      if (this.#at >= this.#end) throw malformed(`the group ${number} has no end`)
      if (open.length > MOST_NESTED_GROUPS)
        throw malformed(`its groups are nested more than ${MOST_NESTED_GROUPS} levels deep`)
      this.#readTag()
      if (this.wire === GROUP) open.push(this.number)
      else if (this.wire !== END_GROUP) this.#skipValue()
      else if (open.pop() !== this.number) throw malformed(`the group ${number} has no end`)
    }
    this.number = number
    this.wire = GROUP
  }

  /** Reads a tag or a length: 32 bits, unsigned. */
  #readSmall(): number {
    const first = this.bytes[this.#at] as number
    if (this.#at < this.#end && first < 0x80) {
      this.#at++
      return first
    }
    const value = readVarint(this.bytes, this.#at, this.#end)
    this.#at = varintEnd(this.bytes, this.#at, this.#end)
    if (highBits !== 0) throw malformed(`the number before byte ${this.#at} exceeds 32 bits`)
    return value
  }
}

/** @returns the position after a varint @throws {BadRequest} if the varint has no end */
export function varintEnd(bytes: Uint8Array, from: number, end: number): number {
  const last = Math.min(end, from + LONGEST_VARINT)
  for (let at = from; at < last; at++) if ((bytes[at] as number) < 0x80) return at + 1
  throw malformed(`the number at byte ${from} has no end`)
}

/** The high 32 bits of the last varint; readVarint returns the low 32 bits. */
export let highBits = 0

/** @returns the low 32 bits, unsigned; {@link highBits} is the high 32 bits */
export function readVarint(bytes: Uint8Array, from: number, end: number): number {
  const behind = varintEnd(bytes, from, end)
  let low = 0
  let high = 0
  for (let at = from, shift = 0; at < behind; at++, shift += 7) {
    const bits = (bytes[at] as number) & 0x7f
    if (shift < 28) low |= bits << shift
    else if (shift === 28) {
      low |= bits << 28
      high = bits >>> 4
    } else high |= bits << (shift - 32)
  }
  highBits = high >>> 0
  return low >>> 0
}

/** Reads a 64-bit integer. @returns a bigint if a number would not be exact */
export function readInteger(
  bytes: Uint8Array,
  from: number,
  { end, signed }: { readonly end: number; readonly signed: boolean },
): number | bigint {
  const low = readVarint(bytes, from, end)
  const high = signed ? highBits | 0 : highBits
  const value = high * 2 ** 32 + low
  return Number.isSafeInteger(value) ? value : BigInt(high) * 2n ** 32n + BigInt(low)
}
