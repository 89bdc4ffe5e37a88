import { decodeRequest } from '../protocol/decode.ts'
import { createResponseWriter, type EncodedResponse } from '../protocol/encode.ts'
import { BadRequest, DeadlinePassed, TooLarge } from '../protocol/errors.ts'
import type { RequestedOutput } from '../protocol/request.ts'
import type { Tensor } from '../protocol/tensor.ts'
import { countPredictions } from './labels.ts'
import { takeRows } from './rows.ts'
import type { Session } from './session.ts'

/** An inference request as it came, with all that answering it takes besides the session. Its memory may be gone afterwards, to another thread. */
export interface WholeRequest {
  readonly body: Uint8Array
  /** As {@link decodeRequest} takes it. */
  readonly jsonLength: number | undefined
  /** The answer can only be JSON. */
  readonly onlyJson: boolean
  /** When it came, in milliseconds since 1970: a clock that threads share. */
  readonly arrivedAt: number
  /** Of what is decoded, and of the answer. */
  readonly maxBytes: number
  /** The run may be divided: rows are independent. */
  readonly mayDivide: boolean
  readonly maxBatchRows: number
  readonly modelName: string
  readonly modelVersion: string | undefined
  readonly labels: readonly string[]
}

/** The answer, and what is to be counted of it. */
export interface WholeAnswer {
  readonly response: EncodedResponse
  /** Rows of each run. */
  readonly runs: readonly number[]
  /** Rows by predicted label. */
  readonly predicted: ReadonlyMap<string, number>
  /** On the clock of arrivedAt: when it was begun, when decoded, and when all of it had run. */
  readonly times: { readonly began: number; readonly decoded: number; readonly ran: number }
}

/**
 * Of a request, and of an answer. What JSON takes while it is read and written is several times its size: with 64 MiB of it 16 callers
 * took a process past 512 MiB, with 16 MiB to 314 (docs/containers.md). Binary tensor data takes its own size.
 */
const MOST_JSON_BYTES = 16 * 2 ** 20

/** What a run of small rows takes at a time: it stays in the processor's cache, and what the run makes stays small. */
const RUN_BYTES = 64 * 1024

/**
 * A large request from its bytes to its answer's, on the thread this is called on: run some rows at a time where rows are independent,
 * and each run's outputs made into bytes at once, so that neither all rows nor all outputs are ever held as JavaScript's own.
 * @throws {BadRequest|TooLarge|ModelError}
 * @throws {DeadlinePassed} when the request's own `timeout` passed before the run could begin
 */
export async function inferWhole(session: Session, request: WholeRequest): Promise<WholeAnswer> {
  const began = now()
  checkJsonBytes(request)
  const { id, inputs, outputs, timeoutMicroseconds } = decodeRequest(
    request.body,
    request.jsonLength,
    session.signature,
    request.maxBytes,
  )
  // Nothing refers to the text any more; it would wait for the garbage collector, beside what the run takes.
  if (request.jsonLength === undefined) (request.body.buffer as ArrayBuffer).transfer(0)
  if (request.onlyJson) checkOnlyJson(outputs)
  const decoded = now()
  if (
    timeoutMicroseconds !== undefined &&
    (decoded - request.arrivedAt) * 1000 >= timeoutMicroseconds
  )
    throw new DeadlinePassed('the deadline passed before the run could begin')
  const names = outputs.map(({ name }) => name)
  const writer = createResponseWriter(
    outputs,
    request.maxBytes,
    Math.min(request.maxBytes, MOST_JSON_BYTES),
  )
  const runs: number[] = []
  const predicted = new Map<string, number>()
  for (const rows of divide(inputs, request)) {
    const results = await session.run(rows, names)
    runs.push(rows[0]?.shape[0] ?? 1)
    countPredictions(results, request.labels, (label, rows) => {
      if (request.labels.includes(label)) predicted.set(label, (predicted.get(label) ?? 0) + rows)
    })
    writer.add(results)
  }
  const times = { began, decoded, ran: now() }
  return {
    response: writer.finish({
      modelName: request.modelName,
      modelVersion: request.modelVersion,
      id,
    }),
    runs,
    predicted,
    times,
  }
}

function checkJsonBytes({ body, jsonLength }: WholeRequest): void {
  if (jsonLength !== undefined || body.byteLength <= MOST_JSON_BYTES) return
  throw new TooLarge(
    `${body.byteLength} bytes of JSON are larger than the ${MOST_JSON_BYTES} bytes allowed; send large tensors as binary tensor data (parameters.binary_data_size)`,
  )
}

const now = () => performance.timeOrigin + performance.now()

/** @throws {BadRequest} for outputs that the reply to a structured or batched event cannot carry */
export function checkOnlyJson(outputs: readonly RequestedOutput[]): void {
  if (!outputs.some(({ binary }) => binary)) return
  throw new BadRequest(
    'binary_data outputs need an event in binary mode; the reply to a structured or batched one carries JSON',
  )
}

function* divide(
  inputs: readonly Tensor[],
  { mayDivide, maxBatchRows }: WholeRequest,
): Generator<readonly Tensor[], void> {
  const total = inputs[0]?.shape[0] ?? 0
  const elements = inputs.reduce((sum, { data }) => sum + data.length, 0)
  const rowBytes = (8 * elements) / total
  const most = Math.max(maxBatchRows, Math.floor(RUN_BYTES / rowBytes))
  const isDivisible = mayDivide && inputs.every(({ shape }) => shape[0] === total)
  if (!isDivisible || !(total > most)) yield inputs
  else
    for (let from = 0; from < total; from += most)
      yield inputs.map(tensor => takeRows(tensor, from, Math.min(most, total - from)))
}
