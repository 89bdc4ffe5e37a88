import { type Caller, senderOf, whenGone } from '../answer.ts'
import { DeadlinePassed, Overloaded, TooLarge } from '../protocol/errors.ts'
import { isJson, mediaTypeOf } from '../protocol/media-type.ts'
import { delayUntil } from '../timer.ts'
import type { Call, Reply } from '../transform/call.ts'
import { hungUp } from './give-up.ts'

export interface StartedCall {
  readonly reply: Promise<Reply>
  /**
   * Ends the call because no caller needs its result any more.
   * @returns false if the call continues, because its thread is working on it
   */
  end(error: DeadlinePassed): boolean
}

export interface CallLimits {
  readonly maxQueueRows: number
  readonly maxJsonBytes: number
  /** The bytes that the loaded model leaves free. */
  readonly freeBytes: () => number
}

/** Parsed JSON takes up to twenty times the bytes of its text. */
const PARSED = 20

/** The share of the free memory for the parsed data of all calls. */
const SHARE = 1 / 3

/** The delay before a late call is checked again while its thread works on it. */
const AGAIN_MS = 1_000

interface OpenCall {
  readonly caller: Caller
  readonly end: StartedCall['end']
}

/** Limits the number and memory of calls, and ends each call at its deadline. */
export class Calls {
  readonly #limits: CallLimits
  readonly #open = new Set<OpenCall>()
  readonly #bySender = new Map<Caller, number>()
  #bytes = 0
  #alarm: NodeJS.Timeout | undefined
  #alarmAt = Number.POSITIVE_INFINITY

  constructor(limits: CallLimits) {
    this.#limits = limits
  }

  get count(): number {
    return this.#open.size
  }

  /**
   * @throws {Overloaded} immediately, if too many calls are in progress
   * @throws {TooLarge} if the call's JSON would take too much memory
   * @throws {DeadlinePassed}
   */
  async run(call: Call, caller: Caller, start: () => StartedCall): Promise<Reply> {
    const json = jsonBytesOf(call)
    if (json > this.#limits.maxJsonBytes)
      throw new TooLarge(
        `${json} bytes of JSON exceed the ${this.#limits.maxJsonBytes} bytes allowed (MAX_JSON_BYTES)`,
      )
    const bytes = PARSED * json + bytesOf(call)
    const sender = senderOf(caller)
    if (sender.gone) throw hungUp()
    this.#admit(bytes, sender)
    const started = start()
    const open = { caller, end: started.end }
    this.#open.add(open)
    this.#bytes += bytes
    this.#bySender.set(sender, (this.#bySender.get(sender) ?? 0) + 1)
    const forget = whenGone(sender, () => started.end(hungUp()))
    this.#watch(caller.deadline)
    try {
      return await started.reply
    } finally {
      forget()
      this.#open.delete(open)
      this.#bytes -= bytes
      this.#left(sender)
    }
  }

  #left(sender: Caller): void {
    const count = (this.#bySender.get(sender) ?? 1) - 1
    if (count === 0) this.#bySender.delete(sender)
    else this.#bySender.set(sender, count)
  }

  /**
   * While no other caller has calls, admits calls of a batch of events or of a V1 request beyond
   * the limits: otherwise, a large batch could never be handled.
   */
  #admit(bytes: number, sender: Caller): void {
    const room = SHARE * this.#limits.freeBytes()
    if (bytes > room)
      throw new TooLarge(
        `the data takes about ${bytes} bytes of memory after parsing, but only ${Math.floor(room)} bytes are available; send less data, or send bytes instead of JSON`,
      )
    const { maxQueueRows } = this.#limits
    const isFull = this.#open.size >= maxQueueRows || this.#bytes + bytes > room
    if (isFull && this.#open.size > (this.#bySender.get(sender) ?? 0))
      throw new Overloaded(
        `${this.#open.size} calls (${this.#bytes} bytes in total) are already in progress in the transform; the limits are ${maxQueueRows} calls (MAX_QUEUE_ROWS) and ${Math.floor(room)} bytes; try again later`,
      )
  }

  #watch(deadline: number): void {
    if (deadline >= this.#alarmAt) return
    clearTimeout(this.#alarm)
    this.#alarmAt = deadline
    this.#alarm = setTimeout(() => this.#endLate(), delayUntil(deadline)).unref()
  }

  #endLate(): void {
    this.#alarmAt = Number.POSITIVE_INFINITY
    const now = performance.now()
    let next = Number.POSITIVE_INFINITY
    for (const { caller, end } of this.#open) {
      const isHeld =
        caller.deadline <= now &&
        !end(new DeadlinePassed('the deadline passed before the call had a result'))
      if (caller.deadline > now) next = Math.min(next, caller.deadline)
      else if (isHeld) next = Math.min(next, now + AGAIN_MS)
    }
    if (next < Number.POSITIVE_INFINITY) this.#watch(next)
  }
}

function jsonBytesOf({ data, contentType }: Call): number {
  if ('value' in data) return data.jsonBytes ?? 0
  const isParsed = data.isJson === true || isJson(mediaTypeOf(contentType).type)
  return isParsed ? data.bytes.byteLength : 0
}

const bytesOf = ({ data }: Call) => ('value' in data ? 0 : data.bytes.byteLength)
