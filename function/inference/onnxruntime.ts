import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { fileURLToPath } from 'node:url'
import { isMainThread } from 'node:worker_threads'

/*
 * Calls ONNX Runtime's native binding as onnxruntime-node does in dist/backend.js and
 * dist/binding.js. The binding is not a public interface: package.json pins its version, and
 * test/inference/onnxruntime.test.ts detects changes.
 *
 * onnxruntime-node's JavaScript starts each run with setImmediate, so a run's time would include
 * other work, and requests that arrive before the run begins could not join it. It also creates a
 * Tensor for each output, and for FP16 a Float16Array that the native binding cannot read.
 */

export interface NativeTensor {
  /** The datatype's name in onnxruntime-node. */
  readonly type: string
  readonly data: ArrayBufferView | readonly string[]
  readonly dims: readonly number[]
  readonly location?: 'cpu'
}

export interface NativeMetadata {
  readonly name: string
  readonly isTensor: boolean
  /** A value of TensorProto.DataType (onnx.proto). */
  readonly type: number
  /** −1 for a variable dimension. */
  readonly shape: readonly number[]
  /** The graph's names of variable dimensions; '' for other dimensions. */
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
   * Blocks the calling thread during the run.
   * @param fetches null for each requested output
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
 * Only fatal errors. Failed runs are reported to their callers, and need no line on standard error.
 */
export const LOG_LEVEL = 4

/**
 * The folder of the locale en_US.UTF-8 in the build. Text operators need this locale; slim images
 * have only C.UTF-8.
 */
const LOCALES = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../build/locale' : './locale', import.meta.url),
)
/** The system's locales. glibc ignores this file if LOCPATH is set. */
const LOCALES_OF_SYSTEM = '/usr/lib/locale/locale-archive'

/**
 * Sets the environment variables that ONNX Runtime reads. Call this before the first worker loads
 * the library: only the main thread's process.env changes the process environment.
 */
export function setEnvironment(): void {
  // Otherwise, version 1.30 writes a device id to the home folder, and startup takes 5 ms longer.
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
 * Creates a session without a model. The first call loads the library in about 20 ms and creates
 * ONNX Runtime's environment in another 25 ms.
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
