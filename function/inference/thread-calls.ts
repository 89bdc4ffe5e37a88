import { type Caller, senderOf } from '../answer.ts'
import { type DeadlinePassed, NotReady, RunTimedOut } from '../protocol/errors.ts'
import type { Call, CallData, Reply } from '../transform/call.ts'
import { TransformTimedOut } from '../transform/errors.ts'
import {
  type CallAnswer,
  type CallAnswers,
  type CallCommand,
  type CallMessage,
  ThreadError,
} from './call-messages.ts'
import type { StartedCall } from './calls.ts'
import { ThreadWatch } from './thread-watch.ts'
import { movable } from './transfer.ts'

export interface ThreadCallsOptions {
  readonly post: (command: CallCommand, transfer?: readonly ArrayBuffer[]) => void
  /** The number of calls whose state fits into the shared memory. */
  readonly places: number
  /** How long the thread may take for one piece of work; 0 means no limit. */
  readonly limitMs: number
  readonly count: (done: Omit<CallAnswers, 'answers'>) => void
  /**
   * Called when the thread has taken too long for one piece of work.
   * @param isRun whether this work is a run of the model
   * @param error the error with which the thread's current command fails
   */
  readonly onBlocked: (isRun: boolean, error: Error) => void
}

/** The longest interval between two checks of a thread's progress. */
const MOST_TICK_MS = 1_000
/** How often progress is checked within the time limit. */
const TICKS = 4

/** Bodies up to this size are sent to the thread as text. */
const LITTLE = 4_096

const OWN_BYTES = 128 * 1024

/** A call that is sent at the end of this turn of the event loop. */
interface Outgoing {
  readonly message: CallMessage
  /** The buffer to transfer; undefined if the data has no buffer of its own. */
  readonly moved: ArrayBuffer | undefined
}

interface OpenCall {
  readonly caller: Caller
  readonly place: number
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: unknown) => void
}

export class ThreadCalls {
  readonly watch: ThreadWatch
  readonly #options: ThreadCallsOptions
  readonly #open = new Map<number, OpenCall>()
  readonly #places: number[]
  #nextId = 0
  #sent = 0
  #outbox: Outgoing[] = []
  readonly #senders = new Map<Caller, number>()
  #ticking: NodeJS.Timeout | undefined
  #progress = 0
  #silentTicks = 0
  readonly #flush = () => this.#post()

  constructor(options: ThreadCallsOptions) {
    this.#options = options
    this.watch = new ThreadWatch(options.places)
    this.#places = this.watch.places()
  }

  get count(): number {
    return this.#open.size
  }

  /** While the thread has calls, other commands may have to wait. */
  get isBusy(): boolean {
    return this.#open.size > 0
  }

  start(call: Call, caller: Caller): StartedCall {
    const id = this.#nextId++
    const place = this.#places.pop() ?? 0
    this.watch.set(place, 'waiting')
    const reply = new Promise<Reply>((resolve, reject) => {
      this.#open.set(id, { caller, place, resolve, reject })
    })
    const { data, moved } = dataToPost(call.data)
    if (this.#outbox.length === 0) setImmediate(this.#flush)
    const sender = this.#numberOf(senderOf(caller))
    this.#outbox.push({ message: messageOf(call, caller, { id, place, sender, data }), moved })
    this.#ticking ??= setInterval(() => this.#tick(), this.#tickMs).unref()
    return { reply, end: error => this.#end(id, error) }
  }

  posted(): void {
    this.#sent++
  }

  send(command: CallCommand): void {
    this.#sent++
    this.#options.post(command)
  }

  receive({ answers, ...done }: CallAnswers): void {
    this.#options.count(done)
    for (const answer of answers) {
      const open = this.#take(answer.id)
      if (open !== undefined) this.#answer(open, answer)
    }
  }

  fail(error: unknown): void {
    for (const id of [...this.#open.keys()]) this.#take(id)?.reject(error)
  }

  #answer({ caller, resolve, reject }: OpenCall, { reply, error, parts }: CallAnswer): void {
    for (const { name, beganAt } of parts ?? [])
      caller.trace?.enter(name, undefined, beganAt - performance.timeOrigin)
    if (error !== undefined) reject(new ThreadError(error))
    else resolve(reply as Reply)
  }

  #take(id: number): OpenCall | undefined {
    const open = this.#open.get(id)
    if (open === undefined) return undefined
    this.#open.delete(id)
    if (open.place !== 0) this.#places.push(open.place)
    if (this.#open.size === 0) {
      clearInterval(this.#ticking)
      this.#ticking = undefined
      this.#silentTicks = 0
    }
    return open
  }

  #numberOf(sender: Caller): number {
    const known = this.#senders.get(sender)
    if (known !== undefined) return known
    this.#senders.set(sender, this.#senders.size)
    return this.#senders.size - 1
  }

  #post(): void {
    this.#senders.clear()
    // Skip calls that have ended: the memory of their bodies may be freed.
    const outgoing = this.#outbox.filter(({ message }) => this.#open.has(message.id))
    this.#outbox = []
    this.#sent++
    const calls = outgoing.map(({ message }) => message)
    const transfer = outgoing.flatMap(({ moved }) => moved ?? [])
    this.#options.post({ calls }, transfer)
  }

  /**
   * Ends a call, unless the thread is working on it: the call then continues until the thread
   * returns or is terminated.
   */
  #end(id: number, error: DeadlinePassed): boolean {
    const open = this.#open.get(id)
    if (open === undefined) return true
    const isWithin = this.#silentTicks > 0 && this.watch.isBlamed(open.place)
    if (isWithin && this.#options.limitMs > 0 && !open.caller.gone) return false
    this.#take(id)?.reject(error)
    this.send({ ended: [{ id, why: error.message }] })
    return true
  }

  get #tickMs(): number {
    const { limitMs } = this.#options
    return limitMs > 0 ? Math.min(MOST_TICK_MS, Math.ceil(limitMs / TICKS)) : MOST_TICK_MS
  }

  /**
   * Checks whether the thread makes progress. Counts ticks instead of time, because the whole
   * process may have been paused.
   */
  #tick(): void {
    const { received, progress } = this.watch
    if (received === this.#sent || progress !== this.#progress) {
      this.#progress = progress
      this.#silentTicks = 0
      if (received === this.#sent) this.send({ ping: true })
      return
    }
    this.#silentTicks++
    const { limitMs } = this.#options
    if (limitMs > 0 && this.#silentTicks * this.#tickMs >= limitMs) this.#blocked()
  }

  #blocked(): void {
    const { limitMs, onBlocked } = this.#options
    const seconds = `${limitMs / 1_000} s (RUN_TIMEOUT_MS)`
    const blamed = [...this.#open].filter(([, { place }]) => this.watch.isBlamed(place))
    const isRun = !this.watch.closeGate()
    const error = isRun
      ? new RunTimedOut(`the run lasted longer than ${seconds}`)
      : new TransformTimedOut(`the transform blocked its thread for longer than ${seconds}`)
    for (const [id] of blamed) this.#take(id)?.reject(error)
    const others = new NotReady('another request blocked the thread for too long; try again')
    this.fail(others)
    // If no call is in the run, the run belongs to the thread's command.
    onBlocked(isRun, isRun && blamed.length === 0 ? error : others)
  }
}

/** Whether a body has its own buffer, which can be transferred. Small bodies share a buffer. */
const isOwn = ({ byteLength, buffer }: Uint8Array) =>
  byteLength > OWN_BYTES && byteLength === buffer.byteLength

function dataToPost(
  data: CallData,
): Pick<Outgoing, 'moved'> & { readonly data: CallMessage['data'] } {
  if ('value' in data) return { data, moved: undefined }
  const { bytes, isJson = false } = data
  if (bytes.byteLength <= LITTLE) {
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    return { data: { latin1: text.toString('latin1'), isJson }, moved: undefined }
  }
  const own = isOwn(bytes) ? movable(bytes) : new Uint8Array(bytes)
  return { data: { bytes: own, isJson }, moved: own.buffer as ArrayBuffer }
}

function messageOf(
  { kind, contentType, headers, event, jsonLength }: Call,
  { arrived, deadline, traceparent, trace }: Caller,
  own: Pick<CallMessage, 'id' | 'place' | 'sender' | 'data'>,
): CallMessage {
  const { timeOrigin } = performance
  return {
    ...own,
    kind,
    contentType,
    headers: JSON.stringify(headers),
    ...(event !== undefined && { event }),
    ...(jsonLength !== undefined && { jsonLength }),
    arrivedAt: timeOrigin + arrived,
    deadlineAt: timeOrigin + deadline,
    traceparent,
    trace: trace?.ids(traceparent),
  }
}
