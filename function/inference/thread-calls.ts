import type { Caller } from '../answer.ts'
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

/** What the calls of one thread depend on. */
export interface ThreadCallsOptions {
  readonly post: (command: CallCommand, transfer?: readonly ArrayBuffer[]) => void
  /** At most so many calls have a place in the shared memory. */
  readonly places: number
  /** How long the thread may be within one piece of work; 0: without a limit. */
  readonly limitMs: number
  /** Counts what the thread did. */
  readonly count: (done: Omit<CallAnswers, 'answers'>) => void
  /**
   * The thread was within a piece of work for too long.
   * @param isRun it is a run of the model
   * @param error of the thread's command
   */
  readonly onBlocked: (isRun: boolean, error: Error) => void
}

/** So often a thread that has calls is asked whether it goes on. */
const MOST_TICK_MS = 1_000
/** A thread that is to be ended after a time is asked so many times before. */
const TICKS = 4

/** Smaller bytes go as text. */
const LITTLE = 4_096

const OWN_BYTES = 128 * 1024

interface OpenCall {
  readonly caller: Caller
  readonly place: number
  readonly resolve: (reply: Reply) => void
  readonly reject: (error: unknown) => void
}

/** The main thread's side of the calls of one thread. */
export class ThreadCalls {
  readonly watch: ThreadWatch
  readonly #options: ThreadCallsOptions
  readonly #open = new Map<number, OpenCall>()
  readonly #places: number[]
  #nextId = 0
  /** Messages that the thread was sent. */
  #sent = 0
  #outbox: CallMessage[] = []
  /** The clients of these, by a number each. */
  readonly #senders = new Map<Caller, number>()
  #transfer: ArrayBuffer[] = []
  #ticking: NodeJS.Timeout | undefined
  #progress = 0
  /** So many times in a row the thread had not gone on. */
  #silentTicks = 0
  readonly #flush = () => this.#post()

  constructor(options: ThreadCallsOptions) {
    this.#options = options
    this.watch = new ThreadWatch(options.places)
    this.#places = this.watch.places()
  }

  /** Calls that are not answered yet. */
  get count(): number {
    return this.#open.size
  }

  /** The thread has work of calls, so that anything else may have to wait. */
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
    const data = dataToPost(call.data, this.#transfer)
    if (this.#outbox.length === 0) setImmediate(this.#flush)
    const sender = this.#numberOf(caller.sender ?? caller)
    this.#outbox.push(messageOf(call, caller, { id, place, sender, data }))
    this.#ticking ??= setInterval(() => this.#tick(), this.#tickMs).unref()
    return { reply, end: error => this.#end(id, error) }
  }

  /** The thread is sent a message that has nothing to do with calls. */
  posted(): void {
    this.#sent++
  }

  /** Sends a command that is no call. */
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

  /** The thread ended. */
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
    // The thread was told of the end of others before.
    const calls = this.#outbox.filter(({ id }) => this.#open.has(id))
    const transfer = this.#transfer
    this.#outbox = []
    this.#transfer = []
    this.#sent++
    this.#options.post({ calls }, transfer)
  }

  /** A call whose thread is within it goes on until the thread comes back, or is ended. */
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

  /** Ticks are counted, not time: the whole process may have been held, and the thread with it. */
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
      : new TransformTimedOut(`the transform kept its thread for longer than ${seconds}`)
    for (const [id] of blamed) this.#take(id)?.reject(error)
    const others = new NotReady('another request kept the thread for too long; try again')
    this.fail(others)
    // A run that is of no call is that of the thread's command.
    onBlocked(isRun, isRun && blamed.length === 0 ? error : others)
  }
}

/** A large body has memory of its own, which may move. Smaller ones share theirs. */
const isOwn = ({ byteLength, buffer }: Uint8Array) =>
  byteLength > OWN_BYTES && byteLength === buffer.byteLength

/** @param transfer gets the memory that moves along */
function dataToPost(data: CallData, transfer: ArrayBuffer[]): CallMessage['data'] {
  if ('value' in data) return data
  const { bytes, isJson = false } = data
  if (bytes.byteLength <= LITTLE)
    return {
      latin1: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('latin1'),
      isJson,
    }
  const moved = isOwn(bytes) ? movable(bytes) : new Uint8Array(bytes)
  transfer.push(moved.buffer as ArrayBuffer)
  return { bytes: moved, isJson }
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
