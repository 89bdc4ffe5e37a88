import { createRequire } from 'node:module'
import { isMainThread } from 'node:worker_threads'

/*
 * ONNX Runtime's native half, as onnxruntime-node 1.30.0 calls it (its dist/backend.js and dist/binding.js; package.json pins
 * that version). Its JavaScript half is left out: it puts a setImmediate before each run, so that what a run takes cannot be told
 * from what the event loop did meanwhile, and requests that arrive in that turn miss the run; it makes a Tensor of each output,
 * and of FP16 a Float16Array that the native half cannot read.
 */

/** One tensor as the native half takes and gives it. */
export interface NativeTensor {
  /** onnxruntime-node's name of the datatype. */
  readonly type: string
  readonly data: ArrayBufferView | readonly string[]
  readonly dims: readonly number[]
  readonly location?: 'cpu'
}

/** An input or output of the graph. */
export interface NativeMetadata {
  readonly name: string
  readonly isTensor: boolean
  /** TensorProto.DataType (onnx.proto). */
  readonly type: number
  /** -1 for a variable dimension. */
  readonly shape: readonly number[]
  /** The graph's names for variable dimensions, '' for the others. */
  readonly symbolicDimensions: readonly string[]
}

export interface NativeSession {
  loadModel(path: string, options: Readonly<Record<string, unknown>>): void
  loadModel(
    buffer: ArrayBufferLike,
    offset: number,
    length: number,
    options: Readonly<Record<string, unknown>>,
  ): void
  readonly inputMetadata: readonly NativeMetadata[]
  readonly outputMetadata: readonly NativeMetadata[]
  /** Holds the calling thread until it is done. @param fetches the outputs wanted, each null */
  run(
    feeds: Readonly<Record<string, NativeTensor>>,
    fetches: Readonly<Record<string, null>>,
    options: Readonly<Record<string, unknown>>,
  ): Record<string, NativeTensor>
  dispose(): void
}

interface Binding {
  initOrtOnce(
    logLevel: number,
    tensorConstructor: new (type: string, data: never, dims: never) => NativeTensor,
    isMainThread: boolean,
  ): void
  readonly InferenceSession: new () => NativeSession
}

/** What the native half makes of an output. */
class Output implements NativeTensor {
  readonly type: string
  readonly data: ArrayBufferView | readonly string[]
  readonly dims: readonly number[]

  constructor(type: string, data: ArrayBufferView | readonly string[], dims: readonly number[]) {
    this.type = type
    this.data = data
    this.dims = dims
  }
}

/** Fatal only: what fails in a run is told to its caller; ONNX Runtime would also write it to standard error, in colour. */
export const LOG_LEVEL = 4

let binding: Binding | undefined

/**
 * A session without a model. The first one loads the library, which takes about 20 ms and its environment 25 ms more.
 * @throws {Error} where there is no library for this platform
 */
export function createNativeSession(): NativeSession {
  if (binding === undefined) {
    const require = createRequire(import.meta.url)
    binding = require(
      `onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}/onnxruntime_binding.node`,
    ) as Binding
    binding.initOrtOnce(LOG_LEVEL, Output, isMainThread)
  }
  return new binding.InferenceSession()
}
