import type { Config } from '../config.ts'
import { decodeRequest } from '../protocol/decode.ts'
import { type EncodedResponse, encodeResponse, type InferenceResponse } from '../protocol/encode.ts'
import { BadRequest, DeadlinePassed, NotReady, Overloaded } from '../protocol/errors.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import type { Signature, Tensor } from '../protocol/tensor.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Trace } from '../telemetry/trace.ts'
import { type Batcher, type Caller, createBatcher } from './batcher.ts'
import { type Batching, checkBatchTrue, UNDECIDED } from './batching.ts'
import { exampleInputs } from './example.ts'
import { type Execution, openExecution } from './execution.ts'
import { countPredictions } from './labels.ts'
import type { ModelFolder } from './model-folder.ts'
import { checkOnlyJson, type WholeAnswer } from './whole.ts'

/** The one model this process serves, from before it is loaded until the process ends. */
export interface Model extends ModelFolder {
  /** Undefined until the model is loaded and warmed up. */
  readonly loaded: LoadedModel | undefined
  /** Why requests are not taken now; undefined while they are. */
  readonly notReady: string | undefined
  /** True from {@link retire} on. */
  readonly retired: boolean
  /** Whether requests share runs; decided after the model is ready. */
  readonly batching: Batching
  /** Rows waiting for a run, requests waiting for the model to load, and large requests, each as one. */
  readonly queuedRows: number
  /**
   * Loads the model and warms it up.
   * @throws {Error} of one line, when it cannot be served
   */
  load(): Promise<void>
  /**
   * The loaded model, waiting for it where it is still loading.
   * @throws {Overloaded} when too many wait already
   * @throws {DeadlinePassed} when it takes longer than this caller's deadline
   * @throws {NotReady} when it could not be loaded
   */
  whenLoaded(caller: Caller): Promise<LoadedModel>
  /** From here on the model says it is not ready; requests are answered all the same. */
  retire(): void
  close(): Promise<void>
}

export interface LoadedModel {
  readonly signature: Signature
  /** Inputs that suit the model. */
  readonly example: readonly Tensor[]
  /**
   * @throws {Overloaded|DeadlinePassed|ModelError} as {@link Batcher.infer}
   */
  infer(request: InferenceRequest, caller: Caller): Promise<InferenceResponse>
  /**
   * From the bytes of a request to those of its answer; a large one is read, run and answered in a thread of its own.
   * @param jsonLength as {@link decodeRequest} takes it
   * @param onlyJson the answer cannot be binary tensor data
   * @throws {BadRequest|TooLarge|Overloaded|DeadlinePassed|ModelError}
   */
  inferBytes(
    body: Uint8Array,
    jsonLength: number | undefined,
    onlyJson: boolean,
    caller: Caller,
  ): Promise<EncodedResponse>
}

/** Of JSON that is 2 ms of work, and so long nothing else is answered; handing it to a thread costs 0.1 ms (docs/performance.md). */
const LARGE_BODY_BYTES = 128 * 1024

/** @returns the model, not yet loaded */
export function createModel(
  folder: ModelFolder,
  config: Config,
  metrics: Metrics,
  log: Log,
): Model {
  let session: Execution | undefined
  let batcher: Batcher | undefined
  let loaded: LoadedModel | undefined
  let state: 'loading' | 'ready' | 'failed' | 'retired' = 'loading'
  let waiting = 0
  let batching = UNDECIDED
  let wholeRequests = 0
  const settled = Promise.withResolvers<void>()
  // Nobody may be waiting when it fails; load()'s own caller is told.
  settled.promise.catch(() => {})

  async function load(): Promise<void> {
    try {
      session = await openExecution(folder, config, metrics, log)
      metrics.mark('session')
      if (folder.batch === true) checkBatchTrue(session.signature)
      for (const output of session.leftOut) {
        log.warn(
          `output "${output}" is no tensor and is left out; convert a scikit-learn model with zipmap=False to have it`,
        )
      }
      const example = readExample(session)
      await warmUp(session, example)
      metrics.mark('warm-up')
      batcher = createBatcher(session, config, () => batching.joins, metrics.ran)
      loaded = { signature: session.signature, example, infer, inferBytes }
      if (state === 'loading') state = 'ready'
      settled.resolve()
      batching = await decide(session, example)
    } catch (error) {
      state = 'failed'
      settled.reject(new NotReady('the model could not be loaded'))
      throw error
    }
  }

  function readExample({ signature }: Execution): readonly Tensor[] {
    try {
      return exampleInputs(signature, folder.sample)
    } catch (error) {
      if (error instanceof BadRequest)
        throw new Error(`model.json: the sample does not fit the model: ${error.message}`)
      throw error
    }
  }

  async function warmUp(opened: Execution, example: readonly Tensor[]): Promise<void> {
    try {
      await opened.warmUp(example)
    } catch (error) {
      if (folder.sample !== undefined)
        throw new Error(`the model fails on model.json's sample: ${(error as Error).message}`)
      log.warn(
        `the warm-up with made-up inputs failed; give model.json a sample: ${(error as Error).message}`,
      )
    }
  }

  async function decide(opened: Execution, example: readonly Tensor[]): Promise<Batching> {
    // Loaded after the start: until it is decided, requests have runs of their own.
    const { decideBatching, describeBatching } = await import('./batchability/decide.ts')
    const decided = await decideBatching(folder, opened, example)
    const { joins, reason, detail } = decided
    const level = reason === 'sample_differs' ? 'error' : joins && detail ? 'warn' : 'info'
    log[level]({ joins, reason }, describeBatching(decided))
    return decided
  }

  async function whenLoaded(caller: Caller): Promise<LoadedModel> {
    if (loaded === undefined) await wait(caller)
    return loaded as LoadedModel
  }

  async function wait(caller: Caller): Promise<void> {
    if (waiting >= config.maxQueueRows)
      throw new Overloaded(
        `${waiting} requests are waiting for the model to load already; try again later`,
      )
    waiting++
    caller.trace?.enter('load')
    const late = Promise.withResolvers<never>()
    const timer = setTimeout(
      () => late.reject(new DeadlinePassed('the deadline passed before the model was loaded')),
      Math.max(caller.deadline - performance.now(), 0),
    )
    try {
      await Promise.race([settled.promise, late.promise])
    } finally {
      clearTimeout(timer)
      waiting--
    }
  }

  const infer = async (request: InferenceRequest, caller: Caller) =>
    answerTo(request, await (batcher as Batcher).infer(request, caller), caller)

  function answerTo(
    request: InferenceRequest,
    outputs: readonly Tensor[],
    { trace }: Caller,
  ): InferenceResponse {
    trace?.enter('encode')
    countPredictions(outputs, folder.labels, metrics.predicted)
    return { modelName: folder.name, modelVersion: folder.version, id: request.id, outputs }
  }

  async function inferBytes(
    body: Uint8Array,
    jsonLength: number | undefined,
    onlyJson: boolean,
    caller: Caller,
  ): Promise<EncodedResponse> {
    const { signature } = session as Execution
    if (body.byteLength > LARGE_BODY_BYTES) return inferLarge(body, jsonLength, onlyJson, caller)
    caller.trace?.enter('decode')
    const request = decodeRequest(body, jsonLength, signature)
    if (onlyJson) checkOnlyJson(request.outputs)
    return encodeResponse(
      answerTo(request, await (batcher as Batcher).infer(request, caller), caller),
      request.outputs,
    )
  }

  async function inferLarge(
    body: Uint8Array,
    jsonLength: number | undefined,
    onlyJson: boolean,
    caller: Caller,
  ): Promise<EncodedResponse> {
    if (queuedRows() >= config.maxQueueRows)
      throw new Overloaded(`${queuedRows()} rows are waiting already; try again later`)
    wholeRequests++
    caller.trace?.enter('queue')
    try {
      const { name: modelName, version: modelVersion, labels } = folder
      const { maxBodyBytes: maxBytes, maxBatchRows } = config
      const arrivedAt = performance.timeOrigin + caller.arrived
      const { response, runs, predicted, times } = await (session as Execution).inferWhole(
        {
          body,
          jsonLength,
          onlyJson,
          arrivedAt,
          maxBytes,
          mayDivide: batching.joins,
          maxBatchRows,
          modelName,
          modelVersion,
          labels,
        },
        caller,
      )
      if (caller.trace !== undefined) enterWhole(caller.trace, times, runs.length)
      for (const rows of runs) metrics.ran(rows)
      for (const [label, rows] of predicted) metrics.predicted(label, rows)
      return response
    } finally {
      wholeRequests--
    }
  }

  const queuedRows = () => (batcher?.queuedRows ?? 0) + waiting + wholeRequests

  return {
    ...folder,
    load,
    whenLoaded,
    retire: () => {
      state = 'retired'
    },
    close: async () => session?.close(),
    get loaded() {
      return loaded
    },
    get batching() {
      return batching
    },
    get retired() {
      return state === 'retired'
    },
    get notReady() {
      return REASON[state] ?? session?.lost
    },
    get queuedRows() {
      return queuedRows()
    },
  }
}

/** The parts that another thread has done meanwhile. */
function enterWhole(
  trace: Trace,
  { began, decoded, ran }: WholeAnswer['times'],
  runs: number,
): void {
  trace.enter('decode', undefined, began - performance.timeOrigin)
  trace.enter('run', { 'inference.request.runs': runs }, decoded - performance.timeOrigin)
  trace.enter('encode', undefined, ran - performance.timeOrigin)
}

const REASON = {
  loading: 'the model is loading',
  ready: undefined,
  failed: 'the model could not be loaded',
  retired: 'the process is ending',
}
