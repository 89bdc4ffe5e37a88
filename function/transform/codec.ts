import type { Caller } from '../answer.ts'
import { BytesCodec, type Codec, type Encoder, ParsedCodec } from '../protocol/codec.ts'
import { hasJson } from '../protocol/datatypes.ts'
import type { EncodedResponse, ResponseHead, ResponseLimits } from '../protocol/encode.ts'
import { BadRequest, inferenceCodeOf, TooLarge } from '../protocol/errors.ts'
import { parseJson, show } from '../protocol/json.ts'
import { PredictCodec } from '../protocol/predict.ts'
import { PredictWriter } from '../protocol/predict-writer.ts'
import type { InferenceRequest, RequestedOutput } from '../protocol/request.ts'
import { join } from '../protocol/rows.ts'
import type { Signature, Tensor } from '../protocol/tensor.ts'
import { type Log, traceOf } from '../telemetry/log.ts'
import type { Half } from '../telemetry/metrics.ts'
import type { Call, Content, Reply } from './call.ts'
import { authorsLog, CallContext, logThrown, oneLine } from './context.ts'
import type { Context, ServedModel } from './contract.ts'
import { ownBytes, readData } from './data.ts'
import { isA, TransformFailed, transformError } from './errors.ts'
import type { LoadedTransform } from './load.ts'
import { contentOf, eventOf } from './reply.ts'
import type { RunningCall } from './running.ts'
import { tensorsOf } from './tensors.ts'

export interface Host {
  readonly loaded: LoadedTransform
  readonly model: ServedModel
  readonly limits: ResponseLimits
  readonly log: Log
  /** Runs the transform's synchronous code, whose duration the main thread watches. */
  run<Result>(caller: Caller, work: () => Result): Result
  /** Records the time of one half of a call, including waits. */
  took(half: Half, seconds: number): void
}

/**
 * Runs a transform at both ends of the pipeline: preprocess makes the model's inputs, and
 * postprocess the response. An end without its function works as if there were no transform.
 */
export class TransformCodec implements Codec<Reply> {
  readonly #call: Call
  readonly #caller: Caller
  readonly #running: RunningCall
  readonly #host: Host
  readonly #context: CallContext
  #data: unknown

  constructor(call: Call, caller: Caller, running: RunningCall, host: Host) {
    this.#call = call
    this.#caller = caller
    this.#running = running
    this.#host = host
    const log = () => authorsLog(host.log, () => traceOf(call.headers, caller))
    this.#context = new CallContext(call, running, { model: host.model, log })
  }

  /** @throws {BadRequest|Refused|Unavailable|TransformFailed|TooLarge|DeadlinePassed} */
  decode(signature: Signature): InferenceRequest | Promise<InferenceRequest> {
    const { author } = this.#host.loaded
    const { preprocess } = author
    if (preprocess === undefined) return this.#decodeTensors(signature)
    const data = readData(this.#call)
    this.#data = data
    this.#check(data)
    return this.#callAuthor(
      'preprocess',
      () => preprocess.call(author, data, this.#context as Context),
      returned => ({
        inputs: tensorsOf(returned, signature, this.#host.limits.maxBytes),
        outputs: author.postprocess === undefined ? inJson(signature) : allOutputs(signature),
      }),
    )
  }

  encoder(request: InferenceRequest, limits: ResponseLimits): Encoder<Reply> {
    if (this.#host.loaded.author.postprocess !== undefined) return this.#postprocessing(limits)
    const isInstance = this.#call.kind === 'instance'
    const encoder = isInstance ? new PredictWriter(1, limits) : NO_REQUEST.encoder(request, limits)
    return {
      add: outputs => this.#writing(encoder.add(outputs)),
      finish: head => this.#finishTensors(encoder, head),
    }
  }

  /** @throws {TransformFailed} if an instance does not have one row */
  *#writing(steps: Iterable<void> = []): Generator<void, void> {
    try {
      yield* steps
    } catch (error) {
      throw this.#notTensors(error)
    }
  }

  /**
   * preprocess created the rows, so an error in writing the outputs is not the caller's mistake.
   */
  #notTensors(error: unknown): unknown {
    const isOther = inferenceCodeOf(error) !== undefined && !(error instanceof BadRequest)
    return isOther ? error : this.#failed('preprocess', new Error((error as Error).message))
  }

  /**
   * Checks the data against the transform's schema. Runs as the transform's work, because a pattern
   * may run forever.
   */
  #check(data: unknown): void {
    const { checkInput } = this.#host.loaded
    if (checkInput === undefined) return
    this.#host.run(this.#caller, () => checkInput(data, this.#call.contentType))
  }

  #decodeTensors(signature: Signature): InferenceRequest {
    const { json, codec } = tensorsCodec(this.#call)
    this.#data = json
    this.#check(json)
    const request = codec.decode(signature) as InferenceRequest
    return { ...request, outputs: allOutputs(signature) }
  }

  #postprocessing(limits: ResponseLimits): Encoder<Reply> {
    const runs: (readonly Tensor[])[] = []
    return {
      part: 'postprocess',
      add(outputs) {
        runs.push(outputs)
        return undefined
      },
      finish: () => this.#postprocess(joinRuns(runs), limits),
    }
  }

  #postprocess(outputs: readonly Tensor[], limits: ResponseLimits): Reply | Promise<Reply> {
    const { author } = this.#host.loaded
    const byName = Object.fromEntries(outputs.map(output => [output.name, ownTensor(output)]))
    return this.#callAuthor(
      'postprocess',
      () => author.postprocess?.(byName as never, this.#data, this.#context as Context),
      returned => this.#replyWith(contentOf(returned, this.#call, limits)),
    )
  }

  /** @throws {TransformFailed} if the outputs cannot be written as a response */
  #finishTensors(encoder: Encoder<EncodedResponse>, head: ResponseHead): Reply {
    try {
      const response = encoder.finish(head) as EncodedResponse
      return this.#replyWith(this.#call.kind === 'instance' ? onlyPrediction(response) : response)
    } catch (error) {
      throw this.#notTensors(error)
    }
  }

  #replyWith(content: Content | undefined): Reply {
    const event = eventOf(this.#context.reply)
    return event === undefined ? { content } : { content, event }
  }

  /** @param use converts the returned value */
  #callAuthor<Used>(
    half: Half,
    work: () => unknown,
    use: (returned: unknown) => Used,
  ): Used | Promise<Used> {
    this.#caller.trace?.enter(half)
    const began = performance.now()
    try {
      const returned = this.#host.run(this.#caller, work)
      if (isPromise(returned)) return this.#untilReturned(half, returned, { began, use })
      const used = use(returned)
      this.#host.took(half, (performance.now() - began) / 1000)
      return used
    } catch (error) {
      this.#host.took(half, (performance.now() - began) / 1000)
      throw this.#failed(half, error)
    }
  }

  async #untilReturned<Used>(
    half: Half,
    promise: PromiseLike<unknown>,
    { began, use }: { readonly began: number; readonly use: (returned: unknown) => Used },
  ): Promise<Used> {
    try {
      return use(await this.#running.until(promise))
    } catch (error) {
      throw this.#running.ended ?? this.#failed(half, error)
    } finally {
      this.#host.took(half, (performance.now() - began) / 1000)
    }
  }

  /**
   * Converts an error of preprocess or postprocess to an error in the error table. Logs it unless
   * it is the caller's mistake.
   */
  #failed(half: Half, thrown: unknown): Error {
    if (isA(thrown, TooLarge)) return thrown
    const error = transformError(thrown)
    const fields = traceOf(this.#call.headers, this.#caller)
    const text = oneLine(thrown)
    const { log } = this.#host
    if (error instanceof TransformFailed)
      logThrown(log, 'error', { thrown, fields, text: `the transform failed in ${half}: ${text}` })
    else if (codeOf(error) === 'TRANSFORM_UNAVAILABLE')
      logThrown(log, 'warn', {
        thrown,
        fields,
        text: `${half} reported that a dependency is unavailable: ${text}`,
      })
    return error
  }
}

/** Copies the tensor: in a shared run, `data.buffer` would expose other callers' rows. */
function ownTensor(tensor: Tensor): Tensor {
  const { data } = tensor
  if (!ArrayBuffer.isView(data) || data.byteLength === data.buffer.byteLength) return tensor
  return { ...tensor, data: (data as Float32Array).slice() }
}

const isPromise = (value: unknown): value is PromiseLike<unknown> =>
  typeof (value as Partial<PromiseLike<unknown>> | undefined | null)?.then === 'function'

const codeOf = (error: object) => (error as { readonly code?: unknown }).code

const NO_REQUEST = new ParsedCodec({ value: undefined, exact: () => undefined }, 'json')

function tensorsCodec({ kind, data, jsonLength }: Call): {
  readonly json: unknown
  readonly codec: Codec<unknown>
} {
  if ('bytes' in data && jsonLength !== undefined) {
    const { bytes } = data
    const isAllBinary = jsonLength === 0
    return {
      json: isAllBinary
        ? ownBytes(bytes)
        : parseJson(bytes.subarray(0, jsonLength), 'the JSON').value,
      codec: new BytesCodec({ body: bytes, jsonLength, responseData: 'binary' }),
    }
  }
  const where = kind === 'instance' ? 'the instance' : 'the body'
  const json = 'value' in data ? asParsed(data.value) : parseJson(data.bytes, where)
  if (kind !== 'instance') return { json: json.value, codec: new ParsedCodec(json, 'json') }
  const request = {
    value: { instances: [json.value] },
    exact: () => ({ instances: [json.exact()] }),
  }
  return { json: json.value, codec: new PredictCodec(request) }
}

const asParsed = (value: unknown) => ({ value, exact: () => value })

/** Built once, because only requests with the same list may share a run. */
const ALL = new WeakMap<Signature, readonly RequestedOutput[]>()
const ALL_IN_JSON = new WeakMap<Signature, readonly RequestedOutput[]>()

/** Requests all outputs as tensors, without JSON. */
const allOutputs = (signature: Signature) => outputsOf(signature, true, ALL)

/** Requests all outputs as JSON. @throws {Error} if JSON cannot represent an output */
function inJson(signature: Signature): readonly RequestedOutput[] {
  const odd = signature.outputs.find(({ datatype }) => !hasJson(datatype))
  if (odd !== undefined)
    throw new Error(
      `output ${show(odd.name)} is ${odd.datatype}, which JSON cannot represent; write a postprocess`,
    )
  return outputsOf(signature, false, ALL_IN_JSON)
}

function outputsOf(
  signature: Signature,
  binary: boolean,
  known: WeakMap<Signature, readonly RequestedOutput[]>,
): readonly RequestedOutput[] {
  let outputs = known.get(signature)
  if (outputs === undefined) {
    outputs = signature.outputs.map(({ name }) => ({ name, binary }))
    known.set(signature, outputs)
  }
  return outputs
}

function joinRuns(runs: readonly (readonly Tensor[])[]): readonly Tensor[] {
  const [first = [], ...more] = runs
  if (more.length === 0) return first
  return first.map((_, i) => join(runs.map(outputs => outputs[i] as Tensor)))
}

const BEFORE = '{"predictions":['
const BEHIND = ']}'

function onlyPrediction({ json }: EncodedResponse): EncodedResponse {
  const text = typeof json === 'string' ? json : Buffer.concat(json).toString()
  return { json: text.slice(BEFORE.length, -BEHIND.length) }
}
