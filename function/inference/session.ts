import { readFileSync, statSync } from 'node:fs'
import { DATATYPES, type Datatype, datatypeOfOnnx } from '../protocol/datatypes.ts'
import { ModelError } from '../protocol/errors.ts'
import {
  isBatched,
  type Signature,
  type Tensor,
  type TensorData,
  type TensorMetadata,
} from '../protocol/tensor.ts'
import type { Digests } from './digests.ts'
import { EmptyTensors, isEmpty } from './empty-tensors.ts'
import type { OutputLabels } from './label-indices.ts'
import { readShapeless } from './onnx-file.ts'
import { elementName } from './onnx-types.ts'
import {
  createNativeSession,
  LOG_LEVEL,
  type NativeMetadata,
  type NativeSession,
  type NativeTensor,
} from './onnxruntime.ts'
import { hasReplacement, isReplaced } from './replacement.ts'
import type { ZipMap } from './zip-map.ts'

/** An output that ONNX Runtime for Node cannot return, because it is not a tensor. */
export interface LeftOut {
  readonly name: string
  /** Why the output cannot be converted to a tensor, and a remedy. */
  readonly why: string
}

export interface Session {
  readonly signature: Signature
  /** The outputs that are not tensors; the signature omits them. */
  readonly leftOut: readonly LeftOut[]
  /** The number of threads that ONNX Runtime uses for a run. */
  readonly threads: number
  /**
   * Runs the model once.
   * @param inputs all inputs, in graph order; the run may transfer their memory to another thread
   * @param outputs the requested outputs, returned in this order
   * @throws {BadRequest} if an input is empty, which might crash ONNX Runtime
   * @throws {ModelError} if the model fails on these inputs
   */
  run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]>
  /**
   * Makes later runs of a small classifier faster, with the same results (label-indices.ts). Takes a
   * few milliseconds, so call it after startup.
   * @returns false if the model stays as it is
   */
  indexLabels(): Promise<boolean>
  close(): Promise<void>
}

export interface Ran {
  readonly tensors: Tensor[]
  /** The run's milliseconds times the number of its threads: an upper bound of their CPU time. */
  readonly threadMs: number
}

export async function timed(
  session: Pick<Session, 'run' | 'threads'>,
  ...run: Parameters<Session['run']>
): Promise<Ran> {
  const began = performance.now()
  const tensors = await session.run(...run)
  return { tensors, threadMs: (performance.now() - began) * session.threads }
}

const DATATYPE_NAMED = new Map(
  Object.entries(DATATYPES).map(([datatype, { ort }]) => [ort, datatype as Datatype]),
)

/**
 * Loads an ONNX file. ONNX Runtime gets the path, to find external data beside the file.
 * @param threads ONNX Runtime's threads for a run
 * @param sha256 the digests of the folder's files; each thread reads the files, so each checks them
 * @throws {Error} if the file is not a model that can be served
 */
export async function openSession(
  file: string,
  threads: number,
  sha256?: Digests,
): Promise<Session> {
  if (sha256 !== undefined) await (await import('./digests.ts')).checkDigests(file, sha256)
  const loaded = await load(file, threads)
  const { why } = loaded
  let { labelled } = loaded
  let current: Current = { native: loaded.native, labels: new Map() }
  let isClosed = false
  const emptyTensors = new EmptyTensors(file)
  return {
    signature: await readSignature(file, loaded),
    leftOut: notTensors(loaded.native).map(({ name }) => ({ name, why })),
    threads,
    run: async (inputs, outputs) => {
      const empty = inputs.find(isEmpty)
      if (empty !== undefined) await emptyTensors.check(empty)
      return run(current, inputs, outputs)
    },
    async indexLabels() {
      const bytes = labelled
      labelled = undefined
      const indexed = bytes && (await indexedOrNot(bytes, threads))
      if (indexed === undefined) return false
      const unused = isClosed ? indexed : current
      if (!isClosed) current = indexed
      unused.native.dispose()
      return !isClosed
    },
    async close() {
      isClosed = true
      current.native.dispose()
    },
  }
}

interface Current {
  readonly native: NativeSession
  /** The labels of the outputs that contain indices. */
  readonly labels: OutputLabels
}

interface Loaded {
  readonly native: NativeSession
  /** The removed ZipMaps, each keyed by the output that replaces it. */
  readonly zipMaps: ReadonlyMap<string, ZipMap>
  readonly why: string
  /** The bytes of a small model whose labels may be texts. */
  readonly labelled: Buffer | undefined
}

const CONVERT = 'convert a scikit-learn model with zipmap=False to get a tensor'
const NO_ZIP_MAPS: ReadonlyMap<string, ZipMap> = new Map()

/** If an output is not a tensor, loads the model again without its ZipMaps. */
async function load(file: string, threads: number): Promise<Loaded> {
  const native = await loadFile(file, threads)
  const asItIs = (why: string) => ({
    native,
    zipMaps: NO_ZIP_MAPS,
    why,
    labelled: labelledBytes(native, file),
  })
  if (notTensors(native).length === 0) return asItIs('')
  const { withoutZipMaps } = await import('./zip-map.ts')
  const unzipped = await withoutZipMaps(file).catch(error => oneLine(error))
  if (unzipped === undefined)
    return asItIs('add a tensor output to the graph for each of its elements')
  if (typeof unzipped === 'string') return asItIs(`${unzipped}; ${CONVERT}`)
  const { bytes, zipMaps } = unzipped
  try {
    const again = loadBytes(bytes, threads)
    native.dispose()
    return { native: again, zipMaps, why: CONVERT, labelled: labelledBytes(again, bytes) }
  } catch (error) {
    return asItIs(`the model cannot be loaded without its ZipMap: ${oneLine(error)}; ${CONVERT}`)
  }
}

async function loadFile(file: string, threads: number): Promise<NativeSession> {
  const session = createNativeSession()
  try {
    session.loadModel(file, optionsOf(threads))
    return session
  } catch (error) {
    const { whyNotLoaded } = await import('./load-error.ts')
    throw new Error(`the model cannot be loaded: ${await whyNotLoaded(file, oneLine(error))}`)
  }
}

function loadBytes({ buffer, byteOffset, byteLength }: Buffer, threads: number): NativeSession {
  const session = createNativeSession()
  session.loadModel(buffer, byteOffset, byteLength, optionsOf(threads))
  return session
}

/**
 * Labels in larger files remain texts: such a model's runs take much longer, and so does loading it
 * again.
 */
const MOST_LABELLED_BYTES = 2 ** 18

/** Returns the bytes of a small model that may return texts as labels. */
function labelledBytes(native: NativeSession, model: string | Buffer): Buffer | undefined {
  if (!native.outputMetadata.some(({ type }) => datatypeOfOnnx(type) === 'BYTES')) return undefined
  const size = typeof model === 'string' ? statSync(model).size : model.length
  if (size > MOST_LABELLED_BYTES) return undefined
  const bytes = typeof model === 'string' ? readFileSync(model) : model
  return bytes.includes('classlabels_strings') ? bytes : undefined
}

/** @returns undefined if the labels remain texts */
async function indexedOrNot(bytes: Buffer, threads: number): Promise<Current | undefined> {
  try {
    const { withIndices } = await import('./label-indices.ts')
    const indexed = await withIndices(bytes)
    return indexed && { native: loadBytes(indexed.bytes, threads), labels: indexed.labels }
  } catch {
    return undefined
  }
}

const notTensors = ({ outputMetadata }: NativeSession) =>
  outputMetadata.filter(({ isTensor }) => !isTensor)

const optionsOf = (threads: number) => ({
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  logSeverityLevel: LOG_LEVEL,
})

async function readSignature(
  file: string,
  { native: { inputMetadata, outputMetadata }, zipMaps, why }: Loaded,
): Promise<Signature> {
  const notTensor = inputMetadata.find(({ isTensor }) => !isTensor)
  if (notTensor !== undefined) {
    throw new Error(
      `the model cannot be served: input "${notTensor.name}" is not a tensor; requests can contain only tensors`,
    )
  }
  const outputs = outputMetadata.filter(({ isTensor }) => isTensor)
  if (outputs.length === 0) {
    throw new Error(`the model cannot be served: no output is a tensor; ${why}`)
  }
  // If only ONNX Runtime can read the file, serve it anyway.
  const shapeless = [...inputMetadata, ...outputs].some(({ shape }) => shape.length === 0)
    ? await readShapeless(file).catch(() => new Set<string>())
    : new Set<string>()
  const describe = (metadata: NativeMetadata) => {
    const described = readTensorMetadata(metadata, shapeless.has(metadata.name))
    const classes = zipMaps.get(metadata.name)?.classes
    return classes === undefined ? described : { ...described, labels: classes }
  }
  const signature = { inputs: inputMetadata.map(describe), outputs: outputs.map(describe) }
  return withProvenRows(file, signature)
}

/**
 * Makes the first dimension of an output variable if the graph proves that the output has one row
 * per input row. Converters for LightGBM declare labels with shape [1].
 */
async function withProvenRows(file: string, signature: Signature): Promise<Signature> {
  const isOdd = ({ shape }: TensorMetadata) => shape.length > 0 && shape[0] !== -1
  if (!isBatched(signature) || !signature.outputs.some(isOdd)) return signature
  const { proveIndependent } = await import('./batchability/prove.ts')
  const outputs = signature.outputs.map(async output => {
    if (!isOdd(output)) return output
    const proof = await proveIndependent(file, { ...signature, outputs: [output] }).catch(() => NOT)
    return proof.isProven ? { ...output, shape: [-1, ...output.shape.slice(1)] } : output
  })
  return { ...signature, outputs: await Promise.all(outputs) }
}

const NOT = { isProven: false } as const

function readTensorMetadata(
  { name, type, shape, symbolicDimensions }: NativeMetadata,
  shapeless: boolean,
): TensorMetadata {
  const datatype = datatypeOfOnnx(type)
  if (datatype === undefined) {
    throw new Error(
      `the model cannot be served: the datatype of "${name}" is ${elementName(type)} but must be one of ${Object.keys(DATATYPES).join(', ')}`,
    )
  }
  const anyRank = shapeless && shape.length === 0
  return {
    name,
    datatype,
    shape: anyRank ? [-1] : [...shape],
    dimensionNames: anyRank
      ? ['']
      : shape.map((dimension, i) => (dimension === -1 ? (symbolicDimensions[i] ?? '') : '')),
    anyRank,
  }
}

function run(
  { native, labels }: Current,
  inputs: readonly Tensor[],
  outputs: readonly string[],
): Tensor[] {
  // An input may be named __proto__, so build the object from entries.
  const feeds = Object.fromEntries(
    inputs.map(({ name, datatype, shape, data }) => [
      name,
      { type: DATATYPES[datatype].ort, data, dims: shape, location: 'cpu' } as const,
    ]),
  )
  const fetches = Object.fromEntries(outputs.map(name => [name, null]))
  let results: Record<string, NativeTensor>
  try {
    results = native.run(feeds, fetches, {})
  } catch (error) {
    throw new ModelError(`the model failed on this request: ${oneLine(error)}`)
  }
  return outputs.map(name => {
    const result = results[name] as NativeTensor
    const texts = labels.get(name)
    return texts === undefined ? fromNative(name, result, inputs) : labelsOf(name, result, texts)
  })
}

function fromNative(
  name: string,
  { type, dims, data }: NativeTensor,
  inputs: readonly Tensor[],
): Tensor {
  if (type === 'string') checkText(name, data as readonly string[], inputs)
  return {
    name,
    datatype: DATATYPE_NAMED.get(type) as Datatype,
    shape: dims,
    data: data as TensorData,
  }
}

/** Returns the labels at a classifier's indices. */
function labelsOf(name: string, { data, dims }: NativeTensor, texts: readonly string[]): Tensor {
  const { buffer, byteOffset, length } = data as BigInt64Array<ArrayBuffer>
  // The low half of each INT64, because reading a bigint takes longer.
  const halves = new Int32Array(buffer, byteOffset, 2 * length)
  const labels = new Array<string>(length)
  for (let i = 0; i < length; i++) labels[i] = texts[halves[2 * i] as number] as string
  return { name, datatype: 'BYTES', shape: dims, data: labels }
}

/**
 * Refuses a text that lost bytes: ONNX Runtime for Node replaces bytes that are not UTF-8 with
 * U+FFFD. If the request contains U+FFFD, accepts every text: the model may have returned that
 * U+FFFD.
 */
function checkText(name: string, strings: readonly string[], inputs: readonly Tensor[]): void {
  if (!strings.some(isReplaced) || hasReplacement(inputs)) return
  throw new ModelError(
    `output "${name}" of the model contains bytes that are not UTF-8; ONNX strings must be UTF-8, and ONNX Runtime for Node cannot return other bytes`,
  )
}

/**
 * Shortens a message to one line: a Broker adds only 1,024 bytes of the response to a dead letter.
 * ONNX Runtime's messages begin with the failure and end with its cause.
 */
function oneLine(error: unknown): string {
  const line = (error as Error).message.replaceAll(/\s+/g, ' ').trim()
  return line.length <= 500 ? line : `${line.slice(0, 150)} … ${line.slice(-347)}`
}
