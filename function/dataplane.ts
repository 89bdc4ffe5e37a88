import type { Caller } from './answer.ts'
import { meaningOf, UNFORESEEN } from './errors.ts'
import { type ModelConfiguration, modelConfiguration } from './inference/configuration.ts'
import { modelMetadata, serverMetadata } from './inference/metadata.ts'
import type { Model } from './inference/model.ts'
import type { ModelStatistics } from './inference/statistics.ts'
import type { Transformer } from './inference/transformer.ts'
import type { Codec } from './protocol/codec.ts'
import type { Overloaded } from './protocol/errors.ts'
import type { Metrics, Protocol } from './telemetry/metrics.ts'
import type { Call, Reply } from './transform/call.ts'

/** The operations of all protocols, with the Open Inference Protocol's names. */
export interface DataPlane {
  readonly server: typeof serverMetadata
  live(): { readonly live: true }
  ready(): { readonly live: true } & Readiness
  modelReady(): { readonly name: string } & Readiness
  /** @throws {Overloaded|NotReady|DeadlinePassed} if the model is not loaded in time */
  modelMetadata(caller: Caller): Promise<ReturnType<typeof modelMetadata>>
  /**
   * Triton's model configuration.
   * @throws {Overloaded|NotReady|DeadlinePassed} if the model is not loaded in time
   */
  configuration(caller: Caller): Promise<ModelConfiguration>
  /**
   * Triton's model repository index, which has one entry.
   * @param onlyReady omits a model that is not ready
   */
  repositoryIndex(onlyReady: boolean): readonly RepositoryEntry[]
  statistics(): { readonly model_stats: readonly ModelStatistics[] }
  /**
   * Checks an inference request before it is read.
   * @returns the error if the queue is full, or a new request would miss its deadline
   */
  noRoom(caller: Caller): Overloaded | undefined
  /** Counts a request that was refused before `infer` or `transform`. */
  refused(error: unknown, protocol: Protocol, caller: Caller): void
  /**
   * Handles an inference request once the model is loaded, and counts it in the metrics.
   * @param read reads the request; its errors are also counted
   * @throws {BadRequest|TooLarge|Overloaded|NotReady|DeadlinePassed|ModelError}
   */
  infer<Encoded>(read: () => Codec<Encoded>, protocol: Protocol, caller: Caller): Promise<Encoded>
  /** Whether there is a transform. Its calls need not contain tensors. */
  readonly transforms: boolean
  /**
   * Like `infer`, for a call of the transform.
   * @param read creates the call; its errors are also counted
   * @throws the errors of `infer` and of transform/errors.ts
   */
  transform(read: () => Call, protocol: Protocol, caller: Caller): Promise<Reply>
}

/** An entry in the model repository index (Triton's model repository extension, "Index"). */
export interface RepositoryEntry {
  readonly name: string
  readonly version: string
  readonly state: 'READY' | 'UNAVAILABLE'
  readonly reason: string
}

export interface Readiness {
  readonly ready: boolean
  readonly error?: string
}

export function createDataPlane(model: Model, metrics: Metrics): DataPlane {
  const readiness = (): Readiness =>
    model.notReady === undefined ? { ready: true } : { ready: false, error: model.notReady }
  return {
    server: serverMetadata,
    live: () => ({ live: true }),
    ready: () => ({ live: true, ...readiness() }),
    modelReady: () => ({ name: model.name, ...readiness() }),
    async modelMetadata(caller) {
      const { signature } = await model.whenLoaded(caller)
      return modelMetadata(model.name, model.version, signature)
    },
    async configuration(caller) {
      const { signature, batching, concurrency, maxBatchRows } = await model.whenLoaded(caller)
      const { name, file } = model
      const { joins } = batching
      return modelConfiguration({ name, file, signature, joins, concurrency, maxBatchRows })
    },
    repositoryIndex(onlyReady) {
      const { ready, error: reason = '' } = readiness()
      if (onlyReady && !ready) return []
      const state = ready ? 'READY' : 'UNAVAILABLE'
      return [{ name: model.name, version: model.version ?? '', state, reason }]
    },
    statistics: () => ({ model_stats: [model.statistics.read(model.name, model.version)] }),
    noRoom: caller => model.loaded?.noRoom(caller),
    refused(error, protocol, caller) {
      metrics.began()
      countFailure(error, protocol, caller, { model, metrics })
    },
    async infer(read, protocol, caller) {
      metrics.began()
      try {
        const loaded = model.loaded ?? (await model.whenLoaded(caller))
        const refusal = loaded.noRoom(caller)
        if (refusal !== undefined) throw refusal
        const response = await loaded.infer(read(), caller)
        countAnswer(protocol, caller, metrics)
        return response
      } catch (error) {
        countFailure(error, protocol, caller, { model, metrics })
        throw error
      }
    },
    transforms: model.transform !== undefined,
    async transform(read, protocol, caller) {
      metrics.began()
      try {
        if (model.loaded === undefined) await model.whenLoaded(caller)
        const reply = await (model.transformer as Transformer).call(read(), caller)
        countAnswer(protocol, caller, metrics)
        return reply
      } catch (error) {
        countFailure(error, protocol, caller, { model, metrics })
        const by = meaningOf(error)?.mistakeOf
        if (by !== undefined) metrics.transformFailed(by)
        throw error
      }
    },
  }
}

function countAnswer(protocol: Protocol, caller: Caller, metrics: Metrics): void {
  metrics.answered(protocol, 'success', secondsSince(caller.arrived))
  caller.trace?.answered()
}

function countFailure(
  error: unknown,
  protocol: Protocol,
  caller: Caller,
  { model, metrics }: { readonly model: Model; readonly metrics: Metrics },
): void {
  metrics.answered(protocol, 'error', secondsSince(caller.arrived))
  caller.trace?.answered(error)
  model.statistics.failed(performance.now() - caller.arrived)
  countError(error, caller, metrics)
}

function countError(error: unknown, caller: Caller, metrics: Metrics): void {
  const { rejected, failed } = meaningOf(error) ?? UNFORESEEN
  if (rejected !== undefined && !(rejected === 'deadline' && hungUpEarly(caller)))
    metrics.rejected(rejected)
  if (failed !== undefined) metrics.failed(failed)
}

/** gRPC clients cancel a call at its deadline, perhaps just before the server's own timer. */
const CANCELLED_EARLIER_MS = 10

/** A client that hung up before its deadline is not a rejection. */
const hungUpEarly = ({ gone, deadline }: Caller) =>
  gone && performance.now() < deadline - CANCELLED_EARLIER_MS

const secondsSince = (milliseconds: number) => (performance.now() - milliseconds) / 1000
