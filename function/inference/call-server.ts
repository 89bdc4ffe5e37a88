import type { Caller } from '../answer.ts'
import { meaningOf } from '../errors.ts'
import { mapBytes, type ResponseLimits } from '../protocol/encode.ts'
import { DeadlinePassed } from '../protocol/errors.ts'
import { createLog, type Log, type LogLevel } from '../telemetry/log.ts'
import type { Half } from '../telemetry/metrics.ts'
import { type Attributes, type Part, type SpanIds, Trace } from '../telemetry/trace.ts'
import type { Call, Reply } from '../transform/call.ts'
import { type Host, TransformCodec } from '../transform/codec.ts'
import { logThrown, oneLine } from '../transform/context.ts'
import { RunningCall } from '../transform/running.ts'
import { openTransform, type ThreadTransform } from '../transform/thread.ts'
import { UNDECIDED } from './batching.ts'
import {
  type CallAnswer,
  type CallAnswers,
  type CallCommand,
  type CallMessage,
  type CallSettings,
  toCallError,
} from './call-messages.ts'
import { InlineExecutor } from './executor.ts'
import { LoadedModel } from './loaded-model.ts'
import type { ModelIdentity } from './pipeline.ts'
import type { QueueLimits } from './queue.ts'
import type { RunSizes } from './run-sizes.ts'
import { servedModel } from './served-model.ts'
import type { Session } from './session.ts'
import { Slices } from './slices.ts'
import type { RequestTimes, RunTimes } from './statistics.ts'
import { type At, ThreadWatch } from './thread-watch.ts'

export interface CallStart {
  readonly file: string
  readonly model: ModelIdentity
  readonly limits: QueueLimits & ResponseLimits
  readonly logLevel: LogLevel
  /** Shared with the main thread by {@link ThreadWatch}. */
  readonly memory: SharedArrayBuffer
}

interface OpenCall {
  readonly caller: Caller
  readonly trace: ThreadTrace
  readonly running: RunningCall
}

type Tell = (told: { calls: CallAnswers } | { closed: true }, transfer?: ArrayBuffer[]) => void

/**
 * Handles calls on this thread: preprocess, run, postprocess. Many calls are in progress at once,
 * because a transform may wait for I/O.
 */
export class CallServer {
  readonly #transform: ThreadTransform
  readonly #watch: ThreadWatch
  readonly #sizes: RunSizes
  readonly #tell: Tell
  readonly #host: Host
  readonly #model: LoadedModel
  readonly #decided = Promise.withResolvers<void>()
  readonly #open = new Map<number, OpenCall>()
  #done = new Done()
  readonly #flush = () => this.#post()

  /** @throws {Error} if the transform cannot be used */
  static async open(
    start: CallStart,
    { session, sizes }: { readonly session: Session; readonly sizes: RunSizes },
    tell: Tell,
  ): Promise<CallServer> {
    const log = createLog(start.logLevel)
    const model = servedModel(start.model, session.signature)
    const transform = await openTransform(start.file, model, log)
    return new CallServer(start, { session, sizes, transform, log, tell })
  }

  private constructor(
    { model: folder, limits, memory }: CallStart,
    {
      session,
      sizes,
      transform,
      log,
      tell,
    }: {
      readonly session: Session
      readonly sizes: RunSizes
      readonly transform: ThreadTransform
      readonly log: Log
      readonly tell: Tell
    },
  ) {
    this.#transform = transform
    this.#watch = new ThreadWatch(memory)
    this.#sizes = sizes
    this.#tell = tell
    this.#host = {
      loaded: transform,
      model: transform.model,
      limits,
      log,
      run: (caller, work) => this.#watch.author((caller.trace as ThreadTrace).place, work),
      took: (half, seconds) => this.#recording.took.push([half, seconds]),
    }
    this.#model = new LoadedModel({
      executor: new InlineExecutor(session),
      example: [],
      features: {},
      folder,
      limits: { ...limits, maxBodyBytes: limits.maxBytes },
      metrics: {
        ran: () => {},
        predicted: (label, rows) => this.#recording.predicted.push([label, rows]),
      },
      statistics: {
        ran: times => this.#recording.ran.push(times),
        succeeded: (ms, times) => this.#recording.succeeded.push([ms, times]),
      },
      sizes,
      whenDecided: this.#decided.promise,
    })
  }

  get described(): ThreadTransform['described'] {
    return this.#transform.described
  }

  /** @returns false for commands that do not concern calls */
  take(command: object): boolean {
    this.#watch.receive()
    const given = command as Partial<UnionOf<CallCommand>>
    if (given.calls !== undefined) void this.#begin(given.calls)
    else if (given.ended !== undefined) for (const { id, why } of given.ended) this.#end(id, why)
    else if (given.settings !== undefined) this.#set(given.settings)
    else if (given.close !== undefined) void this.#close()
    else return given.ping !== undefined
    return true
  }

  /** Begins the calls in time slices, so that a command to end calls is read between slices. */
  async #begin(calls: readonly CallMessage[]): Promise<void> {
    const slices = new Slices()
    const senders: Caller[] = []
    // Register all calls first: a command may end calls that have not begun.
    const open = calls.map(call => this.#admit(call, senders))
    for (const [i, call] of calls.entries()) {
      if (slices.isOver) await slices.next()
      void this.#answer(call, open[i] as OpenCall)
    }
  }

  /** @param senders the clients of a message's calls, keyed by number */
  #admit(message: CallMessage, senders: Caller[]): OpenCall {
    const trace = new ThreadTrace(message.place, this.#watch, message.trace)
    const caller = callerOf(message, trace, senders)
    const open = { caller, trace, running: new RunningCall() }
    this.#open.set(message.id, open)
    return open
  }

  async #answer(message: CallMessage, { caller, trace, running }: OpenCall): Promise<void> {
    const { id } = message
    let answer: CallAnswer
    try {
      if (running.ended !== undefined) throw running.ended
      if (performance.now() >= caller.deadline)
        throw new DeadlinePassed('the deadline passed before the call began')
      const codec = new TransformCodec(callOf(message), caller, running, this.#host)
      const reply = await this.#model.infer(codec, caller)
      answer = { id, reply: this.#recording.moved(reply), parts: trace.told }
    } catch (error) {
      if (meaningOf(error) === undefined)
        this.#host.log.error({ err: error }, 'call failed unexpectedly')
      answer = { id, error: toCallError(error), parts: trace.told }
    }
    this.#open.delete(id)
    this.#recording.answers.push(answer)
  }

  #end(id: number, why: string): void {
    const open = this.#open.get(id)
    if (open === undefined) return
    open.caller.gone = true
    open.running.end(new DeadlinePassed(why))
  }

  #set({ runBytes, joins }: CallSettings): void {
    this.#sizes.budget = runBytes
    if (joins === undefined) return
    this.#model.batching = { ...UNDECIDED, joins }
    this.#decided.resolve()
  }

  async #close(): Promise<void> {
    try {
      await this.#transform.close()
    } catch (error) {
      const text = `close() of the transform failed: ${oneLine(error)}`
      logThrown(this.#host.log, 'error', { thrown: error, fields: {}, text })
    }
    this.#tell({ closed: true })
  }

  /** The results to send at the end of this turn of the event loop. */
  get #recording(): Done {
    if (!this.#done.isScheduled) {
      this.#done.isScheduled = true
      setImmediate(this.#flush)
    }
    return this.#done
  }

  #post(): void {
    const { answers, ran, predicted, took, succeeded, transfer } = this.#done
    this.#done = new Done()
    this.#tell({ calls: { answers, ran, predicted, took, succeeded } }, transfer)
  }
}

type UnionOf<U> = (U extends unknown ? (one: U) => void : never) extends (all: infer All) => void
  ? All
  : never

class Done implements CallAnswers {
  readonly answers: CallAnswer[] = []
  readonly ran: RunTimes[] = []
  readonly predicted: [label: string, rows: number][] = []
  readonly took: [half: Half, seconds: number][] = []
  readonly succeeded: [ms: number, times: RequestTimes][] = []
  readonly transfer: ArrayBuffer[] = []
  isScheduled = false

  /** Returns the reply in transferable memory. */
  moved(reply: Reply): Reply {
    const { content } = reply
    if (content === undefined) return reply
    if ('json' in content) return { ...reply, content: mapBytes(content, part => this.#copy(part)) }
    if (typeof content.body === 'string') return reply
    this.transfer.push(content.body.buffer as ArrayBuffer)
    return reply
  }

  #copy(bytes: Uint8Array): Uint8Array {
    const copy = new Uint8Array(bytes)
    this.transfer.push(copy.buffer)
    return copy
  }
}

/** Writes a call's state to the shared memory, and records the parts of a traced call. */
class ThreadTrace extends Trace {
  readonly place: number
  readonly #watch: ThreadWatch
  readonly #ids: SpanIds | undefined

  constructor(place: number, watch: ThreadWatch, ids: SpanIds | undefined) {
    super(0)
    this.place = place
    this.#watch = watch
    this.#ids = ids
  }

  override enter(name: Part, attributes?: Attributes, at?: number): void {
    const where = WHERE[name]
    if (where !== undefined) this.#watch.set(this.place, where)
    if (this.#ids !== undefined) super.enter(name, attributes, at)
  }

  /** Only traced calls have ids. */
  override ids(): SpanIds {
    return this.#ids as SpanIds
  }

  get told(): CallAnswer['parts'] {
    if (this.#ids === undefined) return undefined
    const { timeOrigin } = performance
    return this.parts.map(({ name, began }) => ({ name, beganAt: began + timeOrigin }))
  }
}

const WHERE: Readonly<Partial<Record<Part, At>>> = {
  preprocess: 'author',
  queue: 'queue',
  run: 'run',
  postprocess: 'author',
}

function callerOf(
  { arrivedAt, deadlineAt, traceparent, sender: number }: CallMessage,
  trace: Trace,
  senders: Caller[],
): Caller {
  const { timeOrigin } = performance
  const [arrived, deadline] = [arrivedAt - timeOrigin, deadlineAt - timeOrigin]
  const sender = senders[number]
  const caller: Caller = {
    arrived,
    deadline,
    gone: false,
    traceparent,
    trace,
    ...(sender && { sender }),
  }
  senders[number] ??= caller
  return caller
}

function callOf({ kind, data, contentType, headers, event, jsonLength }: CallMessage): Call {
  return {
    kind,
    data: 'latin1' in data ? { ...data, bytes: Buffer.from(data.latin1, 'latin1') } : data,
    contentType,
    headers: JSON.parse(headers),
    ...(event !== undefined && { event }),
    jsonLength,
  }
}
