import { readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Caller } from '../answer.ts'
import type { Config } from '../config/config.ts'
import { NotReady } from '../protocol/errors.ts'
import type { Tensor } from '../protocol/tensor.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { type Executor, InlineExecutor } from './executor.ts'
import type { GraphCheck } from './graph-check.ts'
import type { LargeRequest, LargeResponse } from './large.ts'
import type { ModelFolder } from './model-folder.ts'
import { setEnvironment } from './onnxruntime.ts'
import { openSession, type Session } from './session.ts'

/**
 * A run on the main thread blocks everything else, so it must be clearly shorter than the 10 ms
 * that a probe may wait (docs/performance.md). Handing a run to a worker costs about 0.1 ms.
 */
export const SLOW_RUN_MS = 5

/** Loading so many bytes on the main thread would delay probes noticeably. */
export const LARGE_MODEL_BYTES = 32 * 2 ** 20

/** Starts worker threads of the model. */
type OpenWorkers = (size: PoolSize) => Promise<Executor>

interface PoolSize {
  /** Of ONNX Runtime, in each worker. */
  readonly threads: number
  readonly workers: number
}

export interface ExecutorOptions {
  readonly folder: ModelFolder
  readonly check: GraphCheck
  readonly config: Config
  readonly metrics: Metrics
  readonly log: Log
  /** Called once a run lasts too long, with the shapes of its inputs. */
  readonly onStuck: (shapes: string) => void
}

/**
 * Loads the model where EXECUTION says: on the main thread (inline), in worker threads (worker), or
 * where its graph, its size and the time of its runs suggest (auto), which is measured all the
 * time. A run whose length its inputs' values decide may never end, so auto keeps it off the main
 * thread.
 * @throws {Error} of one line, when the file is no model that can be served
 */
export async function openExecutor(options: ExecutorOptions): Promise<Executor> {
  const { folder, check, config, log } = options
  const { execution, ortThreads: threads, cpus } = config
  setEnvironment()
  const { file, sha256 } = folder
  const openWorkers = workersOf(options)
  const size = { threads, workers: Math.max(1, Math.floor(cpus / threads)) }
  const isAuto = execution === 'auto'
  const isBounded = check.byValues === undefined && folderBytes(file) <= LARGE_MODEL_BYTES
  if (execution === 'worker' || (isAuto && !isBounded)) return openWorkers(size)
  // A model that is fast enough for the main thread is too small to be shared out among threads.
  const inline = new InlineExecutor(await openSession(file, isAuto ? 1 : threads, sha256))
  return isAuto ? new AdaptiveExecutor(inline, openWorkers, size, log) : inline
}

/** Loads the module that starts workers with the first worker: most models need no worker. */
function workersOf({ folder, config, metrics, log, onStuck }: ExecutorOptions): OpenWorkers {
  const { file, sha256 } = folder
  const beforeLoad = rememberFiles(dirname(file))
  return async size => {
    const { openWorkers } = await import('./worker-pool.ts')
    return openWorkers(file, {
      ...size,
      sha256,
      beforeLoad,
      runTimeoutMs: config.runTimeoutMs,
      onStuck,
      onDeath(reason) {
        metrics.workerDied()
        log.error(`a worker thread of the model ended and is replaced: ${reason}`)
      },
      onLoss: reason =>
        log.error(
          `a worker thread of the model could not be started; another try follows: ${reason}`,
        ),
    })
  }
}

/**
 * Runs the model on the main thread until its runs are found to be slow, from then on in worker
 * threads.
 */
class AdaptiveExecutor implements Executor {
  private readonly inline: Executor
  private readonly openWorkers: OpenWorkers
  private readonly size: PoolSize
  private readonly log: Log
  /** Set once the model has moved to workers. */
  private workers: Executor | undefined
  private moving: Promise<void> | undefined
  /**
   * Beside a model on the main thread, one more thread for large requests, from the first of them
   * on.
   */
  private largeWorker: Promise<Executor> | undefined
  /** Of the last ten or so runs on the main thread. */
  private averageMs = 0

  constructor(inline: Executor, openWorkers: OpenWorkers, size: PoolSize, log: Log) {
    this.inline = inline
    this.openWorkers = openWorkers
    this.size = size
    this.log = log
  }

  get signature(): Session['signature'] {
    return this.inline.signature
  }

  get leftOut(): Session['leftOut'] {
    return this.inline.leftOut
  }

  get concurrency(): number {
    return this.current.concurrency
  }

  get lost(): string | undefined {
    return this.current.lost
  }

  async warmUp(inputs: readonly Tensor[]): Promise<void> {
    const first = await this.time(inputs)
    if (first <= SLOW_RUN_MS) return
    // The first run also sets up ONNX Runtime; the second shows how long a run takes.
    if ((await this.time(inputs)) > SLOW_RUN_MS) await this.move()
  }

  run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]> {
    if (this.workers !== undefined) return this.workers.run(inputs, outputs)
    const began = performance.now()
    // On this thread the run is over when the call returns.
    const tensors = this.inline.run(inputs, outputs)
    // A run counts for two slow ones at most: one large request does not move a fast model.
    const ms = Math.min(performance.now() - began, 2 * SLOW_RUN_MS)
    this.averageMs += (ms - this.averageMs) / 10
    if (this.averageMs > SLOW_RUN_MS) this.moving ??= this.move()
    return tensors
  }

  tryRun(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]> {
    return this.current.tryRun(inputs, outputs)
  }

  whenFree(): Promise<void> | undefined {
    return this.current.whenFree()
  }

  async inferLarge(request: LargeRequest, caller: Caller): Promise<LargeResponse> {
    if (this.workers !== undefined) return this.workers.inferLarge(request, caller)
    this.largeWorker ??= this.openWorkers({ threads: 1, workers: 1 })
    let worker: Executor
    try {
      worker = await this.largeWorker
    } catch (error) {
      this.largeWorker = undefined
      throw new NotReady(
        `no thread could be started for a request this large: ${(error as Error).message}`,
      )
    }
    return worker.inferLarge(request, caller)
  }

  async close(): Promise<void> {
    await this.moving
    await (await this.largeWorker?.catch(() => undefined))?.close()
    await this.current.close()
  }

  private get current(): Executor {
    return this.workers ?? this.inline
  }

  private async time(inputs: readonly Tensor[]): Promise<number> {
    const began = performance.now()
    await this.inline.warmUp(inputs)
    return performance.now() - began
  }

  /** From the next run on; runs in progress end where they are. */
  private async move(): Promise<void> {
    try {
      this.workers = await this.openWorkers(this.size)
    } catch (error) {
      this.log.error(
        `the model stays on the main thread for now, although its runs are slow: ${(error as Error).message}`,
      )
      this.moving = undefined
      this.averageMs = 0
      return
    }
    this.log.info(`the model runs in worker threads: its runs take more than ${SLOW_RUN_MS} ms`)
    await this.inline.close()
  }
}

/**
 * A thread that is started later reads the files again. It must not read another model, whose
 * answers would carry the first one's name.
 * @returns throws an {Error} of one line where a file of the folder is not the one that it was
 */
function rememberFiles(folder: string): () => void {
  const which = (name: string) => {
    const file = statSync(join(folder, name), { throwIfNoEntry: false })
    return file?.isFile() ? `${file.ino} ${file.size} ${file.mtimeMs}` : undefined
  }
  const names = readdirSync(folder).filter(name => name !== 'model.json')
  const known = new Map(names.map(name => [name, which(name)]))
  return () => {
    for (const [name, before] of known) {
      if (which(name) !== before)
        throw new Error(
          `"${name}" has changed since the model was loaded; start again to serve what is there now`,
        )
    }
  }
}

/** The model with the weights beside it. */
export function folderBytes(file: string): number {
  const folder = dirname(file)
  return readdirSync(folder).reduce(
    (sum, name) => sum + (statSync(join(folder, name), { throwIfNoEntry: false })?.size ?? 0),
    0,
  )
}
