import type { Caller } from '../answer.ts'
import { classify } from '../protocol/classification.ts'
import type { Codec, RequestBytes } from '../protocol/codec.ts'
import type { ResponseLimits } from '../protocol/encode.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import { isBatched, type Signature, type Tensor } from '../protocol/tensor.ts'
import { countPredictions } from './labels.ts'
import { Slices } from './slices.ts'
import { noTimes, type RequestTimes } from './statistics.ts'

/**
 * Where requests run: in the queue of the main thread, or at once in the session of a worker
 * thread.
 */
export interface Runner {
  readonly signature: Signature
  readonly limits: ResponseLimits
  /** Answers a request elsewhere; undefined where it is answered here. */
  answerElsewhere?(
    request: InferenceRequest,
    bytes: RequestBytes,
    caller: Caller,
  ): Promise<unknown> | undefined
  /**
   * The runs that one request takes, each asked for when the one before it has ended: itself, or
   * some of its rows at a time.
   */
  runsOf(
    request: InferenceRequest,
    caller: Caller,
  ): Iterable<InferenceRequest> | AsyncIterable<InferenceRequest>
  /**
   * @param times takes those of the run
   * @returns the outputs asked for, in that order
   */
  run(request: InferenceRequest, caller: Caller, times: RequestTimes): Promise<readonly Tensor[]>
  /** Is given the number of rows that got a label, if the model is a classifier. */
  predicted(label: string, rows: number): void
  /** The whole request succeeded. */
  succeeded(times: RequestTimes, caller: Caller): void
}

/** The model as responses name it. */
export interface ModelIdentity {
  readonly name: string
  readonly version: string | undefined
  readonly labels: readonly string[]
}

/** The outputs, as classes where the request asks for that. */
function asClasses(
  outputs: readonly Tensor[],
  { outputs: requested }: InferenceRequest,
  { signature, labels }: { signature: Signature; labels: readonly string[] },
): readonly Tensor[] {
  if (requested.every(({ classes }) => classes === undefined)) return outputs
  const batched = isBatched(signature)
  return outputs.map((output, i) => {
    const count = requested[i]?.classes
    if (count === undefined) return output
    const own = signature.outputs.find(({ name }) => name === output.name)?.labels ?? []
    return classify(output, { count, batched, labels: labels.length > 0 ? labels : own })
  })
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
  const times = noTimes()
  trace?.enter('decode')
  const began = performance.now()
  const decoded = codec.decode(runner.signature)
  // Not always awaited: that would cost every request a turn of the microtasks.
  const request = decoded instanceof Promise ? await decoded : decoded
  // Of a small request all is done in one turn.
  let slices: Slices | undefined
  const steps = codec.readData?.()
  if (steps !== undefined) {
    slices = new Slices()
    await slices.through(steps)
  }
  times.input = performance.now() - began
  const { bytes } = codec
  const elsewhere = bytes && runner.answerElsewhere?.(request, bytes, caller)
  // The other thread writes the same response as this codec would.
  if (elsewhere !== undefined) return elsewhere as Promise<Encoded>
  const encoder = codec.encoder(request, runner.limits)
  const answerRun = async (run: InferenceRequest) => {
    const outputs = await runner.run(run, caller, times)
    const ran = performance.now()
    countPredictions(outputs, labels, runner.predicted)
    const classes = asClasses(outputs, request, { signature: runner.signature, labels })
    const writing = encoder.add(classes)
    if (writing !== undefined) {
      slices ??= new Slices()
      await slices.through(writing)
    } else if (slices?.isOver) await slices.next()
    times.output += performance.now() - ran
  }
  const runs = runner.runsOf(request, caller)
  // Of what is there at once, `for await` would make three promises more.
  if (Symbol.iterator in runs) for (const run of runs) await answerRun(run)
  else for await (const run of runs) await answerRun(run)
  trace?.enter(encoder.part ?? 'encode')
  const ended = performance.now()
  const finished = encoder.finish({ modelName: name, modelVersion: version, id: request.id })
  const encoded = finished instanceof Promise ? await finished : finished
  times.output += performance.now() - ended
  runner.succeeded(times, caller)
  return encoded
}
