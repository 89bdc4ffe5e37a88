import { float32sToJson } from './float32-json.ts'

/**
 * FP16 is stored as bit patterns, and BYTES as text: ONNX strings are UTF-8 (onnx.proto,
 * TensorProto.string_data).
 */
export type TensorData =
  | Float32Array
  | Float64Array
  | Uint8Array
  | Uint16Array
  | Uint32Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | BigUint64Array
  | readonly string[]

/** Tensor data that is still being written. */
export type TensorElements = Exclude<TensorData, readonly string[]> | string[]

/** The properties of a datatype. CONTRIBUTING.md explains how to add a datatype. */
export interface DatatypeRow {
  /** Bytes per element in binary tensor data; 0 for BYTES, whose elements have their own length. */
  readonly bytes: number
  readonly ort: string
  /** The number in onnx.proto (TensorProto.DataType). */
  readonly onnx: number
  /** BYTES elements start as empty strings. */
  readonly allocate: (length: number) => TensorElements
  /**
   * Reads little-endian elements without copying; `offset` is a multiple of `bytes`. Absent for
   * BYTES, which binary.ts reads element by element.
   */
  readonly view?: (buffer: ArrayBufferLike, offset: number, length: number) => TensorData
  /**
   * Converts a JSON value to an element; undefined if the datatype cannot represent it. Absent if
   * JSON cannot represent the datatype.
   */
  readonly fromJson?: (value: unknown) => number | bigint | string | undefined
  /** Converts elements to JSON, separated by commas. Absent if `fromJson` is absent. */
  readonly toJson?: (data: never) => string
  /** True if elements may exceed 2^53, where JSON.parse() would round numbers. */
  readonly isBigInteger?: true
  /**
   * The bytes of an element in JSON, with its comma. Absent for BYTES, whose elements have any
   * length, and if `toJson` is absent.
   */
  readonly jsonBytes?: { readonly least: number; readonly most: number }
  /** The accepted values, for error messages. */
  readonly takes: string
}

/** Also for bigints, which keep every digit. */
const join = (data: Exclude<TensorData, readonly string[]>) => data.join(',')

function integer(least: number, most: number) {
  return {
    takes: `integers from ${least} to ${most}`,
    jsonBytes: { least: 2, most: 1 + Math.max(`${least}`.length, `${most}`.length) },
    toJson: join,
    fromJson: (value: unknown) =>
      typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most
        ? value
        : undefined,
  }
}

/**
 * A 64-bit integer. Beyond 2^53, accepts only json.ts's bigints: a JavaScript number may have lost
 * digits.
 */
function bigInteger(least: bigint, most: bigint) {
  return {
    takes: `integers from ${least} to ${most}`,
    jsonBytes: { least: 2, most: 21 },
    isBigInteger: true as const,
    toJson: join,
    fromJson: (value: unknown) => {
      if (typeof value === 'bigint') return value >= least && value <= most ? value : undefined
      if (typeof value !== 'number' || !Number.isSafeInteger(value)) return undefined
      return value < 0 && least === 0n ? undefined : BigInt(value)
    },
  }
}

/** The longest FP64 has a sign, 17 digits, a point, an exponent of five characters, and a comma. */
const FLOAT_JSON = { least: 2, most: 25 }

/** JSON has no numbers for NaN and infinities (RFC 8259, section 6), so these are strings. */
const NOT_FINITE: Readonly<Record<string, number>> = Object.freeze({
  __proto__: null,
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  '-Infinity': Number.NEGATIVE_INFINITY,
} as unknown as Record<string, number>)

const float32 = (value: unknown) => {
  // Math.fround returns infinity if and only if the value overflows FP32.
  if (typeof value === 'number') return Number.isFinite(Math.fround(value)) ? value : undefined
  return typeof value === 'string' ? NOT_FINITE[value] : undefined
}

const float64 = (value: unknown) => {
  if (typeof value === 'number') return Number.isFinite(value) ? value : undefined
  return typeof value === 'string' ? NOT_FINITE[value] : undefined
}

const text = (value: unknown) =>
  typeof value === 'string' && value.isWellFormed() && !value.includes('\0') ? value : undefined

const booleansToJson = (data: Uint8Array) => Array.from(data, element => element !== 0).join()

const textToJson = (data: readonly string[]) => JSON.stringify(data).slice(1, -1)

/** Writes NaN and infinities as strings, and keeps the sign of −0, which join() would lose. */
function float64sToJson(data: Float64Array): string {
  let json = ''
  for (let i = 0; i < data.length; i++) {
    const element = data[i] as number
    if (i > 0) json += ','
    if (Number.isFinite(element)) json += element === 0 && Object.is(element, -0) ? '-0' : element
    else json += `"${element}"`
  }
  return json
}

// biome-ignore format: one row per datatype reads best as a table
const ROWS = {
  BOOL:   { bytes: 1, ort: 'bool',    onnx: 9,  allocate: n => new Uint8Array(n),      view: (b, o, n) => new Uint8Array(b, o, n),      takes: 'true or false', fromJson: value => value === true ? 1 : value === false ? 0 : undefined, toJson: booleansToJson, jsonBytes: { least: 5, most: 6 } },
  UINT8:  { bytes: 1, ort: 'uint8',   onnx: 2,  allocate: n => new Uint8Array(n),      view: (b, o, n) => new Uint8Array(b, o, n),      ...integer(0, 255) },
  UINT16: { bytes: 2, ort: 'uint16',  onnx: 4,  allocate: n => new Uint16Array(n),     view: (b, o, n) => new Uint16Array(b, o, n),     ...integer(0, 65535) },
  UINT32: { bytes: 4, ort: 'uint32',  onnx: 12, allocate: n => new Uint32Array(n),     view: (b, o, n) => new Uint32Array(b, o, n),     ...integer(0, 4294967295) },
  UINT64: { bytes: 8, ort: 'uint64',  onnx: 13, allocate: n => new BigUint64Array(n),  view: (b, o, n) => new BigUint64Array(b, o, n),  ...bigInteger(0n, 2n ** 64n - 1n) },
  INT8:   { bytes: 1, ort: 'int8',    onnx: 3,  allocate: n => new Int8Array(n),       view: (b, o, n) => new Int8Array(b, o, n),       ...integer(-128, 127) },
  INT16:  { bytes: 2, ort: 'int16',   onnx: 5,  allocate: n => new Int16Array(n),      view: (b, o, n) => new Int16Array(b, o, n),      ...integer(-32768, 32767) },
  INT32:  { bytes: 4, ort: 'int32',   onnx: 6,  allocate: n => new Int32Array(n),      view: (b, o, n) => new Int32Array(b, o, n),      ...integer(-2147483648, 2147483647) },
  INT64:  { bytes: 8, ort: 'int64',   onnx: 7,  allocate: n => new BigInt64Array(n),   view: (b, o, n) => new BigInt64Array(b, o, n),   ...bigInteger(-(2n ** 63n), 2n ** 63n - 1n) },
  FP16:   { bytes: 2, ort: 'float16', onnx: 10, allocate: n => new Uint16Array(n),     view: (b, o, n) => new Uint16Array(b, o, n),     takes: 'binary tensor data only' },
  FP32:   { bytes: 4, ort: 'float32', onnx: 1,  allocate: n => new Float32Array(n),    view: (b, o, n) => new Float32Array(b, o, n),    takes: 'numbers in the range of FP32, or "NaN", "Infinity", "-Infinity"', fromJson: float32, toJson: float32sToJson, jsonBytes: FLOAT_JSON },
  FP64:   { bytes: 8, ort: 'float64', onnx: 11, allocate: n => new Float64Array(n),    view: (b, o, n) => new Float64Array(b, o, n),    takes: 'numbers in the range of FP64, or "NaN", "Infinity", "-Infinity"', fromJson: float64, toJson: float64sToJson, jsonBytes: FLOAT_JSON },
  // ONNX Runtime for Node truncates an input string at its first NUL (tested with 1.30), so strings
  // with a NUL are rejected.
  BYTES:  { bytes: 0, ort: 'string',  onnx: 8,  allocate: n => new Array<string>(n).fill(''),                                           takes: 'strings of valid Unicode without NUL', fromJson: text, toJson: textToJson },
} satisfies Record<string, DatatypeRow>

export type Datatype = keyof typeof ROWS

export const DATATYPES: Readonly<Record<Datatype, DatatypeRow>> = ROWS

export const hasJson = (datatype: Datatype) => DATATYPES[datatype].fromJson !== undefined

/** Whether elements are read as bigints, because JSON.parse() would round large numbers. */
export const isBigInteger = (datatype: Datatype) => DATATYPES[datatype].isBigInteger === true

export const isNumeric = (datatype: Datatype) => datatype !== 'BOOL' && datatype !== 'BYTES'

const BY_ONNX_NUMBER = new Map(
  Object.entries(DATATYPES).map(([datatype, { onnx }]) => [onnx, datatype as Datatype]),
)

/** Undefined if the Open Inference Protocol or ONNX Runtime for Node lacks the datatype. */
export const datatypeOfOnnx = (number: number) => BY_ONNX_NUMBER.get(number)

export const isDatatype = (name: unknown): name is Datatype =>
  typeof name === 'string' && Object.hasOwn(DATATYPES, name)
