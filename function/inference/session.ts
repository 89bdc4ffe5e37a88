import { DATATYPES, type Datatype, datatypeOfOnnx } from '../protocol/datatypes.ts'
import { ModelError } from '../protocol/errors.ts'
import type { Signature, Tensor, TensorData, TensorMetadata } from '../protocol/tensor.ts'
import type { Digests } from './digests.ts'
import { readShapeless } from './onnx-file.ts'
import {
  createNativeSession,
  LOG_LEVEL,
  type NativeMetadata,
  type NativeSession,
  type NativeTensor,
} from './onnxruntime.ts'

/** A loaded model. */
export interface Session {
  readonly signature: Signature
  /**
   * Outputs that are no tensors, which ONNX Runtime for Node cannot return; they are left out of
   * the signature.
   */
  readonly leftOut: readonly string[]
  /**
   * One run.
   * @param inputs every input, in graph order; their memory may be gone afterwards, to another
   * thread
   * @param outputs names of the outputs wanted; they come back in this order
   * @throws {ModelError} when the model fails on these inputs
   */
  run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]>
  close(): Promise<void>
}

const DATATYPE_NAMED = new Map(
  Object.entries(DATATYPES).map(([datatype, { ort }]) => [ort, datatype as Datatype]),
)

/**
 * Loads an ONNX file, by its path so that external data beside it is found.
 * @param threads that ONNX Runtime uses within a run
 * @param sha256 digests of the folder's files, which each thread checks because it reads the files
 * again
 * @throws {Error} of one line, when the file is no model that can be served
 */
export async function openSession(
  file: string,
  threads: number,
  sha256?: Digests,
): Promise<Session> {
  if (sha256 !== undefined) await (await import('./digests.ts')).checkDigests(file, sha256)
  const session = createNativeSession()
  try {
    session.loadModel(file, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      logSeverityLevel: LOG_LEVEL,
    })
  } catch (error) {
    throw new Error(`the model cannot be loaded: ${oneLine(error)}`)
  }
  return {
    signature: await readSignature(session, file),
    leftOut: session.outputMetadata.filter(({ isTensor }) => !isTensor).map(({ name }) => name),
    run: async (inputs, outputs) => run(session, inputs, outputs),
    close: async () => session.dispose(),
  }
}

async function readSignature(
  { inputMetadata, outputMetadata }: NativeSession,
  file: string,
): Promise<Signature> {
  const notTensor = inputMetadata.find(({ isTensor }) => !isTensor)
  if (notTensor !== undefined) {
    throw new Error(
      `the model cannot be served: its input "${notTensor.name}" is no tensor, and requests carry only tensors`,
    )
  }
  const outputs = outputMetadata.filter(({ isTensor }) => isTensor)
  if (outputs.length === 0) {
    throw new Error(
      'the model cannot be served: none of its outputs is a tensor (a scikit-learn classifier must be converted with zipmap=False)',
    )
  }
  // ONNX Runtime reads files that our reader does not know: they are served all the same.
  const shapeless = [...inputMetadata, ...outputs].some(({ shape }) => shape.length === 0)
    ? await readShapeless(file).catch(() => new Set<string>())
    : new Set<string>()
  const describe = (metadata: NativeMetadata) =>
    readTensorMetadata(metadata, shapeless.has(metadata.name))
  return { inputs: inputMetadata.map(describe), outputs: outputs.map(describe) }
}

function readTensorMetadata(
  { name, type, shape, symbolicDimensions }: NativeMetadata,
  shapeless: boolean,
): TensorMetadata {
  const datatype = datatypeOfOnnx(type)
  if (datatype === undefined) {
    throw new Error(
      `the model cannot be served: the datatype of "${name}" (${type} in onnx.proto) is not one of ${Object.keys(DATATYPES).join(', ')}`,
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
  // Made from entries: a name may be __proto__.
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

const REPLACEMENT = '\ufffd'

/**
 * ONNX Runtime for Node hands strings over as text, with U+FFFD where the bytes were not UTF-8, so
 * those bytes are lost. Better no answer than a wrong one; a U+FFFD that came in with the request
 * may of course go out again.
 */
function checkText(name: string, strings: readonly string[], inputs: readonly Tensor[]): void {
  if (!strings.some(holdsReplacement)) return
  const cameIn = inputs.some(
    ({ datatype, data }) =>
      datatype === 'BYTES' && (data as readonly string[]).some(holdsReplacement),
  )
  if (!cameIn) {
    throw new ModelError(
      `the model's output "${name}" holds bytes that are not UTF-8, which ONNX strings must be; ONNX Runtime for Node cannot return them`,
    )
  }
}

const holdsReplacement = (string: string) => string.includes(REPLACEMENT)

/**
 * As one line; ONNX Runtime's can be very long, and a Broker keeps 1,024 bytes of an answer with a
 * dead letter.
 */
const oneLine = (error: unknown) =>
  (error as Error).message.replaceAll(/\s+/g, ' ').trim().slice(0, 500)
