import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'

/*
 * Calls ONNX Runtime's native binding in the same way as onnxruntime-node does in its
 * dist/backend.js and dist/binding.js. The binding is not a public interface, so package.json pins
 * its version, and test/inference/onnxruntime.test.ts detects changes in a new version. The
 * JavaScript part of onnxruntime-node is not used, for two reasons. It schedules each run with
 * setImmediate, so the time of a run includes other work on the event loop, and requests that
 * arrive before the run begins are not included in the run. It also creates a Tensor for each
 * output, and for FP16 a Float16Array that the native binding cannot read.
 */

/** A tensor in the form that the native binding accepts and returns. */
export interface NativeTensor {
  /** The name of the datatype in onnxruntime-node. */
  readonly type: string
  readonly data: ArrayBufferView | readonly string[]
  readonly dims: readonly number[]
  readonly location?: 'cpu'
}

/** The native binding's description of a graph input or output. */
export interface NativeMetadata {
  readonly name: string
  readonly isTensor: boolean
  /** A value of TensorProto.DataType (onnx.proto). */
  readonly type: number
  /** The dimensions; −1 for a variable dimension. */
  readonly shape: readonly number[]
  /** The names of variable dimensions in the graph; '' for other dimensions. */
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
  /**
   * Runs the model, and blocks the calling thread during the run.
   * @param fetches an object with the requested output names as keys and null values
   */
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

/** The native binding creates an object of this class for each output. */
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
 * The log level at which ONNX Runtime logs only fatal errors. Failed runs are reported to their
 * callers, so ONNX Runtime does not need to write them to standard error as well.
 */
export const LOG_LEVEL = 4

/**
 * The folder of the locale en_US.UTF-8, which the build includes. Text operators need this locale,
 * but slim images contain only C.UTF-8.
 */
const LOCALES = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../build/locale' : './locale', import.meta.url),
)
/** The file with the system's installed locales. glibc ignores this file if LOCPATH is set. */
const LOCALES_OF_SYSTEM = '/usr/lib/locale/locale-archive'

/**
 * Sets the environment variables that ONNX Runtime reads. Call this function before the first worker
 * thread loads the library: only the main thread's process.env changes the process environment. The
 * main thread's first session calls it, too.
 */
export function setEnvironment(): void {
  // If this variable is not set, version 1.30 writes a device id to the home folder, and startup
  // takes 5 ms longer.
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
        ? `${file} is missing; run "npm ci" on this platform to install it`
        : `ONNX Runtime cannot be loaded: ${reason}`,
    )
  }
}

/**
 * Creates a session without a model. The first call loads the library, which takes about 20 ms, and
 * creates ONNX Runtime's environment, which takes another 25 ms.
 * @throws {Error} if there is no library for this platform
 */
export function createNativeSession(): NativeSession {
  if (binding === undefined) {
    if (isMainThread) setEnvironment()
    binding = loadBinding()
    binding.initOrtOnce(LOG_LEVEL, Output, isMainThread)
  }
  return new binding.InferenceSession()
}
