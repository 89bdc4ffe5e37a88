import type { Caller } from '../answer.ts'
import { classify } from '../protocol/classification.ts'
import type { Codec, Encoder, RequestBytes } from '../protocol/codec.ts'
import type { ResponseLimits } from '../protocol/encode.ts'
import type { InferenceRequest, RequestedOutput } from '../protocol/request.ts'
import { isBatched, type Signature, type Tensor } from '../protocol/tensor.ts'
import { countPredictions } from './labels.ts'
import { Slices } from './slices.ts'
import { noTimes, type RequestTimes } from './statistics.ts'

/** Runs requests through the main thread's queue, or in a worker's session. */
export interface Runner {
  readonly signature: Signature
  readonly limits: ResponseLimits
  /** A classifier's class names, if the model folder defines them. */
  readonly labels: readonly string[]
  /** Whether the request needs exactly one run, on this thread. If absent, no request is. */
  isPlain?(request: InferenceRequest): boolean
  /** Handles a request in another thread. Returns undefined if this thread handles the request. */
  answerElsewhere?(
    request: InferenceRequest,
    bytes: RequestBytes,
    caller: Caller,
  ): Promise<unknown> | undefined
  /**
   * Yields the whole request, or parts with some of its rows. Each run is requested after the
   * previous run has ended.
   */
  runsOf(request: InferenceRequest, caller: Caller): AsyncIterable<InferenceRequest>
  /**
   * @param times receives the times of the run
   * @returns the outputs, in the order in which they were requested
   */
  run(request: InferenceRequest, caller: Caller, times: RequestTimes): Promise<readonly Tensor[]>
  predicted(label: string, rows: number): void
  /**
   * Called when all runs of a request succeeded.
   * @param ended on performance.now()'s clock
   */
  succeeded(times: RequestTimes, caller: Caller, ended: number): void
}

export interface ModelIdentity {
  readonly name: string
  readonly version: string | undefined
  readonly labels: readonly string[]
}

function asClasses(
  outputs: readonly Tensor[],
  requested: readonly RequestedOutput[],
  signature: Signature,
  labels: readonly string[],
): readonly Tensor[] {
  if (requested.every(wantsNoClasses)) return outputs
  const batched = isBatched(signature)
  return outputs.map((output, i) => {
    const count = requested[i]?.classes
    if (count === undefined) return output
    const own = signature.outputs.find(({ name }) => name === output.name)?.labels ?? []
    return classify(output, { count, batched, labels: labels.length > 0 ? labels : own })
  })
}

const wantsNoClasses = ({ classes }: RequestedOutput) => classes === undefined

/**
 * Counts a run's predictions and writes its outputs.
 * @returns steps if writing takes long
 */
function write(
  outputs: readonly Tensor[],
  encoder: Encoder<unknown>,
  request: InferenceRequest,
  { signature, labels, predicted }: Runner,
): Iterable<void> | undefined {
  countPredictions(outputs, labels, predicted)
  return encoder.add(asClasses(outputs, request.outputs, signature, labels))
}

/**
 * Decodes, runs and encodes an inference request, for all protocols and threads.
 * @throws {BadRequest|TooLarge|Overloaded|DeadlinePassed|ModelError}
 */
export async function infer<Encoded>(
  codec: Codec<Encoded>,
  { name, version }: ModelIdentity,
  runner: Runner,
  caller: Caller,
): Promise<Encoded> {
  const { trace } = caller
  const times = noTimes()
  trace?.enter('decode')
  const began = performance.now()
  const decoded = codec.decode(runner.signature)
  // Each await costs a microtask turn, so await only a promise.
  const request = decoded instanceof Promise ? await decoded : decoded
  // A small request needs no slices.
  let slices: Slices | undefined
  const steps = codec.readData?.()
  if (steps !== undefined) {
    slices = new Slices()
    await slices.through(steps)
  }
  times.input = performance.now() - began
  const isPlain = runner.isPlain?.(request) === true
  const { bytes } = codec
  const elsewhere = !isPlain && bytes && runner.answerElsewhere?.(request, bytes, caller)
  // The worker's response has the encoding of this codec.
  if (elsewhere) return elsewhere as Promise<Encoded>
  const encoder = codec.encoder(request, runner.limits)
  let ran = began
  if (isPlain) {
    const outputs = await runner.run(request, caller, times)
    ran = performance.now()
    const writing = write(outputs, encoder, request, runner)
    if (writing !== undefined) await (slices ?? new Slices()).through(writing)
  } else {
    for await (const run of runner.runsOf(request, caller)) {
      const outputs = await runner.run(run, caller, times)
      ran = performance.now()
      const writing = write(outputs, encoder, request, runner)
      if (writing !== undefined) {
        slices ??= new Slices()
        await slices.through(writing)
      } else if (slices?.isOver) await slices.next()
      const written = performance.now()
      times.output += written - ran
      ran = written
    }
  }
  trace?.enter(encoder.part ?? 'encode')
  const finished = encoder.finish({ modelName: name, modelVersion: version, id: request.id })
  const encoded = finished instanceof Promise ? await finished : finished
  const ended = performance.now()
  times.output += ended - ran
  runner.succeeded(times, caller, ended)
  return encoded
}
