import type { Caller } from '../answer.ts'
import { type Codec, LargeCodec, type RequestBytes } from '../protocol/codec.ts'
import type { EncodedMessage, EncodedResponse, ResponseLimits } from '../protocol/encode.ts'
import { DeadlinePassed, type InferenceErrorCode, inferenceCodeOf } from '../protocol/errors.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import type { Signature, Tensor } from '../protocol/tensor.ts'
import { type Part, Trace } from '../telemetry/trace.ts'
import { Admission } from './admission.ts'
import { infer, type ModelIdentity, type Runner } from './pipeline.ts'
import type { RunSizes } from './run-sizes.ts'
import { type Session, timed } from './session.ts'
import { noTimes, type RequestTimes, type RunTimes } from './statistics.ts'

/** A large request as it arrived, and the data for handling it on another thread. */
export interface LargeRequest {
  readonly bytes: RequestBytes
  readonly limits: ResponseLimits
  readonly runBytes: number
  /** In milliseconds since 1970, a clock that all threads share. */
  readonly arrivedAt: number
  /** Whether rows are independent, so that the request may be divided into runs. */
  readonly mayDivide: boolean
  readonly maxBatchRows: number
  readonly model: ModelIdentity
}

/** The response or the error, and values for the main thread's metrics and statistics. */
export interface LargeResponse {
  readonly response: EncodedResponse | EncodedMessage | LargeFailure
  readonly runs: readonly RunTimes[]
  /** The total of all runs, without the wait for the thread. */
  readonly times: RequestTimes
  readonly predicted: ReadonlyMap<string, number>
  /** When each part of the work began, on the clock of `arrivedAt`. */
  readonly parts: readonly { readonly name: Part; readonly beganAt: number }[]
}

export interface LargeFailure {
  readonly code: InferenceErrorCode
  readonly message: string
}

/**
 * The most input bytes of a run with more than `maxBatchRows` rows, so that the inputs fit into the
 * processor's cache.
 */
const RUN_BYTES = 64 * 1024

/**
 * Handles a large request on the calling thread, from its bytes to the response's bytes. Divides
 * the request into runs if rows are independent. Returns an error with a code, because runs before
 * the error also count.
 */
export async function inferLarge(
  session: Session,
  request: LargeRequest,
  sizes: RunSizes,
): Promise<LargeResponse> {
  const { model, arrivedAt } = request
  const { timeOrigin } = performance
  const trace = new Trace(performance.now())
  const caller: Caller = {
    arrived: arrivedAt - timeOrigin,
    deadline: Number.POSITIVE_INFINITY,
    gone: false,
    trace,
  }
  sizes.budget = request.runBytes
  sizes.areRowsIndependent = request.mayDivide
  const runner = new RowsRunner(session, request, sizes)
  const response = await responseOrFailure(async () =>
    infer(await codecOf(request), model, runner, caller),
  )
  return {
    response,
    runs: runner.runs,
    times: runner.times,
    predicted: runner.rowsOfLabel,
    parts: trace.parts.map(({ name, began }) => ({ name, beganAt: began + timeOrigin })),
  }
}

async function responseOrFailure<Response>(
  respond: () => Promise<Response>,
): Promise<Response | LargeFailure> {
  try {
    return await respond()
  } catch (error) {
    const code = inferenceCodeOf(error)
    if (code === undefined) throw error
    return { code, message: (error as Error).message }
  }
}

/** Loads the code for protobuf messages and V1 only when needed. */
async function codecOf({
  bytes,
  limits,
}: LargeRequest): Promise<Codec<EncodedResponse | EncodedMessage>> {
  if (bytes.kind === undefined) return new LargeCodec(bytes, limits)
  if (bytes.kind === 'predict') {
    const { LargePredictCodec } = await import('../protocol/predict-large.ts')
    return new LargePredictCodec(bytes, limits)
  }
  const { MessageCodec } = await import('../protocol/message.ts')
  return new MessageCodec(bytes, limits)
}

class RowsRunner implements Runner {
  readonly signature: Signature
  readonly limits: ResponseLimits
  readonly labels: readonly string[]
  readonly runs: RunTimes[] = []
  times = noTimes()
  readonly rowsOfLabel = new Map<string, number>()
  private readonly session: Session
  private readonly request: LargeRequest
  private readonly sizes: RunSizes

  constructor(session: Session, request: LargeRequest, sizes: RunSizes) {
    this.signature = session.signature
    this.limits = request.limits
    this.labels = request.model.labels
    this.sizes = sizes
    this.session = session
    this.request = request
  }

  runsOf(request: InferenceRequest, caller: Caller): AsyncIterable<InferenceRequest> {
    const { timeoutMicroseconds = Number.POSITIVE_INFINITY } = request
    if ((performance.now() - caller.arrived) * 1000 >= timeoutMicroseconds)
      throw new DeadlinePassed('the deadline passed before the run could begin')
    caller.trace?.enter('run')
    const admission = new Admission(this.signature, this.sizes, this.limits)
    return admission.runs(request, caller, this.mostRows(request))
  }

  async run(
    { inputs, outputs }: InferenceRequest,
    _caller: Caller,
    times: RequestTimes,
  ): Promise<Tensor[]> {
    const rows = inputs[0]?.shape[0] ?? 1
    const names = outputs.map(({ name }) => name)
    const began = performance.now()
    const { tensors, threadMs } = await timed(this.session, inputs, names)
    const infer = performance.now() - began
    this.sizes.ran(inputs, tensors, threadMs)
    this.runs.push({ rows, input: 0, infer, output: 0 })
    times.rows += rows
    times.infer += infer
    return tensors
  }

  succeeded(times: RequestTimes): void {
    this.times = times
  }

  readonly predicted = (label: string, rows: number): void => {
    if (this.labels.includes(label))
      this.rowsOfLabel.set(label, (this.rowsOfLabel.get(label) ?? 0) + rows)
  }

  /** Returns `maxBatchRows`, or more rows if their inputs fit into the processor's cache. */
  private mostRows({ inputs }: InferenceRequest): number {
    const total = inputs[0]?.shape[0] ?? 0
    const elements = inputs.reduce((sum, { data }) => sum + data.length, 0)
    const rowBytes = (8 * elements) / total
    return Math.max(this.request.maxBatchRows, Math.floor(RUN_BYTES / rowBytes) || 0)
  }
}
