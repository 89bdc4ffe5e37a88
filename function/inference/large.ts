import type { Caller } from '../answer.ts'
import { type Codec, LargeCodec, type RequestBytes } from '../protocol/codec.ts'
import type { EncodedMessage, EncodedResponse, ResponseLimits } from '../protocol/encode.ts'
import { DeadlinePassed } from '../protocol/errors.ts'
import type { InferenceRequest } from '../protocol/request.ts'
import type { Signature, Tensor } from '../protocol/tensor.ts'
import { type Part, Trace } from '../telemetry/trace.ts'
import { Admission } from './admission.ts'
import { infer, type ModelIdentity, type Runner } from './pipeline.ts'
import type { RunSizes } from './run-sizes.ts'
import type { Session } from './session.ts'
import { noTimes, type RequestTimes, type RunTimes } from './statistics.ts'

/**
 * A large inference request as it arrived, with all data except the session that is needed to
 * handle it. Its memory may be transferred to another thread.
 */
export interface LargeRequest {
  readonly bytes: RequestBytes
  readonly limits: ResponseLimits
  /** The number of bytes that one run may use. */
  readonly runBytes: number
  /** The time of arrival in milliseconds since 1970: all threads share this clock. */
  readonly arrivedAt: number
  /** Whether the request may be divided into several runs, because rows are independent. */
  readonly mayDivide: boolean
  readonly maxBatchRows: number
  readonly model: ModelIdentity
}

/** The response, and the values that the main thread adds to metrics and statistics. */
export interface LargeResponse {
  readonly response: EncodedResponse | EncodedMessage
  readonly runs: readonly RunTimes[]
  /**
   * The total durations of all runs, excluding the time for which the request waited for the
   * thread.
   */
  readonly times: RequestTimes
  /** The number of rows, keyed by predicted label. */
  readonly predicted: ReadonlyMap<string, number>
  /** The start of each part of the request's processing, on the clock of `arrivedAt`. */
  readonly parts: readonly { readonly name: Part; readonly beganAt: number }[]
}

/**
 * The input size of one run if rows are small. Inputs of this size fit into the processor's cache,
 * and their outputs are small.
 */
const RUN_BYTES = 64 * 1024

/**
 * Handles a large request on the calling thread, from the bytes of the request to the bytes of the
 * response. If rows are independent, the request is divided into several runs.
 * @throws {BadRequest|TooLarge|ModelError}
 * @throws {DeadlinePassed} if the request's own `timeout` expired before the run could begin
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
  const response = await infer(await codecOf(request), model, runner, caller)
  return {
    response,
    runs: runner.runs,
    times: runner.times,
    predicted: runner.rowsOfLabel,
    parts: trace.parts.map(({ name, began }) => ({ name, beganAt: began + timeOrigin })),
  }
}

/**
 * Creates the codec. The code for protobuf messages and for V1 is loaded only when it is needed.
 */
async function codecOf({ bytes, limits }: LargeRequest): Promise<Codec<LargeResponse['response']>> {
  if (bytes.kind === undefined) return new LargeCodec(bytes, limits)
  if (bytes.kind === 'predict') {
    const { LargePredictCodec } = await import('../protocol/predict-large.ts')
    return new LargePredictCodec(bytes, limits)
  }
  const { MessageCodec } = await import('../protocol/message.ts')
  return new MessageCodec(bytes, limits)
}

/** Runs a request in the session of this thread, divided into several runs. */
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
    const tensors = await this.session.run(inputs, names)
    const infer = performance.now() - began
    this.sizes.ran(inputs, tensors)
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

  /** The number of rows in one run whose inputs fit into the processor's cache. */
  private mostRows({ inputs }: InferenceRequest): number {
    const total = inputs[0]?.shape[0] ?? 0
    const elements = inputs.reduce((sum, { data }) => sum + data.length, 0)
    const rowBytes = (8 * elements) / total
    return Math.max(this.request.maxBatchRows, Math.floor(RUN_BYTES / rowBytes) || 0)
  }
}
