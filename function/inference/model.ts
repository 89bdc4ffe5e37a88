import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Caller } from '../answer.ts'
import type { Config } from '../config/config.ts'
import type { ResponseLimits } from '../protocol/encode.ts'
import { inferenceCodeOf, NotReady } from '../protocol/errors.ts'
import type { Tensor } from '../protocol/tensor.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { type Batching, checkBatchTrue, UNDECIDED } from './batching.ts'
import { exampleInputs } from './example.ts'
import { openExecutor, openTransformer, type TransformerOptions } from './execution.ts'
import type { Executor } from './executor.ts'
import { featuresByInput } from './features.ts'
import { checkGraph, type GraphCheck } from './graph-check.ts'
import { LoadedModel } from './loaded-model.ts'
import type { ModelFolder } from './model-folder.ts'
import { ModelState } from './model-state.ts'
import { residentMemory } from './resident-memory.ts'
import { RunSizes } from './run-sizes.ts'
import type { Session } from './session.ts'
import { Statistics } from './statistics.ts'
import type { Transformer } from './transformer.ts'

/** The share of the free memory for the runs of all threads. */
const SHARE_OF_RUNS = 1 / 3

/**
 * ONNX Runtime allocates the tensors of a run one by one. In the second run with the same shapes,
 * it allocates them again, in one block, and it keeps both.
 */
const ALLOCATIONS = 2

/**
 * Divides the memory among the threads.
 * @returns the bytes that the loaded model leaves free
 */
function shareMemory(sizes: RunSizes, { memoryBytes, cpus, ortThreads }: Config): number {
  const free = Math.max(0, memoryBytes - residentMemory().rss)
  const workers = Math.max(1, Math.floor(cpus / ortThreads))
  sizes.budget = (SHARE_OF_RUNS * free) / (ALLOCATIONS * workers)
  return free
}

export interface Model extends ModelFolder {
  readonly loaded: LoadedModel | undefined
  /** Undefined until the model is loaded, and if there is no transform. */
  readonly transformer: Transformer | undefined
  /** Why requests are refused now; undefined while they are accepted. */
  readonly notReady: string | undefined
  readonly retired: boolean
  /**
   * Resolves with the reason when a run exceeds its time limit and the process must be replaced.
   */
  readonly whenStuck: Promise<string>
  readonly isStuck: boolean
  readonly batching: Batching
  /** Resolves when `batching` has been decided or the load has failed. */
  readonly whenDecided: Promise<void>
  /** The bytes that the loaded model leaves free; infinite until the model is loaded. */
  readonly freeBytes: number
  /**
   * How many rows wait for a run. Large requests and requests that wait for the model count as one
   * row each.
   */
  readonly queuedRows: number
  readonly statistics: Statistics
  /** The limits on the JSON of a request, and on a response. */
  readonly limits: ResponseLimits
  /**
   * Loads the model and warms it up. Afterwards, `batching` is decided.
   * @throws {Error} if the model cannot be served
   */
  load(): Promise<void>
  /**
   * Waits for the loaded model.
   * @throws {Overloaded} if too many requests are waiting
   * @throws {DeadlinePassed} if the model is not loaded by the caller's deadline
   * @throws {NotReady} if the model could not be loaded
   */
  whenLoaded(caller: Caller): Promise<LoadedModel>
  /** Makes readiness false. The model still handles requests. */
  retire(): void
  /**
   * Closes the model and its threads.
   * @throws {Error} if a run does not end: the process must then be replaced
   */
  close(): Promise<void>
}

export function createModel(
  folder: ModelFolder,
  config: Config,
  metrics: Metrics,
  log: Log,
): Model {
  const state = new ModelState(config.maxQueueRows)
  const stuck = new StuckRun(config.runTimeoutMs, log)
  const statistics = new Statistics()
  let executor: Executor | undefined
  let loaded: LoadedModel | undefined
  let transformer: Transformer | undefined
  const decided = Promise.withResolvers<void>()
  let freeBytes = Number.POSITIVE_INFINITY
  let closing: Promise<void> | undefined
  const close = async () => {
    closing ??= Promise.resolve(transformer?.close()).then(() => executor?.close())
    await closing
  }

  async function load(): Promise<void> {
    const progress = tellProgress(log)
    try {
      const check = await checkGraph(folder.file)
      const opening = { folder, config, metrics, statistics, log, check }
      executor = await openExecutor({ ...opening, onStuck: stuck.found })
      const opened = await openModel({ ...opening, executor, whenDecided: decided.promise })
      loaded = opened.loaded
      transformer = opened.transformer
      freeBytes = opened.freeBytes
      state.loaded()
      const deciding = decide({ ...opening, ...opened, executor, state })
      void deciding.then(opened.decided).then(decided.resolve)
    } catch (error) {
      state.failed()
      decided.resolve()
      void close().catch(() => {})
      throw error
    } finally {
      progress.stop()
    }
  }

  return {
    ...folder,
    statistics,
    limits: { maxBytes: config.maxBodyBytes, maxJsonBytes: config.maxJsonBytes },
    load,
    async whenLoaded(caller) {
      if (loaded === undefined) await state.untilLoaded(caller)
      return loaded as LoadedModel
    },
    retire: () => state.retire(),
    close,
    get loaded() {
      return loaded
    },
    get transformer() {
      return transformer
    },
    get freeBytes() {
      return freeBytes
    },
    get batching() {
      return loaded?.batching ?? UNDECIDED
    },
    get retired() {
      return state.retired
    },
    get notReady() {
      return stuck.reason ?? state.notReady ?? executor?.lost
    },
    whenDecided: decided.promise,
    whenStuck: stuck.promise,
    get isStuck() {
      return stuck.reason !== undefined
    },
    get queuedRows() {
      return (loaded?.queuedRows ?? 0) + (transformer?.count ?? 0) + state.waiting
    },
  }
}

interface Opening extends Omit<TransformerOptions, 'loaded' | 'freeBytes' | 'runBytes'> {
  readonly check: GraphCheck
  readonly whenDecided: Promise<void>
}

async function openModel(opening: Opening) {
  const { folder, config, metrics, statistics, log, check, executor, whenDecided } = opening
  metrics.mark('session')
  if (folder.batch === true) checkBatchTrue(executor.signature)
  logFindings(check, executor, config, log)
  const { example, features } = describeInputs(executor, folder)
  const sizes = new RunSizes(executor.signature, 0)
  sizes.followShapes = check.byValues === undefined
  await warmUp(executor, example, folder, log)
  metrics.mark('warm-up')
  const freeBytes = shareMemory(sizes, config)
  const parts = { executor, example, features, folder, metrics, statistics, sizes }
  const loaded = new LoadedModel({ ...parts, limits: config, whenDecided })
  const runBytes = sizes.budget
  const transformer = await openTransformer({ ...opening, loaded, freeBytes, runBytes })
  const decided = () => transformer?.decided(loaded.batching.joins)
  return { loaded, transformer, freeBytes, sizes, decided }
}

/**
 * Waits until the waiting requests are decoded, run and encoded, which takes three turns of the
 * event loop. The proof would delay them by 10 ms, after a startup of 95 ms.
 */
async function waitingAnswered(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await nextTurn()
}

interface Deciding {
  readonly folder: ModelFolder
  readonly check: GraphCheck
  readonly loaded: LoadedModel
  readonly executor: Executor
  readonly sizes: RunSizes
  readonly state: ModelState
  readonly log: Log
}

/** Decides whether requests share runs, and learns how many rows a run may have. */
async function decide(deciding: Deciding): Promise<void> {
  const { folder, check, loaded, executor, sizes, state, log } = deciding
  await waitingAnswered()
  if (state.retired) return
  try {
    await executor.indexLabels()
    const { decideBatching, describeBatching } = await import('./batchability/decide.ts')
    const { learnExample, learnRows } = await import('./learn-sizes.ts')
    const session = new TriedSession(executor, () => state.retired)
    const { example } = loaded
    const fits = await learnExample(session, sizes, example)
    // Test the example together with other rows only if these rows fit into memory.
    loaded.batching = await decideBatching(folder, session, fits ? example : [], check)
    await learnRows(session, sizes, example)
    // The process may have begun to shut down.
    if (!state.retired) logBatching(loaded.batching, describeBatching(loaded.batching), log)
  } catch (error) {
    log.error({ err: error }, 'the check for independent rows failed')
  }
}

class StuckRun {
  reason: string | undefined
  private readonly first = Promise.withResolvers<string>()
  private readonly limitMs: number
  private readonly log: Log

  constructor(limitMs: number, log: Log) {
    this.limitMs = limitMs
    this.log = log
  }

  get promise(): Promise<string> {
    return this.first.promise
  }

  readonly found = (shapes: string): void => {
    const lasts = `a run lasts longer than ${this.limitMs / 1_000} s (RUN_TIMEOUT_MS)`
    this.log.error({ inputs: shapes }, `${lasts}; shapes of its inputs: ${shapes}`)
    this.reason = `${lasts}; a thread cannot be stopped during a run, so the process replaces itself`
    this.first.resolve(this.reason)
  }
}

/** A session for runs without a caller. It refuses runs during the shutdown. */
class TriedSession implements Pick<Session, 'signature' | 'run'> {
  readonly signature: Session['signature']
  private readonly executor: Executor
  private readonly isEnding: () => boolean

  constructor(executor: Executor, isEnding: () => boolean) {
    this.signature = executor.signature
    this.executor = executor
    this.isEnding = isEnding
  }

  async run(inputs: readonly Tensor[], outputs: readonly string[]): Promise<Tensor[]> {
    if (this.isEnding()) throw new NotReady('the process is shutting down')
    return this.executor.tryRun(inputs, outputs)
  }
}

const FIRST_TOLD_S = 10
const TOLD_EACH_S = 60

/** Logs a line at intervals while the model loads, so that a slow startup is visible. */
export function tellProgress(log: Log): { stop(): void } {
  const tell = (seconds: number) =>
    log.info({ seconds }, `the model is still loading after ${seconds} s; requests are waiting`)
  let seconds = FIRST_TOLD_S
  let timer = setTimeout(() => {
    tell(seconds)
    timer = setInterval(() => {
      seconds += TOLD_EACH_S
      tell(seconds)
    }, TOLD_EACH_S * 1_000).unref()
  }, FIRST_TOLD_S * 1_000).unref()
  return { stop: () => clearTimeout(timer) }
}

function logFindings(check: GraphCheck, executor: Executor, config: Config, log: Log): void {
  logCheck(check, config, log)
  logLeftOut(executor, log)
}

function logCheck(check: GraphCheck, { execution }: Config, log: Log): void {
  const { byValues, sizesByValues } = check
  if (byValues === undefined) return
  if (execution === 'inline')
    log.warn(
      `run time depends on input values, and EXECUTION=inline runs the model on the main thread, where only SIGKILL ends a run: ${byValues}`,
    )
  else
    log.info(
      `the model runs in worker threads, because run time depends on input values: ${byValues}`,
    )
  if (sizesByValues !== undefined) log.info(`run memory depends on input values: ${sizesByValues}`)
}

function logLeftOut({ leftOut }: Executor, log: Log): void {
  for (const { name, why } of leftOut)
    log.warn(`output "${name}" is not a tensor and is omitted: ${why}`)
}

/** @throws {Error} if model.json's sample or feature names do not match the model */
const describeInputs = (executor: Executor, folder: ModelFolder) => ({
  example: readExample(executor, folder),
  features: featuresByInput(folder.features, executor.signature),
})

function readExample({ signature }: Executor, { sample }: ModelFolder): readonly Tensor[] {
  try {
    return exampleInputs(signature, sample)
  } catch (error) {
    if (inferenceCodeOf(error) === 'BAD_REQUEST')
      throw new Error(
        `model.json: the sample does not match the model: ${(error as Error).message}`,
      )
    throw error
  }
}

async function warmUp(
  executor: Executor,
  example: readonly Tensor[],
  { sample }: ModelFolder,
  log: Log,
): Promise<void> {
  try {
    await executor.warmUp(example)
  } catch (error) {
    if (sample !== undefined)
      throw new Error(`the model failed on the sample in model.json: ${(error as Error).message}`)
    log.warn(
      `the warm-up with generated inputs failed: ${(error as Error).message}; add a sample to model.json`,
    )
  }
}

function logBatching({ joins, reason, detail }: Batching, message: string, log: Log): void {
  const level = reason === 'sample_differs' ? 'error' : joins && detail ? 'warn' : 'info'
  log[level]({ joins, reason }, message)
}
