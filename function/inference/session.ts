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

/** An output that is not a tensor, which ONNX Runtime for Node cannot return. */
export interface LeftOut {
  readonly name: string
  /** Why it is not made a tensor, and what to do. */
  readonly why: string
}

/** A loaded model. */
export interface Session {
  readonly signature: Signature
  /** Outputs that are missing from the signature. */
  readonly leftOut: readonly LeftOut[]
  /**
   * One run.
   * @param inputs every input, in graph order; the run may transfer their memory to another thread
   * @param outputs names of the requested outputs, which are returned in this order
   * @throws {ModelError} if the model fails on these inputs
   */
  run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]>
  close(): Promise<void>
}

const DATATYPE_NAMED = new Map(
  Object.entries(DATATYPES).map(([datatype, { ort }]) => [ort, datatype as Datatype]),
)

/**
 * Loads an ONNX file, by path so that external data beside it is found.
 * @param threads that ONNX Runtime uses within a run
 * @param sha256 digests of the folder's files, which each thread checks because it reads the files
 * again
 * @throws {Error} of one line if the file is not a model that can be served
 */
export async function openSession(
  file: string,
  threads: number,
  sha256?: Digests,
): Promise<Session> {
  if (sha256 !== undefined) await (await import('./digests.ts')).checkDigests(file, sha256)
  const { native, zipMaps, why } = await load(file, threads)
  return {
    signature: await readSignature(native, file, { zipMaps, why }),
    leftOut: notTensors(native).map(({ name }) => ({ name, why })),
    run: async (inputs, outputs) => run(native, inputs, outputs),
    close: async () => native.dispose(),
  }
}

/** A model that ONNX Runtime has loaded. */
interface Loaded {
  readonly native: NativeSession
  /** ZipMaps by the outputs that replace them: their inputs. */
  readonly zipMaps: ReadonlyMap<string, ZipMap>
  /** Why outputs that are not tensors are omitted, and what to do. */
  readonly why: string
}

const CONVERT = 'to serve it, convert a scikit-learn model with zipmap=False'
const NO_ZIP_MAPS: ReadonlyMap<string, ZipMap> = new Map()

/** If an output is not a tensor, loads the model again without its ZipMaps. */
async function load(file: string, threads: number): Promise<Loaded> {
  const native = await loadFile(file, threads)
  const asItIs = (why: string) => ({ native, zipMaps: NO_ZIP_MAPS, why })
  if (notTensors(native).length === 0) return asItIs('')
  const { withoutZipMaps } = await import('./zip-map.ts')
  const unzipped = await withoutZipMaps(file).catch(error => oneLine(error))
  if (unzipped === undefined)
    return asItIs('give each of its elements an output of its own in the graph')
  if (typeof unzipped === 'string') return asItIs(`${unzipped}; ${CONVERT}`)
  const { bytes, zipMaps } = unzipped
  try {
    const again = createNativeSession()
    again.loadModel(bytes.buffer, bytes.byteOffset, bytes.byteLength, optionsOf(threads))
    native.dispose()
    return { native: again, zipMaps, why: CONVERT }
  } catch (error) {
    return asItIs(`without its ZipMap it cannot be loaded: ${oneLine(error)}; ${CONVERT}`)
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

const notTensors = ({ outputMetadata }: NativeSession) =>
  outputMetadata.filter(({ isTensor }) => !isTensor)

const optionsOf = (threads: number) => ({
  intraOpNumThreads: threads,
  interOpNumThreads: 1,
  logSeverityLevel: LOG_LEVEL,
})

async function readSignature(
  { inputMetadata, outputMetadata }: NativeSession,
  file: string,
  { zipMaps, why }: Pick<Loaded, 'zipMaps' | 'why'>,
): Promise<Signature> {
  const notTensor = inputMetadata.find(({ isTensor }) => !isTensor)
  if (notTensor !== undefined) {
    throw new Error(
      `the model cannot be served: its input "${notTensor.name}" is not a tensor; requests can carry only tensors`,
    )
  }
  const outputs = outputMetadata.filter(({ isTensor }) => isTensor)
  if (outputs.length === 0) {
    throw new Error(`the model cannot be served: none of its outputs is a tensor; ${why}`)
  }
  // ONNX Runtime may read files that our reader cannot: they are served anyway.
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
 * Converters of LightGBM declare labels of shape [1], whatever the number of rows. If the graph
 * proves that an output has one row per input row, its first dimension is variable, whatever the
 * file declares.
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
  session: NativeSession,
  inputs: readonly Tensor[],
  outputs: readonly string[],
): Tensor[] {
  // Built from entries, because a name may be __proto__.
  const feeds = Object.fromEntries(
    inputs.map(({ name, datatype, shape, data }) => [
      name,
      { type: DATATYPES[datatype].ort, data, dims: shape, location: 'cpu' } as const,
    ]),
  )
  const fetches = Object.fromEntries(outputs.map(name => [name, null]))
  let results: Record<string, NativeTensor>
  try {
    results = session.run(feeds, fetches, {})
  } catch (error) {
    throw new ModelError(`the model failed on this request: ${oneLine(error)}`)
  }
  return outputs.map(name => fromNative(name, results[name] as NativeTensor, inputs))
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

/**
 * ONNX Runtime for Node returns strings as text, with U+FFFD in place of bytes that were not UTF-8;
 * the bytes are lost. No answer is better than a wrong one. A U+FFFD that came with the request may
 * be returned.
 */
function checkText(name: string, strings: readonly string[], inputs: readonly Tensor[]): void {
  if (!strings.some(isReplaced) || hasReplacement(inputs)) return
  throw new ModelError(
    `the model's output "${name}" holds bytes that are not UTF-8, which ONNX strings must be; ONNX Runtime for Node cannot return them`,
  )
}

/**
 * Shortens a message to one line. ONNX Runtime's can be very long, and a Broker keeps 1,024 bytes
 * of an answer with a dead letter. The failure is at its start, the cause at its end.
 */
function oneLine(error: unknown): string {
  const line = (error as Error).message.replaceAll(/\s+/g, ' ').trim()
  return line.length <= 500 ? line : `${line.slice(0, 150)} … ${line.slice(-347)}`
}
