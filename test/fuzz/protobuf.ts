import fc from 'fast-check'
import { KNOWN } from './written.ts'

/** A field of an encoded message, which may be repeated or have a wrong length. */
interface Field {
  number: number
  wire: number
  value: Buffer | Field[]
  /** The difference between the written length and the length of the data. */
  lie?: number
}

interface Nested {
  readonly [number: number]: Nested
}

const PARAMETER: Nested = { 2: {} }

export const INFER: Nested = { 4: PARAMETER, 5: { 4: PARAMETER, 5: {} }, 6: { 4: PARAMETER } }

const VARINT = 0
const LENGTH = 2

const varint = (value: bigint): Buffer => {
  const bytes: number[] = []
  for (let left = value; ; left >>= 7n) {
    if (left < 128n) return Buffer.of(...bytes, Number(left))
    bytes.push(Number(left & 127n) + 128)
  }
}

function readVarint(bytes: Buffer, from: number): { end: number; value: number } {
  let value = 0
  for (let at = from; ; at++) {
    const byte = bytes[at] as number
    value += (byte & 127) * 128 ** (at - from)
    if (byte < 128) return { end: at + 1, value }
  }
}

function read(bytes: Buffer, nested: Nested): Field[] {
  const fields: Field[] = []
  for (let at = 0; at < bytes.length; ) {
    const tag = readVarint(bytes, at)
    const [number, wire] = [Math.floor(tag.value / 8), tag.value % 8]
    const length = wire === LENGTH ? readVarint(bytes, tag.end) : undefined
    const start = length?.end ?? tag.end
    const end =
      start + (length?.value ?? 0) + (wire === VARINT ? readVarint(bytes, start).end - start : 0)
    const value = bytes.subarray(start, end + ({ 1: 8, 5: 4 }[wire] ?? 0))
    const inner = wire === LENGTH ? nested[number] : undefined
    fields.push({ number, wire, value: inner === undefined ? value : read(value, inner) })
    at = start + value.length
  }
  return fields
}

function write(fields: readonly Field[]): Buffer {
  return Buffer.concat(
    fields.flatMap(({ number, wire, value, lie = 0 }) => {
      const bytes = Buffer.isBuffer(value) ? value : write(value)
      const tag = varint(BigInt(number) * 8n + BigInt(wire))
      const length = varint(BigInt.asUintN(64, BigInt(bytes.length + lie)))
      return wire === LENGTH ? [tag, length, bytes] : [tag, bytes]
    }),
  )
}

const ODD: readonly Buffer[] = [
  ...[0n, 1n, 127n, 2n ** 31n, 2n ** 32n, 2n ** 53n + 1n, 2n ** 63n, 2n ** 64n - 1n].map(varint),
  // Varints that are longer than necessary, longer than allowed, or unterminated.
  ...['8000', '80808080808080808000', 'ffffffffffffffffffff7f', 'ff', '8080'],
  // Invalid UTF-8 (a byte that UTF-8 never uses, half a surrogate pair, an overlong NUL, a
  // truncated character), and bytes of numbers.
  ...['00', 'fe', 'eda080', 'c080', 'f09f8c', '0a', '0a00', '0000807f', '000000000000f07f'],
].map(odd => (typeof odd === 'string' ? Buffer.from(odd, 'hex') : odd))

const TEXTS = Object.values(KNOWN)
  .flat()
  .concat('""', '"FP16"', '"triton_enable_empty_final_response"', '"timeout"', '"classification"')
  .filter(json => /^"[^\\]*"$/.test(json))
  .map(json => Buffer.from(json.slice(1, -1)))

const NUMBERS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 2_047, 19_000, 2 ** 29 - 1, 2 ** 29, 2 ** 32]
const LIES = [-1, 1, -4, 7, 1_000, 2 ** 31, 2 ** 32, 2 ** 53, -1_000]

const MOST_BYTES = 2 ** 20

const pick = <Value>(from: readonly Value[], at: number) => from[at % from.length] as Value

interface ProtobufBend {
  readonly how: keyof typeof WAYS
  readonly at: number
  readonly by: number
}

type Way = (fields: Field[], index: number, by: number) => void
const at = (fields: Field[], index: number) => fields[index] as Field

const changed =
  (change: (field: Field, by: number) => Partial<Field>): Way =>
  (fields, i, by) => {
    fields[i] = { ...at(fields, i), ...change(at(fields, i), by) }
  }

const WAYS = {
  replace: changed((_, by) => ({ value: pick([...ODD, ...TEXTS], by) })),
  drop: (fields, i) => void fields.splice(i, 1),
  twice: (fields, i) => void fields.splice(i, 0, at(fields, i)),
  rename: changed((_, by) => ({ number: pick(NUMBERS, by) })),
  retype: changed((_, by) => ({ wire: by % 8 })),
  add: (fields, i, by) =>
    void fields.splice(i, 0, { number: pick(NUMBERS, by), wire: by % 8, value: pick(ODD, by) }),
  empty: changed(() => ({ value: Buffer.alloc(0) })),
  lie: changed((_, by) => ({ lie: pick(LIES, by) })),
  swap: (fields, i) => void fields.splice(0, 1, ...fields.splice(i, 1, at(fields, 0))),
  wrap: changed(field => ({ value: [field] })),
  often(fields, i, by) {
    const field = at(fields, i)
    // In a few cases, the message has more fields than allowed.
    const most = Math.floor(MOST_BYTES / write([field]).length)
    const times = Math.min(by > 250 ? 70_000 : by, most)
    fields.splice(i, 0, ...Array.from({ length: times }, () => field))
  },
} satisfies Record<string, Way>

const copy = (fields: readonly Field[]): Field[] =>
  fields.map(field => ({
    ...field,
    value: Buffer.isBuffer(field.value) ? field.value : copy(field.value),
  }))

const placesOf = (fields: Field[]): { fields: Field[]; index: number }[] =>
  fields.flatMap(({ value }, index) => [
    { fields, index },
    ...(Buffer.isBuffer(value) ? [] : placesOf(value)),
  ])

export function bendMessage(message: Buffer, bends: readonly ProtobufBend[]): Buffer {
  if (bends.length === 0) return message
  const fields = copy(read(message, INFER))
  // Repeat fields once, at the end: copies of copies would exhaust memory.
  const often = bends.filter(({ how }) => how === 'often').slice(0, 1)
  for (const { how, at, by } of [...bends.filter(({ how }) => how !== 'often'), ...often]) {
    const places = placesOf(fields)
    const place = places[at % Math.max(places.length, 1)]
    if (place !== undefined) WAYS[how](place.fields, place.index, by)
  }
  return write(fields)
}

const oneBend: fc.Arbitrary<ProtobufBend> = fc.record({
  how: fc.constantFrom(...(Object.keys(WAYS) as ProtobufBend['how'][])),
  at: fc.nat(1_000),
  by: fc.nat(255),
})

/** In most cases at most one corruption, as for JSON. */
export const messageBends: fc.Arbitrary<ProtobufBend[]> = fc.oneof(
  { weight: 3, arbitrary: fc.constant<ProtobufBend[]>([]) },
  { weight: 5, arbitrary: oneBend.map(bend => [bend]) },
  fc.array(oneBend, { minLength: 2, maxLength: 4 }),
)
