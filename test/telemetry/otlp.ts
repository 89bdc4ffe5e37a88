/*
 * Reads OTLP's protobuf messages by the field numbers of opentelemetry-proto 1 (trace/v1,
 * metrics/v1, resource/v1, common/v1).
 */

export type Attributes = Readonly<Record<string, string | number | boolean>>

export interface Span {
  readonly name: string
  readonly kind: 'internal' | 'server' | 'client' | 'producer' | 'consumer'
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
  readonly traceState: string
  /** Nanoseconds since 1970. */
  readonly began: bigint
  readonly ended: bigint
  readonly attributes: Attributes
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
  readonly failed: boolean
  readonly message: string
  readonly resource: Attributes
}

export interface Point {
  readonly name: string
  readonly type: 'counter' | 'gauge' | 'histogram'
  readonly unit: string
  readonly labels: Attributes
  /** Nanoseconds since 1970. */
  readonly began: bigint
  readonly at: bigint
  readonly value: number
  readonly histogram:
    | {
        readonly sum: number
        readonly counts: readonly number[]
        readonly bounds: readonly number[]
      }
    | undefined
  readonly resource: Attributes
}

export const readSpans = (body: Uint8Array): Span[] =>
  messages(fields(body), 1).flatMap(resourceSpans => {
    const resource = readAttributes(messages(resourceSpans, 1).flatMap(owner => messages(owner, 1)))
    return messages(resourceSpans, 2).flatMap(scopeSpans =>
      messages(scopeSpans, 2).map(span => readSpan(span, resource)),
    )
  })

const KINDS = ['internal', 'internal', 'server', 'client', 'producer', 'consumer'] as const

function readSpan(span: Fields, resource: Attributes): Span {
  const [status] = messages(span, 15)
  return {
    traceId: hex(span, 1),
    spanId: hex(span, 2),
    traceState: text(span, 3),
    parentSpanId: hex(span, 4),
    name: text(span, 5),
    kind: KINDS[Number(integer(span, 6))] ?? 'internal',
    began: fixed64(span, 7),
    ended: fixed64(span, 8),
    attributes: readAttributes(messages(span, 9)),
    links: messages(span, 13).map(link => ({ traceId: hex(link, 1), spanId: hex(link, 2) })),
    message: status === undefined ? '' : text(status, 2),
    failed: status !== undefined && integer(status, 3) === 2n,
    resource,
  }
}

/**
 * Reads the points of an ExportMetricsServiceRequest. @throws {Error} for counts that are not
 * cumulative and counters that are not monotonic
 */
export const readPoints = (body: Uint8Array): Point[] =>
  messages(fields(body), 1).flatMap(resourceMetrics => {
    const resource = readAttributes(
      messages(resourceMetrics, 1).flatMap(owner => messages(owner, 1)),
    )
    return messages(resourceMetrics, 2).flatMap(scopeMetrics =>
      messages(scopeMetrics, 2).flatMap(metric =>
        readMetric(metric).map(point => ({ ...point, resource })),
      ),
    )
  })

function readMetric(metric: Fields): Omit<Point, 'resource'>[] {
  const named = { name: text(metric, 1), unit: text(metric, 3) }
  const [gauge] = messages(metric, 5)
  const [sum] = messages(metric, 7)
  const [histogram] = messages(metric, 9)
  for (const counted of [sum, histogram])
    if (counted !== undefined && integer(counted, 2) !== 2n)
      throw new Error(`${named.name} is not cumulative`)
  if (sum !== undefined && integer(sum, 3) !== 1n) throw new Error(`${named.name} is not monotonic`)
  const numbers = (of: Fields, type: Point['type']) =>
    messages(of, 1).map(point => ({
      ...named,
      type,
      began: fixed64(point, 2),
      at: fixed64(point, 3),
      value: double(point, 4) + Number(fixed64(point, 6)),
      labels: readAttributes(messages(point, 7)),
      histogram: undefined,
    }))
  if (gauge !== undefined) return numbers(gauge, 'gauge')
  if (sum !== undefined) return numbers(sum, 'counter')
  return messages(histogram as Fields, 1).map(point => ({
    ...named,
    type: 'histogram',
    began: fixed64(point, 2),
    at: fixed64(point, 3),
    value: Number(fixed64(point, 4)),
    labels: readAttributes(messages(point, 9)),
    histogram: {
      sum: double(point, 5),
      counts: eights(point, 6).map(view => Number(view.getBigUint64(0, true))),
      bounds: eights(point, 7).map(view => view.getFloat64(0, true)),
    },
  }))
}

const readAttributes = (pairs: readonly Fields[]): Attributes =>
  Object.fromEntries(pairs.map(pair => [text(pair, 1), messages(pair, 2).map(readValue)[0] ?? '']))

function readValue(value: Fields): string | number | boolean {
  if (value.has(1)) return text(value, 1)
  if (value.has(2)) return integer(value, 2) === 1n
  return value.has(3) ? Number(integer(value, 3)) : double(value, 4)
}

/** The values of each field by its number. Varints are integers, and all other values are bytes. */
type Fields = ReadonlyMap<number, readonly (bigint | Uint8Array)[]>

function fields(bytes: Uint8Array): Fields {
  const found = new Map<number, (bigint | Uint8Array)[]>()
  let at = 0
  const varint = () => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++] as number
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  const take = (length: number) => {
    at += length
    if (at > bytes.length) throw new Error('the message ends within a field')
    return bytes.subarray(at - length, at)
  }
  while (at < bytes.length) {
    const tag = Number(varint())
    const type = tag & 7
    const value = type === 0 ? varint() : take(type === 1 ? 8 : type === 2 ? Number(varint()) : 4)
    found.set(tag >> 3, [...(found.get(tag >> 3) ?? []), value])
  }
  return found
}

const all = (message: Fields, field: number) => (message.get(field) ?? []) as Uint8Array[]
const messages = (message: Fields, field: number) => all(message, field).map(fields)
const text = (message: Fields, field: number) => Buffer.concat(all(message, field)).toString()
const hex = (message: Fields, field: number) => Buffer.concat(all(message, field)).toString('hex')
const integer = (message: Fields, field: number) => (message.get(field)?.[0] ?? 0n) as bigint

/** Numbers of eight bytes, packed or not. */
function eights(message: Fields, field: number): DataView[] {
  const bytes = Buffer.concat(all(message, field))
  return Array.from(
    { length: bytes.length / 8 },
    (_, i) => new DataView(bytes.buffer, bytes.byteOffset + 8 * i, 8),
  )
}
const fixed64 = (message: Fields, field: number) =>
  eights(message, field)[0]?.getBigUint64(0, true) ?? 0n
const double = (message: Fields, field: number) =>
  eights(message, field)[0]?.getFloat64(0, true) ?? 0
