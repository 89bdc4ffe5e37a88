import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { Slices } from './slices.ts'

/*
 * Reads the graph of an ONNX file without ONNX Runtime. Seeks past weights, so files may be larger
 * than 2 GiB. Does not open external data. Field numbers are those of onnx.proto.
 */

export interface OnnxModel {
  readonly irVersion: number | undefined
  /** The program that wrote the file, and its version. */
  readonly producer: string
  /** Opset versions, keyed by domain. ONNX's own domain is `ai.onnx`. */
  readonly opsets: ReadonlyMap<string, number>
  readonly graph: Graph
  readonly functions: readonly ModelFunction[]
}

export interface Graph {
  readonly nodes: readonly Node[]
  readonly initializers: readonly TensorProto[]
  readonly inputs: readonly ValueInfo[]
  readonly outputs: readonly ValueInfo[]
}

export interface Node {
  readonly name: string
  readonly operator: string
  /** `ai.onnx` for ONNX's own domain. */
  readonly domain: string
  /** '' for an omitted optional input. */
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: ReadonlyMap<string, Attribute>
}

/** A function in the file, which nodes call like an operator. */
export interface ModelFunction {
  readonly name: string
  readonly domain: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly nodes: readonly Node[]
  readonly opsets: ReadonlyMap<string, number>
  /** The defaults of attributes that a call omits. */
  readonly defaults: ReadonlyMap<string, Attribute>
}

export interface Attribute {
  readonly name: string
  readonly number?: number
  readonly text?: string
  readonly numbers?: readonly number[]
  readonly texts?: readonly string[]
  readonly tensor?: TensorProto
  readonly graph?: Graph
  /** In a function's body, the name of the calling node's attribute that has the value. */
  readonly reference?: string
  /** True if the values were skipped, because they exceed {@link MOST_VALUE_BYTES}. */
  readonly skipped?: true
}

export interface TensorProto {
  readonly name: string
  readonly type: number
  readonly dims: readonly number[]
  /**
   * The elements, if they are INT32, INT64, BOOL or FP32 in at most {@link MOST_VALUE_BYTES} bytes.
   */
  readonly values?: readonly number[]
  /** The file beside the model that contains the values. */
  readonly external?: {
    readonly location: string
    readonly offset: number
    readonly length: number
  }
}

export interface ValueInfo {
  readonly name: string
  readonly type: ValueType
}

/** At most one field is set; none if the file does not specify the type. */
export interface ValueType {
  readonly tensor?: {
    readonly element: number
    /** Sizes or names ('' for a dimension without a name); undefined if the rank is unknown. */
    readonly dims: readonly (number | string)[] | undefined
  }
  readonly sequence?: ValueType
  readonly map?: { readonly key: number; readonly value: ValueType }
  readonly sparse?: number
  readonly optional?: ValueType
}

/** Values above this size in bytes are skipped: weights are larger; shapes and axes are smaller. */
export const MOST_VALUE_BYTES = 4_096

/**
 * @param source the path of the file, or its bytes
 * @throws {Error} if the file cannot be read or is not an ONNX model
 */
export async function readOnnxModel(source: string | Buffer): Promise<OnnxModel> {
  const bytes = new FileBytes(source)
  try {
    return await readModel(bytes)
  } finally {
    bytes.close()
  }
}

export type Operator = Pick<Node, 'operator' | 'domain'>

/**
 * Reads only the operators of the graph's own nodes, in order: faster than {@link readOnnxModel},
 * with the same errors.
 */
export async function readOperators(path: string): Promise<readonly Operator[]> {
  const bytes = new FileBytes(path)
  const operators: Operator[] = []
  try {
    for (const { number, length } of fields(bytes, bytes.size)) {
      if (number !== 7) continue
      for (const node of fields(bytes, bytes.at + length)) {
        if (node.number === 1) operators.push(readOperator(bytes, bytes.at + node.length))
        await bytes.pause()
      }
    }
    return operators
  } finally {
    bytes.close()
  }
}

/**
 * Returns the names of inputs and outputs that have no shape in the file, and so any rank. ONNX
 * Runtime for Node reports their shape as [], like a scalar's.
 */
export async function readShapeless(path: string): Promise<ReadonlySet<string>> {
  const { graph } = await readOnnxModel(path)
  const shapeless = [...graph.inputs, ...graph.outputs].filter(
    ({ type: { tensor } }) => tensor !== undefined && tensor.dims === undefined,
  )
  return new Set(shapeless.map(({ name }) => name))
}

/** Returns the nodes, and those of the graphs inside them. */
export const nodesWithin = (nodes: readonly Node[]): readonly Node[] =>
  nodes.flatMap(node => [
    node,
    ...nodesWithin([...node.attributes.values()].flatMap(({ graph }) => graph?.nodes ?? [])),
  ])

/** Returns the names that a node reads, and those that the graphs inside it read. */
export function* namesIn({ inputs, attributes }: Node): Generator<string, void> {
  yield* inputs
  for (const { graph } of attributes.values()) {
    if (graph === undefined) continue
    for (const node of graph.nodes) yield* namesIn(node)
    for (const { name } of graph.outputs) yield name
  }
}

class FileBytes {
  readonly size: number
  at = 0
  readonly #file: number | undefined
  #window: Buffer
  #begins = 0
  #ends = 0
  readonly #slices = new Slices()

  constructor(source: string | Buffer) {
    if (typeof source === 'string') {
      this.#file = openSync(source, 'r')
      this.size = fstatSync(this.#file).size
      this.#window = Buffer.allocUnsafe(64 * 1_024)
    } else {
      this.size = source.length
      this.#window = source
      this.#ends = source.length
    }
  }

  close(): void {
    if (this.#file !== undefined) closeSync(this.#file)
  }

  /**
   * Pauses the reading of a long file, so that the main thread can handle requests.
   * @returns undefined until a pause is due
   */
  pause(): Promise<void> | undefined {
    return this.#slices.isOver ? this.#slices.next() : undefined
  }

  byte(): number {
    if (this.at < this.#begins || this.at >= this.#ends) this.#read()
    return this.#window[this.at++ - this.#begins] as number
  }

  /** Reads a varint as a signed 64-bit integer. Numbers beyond 2^53 are rounded. */
  varint(): number {
    let value = 0
    for (let shift = 0; shift < 63; shift += 7) {
      const byte = this.byte()
      // Multiply instead of shifting: lengths in large models exceed 2^31.
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    if (this.byte() !== 1) throw new Error('the file contains a number of more than 64 bits')
    // The number is negative. Read its complement, which is exact near zero.
    this.at -= 10
    let negative = 0
    for (let shift = 0; shift < 63; shift += 7) negative += (~this.byte() & 0x7f) * 2 ** shift
    this.at++
    return -negative - 1
  }

  /** Returns the next bytes, which are valid until the next call. */
  take(length: number): Buffer {
    if (this.at + length > this.size) throw new Error('the file is truncated')
    if (length > this.#window.length) this.#window = Buffer.allocUnsafe(length)
    if (this.at < this.#begins || this.at + length > this.#ends) this.#read()
    const from = this.at - this.#begins
    this.at += length
    return this.#window.subarray(from, from + length)
  }

  text(length: number): string {
    return this.take(length).toString('utf8')
  }

  /** Fills the window from the current position, up to the end of the file. */
  #read(): void {
    if (this.#file === undefined) throw new Error('the file is truncated')
    const window = this.#window
    this.#begins = this.at
    this.#ends = this.at
    while (this.#ends - this.#begins < window.length) {
      const filled = this.#ends - this.#begins
      const length = readSync(this.#file, window, filled, window.length - filled, this.#ends)
      if (length === 0) break
      this.#ends += length
    }
    if (this.#ends === this.#begins) throw new Error('the file is truncated')
  }
}

/** The start of a field's tag, the start of its value, and its end. */
export interface Place {
  readonly number: number
  readonly begin: number
  readonly body: number
  readonly end: number
}

export function fieldsIn(whole: Buffer, from = 0, end = whole.length): Place[] {
  const bytes = new FileBytes(whole)
  bytes.at = from
  const places: Place[] = []
  for (const { number, begin, length } of fields(bytes, end))
    places.push({ number, begin, body: bytes.at, end: bytes.at + length })
  return places
}

/** A field of a message: a number, or `length` bytes from the current position. */
interface Field {
  readonly number: number
  readonly begin: number
  readonly value: number
  /** 0 for a number. */
  readonly length: number
  readonly isMessage: boolean
}

/** The fields of a message that ends at `end`. The consumer may read or skip a field's bytes. */
function* fields(bytes: FileBytes, end: number): Generator<Field, void> {
  if (end > bytes.size) throw new Error('the file is truncated')
  while (bytes.at < end) {
    const begin = bytes.at
    const tag = bytes.varint()
    const number = Math.floor(tag / 8)
    if (number === 0) throw new Error('a field number is missing')
    const length = lengthOf(tag % 8, bytes)
    if (length === undefined) {
      const value = bytes.varint()
      yield { number, begin, value, length: 0, isMessage: false }
    } else {
      const next = bytes.at + length
      if (next > end) throw new Error('the file is truncated')
      yield { number, begin, value: 0, length, isMessage: tag % 8 === 2 }
      bytes.at = next
    }
  }
}

/** Returns the length of a field's value; undefined for a varint, which marks its own end. */
function lengthOf(wireType: number, bytes: FileBytes): number | undefined {
  if (wireType === 0) return undefined
  if (wireType === 1) return 8
  if (wireType === 2) return bytes.varint()
  if (wireType === 5) return 4
  throw new Error(`a field has the unknown wire type ${wireType}`)
}

const domainName = (domain: string) => (domain === '' ? 'ai.onnx' : domain)

async function readModel(bytes: FileBytes): Promise<OnnxModel> {
  let irVersion: number | undefined
  const producer: [string, string] = ['', '']
  const opsets = new Map<string, number>()
  const functions: ModelFunction[] = []
  let graph: Graph | undefined
  for (const { number, value, length } of fields(bytes, bytes.size)) {
    const end = bytes.at + length
    if (number === 1) irVersion = value
    else if (number === 2 || number === 3) producer[number - 2] = bytes.text(length)
    else if (number === 7) {
      if (graph !== undefined) throw new Error('the file contains two graphs')
      graph = await readGraph(bytes, end)
    } else if (number === 8) readOpset(bytes, end, opsets)
    else if (number === 25) functions.push(await readFunction(bytes, end))
  }
  if (graph === undefined) throw new Error('the file contains no graph')
  return { irVersion, producer: producer.filter(Boolean).join(' '), opsets, graph, functions }
}

async function readGraph(bytes: FileBytes, end: number): Promise<Graph> {
  const nodes: Node[] = []
  const initializers: TensorProto[] = []
  const inputs: ValueInfo[] = []
  const outputs: ValueInfo[] = []
  for (const { number, length } of fields(bytes, end)) {
    const until = bytes.at + length
    if (number === 1) nodes.push(await readNode(bytes, until))
    else if (number === 5) initializers.push(await readTensor(bytes, until))
    else if (number === 11) inputs.push(readValueInfo(bytes, until))
    else if (number === 12) outputs.push(readValueInfo(bytes, until))
    else if (number === 15) initializers.push(await readSparseTensor(bytes, until))
    await bytes.pause()
  }
  return { nodes, initializers, inputs, outputs }
}

/**
 * The field numbers of a NodeProto's inputs, outputs, name, operator and domain. Other texts may be
 * long, and are skipped.
 */
const NODE_TEXTS = [1, 2, 3, 4, 7]

async function readNode(bytes: FileBytes, end: number): Promise<Node> {
  const texts = new Map<number, string[]>()
  const attributes = new Map<string, Attribute>()
  for (const { number, length } of fields(bytes, end)) {
    if (number === 5) {
      const attribute = await readAttribute(bytes, bytes.at + length)
      attributes.set(attribute.name, attribute)
    } else if (NODE_TEXTS.includes(number)) {
      const known = texts.get(number) ?? []
      known.push(bytes.text(length))
      texts.set(number, known)
    }
  }
  return {
    name: texts.get(3)?.at(-1) ?? '',
    operator: texts.get(4)?.at(-1) ?? '',
    domain: domainName(texts.get(7)?.at(-1) ?? ''),
    inputs: texts.get(1) ?? [],
    outputs: texts.get(2) ?? [],
    attributes,
  }
}

function readOperator(bytes: FileBytes, end: number): Operator {
  let operator = ''
  let domain = ''
  for (const { number, length } of fields(bytes, end)) {
    if (number === 4) operator = bytes.text(length)
    else if (number === 7) domain = bytes.text(length)
  }
  return { operator, domain: domainName(domain) }
}

async function readFunction(bytes: FileBytes, end: number): Promise<ModelFunction> {
  const nodes: Node[] = []
  const inputs: string[] = []
  const outputs: string[] = []
  const opsets = new Map<string, number>()
  const defaults = new Map<string, Attribute>()
  let [name, domain] = ['', '']
  for (const { number, length } of fields(bytes, end)) {
    const until = bytes.at + length
    if (number === 1) name = bytes.text(length)
    else if (number === 4) inputs.push(bytes.text(length))
    else if (number === 5) outputs.push(bytes.text(length))
    else if (number === 7) nodes.push(await readNode(bytes, until))
    else if (number === 9) readOpset(bytes, until, opsets)
    else if (number === 10) domain = bytes.text(length)
    else if (number === 11) {
      const attribute = await readAttribute(bytes, until)
      defaults.set(attribute.name, attribute)
    }
    await bytes.pause()
  }
  return { name, domain: domainName(domain), inputs, outputs, nodes, opsets, defaults }
}

function readOpset(bytes: FileBytes, end: number, opsets: Map<string, number>): void {
  let domain = ''
  let version = 0
  for (const { number, value, length } of fields(bytes, end)) {
    if (number === 1) domain = bytes.text(length)
    else if (number === 2) version = value
  }
  opsets.set(domainName(domain), version)
}

/** Attributes whose lists are read at any length, because rules use their values or counts. */
const WHOLE_ATTRIBUTES = new Set([
  'pool_strings',
  'cats_strings',
  'cats_int64s',
  'classlabels_strings',
  'classlabels_int64s',
  'classlabels_ints',
  'class_ids',
])

/** AttributeProto.type, and its values FLOAT and INT. */
const KIND = 20
const NUMBER_KINDS = [1, 2]

async function readAttribute(bytes: FileBytes, end: number): Promise<Attribute> {
  let attribute: Attribute = { name: '' }
  const numbers: number[] = []
  const texts: string[] = []
  const isLong = end - bytes.at > MOST_VALUE_BYTES
  let kind = 0
  for (const field of fields(bytes, end)) {
    const { number, length } = field
    if (number === KIND) kind = field.value
    const isRepeated = number >= 7 && number <= 9
    if (isLong && isRepeated && !WHOLE_ATTRIBUTES.has(attribute.name)) {
      bytes.at = end
      return { ...attribute, skipped: true }
    }
    if (number === 7 || number === 8) await readMany(bytes, field, number === 7, numbers)
    else if (number === 9) texts.push(bytes.text(length))
    else attribute = { ...attribute, ...(await readSingle(bytes, field)) }
    await bytes.pause()
  }
  return {
    // proto3 writers omit the value 0.
    ...(NUMBER_KINDS.includes(kind) && attribute.reference === undefined && { number: 0 }),
    ...attribute,
    ...(numbers.length > 0 && { numbers }),
    ...(texts.length > 0 && { texts }),
  }
}

/** Reads one value of an AttributeProto. Ignores fields that no rule uses. */
async function readSingle(
  bytes: FileBytes,
  { number, value, length }: Field,
): Promise<Partial<Attribute>> {
  const end = bytes.at + length
  if (number === 1) return { name: bytes.text(length) }
  if (number === 2) return { number: bytes.take(4).readFloatLE() }
  if (number === 3) return { number: value }
  if (number === 4)
    return length <= MOST_VALUE_BYTES ? { text: bytes.text(length) } : { skipped: true }
  if (number === 5) return { tensor: await readTensor(bytes, end) }
  if (number === 6) return { graph: await readGraph(bytes, end) }
  if (number === 21) return { reference: bytes.text(length) }
  return number >= 10 && number <= 15 && number !== 13 ? { skipped: true } : {}
}

const NUMBERS_AT_A_TIME = 4_096

/** Reads any number of repeated values, packed or one per field. */
async function readMany(
  bytes: FileBytes,
  field: Field,
  areFloats: boolean,
  into: number[],
): Promise<void> {
  const end = bytes.at + field.length
  do {
    readNumbers(bytes, field, areFloats, into, end)
    await bytes.pause()
  } while (bytes.at < end)
}

function readNumbers(
  bytes: FileBytes,
  { value, length, isMessage }: Field,
  areFloats: boolean,
  into: number[],
  end = bytes.at + length,
): void {
  const most = into.length + NUMBERS_AT_A_TIME
  if (length === 0 && !isMessage) into.push(value)
  else if (areFloats)
    while (bytes.at < end && into.length < most) into.push(bytes.take(4).readFloatLE())
  else while (bytes.at < end && into.length < most) into.push(bytes.varint())
}

async function readTensor(bytes: FileBytes, end: number): Promise<TensorProto> {
  const dims: number[] = []
  const values: number[] = []
  const entries = new Map<string, string>()
  let type = 0
  let name = ''
  let isExternal = false
  let isKnown = true
  for (const field of fields(bytes, end)) {
    const { number, value, length } = field
    if (number === 1) readNumbers(bytes, field, false, dims)
    else if (number === 2) type = value
    else if (number === 8) name = bytes.text(length)
    else if (number === 13) readEntry(bytes, bytes.at + length, entries)
    else if (number === 14) isExternal = value === 1
    else if (number !== 12) isKnown = readValues(bytes, field, type, values) && isKnown
    // Each text is a separate field, so there may be many fields.
    const pause = bytes.pause()
    if (pause !== undefined) await pause
  }
  if (isExternal) {
    const external = {
      location: entries.get('location') ?? '',
      offset: Number(entries.get('offset') ?? 0),
      length: Number(entries.get('length') ?? 0),
    }
    return { name, type, dims, external }
  }
  const count = dims.reduce((product, size) => product * size, 1)
  return isKnown && values.length === count ? { name, type, dims, values } : { name, type, dims }
}

/**
 * The element size and reader of each datatype whose values are read, keyed by
 * TensorProto.DataType.
 */
const READERS: Readonly<Record<number, readonly [number, (raw: Buffer, at: number) => number]>> = {
  1: [4, (raw, at) => raw.readFloatLE(at)],
  6: [4, (raw, at) => raw.readInt32LE(at)],
  7: [8, (raw, at) => Number(raw.readBigInt64LE(at))],
  9: [1, (raw, at) => raw.readUInt8(at)],
}

/**
 * Reads a tensor's values if they are short lists of INT32, INT64, BOOL or FP32. Arithmetic in
 * smaller integers might overflow.
 * @returns whether the values were read
 */
function readValues(bytes: FileBytes, field: Field, type: number, into: number[]): boolean {
  const { number, length } = field
  const reader = READERS[type]
  if (reader === undefined || length > MOST_VALUE_BYTES || into.length > MOST_VALUE_BYTES)
    return false
  if (number === 9) {
    const raw = bytes.take(length)
    for (let at = 0; at + reader[0] <= length; at += reader[0]) into.push(reader[1](raw, at))
    return true
  }
  if (number !== 4 && number !== 5 && number !== 7) return false
  if (number === 4 && length === 4) into.push(bytes.take(4).readFloatLE())
  else readNumbers(bytes, field, number === 4, into)
  return true
}

/** StringStringEntryProto: key 1, value 2. */
function readEntry(bytes: FileBytes, end: number, into: Map<string, string>): void {
  const texts = ['', '']
  for (const { number, length } of fields(bytes, end)) texts[number - 1] = bytes.text(length)
  into.set(texts[0] as string, texts[1] as string)
}

/** SparseTensorProto: values 1 (with the name), dims 3. */
async function readSparseTensor(bytes: FileBytes, end: number): Promise<TensorProto> {
  const dims: number[] = []
  let values: TensorProto = { name: '', type: 0, dims: [] }
  for (const field of fields(bytes, end)) {
    if (field.number === 1) values = await readTensor(bytes, bytes.at + field.length)
    else if (field.number === 3) readNumbers(bytes, field, false, dims)
  }
  const { name, type, external } = values
  return { name, type, dims, ...(external && { external }) }
}

function readValueInfo(bytes: FileBytes, end: number): ValueInfo {
  let name = ''
  let type: ValueType = {}
  for (const { number, length } of fields(bytes, end)) {
    if (number === 1) name = bytes.text(length)
    else if (number === 2) type = readType(bytes, bytes.at + length)
  }
  return { name, type }
}

/** TypeProto: tensor 1, sequence 4, map 5, sparse tensor 8, optional 9. */
function readType(bytes: FileBytes, end: number): ValueType {
  for (const { number, length } of fields(bytes, end)) {
    const until = bytes.at + length
    if (number === 1) return ended(bytes, end, { tensor: readTensorType(bytes, until) })
    if (number === 4) return ended(bytes, end, { sequence: readElementType(bytes, until) })
    if (number === 5) return ended(bytes, end, { map: readMapType(bytes, until) })
    if (number === 8) return ended(bytes, end, { sparse: readTensorType(bytes, until).element })
    if (number === 9) return ended(bytes, end, { optional: readElementType(bytes, until) })
  }
  return {}
}

function ended(bytes: FileBytes, end: number, type: ValueType): ValueType {
  bytes.at = end
  return type
}

function readTensorType(bytes: FileBytes, end: number): NonNullable<ValueType['tensor']> {
  let element = 0
  let dims: (number | string)[] | undefined
  for (const { number, value, length } of fields(bytes, end)) {
    if (number === 1) element = value
    else if (number === 2) dims = readShape(bytes, bytes.at + length)
  }
  return { element, dims }
}

/** TensorShapeProto: dim 1, with dim_value 1 or dim_param 2. */
function readShape(bytes: FileBytes, end: number): (number | string)[] {
  const dims: (number | string)[] = []
  for (const { number, length } of fields(bytes, end)) {
    if (number !== 1) continue
    let dim: number | string = ''
    for (const field of fields(bytes, bytes.at + length)) {
      if (field.number === 1) dim = field.value
      else if (field.number === 2) dim = bytes.text(field.length)
    }
    dims.push(dim)
  }
  return dims
}

function readElementType(bytes: FileBytes, end: number): ValueType {
  for (const { number, length } of fields(bytes, end))
    if (number === 1) return ended(bytes, end, readType(bytes, bytes.at + length))
  return {}
}

function readMapType(bytes: FileBytes, end: number): NonNullable<ValueType['map']> {
  let key = 0
  let type: ValueType = {}
  for (const { number, value, length } of fields(bytes, end)) {
    if (number === 1) key = value
    else if (number === 2) type = readType(bytes, bytes.at + length)
  }
  return { key, value: type }
}
