import type { InferenceSession, Tensor as OrtTensor } from 'onnxruntime-node'
import { DATATYPES, type Datatype } from '../protocol/datatypes.ts'
import { ModelError } from '../protocol/errors.ts'
import type { Signature, Tensor, TensorData, TensorMetadata } from '../protocol/tensor.ts'
import { readShapeless } from './onnx-file.ts'

/** A loaded model. */
export interface Session {
  readonly signature: Signature
  /** Outputs that are no tensors, which ONNX Runtime for Node cannot return; they are left out of the signature. */
  readonly leftOut: readonly string[]
  /** Runs that can go on at the same time. */
  readonly concurrency: number
  /**
   * One run.
   * @param inputs every input, in graph order; their memory may be gone afterwards, to another thread
   * @param outputs names of the outputs wanted; they come back in this order
   * @throws {ModelError} when the model fails on these inputs
   */
  run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]>
  close(): Promise<void>
}

const DATATYPE_OF = new Map(Object.entries(DATATYPES).map(([datatype, { ort }]) => [ort, datatype as Datatype]))

/**
 * Loads an ONNX file, by its path so that external data beside it is found.
 * @param threads that ONNX Runtime uses within a run
 * @throws {Error} of one line, when the file is no model that can be served
 */
export async function openSession(file: string, threads: number): Promise<Session> {
  const { default: ort } = await import('onnxruntime-node')
  let session: InferenceSession
  try {
    session = await ort.InferenceSession.create(file, {
      intraOpNumThreads: threads,
      interOpNumThreads: 1,
      // 4: fatal only. What fails in a run is told to its caller; ONNX Runtime would also write it to standard error, in colour.
      logSeverityLevel: 4,
    })
  } catch (error) {
    throw new Error(`the model cannot be loaded: ${oneLine(error)}`)
  }
  const signature = await readSignature(session, file)
  return {
    signature,
    leftOut: session.outputMetadata.filter(({ isTensor }) => !isTensor).map(({ name }) => name),
    // ONNX Runtime for Node runs on the calling thread and holds it (tried with 1.30).
    concurrency: 1,
    run: (inputs, outputs) => run(session, inputs, outputs),
    close: () => session.release(),
  }
}

async function readSignature({ inputMetadata, outputMetadata }: InferenceSession, file: string): Promise<Signature> {
  const notTensor = inputMetadata.find(({ isTensor }) => !isTensor)
  if (notTensor !== undefined) {
    throw new Error(`the model cannot be served: its input "${notTensor.name}" is no tensor, and requests carry only tensors`)
  }
  const outputs = outputMetadata.filter(({ isTensor }) => isTensor)
  if (outputs.length === 0) {
    throw new Error(
      'the model cannot be served: none of its outputs is a tensor (a scikit-learn classifier must be converted with zipmap=False)',
    )
  }
  const tensors = [...inputMetadata, ...outputs] as readonly InferenceSession.TensorValueMetadata[]
  const shapeless = tensors.some(({ shape }) => shape.length === 0) ? await readShapeless(file) : new Set<string>()
  const describe = (metadata: InferenceSession.ValueMetadata) =>
    readTensorMetadata(metadata as InferenceSession.TensorValueMetadata, shapeless.has(metadata.name))
  return { inputs: inputMetadata.map(describe), outputs: outputs.map(describe) }
}

function readTensorMetadata({ name, type, shape }: InferenceSession.TensorValueMetadata, shapeless: boolean): TensorMetadata {
  const datatype = DATATYPE_OF.get(type)
  if (datatype === undefined) {
    throw new Error(`the model cannot be served: "${name}" is ${type}, which the Open Inference Protocol has no datatype for`)
  }
  const anyRank = shapeless && shape.length === 0
  return {
    name,
    datatype,
    shape: anyRank ? [-1] : shape.map(dimension => (typeof dimension === 'number' ? dimension : -1)),
    dimensionNames: anyRank ? [''] : shape.map(dimension => (typeof dimension === 'string' ? dimension : '')),
    anyRank,
  }
}

async function run(session: InferenceSession, inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]> {
  // Plain objects, not ONNX Runtime's Tensor: its constructor turns FP16 into a Float16Array, which its native half (1.30)
  // cannot read ("not enough space: expected 4, got 0").
  const feeds = Object.fromEntries(
    inputs.map(({ name, datatype, shape, data }) => [name, { type: DATATYPES[datatype].ort, data, dims: shape, location: 'cpu' }]),
  ) as unknown as Record<string, OrtTensor>
  let results: InferenceSession.ReturnType
  try {
    results = await session.run(feeds, outputs)
  } catch (error) {
    throw new ModelError(`the model failed on this request: ${oneLine(error)}`)
  }
  return outputs.map(name => fromOrt(name, results[name] as OrtTensor, inputs))
}

function fromOrt(name: string, { type, dims, data }: OrtTensor, inputs: readonly Tensor[]): Tensor {
  if (type === 'string') checkText(name, data as unknown as string[], inputs)
  return {
    name,
    datatype: DATATYPE_OF.get(type) as Datatype,
    shape: dims,
    // Where Node has Float16Array, FP16 comes back as one; its bits are what is sent.
    data: type === 'float16' ? bitsOf(data as Uint16Array) : (data as TensorData),
  }
}

const bitsOf = ({ buffer, byteOffset, length }: Uint16Array) => new Uint16Array(buffer, byteOffset, length)

const REPLACEMENT = '\ufffd'

/**
 * ONNX Runtime for Node hands strings over as text, with U+FFFD where the bytes were not UTF-8, so those bytes are lost.
 * Better no answer than a wrong one; a U+FFFD that came in with the request may of course go out again.
 */
function checkText(name: string, strings: readonly string[], inputs: readonly Tensor[]): void {
  if (!strings.some(holdsReplacement)) return
  const cameIn = inputs.some(({ datatype, data }) => datatype === 'BYTES' && (data as readonly string[]).some(holdsReplacement))
  if (!cameIn) {
    throw new ModelError(
      `the model's output "${name}" holds bytes that are not UTF-8, which ONNX strings must be; ONNX Runtime for Node cannot return them`,
    )
  }
}

const holdsReplacement = (string: string) => string.includes(REPLACEMENT)

/** As one line; ONNX Runtime's can be very long, and a Broker keeps 1,024 bytes of an answer with a dead letter. */
const oneLine = (error: unknown) => (error as Error).message.replaceAll(/\s+/g, ' ').trim().slice(0, 500)
