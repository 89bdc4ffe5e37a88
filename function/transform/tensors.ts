import { DATATYPES, type Datatype, type TensorElements } from '../protocol/datatypes.ts'
import { checkSharedDimensions, readShape } from '../protocol/decode.ts'
import { TooLarge } from '../protocol/errors.ts'
import { isObject, show } from '../protocol/json.ts'
import {
  elementCount,
  type Signature,
  TEXT_BYTES,
  type Tensor,
  type TensorData,
  type TensorMetadata,
} from '../protocol/tensor.ts'

/**
 * Reads preprocess's tensors: nested arrays, or a shape with flat data. Copies a small typed array
 * at once, because the transform may reuse it before this call runs; uses a large one without a
 * copy.
 * @param maxBytes the limit of the tensors in memory
 * @throws {Error} naming the input, the expected value and the actual value; it is the author's
 * mistake
 * @throws {TooLarge}
 */
export function tensorsOf(returned: unknown, signature: Signature, maxBytes: number): Tensor[] {
  const { inputs } = signature
  if (!isObject(returned) || ArrayBuffer.isView(returned))
    throw new Error(
      `it returned ${showValue(returned)}; it must return an object with ${namesOf(inputs)}`,
    )
  for (const name in returned)
    if (!inputs.some(input => input.name === name))
      throw new Error(
        `it returned ${show(name)}, which is not an input of the model; the inputs are ${namesOf(inputs)}`,
      )
  const tensors = inputs.map(metadata => tensorOf(returned, metadata))
  asMistake(() => checkSharedDimensions(tensors, signature))
  checkBytes(tensors, maxBytes)
  return tensors
}

const namesOf = (inputs: Signature['inputs']) => inputs.map(({ name }) => show(name)).join(', ')

function checkBytes(tensors: readonly Tensor[], maxBytes: number): void {
  let bytes = 0
  for (const { data } of tensors)
    bytes += ArrayBuffer.isView(data) ? data.byteLength : data.length * TEXT_BYTES
  if (bytes <= maxBytes) return
  throw new TooLarge(
    `the request's tensors need ${bytes} bytes; at most ${maxBytes} are allowed (MAX_BODY_BYTES)`,
  )
}

function tensorOf(
  returned: { readonly [name: string]: unknown },
  metadata: TensorMetadata,
): Tensor {
  const { name, datatype } = metadata
  if (!Object.hasOwn(returned, name))
    throw new Error(`it returned no ${show(name)}; ${fits(metadata)}`)
  const value = returned[name]
  if (isFlat(value)) {
    const { shape, data } = value
    if (!isShape(shape)) throw wrong(metadata, `its shape is ${showValue(shape)}`)
    const given = shape.slice()
    checkFits(given, metadata)
    return { name, datatype, shape: given, data: flatData(data, given, metadata) }
  }
  const shape = nestedShape(value, metadata)
  checkFits(shape, metadata)
  return { name, datatype, shape, data: nestedData(value, shape, metadata) }
}

interface Flat {
  readonly shape: unknown
  readonly data: unknown
}

const isFlat = (value: unknown): value is Flat =>
  isObject(value) && !ArrayBuffer.isView(value) && 'shape' in value && 'data' in value

const isShape = (shape: unknown): shape is readonly number[] =>
  Array.isArray(shape) && shape.every(length => Number.isSafeInteger(length) && length >= 0)

function checkFits(shape: readonly number[], metadata: TensorMetadata): void {
  try {
    readShape(shape, metadata)
  } catch {
    throw wrong(metadata, `it has the shape [${shape}]`)
  }
}

/** Reports a failed check of callers' tensors as the author's mistake. */
function asMistake(check: () => void): void {
  try {
    check()
  } catch (error) {
    throw new Error((error as Error).message)
  }
}

type List = readonly unknown[] | Exclude<TensorData, readonly string[]>

const isList = (value: unknown): value is List =>
  Array.isArray(value) || (ArrayBuffer.isView(value) && !(value instanceof DataView))

function flatData(data: unknown, shape: readonly number[], metadata: TensorMetadata): TensorData {
  const count = elementCount(shape)
  if (!isList(data)) throw wrong(metadata, `its data is ${showValue(data)}`)
  if (data.length !== count)
    throw wrong(
      metadata,
      `its shape [${shape}] has ${count} elements, but its data has ${data.length}`,
    )
  const typed = typedData(data, metadata.datatype)
  if (typed !== undefined) {
    if (metadata.datatype === 'BOOL') checkBooleans(typed as Uint8Array, metadata)
    return mustCopy(typed) ? copyOf(typed, metadata.datatype) : typed
  }
  const filler = new Filler(count, [count], metadata)
  filler.fill(data, 0)
  return filler.elements
}

/** Copying this many bytes takes about 0.1 ms. */
const MOST_COPIED = 2 ** 20

type TypedData = Exclude<TensorData, readonly string[]>

/** ONNX Runtime for Node cannot read shared memory. */
const mustCopy = ({ byteLength, buffer }: TypedData) =>
  byteLength <= MOST_COPIED || !(buffer instanceof ArrayBuffer)

/** ONNX Runtime computes wrong results from a BOOL that is neither 0 nor 1. */
function checkBooleans(data: Uint8Array, metadata: TensorMetadata): void {
  const odd = data.findIndex(element => element > 1)
  if (odd !== -1) throw wrong(metadata, `element ${odd} is neither 0 nor 1`)
}

/** A Buffer's own slice() would share its memory. */
function copyOf(data: TypedData, datatype: Datatype): TypedData {
  const copy = DATATYPES[datatype].allocate(data.length) as Float32Array
  copy.set(data as Float32Array)
  return copy
}

/**
 * Returns the data if it is a typed array of the datatype, or its memory can be read as such an
 * array.
 */
function typedData(data: List, datatype: Datatype): TypedData | undefined {
  if (Array.isArray(data)) return undefined
  const { buffer, byteOffset, length } = data as Uint8Array
  const isAlike =
    (data instanceof Uint8ClampedArray && datatype === 'UINT8') ||
    (datatype === 'FP16' && Object.prototype.toString.call(data) === '[object Float16Array]')
  if (isAlike) return DATATYPES[datatype].view?.(buffer, byteOffset, length) as TypedData
  const own = DATATYPES[datatype].allocate(0)
  if (Array.isArray(own)) return undefined
  return data instanceof (own.constructor as new () => object) ? (data as TypedData) : undefined
}

/** Reads the shape of nested arrays from their first elements. */
function nestedShape(value: unknown, { shape: expected }: TensorMetadata): number[] {
  const shape: number[] = []
  let level = value
  while (isList(level)) {
    shape.push(level.length)
    level = level[0]
  }
  if (shape.at(-1) !== 0) return shape
  // The model's shape completes the dimensions that an empty array leaves open.
  return [...shape, ...expected.slice(shape.length).map(length => Math.max(length, 0))]
}

function nestedData(
  value: unknown,
  shape: readonly number[],
  metadata: TensorMetadata,
): TensorElements {
  const filler = new Filler(elementCount(shape), shape, metadata)
  filler.fill(shape.length === 0 ? [value] : (value as List), 0)
  return filler.elements
}

class Filler {
  readonly elements: TensorElements
  readonly #shape: readonly number[]
  readonly #metadata: TensorMetadata
  readonly #read: (value: unknown) => unknown
  #next = 0

  constructor(count: number, shape: readonly number[], metadata: TensorMetadata) {
    this.#shape = shape
    this.#metadata = metadata
    this.#read = READERS[metadata.datatype] ?? (() => undefined)
    this.elements = DATATYPES[metadata.datatype].allocate(count)
  }

  fill(list: List, depth: number): void {
    const length = this.#shape[depth + 1]
    if (length === undefined && this.#metadata.datatype === 'FP16' && list instanceof Uint16Array) {
      // As in flat data, a Uint16Array contains bit patterns.
      ;(this.elements as Uint16Array).set(list, this.#next)
      this.#next += list.length
      return
    }
    for (const value of list) {
      if (length === undefined) this.#write(value)
      else if (isList(value) && value.length === length) this.fill(value, depth + 1)
      else
        throw wrong(
          this.#metadata,
          `its first elements have the shape [${this.#shape}], but at depth ${depth + 1} it also has ${showValue(value)}, not an array of length ${length}`,
        )
    }
  }

  #write(value: unknown): void {
    const element = this.#read(value)
    if (element === undefined)
      throw wrong(this.#metadata, `element ${this.#next} is ${showValue(value)}`)
    ;(this.elements as unknown[])[this.#next++] = element
  }
}

/**
 * Memory for converting a number to the bits of an FP16. Node before version 24 has no
 * Float16Array.
 */
const bits = new Uint16Array(1)
const halves = typeof Float16Array === 'undefined' ? undefined : new Float16Array(bits.buffer)

function half(value: unknown): number | undefined {
  if (typeof value !== 'number' || halves === undefined) return undefined
  halves[0] = value
  return bits[0]
}

const single = (value: unknown) => {
  if (typeof value !== 'number') return undefined
  return Number.isFinite(Math.fround(value)) || !Number.isFinite(value) ? value : undefined
}

/** Unlike in JSON, NaN and infinities are numbers here. */
const READERS: Readonly<Partial<Record<Datatype, (value: unknown) => unknown>>> = {
  ...Object.fromEntries(Object.entries(DATATYPES).map(([name, { fromJson }]) => [name, fromJson])),
  FP16: half,
  FP32: single,
  FP64: value => (typeof value === 'number' ? value : undefined),
}

const wrong = (metadata: TensorMetadata, got: string) =>
  new Error(`input ${show(metadata.name)}: ${got}; ${fits(metadata)}`)

const fits = ({ anyRank, shape, datatype }: TensorMetadata) =>
  `the model accepts ${datatype} (${TAKES[datatype] ?? DATATYPES[datatype].takes}) of ${anyRank ? 'any shape' : `shape [${shape}]`}`

const TAKES: Readonly<Partial<Record<Datatype, string>>> = {
  BOOL: 'true or false, or 0 or 1 in a Uint8Array',
  FP16: 'numbers, or their bits in a Uint16Array',
  FP32: 'numbers in the range of FP32',
  FP64: 'numbers',
}

/** Describes a value without its contents, because the log must not contain data. */
function showValue(value: unknown): string {
  if (Array.isArray(value)) return `an array of length ${value.length}`
  if (value === undefined || value === null) return String(value)
  if (ArrayBuffer.isView(value)) return `a ${value.constructor.name}`
  if (typeof value === 'number' && !Number.isFinite(value)) return String(value)
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}
