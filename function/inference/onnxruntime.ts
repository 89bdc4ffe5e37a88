import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'

/*
 * ONNX Runtime's native half, called as onnxruntime-node calls it (its dist/backend.js and
 * dist/binding.js). It is not a public interface: package.json pins the version, and
 * test/inference/onnxruntime.test.ts shows changes in a new one. The JavaScript half is not used:
 * it delays each run by a setImmediate, so that the time of a run includes that of the event loop,
 * and requests that arrive in that turn miss the run; it also makes a Tensor of each output, and
 * for FP16 a Float16Array that the native half cannot read.
 */

/** One tensor as the native half takes and returns it. */
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
  /** The graph's names of variable dimensions; '' for all others. */
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
  /** Blocks the calling thread until it is done. @param fetches the requested outputs, each null */
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

/** The native half creates an object of this class for each output. */
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

/**
 * Fatal only: failed runs are reported to their callers; ONNX Runtime would also write them to
 * standard error, in colour.
 */
export const LOG_LEVEL = 4

/**
 * The locale en_US.UTF-8, included in the build: text operators need it, and slim images have only
 * C.UTF-8.
 */
const LOCALES = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../build/locale' : './locale', import.meta.url),
)
/** If LOCPATH is set, glibc ignores this file, which holds a system's installed locales. */
const LOCALES_OF_SYSTEM = '/usr/lib/locale/locale-archive'

/**
 * Sets the environment variables that ONNX Runtime reads. Call it before the library is loaded, on
 * the main thread: only its process.env changes the process environment.
 */
export function setEnvironment(): void {
  // Otherwise version 1.30 writes a device id under the home folder, and starts 5 ms later.
  process.env.ORT_DISABLE_TELEMETRY = '1'
  const isOurs = process.env.LOCPATH === undefined && !existsSync(LOCALES_OF_SYSTEM)
  if (isOurs && existsSync(LOCALES)) process.env.LOCPATH = LOCALES
}

let binding: Binding | undefined

function loadBinding(): Binding {
  const file = `onnxruntime-node/bin/napi-v6/${process.platform}/${process.arch}/onnxruntime_binding.node`
  try {
    return createRequire(import.meta.url)(file) as Binding
  } catch (error) {
    const [reason] = (error as Error).message.split('\n')
    throw new Error(
      (error as NodeJS.ErrnoException).code === 'MODULE_NOT_FOUND'
        ? `${file} is missing: "npm ci" installs it, for the platform it runs on`
        : `ONNX Runtime cannot be loaded: ${reason}`,
    )
  }
}

/**
 * A session without a model. The first one loads the library, which takes about 20 ms, and its
 * environment, 25 ms more.
 * @throws {Error} if there is no library for this platform
 */
export function createNativeSession(): NativeSession {
  if (binding === undefined) {
    binding = loadBinding()
    binding.initOrtOnce(LOG_LEVEL, Output, isMainThread)
  }
  return new binding.InferenceSession()
}
