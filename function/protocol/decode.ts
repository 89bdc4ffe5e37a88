import { countBinaryElements, readBinaryTensor } from './binary.ts'
import { isComparable } from './classification.ts'
import {
  DATATYPES,
  type Datatype,
  hasJson,
  isBigInteger,
  isDatatype,
  isNumeric,
} from './datatypes.ts'
import { BadRequest, TooLarge } from './errors.ts'
import { isObject, type JsonObject, type ParsedJson, parseJson, show } from './json.ts'
import { type DataReader, readJsonData, readJsonDataLater } from './json-data.ts'
import { parseAroundNumbers } from './json-numbers.ts'
import { parseAroundData } from './json-scan.ts'
import type { InferenceRequest, RequestedOutput } from './request.ts'
import {
  elementCount,
  isBatched,
  type Signature,
  TEXT_BYTES,
  type Tensor,
  type TensorData,
  type TensorMetadata,
} from './tensor.ts'

/** No body has more elements. */
const MAX_ELEMENTS = 2 ** 31

/**
 * The maximum product of an empty tensor's dimensions other than 0: a model may allocate memory for
 * so many elements, for example to sum [0, 2^30] over its rows.
 */
const MAX_BESIDE_ZERO = 2 ** 20

/** The maximum rank, as in NumPy. A shape must fit into an error message. */
const MAX_RANK = 64

export interface Decoding {
  readonly request: InferenceRequest
  /** Steps that read the data, each in a few milliseconds. @throws {BadRequest} */
  readonly steps: Iterable<void>
}

/**
 * Reads an inference request (Open Inference Protocol, "Inference Request JSON Object"; binary
 * tensor data extension).
 * @param body JSON; with `jsonLength`, that many bytes of JSON, then the binary tensor data
 * @param jsonLength the Inference-Header-Content-Length; 0 means a raw binary request, undefined
 * only JSON
 * @param maxTensorBytes limits the inputs in memory; each text counts as its size plus 64 bytes
 * @throws {BadRequest} naming the field, its value and the allowed values
 * @throws {TooLarge} if the inputs exceed that limit
 */
export const decodeRequest = (
  body: Uint8Array,
  jsonLength: number | undefined,
  signature: Signature,
  maxTensorBytes?: number,
): InferenceRequest => finish(beginRequest(body, jsonLength, signature, maxTensorBytes))

/** Like {@link decodeRequest}, but leaves data in a large body for later steps. */
export function beginRequest(
  body: Uint8Array,
  jsonLength: number | undefined,
  signature: Signature,
  maxTensorBytes = Number.POSITIVE_INFINITY,
): Decoding {
  if (jsonLength === 0)
    return { request: decodeRaw(body, signature, maxTensorBytes), steps: NO_STEPS }
  if (jsonLength !== undefined && jsonLength > body.byteLength) {
    throw new BadRequest(
      `Inference-Header-Content-Length is ${jsonLength}, but the body has ${body.byteLength} bytes`,
    )
  }
  const json = jsonLength === undefined ? body : body.subarray(0, jsonLength)
  const binary = jsonLength === undefined ? NOTHING : body.subarray(jsonLength)
  const where = jsonLength === undefined ? 'the body' : 'the JSON before the binary data'
  const { value, exact } = parseRequest(json, where, signature)
  const inputs = new InputsOfJson(exact, binary)
  return { request: readRequest(value, inputs, { signature, maxTensorBytes }), steps: inputs.steps }
}

function parseRequest(json: Uint8Array, where: string, { inputs }: Signature): ParsedJson {
  const { byteLength } = json
  if (byteLength >= LARGE_JSON_BYTES) return parseAroundData(json, where, inputs.length)
  const around =
    byteLength >= MANY_NUMBERS_BYTES && inputs.every(({ datatype }) => isNumeric(datatype))
      ? parseAroundNumbers(json, where, inputs.length)
      : undefined
  return around ?? parseJson(json, where)
}

/**
 * Reads an inference request that a runtime parsed, or that is part of an event.
 * @throws {BadRequest} as {@link decodeRequest}
 */
export const decodeParsedRequest = (json: ParsedJson, signature: Signature): InferenceRequest =>
  finish(beginParsedRequest(json, signature))

/** Like {@link decodeParsedRequest}, but leaves data in a large body for later steps. */
export function beginParsedRequest(
  { value, exact }: ParsedJson,
  signature: Signature,
  maxTensorBytes = Number.POSITIVE_INFINITY,
): Decoding {
  const inputs = new InputsOfJson(exact, NOTHING)
  return { request: readRequest(value, inputs, { signature, maxTensorBytes }), steps: inputs.steps }
}

function finish({ request, steps }: Decoding): InferenceRequest {
  for (const _ of steps);
  return request
}

const NO_STEPS: Iterable<void> = []

const NOTHING = new Uint8Array(0)

/** Below about 700 bytes, JSON.parse alone is faster. */
const MANY_NUMBERS_BYTES = 1024

/** From this size on, memory matters more than speed. */
const LARGE_JSON_BYTES = 128 * 1024

export interface InputData {
  /**
   * Reads the data of inputs[i], whose shape fits the model.
   * @throws {BadRequest} if the data does not match the shape and the datatype
   */
  read(input: JsonObject, i: number, shape: readonly number[], metadata: TensorMetadata): TensorData
  /** @throws {BadRequest} if some of the data belongs to no input */
  checkAllRead(): void
}

interface RequestLimits {
  readonly signature: Signature
  readonly maxTensorBytes: number
}

/**
 * Reads an inference request in any format. An optional member that is null counts as absent,
 * because serializers of Java, C# and Python write absent members as null.
 * @param value the request as in the protocol's JSON, without tensor data
 * @throws {BadRequest|TooLarge} as {@link decodeRequest}
 */
export function readRequest(
  value: unknown,
  data: InputData,
  { signature, maxTensorBytes }: RequestLimits,
): InferenceRequest {
  if (!isObject(value))
    throw new BadRequest(`an inference request must be a JSON object, not ${show(value)}`)
  const id = value.id ?? undefined
  if (id !== undefined && typeof id !== 'string')
    throw new BadRequest(`id is ${show(id)}; it must be a string`)
  const parameters = readParameters(value.parameters, 'parameters')
  const timeout = readTimeout(parameters)
  return {
    ...(id === undefined ? undefined : { id }),
    inputs: new InputsReader(data, signature, maxTensorBytes).read(value.inputs),
    outputs: readOutputs(
      value.outputs,
      {
        binary: booleanParameter(parameters, 'binary_data_output', 'parameters') ?? false,
        classes: classesParameter(parameters, 'parameters'),
      },
      signature,
    ),
    ...(timeout === undefined ? undefined : { timeoutMicroseconds: timeout }),
  }
}

/** Input data in the request's JSON, or after it in the order of the inputs. */
class InputsOfJson implements InputData {
  /** See {@link ParsedJson.exact}. */
  private readonly exact: () => unknown
  private readonly binary: Uint8Array
  private binaryAt = 0
  private readers: Set<DataReader> | undefined

  constructor(exact: () => unknown, binary: Uint8Array) {
    this.exact = exact
    this.binary = binary
  }

  get steps(): Iterable<void> {
    return this.readers === undefined ? NO_STEPS : stepsOf(this.readers)
  }

  read(
    input: JsonObject,
    i: number,
    shape: readonly number[],
    metadata: TensorMetadata,
  ): TensorData {
    const size = readBinarySize(input, metadata.name)
    if (size !== undefined)
      return readBinaryTensor(this.takeBinary(size, metadata.name), shape, metadata)
    const json = this.jsonOf(input, i, metadata.datatype)
    if (Array.isArray(json)) return readJsonData(json, shape, metadata)
    this.readers ??= new Set()
    return readJsonDataLater(json, shape, metadata, this.readers)
  }

  checkAllRead(): void {
    const { byteLength } = this.binary
    if (this.binaryAt < byteLength) {
      throw new BadRequest(
        `${byteLength - this.binaryAt} bytes of binary data are left over; the inputs' binary_data_size add up to ${this.binaryAt}`,
      )
    }
  }

  private jsonOf(input: JsonObject, i: number, datatype: Datatype): unknown {
    if (!isBigInteger(datatype)) return input.data
    return (this.exact() as { inputs: JsonObject[] }).inputs[i]?.data
  }

  private takeBinary(size: number, name: string): Uint8Array {
    const left = this.binary.byteLength - this.binaryAt
    if (size > left) {
      throw new BadRequest(
        `input ${show(name)}: binary_data_size is ${size}, but ${left} bytes of binary data are left for it`,
      )
    }
    const bytes = this.binary.subarray(this.binaryAt, this.binaryAt + size)
    this.binaryAt += size
    return bytes
  }
}

function* stepsOf(readers: Iterable<DataReader>): Generator<void, void> {
  for (const reader of readers) yield* reader.steps()
}

const notRead = () => undefined

class InputsReader {
  private readonly data: InputData
  private readonly signature: Signature
  private readonly maxTensorBytes: number
  /** In graph order. */
  private readonly tensors: (Tensor | undefined)[]
  private tensorBytes = 0

  constructor(data: InputData, signature: Signature, maxTensorBytes: number) {
    this.data = data
    this.signature = signature
    this.maxTensorBytes = maxTensorBytes
    this.tensors = signature.inputs.map(notRead)
  }

  read(inputs: unknown): Tensor[] {
    if (!Array.isArray(inputs)) {
      throw new BadRequest(
        `inputs is ${inputs === undefined ? 'missing' : show(inputs)}; it must be an array of tensors`,
      )
    }
    for (let i = 0; i < inputs.length; i++) this.readInput(inputs[i], i)
    this.checkAllRead()
    const tensors = this.tensors as Tensor[]
    checkSharedDimensions(tensors, this.signature)
    return tensors
  }

  private readInput(input: unknown, i: number): void {
    if (!isObject(input))
      throw new BadRequest(`inputs[${i}] is ${show(input)}; it must be an object`)
    if (typeof input.name !== 'string')
      throw new BadRequest(`inputs[${i}].name is ${showField(input.name)}; it must be a string`)
    const known = this.signature.inputs
    const at = known.findIndex(({ name }) => name === input.name)
    const metadata = known[at]
    if (metadata === undefined) {
      throw new BadRequest(
        `input ${show(input.name)} is unknown; the model accepts ${listNames(known)}`,
      )
    }
    if (this.tensors[at] !== undefined)
      throw new BadRequest(`input ${show(input.name)} is given twice`)
    checkDatatype(input.datatype, metadata)
    const { name, datatype } = metadata
    const shape = readShape(input.shape, metadata)
    this.tensorBytes += checkTensorBytes(shape, metadata, this.maxTensorBytes - this.tensorBytes)
    const data = this.data.read(input, i, shape, metadata)
    this.tensors[at] = { name, datatype, shape, data }
  }

  private checkAllRead(): void {
    this.data.checkAllRead()
    const { inputs } = this.signature
    const missing = this.tensors.indexOf(undefined)
    if (missing === -1) return
    throw new BadRequest(
      `input ${show(inputs[missing]?.name)} is missing; the model accepts ${listNames(inputs)}`,
    )
  }
}

function checkDatatype(datatype: unknown, { name, datatype: expected }: TensorMetadata): void {
  if (datatype === expected) return
  if (!isDatatype(datatype)) {
    throw new BadRequest(
      `input ${show(name)}: datatype is ${showField(datatype)}; it must be one of ${Object.keys(DATATYPES).join(', ')}`,
    )
  }
  throw new BadRequest(
    `input ${show(name)}: datatype is ${datatype}, but the model accepts ${expected}`,
  )
}

/** @throws {BadRequest} if the shape does not fit the model */
export function readShape(shape: unknown, metadata: TensorMetadata): number[] {
  const { input, fits } = wordsFor(metadata)
  if (!Array.isArray(shape))
    throw new BadRequest(`${input}: shape is ${showField(shape)}; it must be an array of integers`)
  if (shape.length > MAX_RANK)
    throw new BadRequest(
      `${input}: shape has ${shape.length} dimensions; at most ${MAX_RANK} are allowed`,
    )
  const most = shape.includes(0) ? MAX_BESIDE_ZERO : MAX_ELEMENTS
  let elements = 1
  for (const dimension of shape) {
    // An integer is a bigint only if a number cannot represent the integer.
    if (typeof dimension === 'bigint' && dimension > 0n)
      throw new BadRequest(`${input}: shape [${shape.map(show)}] is too large; ${fits}`)
    if (typeof dimension !== 'number' || !Number.isInteger(dimension) || dimension < 0) {
      throw new BadRequest(
        `${input}: shape has the dimension ${show(dimension)}; it must be an integer of 0 or more`,
      )
    }
    elements *= Math.max(dimension, 1)
    if (elements > most)
      throw new BadRequest(`${input}: shape [${shape.map(show)}] is too large; ${fits}`)
  }
  if (metadata.anyRank) return shape
  if (shape.length !== metadata.shape.length) {
    throw new BadRequest(`${input}: shape [${shape}] has the wrong number of dimensions; ${fits}`)
  }
  for (let i = 0; i < shape.length; i++) {
    const fixed = metadata.shape[i] as number
    if (fixed !== -1 && fixed !== shape[i])
      throw new BadRequest(`${input}: shape [${shape}] does not fit; ${fits}`)
  }
  return shape
}

/** @returns the tensor's bytes in memory, without the characters of texts */
function checkTensorBytes(
  shape: readonly number[],
  metadata: TensorMetadata,
  most: number,
): number {
  const elements = elementCount(shape)
  const bytes = elements * (DATATYPES[metadata.datatype].bytes || TEXT_BYTES)
  // An element needs at least two bytes of a body. If the body cannot contain so many elements,
  // comparing the shape with the data later gives a better error.
  if (bytes > most && elements <= most / 2) {
    throw new TooLarge(
      `${wordsFor(metadata).input}: ${elements} elements of ${metadata.datatype} need ${bytes} bytes in memory, but only ${most} of the allowed bytes (MAX_BODY_BYTES) are left; send fewer rows`,
    )
  }
  return bytes
}

/**
 * Exporters write placeholders for dimensions of unknown size. Dimensions with equal placeholders
 * may differ in size.
 */
const isUnnamed = (dimension: string) => dimension === '?' || dimension.trim() === ''

/** Whether inputs share dimension names. Computed once per model. */
function hasSharedNames(inputs: readonly TensorMetadata[]): boolean {
  let isShared = SHARED_NAMES.get(inputs)
  if (isShared === undefined) {
    const names = inputs.flatMap(({ dimensionNames }) => dimensionNames).filter(isNamed)
    isShared = new Set(names).size < names.length
    SHARED_NAMES.set(inputs, isShared)
  }
  return isShared
}

const SHARED_NAMES = new WeakMap<readonly TensorMetadata[], boolean>()

const isNamed = (dimension: string) => !isUnnamed(dimension)

/**
 * Dimensions with the same name in the graph must have the same size (onnx.proto,
 * TensorShapeProto.Dimension.dim_param).
 * @throws {BadRequest}
 */
export function checkSharedDimensions(tensors: readonly Tensor[], { inputs }: Signature): void {
  if (!hasSharedNames(inputs)) return
  const sizes = new Map<string, { size: number; input: string }>()
  for (let i = 0; i < tensors.length; i++) {
    const { name, shape } = tensors[i] as Tensor
    const names = inputs[i]?.dimensionNames ?? []
    for (let d = 0; d < names.length; d++) {
      const dimension = names[d]
      if (dimension === undefined || isUnnamed(dimension)) continue
      const seen = sizes.get(dimension)
      if (seen === undefined) sizes.set(dimension, { size: shape[d] as number, input: name })
      else if (seen.size !== shape[d]) {
        throw new BadRequest(
          `input ${show(name)}: dimension ${show(dimension)} is ${shape[d]}, but ${seen.size} in input ${show(seen.input)}; they must be equal`,
        )
      }
    }
  }
}

export function readInputParameters(input: JsonObject, name: string): JsonObject | undefined {
  if (input.parameters === undefined) return undefined
  const where = `input ${show(name)}: parameters`
  return readParameters(input.parameters, where)
}

/**
 * Undefined if the input's data is JSON. Exactly one of `data` and binary_data_size must be given.
 */
function readBinarySize(input: JsonObject, name: string): number | undefined {
  const size = readInputParameters(input, name)?.binary_data_size
  const isGiven = input.data !== undefined && input.data !== null
  if (size === undefined) {
    if (!isGiven)
      throw new BadRequest(
        `input ${show(name)}: neither data nor parameters.binary_data_size is given; send one of them`,
      )
    return undefined
  }
  if (isGiven)
    throw new BadRequest(
      `input ${show(name)}: both data and parameters.binary_data_size are given; send only one of them`,
    )
  if (typeof size !== 'number' || !Number.isSafeInteger(size) || size < 0) {
    throw new BadRequest(
      `input ${show(name)}: binary_data_size is ${show(size)}; it must be a number of bytes`,
    )
  }
  return size
}

/** The form of outputs whose own parameters give none. */
interface OutputForm {
  readonly binary: boolean
  readonly classes: number | undefined
}

function readOutputs(
  outputs: unknown,
  form: OutputForm,
  signature: Signature,
): readonly RequestedOutput[] {
  if (outputs === undefined || outputs === null || (Array.isArray(outputs) && outputs.length === 0))
    return allOutputs(signature, form)
  if (!Array.isArray(outputs))
    throw new BadRequest(`outputs is ${show(outputs)}; it must be an array`)
  const seen = new Set<string>()
  return outputs.map((output: unknown, i) => {
    if (!isObject(output))
      throw new BadRequest(`outputs[${i}] is ${show(output)}; it must be an object with a name`)
    const metadata = signature.outputs.find(({ name }) => name === output.name)
    if (metadata === undefined) {
      throw new BadRequest(
        `output ${showField(output.name)} is unknown; the model returns ${listNames(signature.outputs)}`,
      )
    }
    if (seen.has(metadata.name))
      throw new BadRequest(`output ${show(metadata.name)} is requested twice`)
    seen.add(metadata.name)
    return readOutput(output, metadata, form)
  })
}

function readOutput(
  output: JsonObject,
  metadata: TensorMetadata,
  form: OutputForm,
): RequestedOutput {
  const where = `output ${show(metadata.name)}: parameters`
  const parameters = readParameters(output.parameters, where)
  const classes = classesParameter(parameters, where)
  if (classes !== undefined && !isComparable(metadata.datatype))
    throw new BadRequest(
      `${where}.classification: ${metadata.datatype} cannot be ranked; request classification only for numeric outputs`,
    )
  return requested(metadata, {
    binary: booleanParameter(parameters, 'binary_data', where) ?? form.binary,
    classes: classes ?? form.classes,
  })
}

/** All outputs in one form. Built once per model: most requests name no outputs. */
function allOutputs(signature: Signature, form: OutputForm): readonly RequestedOutput[] {
  const { binary, classes } = form
  if (classes !== undefined) return signature.outputs.map(metadata => requested(metadata, form))
  const known = binary ? ALL_BINARY : ALL_JSON
  let outputs = known.get(signature)
  if (outputs === undefined) {
    outputs = signature.outputs.map(metadata => requested(metadata, form))
    known.set(signature, outputs)
  }
  return outputs
}

const ALL_BINARY = new WeakMap<Signature, readonly RequestedOutput[]>()
const ALL_JSON = new WeakMap<Signature, readonly RequestedOutput[]>()

function requested(
  { name, datatype }: TensorMetadata,
  { binary, classes }: OutputForm,
): RequestedOutput {
  if (!binary && !hasJson(datatype)) {
    throw new BadRequest(
      `output ${show(name)}: ${datatype} has no JSON form; request it with parameters {"binary_data": true}`,
    )
  }
  return classes !== undefined && isComparable(datatype)
    ? { name, binary, classes }
    : { name, binary }
}

function readParameters(parameters: unknown, where: string): JsonObject | undefined {
  if (parameters === undefined || parameters === null) return undefined
  if (!isObject(parameters))
    throw new BadRequest(`${where} is ${show(parameters)}; it must be an object`)
  const entries = Object.entries(parameters).filter(([, value]) => value !== null)
  for (const [key, value] of entries) {
    if (typeof value === 'object') {
      throw new BadRequest(
        `${where}.${key} is ${show(value)}; a parameter must be a string, a number or a boolean`,
      )
    }
    checkNotIgnored(`${where}.${key}`, key, value)
  }
  return Object.fromEntries(entries)
}

/**
 * Rejects other servers' parameters that change the meaning of a request: ignoring them would give
 * a wrong response.
 */
function checkNotIgnored(where: string, key: string, value: unknown): void {
  const instead = 'binary tensor data (parameters.binary_data_size, binary_data)'
  if (key.startsWith('shared_memory_'))
    throw new BadRequest(
      `${where}: this server does not share memory with its callers; send and request ${instead}`,
    )
  if (key === 'content_type' && value === 'base64')
    throw new BadRequest(
      `${where} is "base64", which this server does not support; send and request ${instead}, or send plain text without this parameter`,
    )
}

function booleanParameter(
  parameters: JsonObject | undefined,
  name: string,
  where: string,
): boolean | undefined {
  const value = parameters?.[name]
  if (value === undefined || typeof value === 'boolean') return value
  throw new BadRequest(`${where}.${name} is ${show(value)}; it must be true or false`)
}

/** See Triton's classification extension. */
function classesParameter(parameters: JsonObject | undefined, where: string): number | undefined {
  const count = parameters?.classification
  if (count === undefined) return undefined
  if (typeof count === 'number' && Number.isSafeInteger(count) && count > 0) return count
  throw new BadRequest(
    `${where}.classification is ${show(count)}; it must be a number of classes, 1 or more`,
  )
}

/** In microseconds; 0 means no limit (Triton, schedule policy extension). */
function readTimeout(parameters: JsonObject | undefined): number | undefined {
  const timeout = parameters?.timeout
  if (timeout === undefined || timeout === 0) return undefined
  if (typeof timeout === 'number' && Number.isSafeInteger(timeout) && timeout > 0) return timeout
  throw new BadRequest(
    `parameters.timeout is ${show(timeout)}; it must be a number of microseconds`,
  )
}

/**
 * Reads a raw binary request: the body is the data of the model's only input, and its length gives
 * the shape (binary tensor data extension, "Raw Binary Request").
 */
function decodeRaw(
  body: Uint8Array,
  signature: Signature,
  maxTensorBytes: number,
): InferenceRequest {
  const [metadata] = signature.inputs
  if (metadata === undefined || signature.inputs.length > 1) {
    throw new BadRequest(
      `a raw binary request needs a model with one input; this model has ${listNames(signature.inputs)}`,
    )
  }
  const shape = rawShape(body, metadata, isBatched(signature))
  checkTensorBytes(shape, metadata, maxTensorBytes)
  return {
    inputs: [
      {
        name: metadata.name,
        datatype: metadata.datatype,
        shape,
        data: readBinaryTensor(body, shape, metadata),
      },
    ],
    outputs: signature.outputs.map(({ name }) => ({ name, binary: true })),
  }
}

/**
 * One row if the model is batched, and at most one other variable dimension, whose size follows
 * from the number of bytes.
 */
function rawShape(body: Uint8Array, metadata: TensorMetadata, batched: boolean): number[] {
  const shape = batched ? [1, ...metadata.shape.slice(1)] : [...metadata.shape]
  const variable = shape.indexOf(-1)
  if (metadata.anyRank || variable !== shape.lastIndexOf(-1)) {
    throw new BadRequest(
      `input ${show(metadata.name)}: the bytes of a raw binary request do not determine the shape [${metadata.shape}]; send a JSON header with the shape`,
    )
  }
  if (variable === -1) return shape
  shape[variable] = 1
  shape[variable] = Math.floor(
    countBinaryElements(body, metadata) / Math.max(elementCount(shape), 1),
  )
  return shape
}

/** Describes an input and its shape in error messages. Computed once per model. */
function wordsFor(metadata: TensorMetadata): { readonly input: string; readonly fits: string } {
  let words = WORDS.get(metadata)
  if (words === undefined) {
    words = {
      input: `input ${show(metadata.name)}`,
      fits: `the model accepts ${metadata.anyRank ? 'any shape' : `[${metadata.shape}]`}`,
    }
    WORDS.set(metadata, words)
  }
  return words
}

const WORDS = new WeakMap<TensorMetadata, { readonly input: string; readonly fits: string }>()

const listNames = (tensors: readonly TensorMetadata[]) =>
  tensors.length === 0 ? 'none' : tensors.map(({ name }) => show(name)).join(', ')

const showField = (value: unknown) => (value === undefined ? 'missing' : show(value))
