import type { Caller } from '../answer.ts'
import type { Codec } from '../protocol/codec.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import type { Signature, Tensor } from '../protocol/tensor.ts'
import { countPredictions } from './labels.ts'

/**
 * Where requests run: in the queue of the main thread, or at once in the session of a worker
 * thread.
 */
export interface Runner {
  readonly signature: Signature
  /** The runs that one request takes: itself, or some of its rows at a time. */
  runsOf(request: InferenceRequest, caller: Caller): Iterable<InferenceRequest>
  /** @returns the outputs asked for, in that order */
  run(request: InferenceRequest, caller: Caller): Promise<readonly Tensor[]>
  /** Is given the number of rows that got a label, if the model is a classifier. */
  predicted(label: string, rows: number): void
}

/** The model as responses name it. */
export interface ModelIdentity {
  readonly name: string
  readonly version: string | undefined
  readonly labels: readonly string[]
}

/**
 * Decode, run, encode: the way of every inference, whichever protocol it came by and whichever
 * thread it is on.
 * @throws {BadRequest|TooLarge|Overloaded|DeadlinePassed|ModelError}
 */
export async function infer<Encoded>(
  codec: Codec<Encoded>,
  { name, version, labels }: ModelIdentity,
  runner: Runner,
  caller: Caller,
): Promise<Encoded> {
  const { trace } = caller
  trace?.enter('decode')
  const request = codec.decode(runner.signature)
  const encoder = codec.encoder(request)
  for (const run of runner.runsOf(request, caller)) {
    const outputs = await runner.run(run, caller)
    countPredictions(outputs, labels, runner.predicted)
    encoder.add(outputs)
  }
  trace?.enter('encode')
  return encoder.finish({ modelName: name, modelVersion: version, id: request.id })
}
