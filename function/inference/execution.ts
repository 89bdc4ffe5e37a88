import { readdirSync, statSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import type { Config } from '../config/config.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { changedSource } from '../transform/find.ts'
import { type AdaptiveOptions, openAdaptive } from './adaptive-executor.ts'
import { type Executor, InlineExecutor } from './executor.ts'
import type { GraphCheck } from './graph-check.ts'
import type { LoadedModel } from './loaded-model.ts'
import type { ModelFolder } from './model-folder.ts'
import { setEnvironment } from './onnxruntime.ts'
import { openSession } from './session.ts'
import type { Statistics } from './statistics.ts'
import type { Transformer } from './transformer.ts'
import type { WorkerPool } from './worker-pool.ts'
import type { CallOptions } from './worker-thread.ts'

/** Larger models never run on the main thread. */
export const LARGE_MODEL_BYTES = 32 * 2 ** 20

/**
 * Larger models load in a worker first. Loading this many bytes of plain operators takes about 25
 * ms of CPU time.
 */
const SMALL_MODEL_BYTES = 2 ** 20

export interface ExecutorOptions {
  readonly folder: ModelFolder
  readonly check: GraphCheck
  readonly config: Config
  readonly metrics: Metrics
  readonly statistics: Statistics
  readonly log: Log
  readonly onStuck: (shapes: string) => void
}

/**
 * Loads the model on the thread that EXECUTION selects. If input values determine a run's duration,
 * the run may never end, so auto uses workers.
 */
export async function openExecutor(options: ExecutorOptions): Promise<Executor> {
  const { folder, check, config, log } = options
  const { execution, ortThreads: threads, cpus } = config
  setEnvironment()
  const { file, sha256 } = folder
  const calls = folder.transform === undefined ? undefined : await callsOf(options)
  const openWorkers = workersOf(options, calls)
  const size = { threads, workers: Math.max(1, Math.floor(cpus / threads)) }
  if (execution === 'inline') return new InlineExecutor(await openSession(file, threads, sha256))
  const bytes = folderBytes(file)
  const isAside = check.byValues !== undefined || bytes > LARGE_MODEL_BYTES
  if (execution === 'worker' || calls !== undefined || isAside) return openWorkers(size)
  return openAdaptive({
    // A model fast enough for the main thread is too small to gain from several threads.
    openSession: () => openSession(file, 1, sha256),
    openWorkers,
    size,
    plainBytes: check.isPlain && bytes <= SMALL_MODEL_BYTES ? bytes : undefined,
    log,
  })
}

export interface TransformerOptions extends Omit<ExecutorOptions, 'check' | 'onStuck'> {
  readonly executor: Executor
  readonly loaded: LoadedModel
  readonly freeBytes: number
  readonly runBytes: number
}

/**
 * Opens the transform: on the main thread if EXECUTION is inline, otherwise in the model's threads,
 * because a transform may contain an endless loop.
 * @returns undefined if there is no transform
 * @throws {Error} if the transform cannot be used
 */
export async function openTransformer(
  options: TransformerOptions,
): Promise<Transformer | undefined> {
  const { folder, executor, loaded, config, metrics, log, freeBytes, runBytes } = options
  if (folder.ignoredTransform !== undefined)
    log.warn(
      `${folder.ignoredTransform} is not loaded: files beside a stored model are not run as code; set TRANSFORM=PATH to load it`,
    )
  const { transform: file } = folder
  if (file === undefined) return undefined
  const source = changedSource(file)
  if (source !== undefined) log.warn(`${file} is older than ${source}; run onnx-function build`)
  const limits = { ...limitsOf(config), freeBytes: () => freeBytes }
  if (executor instanceof InlineExecutor) {
    const { InlineTransformer } = await import('./inline-transformer.ts')
    return InlineTransformer.open({ file, identity: folder, loaded, limits, metrics, log })
  }
  const { WorkerTransformer } = await import('./worker-transformer.ts')
  return new WorkerTransformer(executor as WorkerPool, limits, runBytes)
}

const limitsOf = ({ maxBatchRows, maxQueueRows, maxBodyBytes, maxJsonBytes }: Config) => ({
  maxBatchRows,
  maxQueueRows,
  maxBodyBytes,
  maxBytes: maxBodyBytes,
  maxJsonBytes,
})

/**
 * The share of the memory for the JavaScript heaps of all threads; the model and requests need the
 * rest.
 */
const SHARE_OF_HEAPS = 0.4
/** V8's default on a machine with much memory. */
const MOST_HEAP_MB = 4_096

const heapMbOf = ({ memoryBytes, cpus, ortThreads }: Config) =>
  Math.min(
    MOST_HEAP_MB,
    Math.ceil(
      (SHARE_OF_HEAPS * memoryBytes) / 2 ** 20 / Math.max(1, Math.floor(cpus / ortThreads)),
    ),
  )

async function callsOf(options: ExecutorOptions): Promise<CallOptions | undefined> {
  const { folder, config, metrics, statistics } = options
  const { name, version, labels, transform: file } = folder
  if (file === undefined || config.execution === 'inline') return undefined
  const { ThreadCalls } = await import('./thread-calls.ts')
  return {
    start: {
      file,
      model: { name, version, labels },
      limits: limitsOf(config),
      logLevel: config.logLevel,
    },
    create: own => new ThreadCalls(own),
    heapMb: heapMbOf(config),
    places: config.maxQueueRows,
    limitMs: config.runTimeoutMs,
    count({ ran, predicted, took, succeeded }) {
      for (const times of ran) {
        metrics.ran(times.rows)
        statistics.ran(times)
      }
      for (const [label, rows] of predicted) metrics.predicted(label, rows)
      for (const [half, seconds] of took) metrics.transformTook(half, seconds)
      for (const [ms, times] of succeeded) statistics.succeeded(ms, times)
    },
  }
}

/**
 * Returns a function that starts workers. Loads their module with the first worker, because most
 * models need no workers.
 */
function workersOf(
  options: ExecutorOptions,
  calls: CallOptions | undefined,
): AdaptiveOptions['openWorkers'] {
  const { folder, check, config, metrics, log, onStuck } = options
  const { file, sha256, transform } = folder
  const beforeLoad = rememberFiles(dirname(file), transform)
  return async size => {
    const { openWorkers } = await import('./worker-pool.ts')
    return openWorkers(file, {
      ...size,
      sha256,
      followShapes: check.byValues === undefined,
      beforeLoad,
      calls,
      runTimeoutMs: config.runTimeoutMs,
      onStuck,
      onDeath(reason) {
        metrics.workerDied()
        log.error(`a worker thread ended and will be replaced: ${reason}`)
      },
      onLoss: reason =>
        log.error(`a worker thread failed to start, and the server will try again: ${reason}`),
    })
  }
}

/**
 * Files of a transform's project that may change after the load, such as logs, notes and packages.
 */
const IS_OF_PROJECT =
  /^\.|\.(?:[cm]?[jt]sx?|map|json|lock|md|txt|html|css|ya?ml|toml|log|env|db|sqlite)$/i

/**
 * Remembers the files in the model folder. A thread that starts later must not serve a different
 * model under the first model's name.
 * @returns a function that throws an {Error} if a file has changed
 */
function rememberFiles(folder: string, transform: string | undefined): () => void {
  const which = (name: string) => {
    const file = statSync(resolve(folder, name), { throwIfNoEntry: false })
    return file?.isFile() ? `${file.ino} ${file.size} ${file.mtimeMs}` : undefined
  }
  const beside = readdirSync(folder).filter(name => name !== 'model.json')
  const names =
    transform === undefined
      ? beside
      : [...beside.filter(name => !IS_OF_PROJECT.test(name)), transform]
  const known = new Map(names.map(name => [name, which(name)]))
  return () => {
    for (const [name, before] of known) {
      if (which(name) !== before)
        throw new Error(
          `"${name}" has changed since the model was loaded; restart the server to load the new file`,
        )
    }
  }
}

export function folderBytes(file: string): number {
  const folder = dirname(file)
  return readdirSync(folder).reduce(
    (sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  )
}
