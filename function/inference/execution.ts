import { readdirSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { Config } from '../config/config.ts'
import { NotReady } from '../protocol/errors.ts'
import type { Tensor } from '../protocol/tensor.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Caller } from './batcher.ts'
import type { ModelFolder } from './model-folder.ts'
import { openSession, type Session } from './session.ts'
import type { WholeAnswer, WholeRequest } from './whole.ts'

/**
 * A run on the main thread holds everything else up for as long as it lasts, so it must be shorter than what a probe may wait
 * (10 ms, docs/performance.md), with room for what else is to be done; handing it to a worker costs about 0.1 ms.
 */
export const SLOW_RUN_MS = 5

/** Loading so much on the main thread would keep probes waiting for a noticeable time. */
export const LARGE_MODEL_BYTES = 32 * 2 ** 20

/** A session that runs where its runs are best served. */
export interface Execution extends Session {
  /**
   * Runs the warm-up, and by its time decides where the model runs from now on.
   * @throws {ModelError} when the model fails on these inputs
   */
  warmUp(inputs: readonly Tensor[]): Promise<void>
}

/**
 * Loads the model where EXECUTION says: on the main thread (inline), in worker threads (worker), or where its size and the time
 * its runs take are best served (auto), which is watched as it goes on.
 * @throws {Error} of one line, when the file is no model that can be served
 */
export async function openExecution(
  { file, sha256 }: ModelFolder,
  config: Config,
  metrics: Metrics,
  log: Log,
): Promise<Execution> {
  // Set in this thread and before ONNX Runtime is loaded: version 1.30 else writes a device id under the home folder, and starts
  // 5 ms later.
  process.env.ORT_DISABLE_TELEMETRY = '1'
  const checkSame = rememberFiles(dirname(file))
  const isAuto = config.execution === 'auto'
  let place: 'inline' | 'worker' =
    config.execution === 'worker' || (isAuto && folderBytes(file) > LARGE_MODEL_BYTES)
      ? 'worker'
      : 'inline'
  // What is fast enough for the main thread is too small to be shared out among threads.
  let session =
    place === 'worker'
      ? await moveToWorkers()
      : await openSession(file, isAuto ? 1 : config.ortThreads, sha256)
  let moving: Promise<void> | undefined
  let aside: Promise<Session> | undefined
  let averageMs = 0

  function moveToWorkers(): Promise<Session> {
    return openThreads(config.ortThreads, Math.max(1, Math.floor(config.cpus / config.ortThreads)))
  }

  async function openThreads(threads: number, workers: number): Promise<Session> {
    const { openWorkers } = await import('./workers.ts')
    return openWorkers(file, {
      sha256,
      threads,
      workers,
      beforeLoad: checkSame,
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

  /** From the next run on; runs in progress end where they are. */
  async function move(): Promise<void> {
    const inline = session
    try {
      session = await moveToWorkers()
    } catch (error) {
      log.error(
        `the model stays on the main thread for now, although its runs are slow: ${(error as Error).message}`,
      )
      moving = undefined
      averageMs = 0
      return
    }
    place = 'worker'
    log.info(`the model runs in worker threads: its runs take more than ${SLOW_RUN_MS} ms`)
    await inline.close()
  }

  function run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]> {
    if (place === 'worker' || !isAuto) return session.run(inputs, outputs)
    const began = performance.now()
    // On this thread it is over when the call returns.
    const tensors = session.run(inputs, outputs)
    // The last ten or so runs count, none of them for more than two: one large request does not move a fast model.
    averageMs += (Math.min(performance.now() - began, 2 * SLOW_RUN_MS) - averageMs) / 10
    if (averageMs > SLOW_RUN_MS) moving ??= move()
    return tensors
  }

  /** Beside a model on the main thread there is one more thread for large requests, from the first of them on. */
  async function inferWhole(request: WholeRequest, caller: Caller): Promise<WholeAnswer> {
    if (place === 'worker' || !isAuto) return session.inferWhole(request, caller)
    aside ??= openThreads(1, 1)
    let thread: Session
    try {
      thread = await aside
    } catch (error) {
      aside = undefined
      throw new NotReady(
        `no thread could be started for a request this large: ${(error as Error).message}`,
      )
    }
    return thread.inferWhole(request, caller)
  }

  async function warmUp(inputs: readonly Tensor[]): Promise<void> {
    const outputs = session.signature.outputs.map(({ name }) => name)
    const timed = async () => {
      const began = performance.now()
      // A run may take its inputs' memory along to another thread.
      await session.run(structuredClone(inputs), outputs)
      return performance.now() - began
    }
    const first = await timed()
    if (place === 'worker' || !isAuto || first <= SLOW_RUN_MS) return
    // The first run also sets ONNX Runtime up; the second tells what a run takes.
    if ((await timed()) > SLOW_RUN_MS) await move()
  }

  return {
    signature: session.signature,
    leftOut: session.leftOut,
    warmUp,
    run,
    inferWhole,
    async close() {
      await moving
      await (await aside?.catch(() => undefined))?.close()
      await session.close()
    },
    get concurrency() {
      return session.concurrency
    },
    get lost() {
      return session.lost
    },
  }
}

/**
 * A thread that is started later reads the model anew, and must not read another: what it answers would go by the first one's name.
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
