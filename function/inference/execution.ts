import { readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Config } from '../config/config.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { type AdaptiveOptions, openAdaptive } from './adaptive-executor.ts'
import { type Executor, InlineExecutor } from './executor.ts'
import type { GraphCheck } from './graph-check.ts'
import type { ModelFolder } from './model-folder.ts'
import { setEnvironment } from './onnxruntime.ts'
import { openSession } from './session.ts'

/** A larger model is not even tried on the main thread. */
export const LARGE_MODEL_BYTES = 32 * 2 ** 20

/** Loading so many bytes of plain operators takes some 25 ms of CPU. */
const SMALL_MODEL_BYTES = 2 ** 20

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
  if (execution === 'inline') return new InlineExecutor(await openSession(file, threads, sha256))
  const bytes = folderBytes(file)
  if (execution === 'worker' || check.byValues !== undefined || bytes > LARGE_MODEL_BYTES)
    return openWorkers(size)
  return openAdaptive({
    // A model that is fast enough for the main thread is too small to be shared out among threads.
    openSession: () => openSession(file, 1, sha256),
    openWorkers,
    size,
    plainBytes: check.isPlain && bytes <= SMALL_MODEL_BYTES ? bytes : undefined,
    log,
  })
}

/** Loads the module that starts workers with the first worker: most models need no worker. */
function workersOf(options: ExecutorOptions): AdaptiveOptions['openWorkers'] {
  const { folder, config, metrics, log, onStuck } = options
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
