import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { type Caller, hangUp, Refused } from '../answer.ts'
import type { Config } from '../config/config.ts'
import { afterReading } from '../http/after-reading.ts'
import { COMPRESSOR, decoderOf, isWorthCompressing } from '../http/compression.ts'
import type { RequestHead } from '../http/head.ts'
import type { BodyMemory, Reservation } from '../http/memory.ts'
import { cutOff, dropRest } from '../http/stream.ts'
import { freeOwn } from '../inference/transfer.ts'
import { show } from '../protocol/json.ts'
import { delayUntil } from '../timer.ts'
import { Cancelled, MessageReader, type Received } from './frames.ts'
import { DEADLINE_EXCEEDED, OK, type Status, trailersOf, UNAVAILABLE } from './status.ts'

export interface CallOptions {
  readonly memory: BodyMemory
  readonly config: Pick<Config, 'maxBodyBytes' | 'requestTimeoutMs'>
}

const CONTENT_TYPE = 'application/grpc'
const ENCODINGS: ReadonlySet<string> = new Set(['identity', 'deflate', 'gzip'])
const ACCEPTED = [...ENCODINGS].join(',')

/** Up to this size, messages are sent in one piece: the copy is faster than a second write. */
const MOST_JOINED = 16 * 1024

export class Call {
  readonly head: RequestHead
  readonly caller: Caller
  /** On performance.now()'s clock. */
  readonly deadline: number
  status: Status | undefined
  /** Whether a request of the call has a line in the log, or a span. */
  isReported = false
  /** The number of responses in preparation. */
  pending = 0
  readonly #stream: ServerHttp2Stream
  readonly #options: CallOptions
  readonly #encoding: string
  readonly #answerEncoding: string
  #over: PromiseWithResolvers<void> | undefined
  #reader: MessageReader | undefined
  #onTick: (() => void) | undefined
  /** Whether the connection was ending and no response was due at the last tick. */
  #mayEnd = false
  #timer: NodeJS.Timeout | undefined
  readonly #unread = new Set<NodeJS.Timeout>()
  #isCutOff = false
  /** The memory of responses that have been written, but not sent. */
  readonly #unsent = new Set<Reservation>()
  #received: Received | undefined

  constructor(stream: ServerHttp2Stream, head: RequestHead, options: CallOptions) {
    this.#stream = stream
    this.#options = options
    this.head = head
    this.#encoding = String(head.headers['grpc-encoding'] ?? 'identity')
    this.#answerEncoding = accepts(head, this.#encoding) ? this.#encoding : 'identity'
    const arrived = performance.now()
    this.deadline = arrived + timeoutOf(head)
    this.caller = {
      arrived,
      deadline: Math.min(arrived + this.requestTimeoutMs, this.deadline),
      gone: false,
      traceparent: head.headers.traceparent as string | undefined,
    }
  }

  get requestTimeoutMs(): number {
    return this.#options.config.requestTimeoutMs
  }

  get path(): string {
    return this.head.url ?? ''
  }

  get isOver(): boolean {
    // A stream that its client has reset is closed at once, and destroyed later.
    return this.status !== undefined || this.#stream.closed || this.#stream.destroyed
  }

  get over(): Promise<void> {
    this.#over ??= Promise.withResolvers()
    return this.#over.promise
  }

  /** Whether no message is being read or answered. */
  get isIdle(): boolean {
    return this.pending === 0 && this.#reader?.isIdle !== false
  }

  /** Whether the connection accepts no new calls: long calls then end once they are idle. */
  get isConnectionEnding(): boolean {
    return this.#stream.session?.closed !== false
  }

  /** Called several times per second during a long call. */
  set onTick(onTick: () => void) {
    this.#onTick = onTick
    LONG_CALLS.add(this)
  }

  tick(): void {
    // Call onTick first: a watch must report the shutdown before the watch ends.
    this.#onTick?.()
    const mayEnd = this.isConnectionEnding && this.isIdle
    if (mayEnd && this.#mayEnd)
      this.end({
        code: UNAVAILABLE,
        message: 'the connection is closing; retry the call on a new connection',
      })
    this.#mayEnd = mayEnd
  }

  /** @throws {Refused} if the call's metadata cannot be read */
  checkMetadata(): void {
    if (Number.isNaN(this.deadline))
      throw new Refused(
        'BAD_HTTP',
        `grpc-timeout is ${show(this.head.headers['grpc-timeout'])}; it must be one to eight digits and a unit: H, M, S, m, u or n`,
      )
    if (!ENCODINGS.has(this.#encoding))
      throw new Refused(
        'UNSUPPORTED_MEDIA_TYPE',
        `grpc-encoding ${show(this.#encoding)} is not supported; send identity, gzip or deflate`,
      )
  }

  /**
   * Starts reading messages. If `expectsMessage`, the first message must arrive in time.
   * @throws {Cancelled}
   */
  open({ expectsMessage }: { readonly expectsMessage: boolean }): void {
    const stream = this.#stream
    if (stream.destroyed) throw new Cancelled()
    stream.on('close', () => this.#closed())
    this.#setDeadline()
    const { memory, config } = this.#options
    this.#reader = new MessageReader(stream, {
      memory,
      maxBytes: config.maxBodyBytes,
      longestMs: config.requestTimeoutMs,
      decoder: decoderOf(this.#encoding),
    })
    if (expectsMessage) this.#reader.expectMessage()
  }

  /**
   * @returns the next message; undefined after the last
   * @throws {Refused|BadRequest|Overloaded} @throws {Cancelled}
   */
  async read(): Promise<Received | undefined> {
    return this.#reader?.next()
  }

  /** @throws {Refused} if the call does not have exactly one message */
  async readOnly(): Promise<Received> {
    const received = await this.read()
    if (received === undefined)
      throw new Refused('BAD_FRAME', 'the call has no message; send exactly one')
    if (this.#reader?.hasMore) {
      received.reservation.release()
      throw new Refused('BAD_FRAME', 'the call has more than one message; send exactly one')
    }
    this.#received = received
    return received
  }

  /**
   * Sends a message. Resolves when the next may be sent.
   * @param reservation the message's memory, released after sending
   */
  async send(parts: readonly Uint8Array[], reservation?: Reservation): Promise<void> {
    const frame = await this.#frame(parts)
    if (this.isOver) {
      reservation?.release()
      return
    }
    if (!this.#stream.headersSent)
      this.#stream.respond(
        {
          ':status': 200,
          'content-type': CONTENT_TYPE,
          'grpc-accept-encoding': ACCEPTED,
          ...(this.#answerEncoding !== 'identity' && { 'grpc-encoding': this.#answerEncoding }),
          ...requestIdOf(this.head),
        },
        { waitForTrailers: true },
      )
    const isFull = this.#write(frame, reservation)
    if (isFull && this.#stream.writableNeedDrain) await this.#untilDrained()
  }

  /** @returns whether the client must read before the server writes more */
  #write(frame: readonly Uint8Array[], reservation: Reservation | undefined): boolean {
    const stream = this.#stream
    let isSent = false
    let isFull = false
    let late: NodeJS.Timeout | undefined
    if (reservation !== undefined) this.#unsent.add(reservation)
    stream.cork()
    for (const [i, part] of frame.entries()) {
      const isLast = i === frame.length - 1
      const sent = (error?: Error | null) => {
        isSent = true
        if (!error) for (const part of frame) freeOwn(part)
        this.#stopWaiting(late)
        if (reservation !== undefined) this.#unsent.delete(reservation)
        reservation?.release()
      }
      isFull = !stream.write(part, isLast ? sent : undefined) || isFull
    }
    stream.uncork()
    // Node passes the bytes to the socket at the end of this turn of the event loop.
    setImmediate(() => {
      if (!isSent && !stream.destroyed) late = this.#waitForReader(reservation)
    })
    return isFull
  }

  /** Cuts off a client that does not read in time, as over HTTP/1.1. @returns the timer */
  #waitForReader(reservation: Reservation | undefined): NodeJS.Timeout {
    const close = () => {
      // Several responses may be unread.
      if (!this.#isCutOff) cutOff(this.#stream)
      this.#isCutOff = true
      reservation?.release()
    }
    reservation?.waitForReader(close)
    const late: NodeJS.Timeout = setTimeout(afterReading, this.requestTimeoutMs, () => {
      // The client may have just read the response.
      if (this.#unread.delete(late)) close()
    })
    this.#unread.add(late)
    return late
  }

  #stopWaiting(late: NodeJS.Timeout | undefined): void {
    if (late === undefined) return
    clearTimeout(late)
    this.#unread.delete(late)
  }

  end(status: Status = OK): void {
    const stream = this.#stream
    if (this.isOver) return
    this.status = status
    if (stream.headersSent) {
      stream.once('wantTrailers', () => {
        if (stream.closed) return
        stream.sendTrailers(trailersOf(status))
        dropRest(stream)
      })
      stream.end()
    } else {
      const head = { ':status': 200, 'content-type': CONTENT_TYPE, ...requestIdOf(this.head) }
      const accepts = { 'grpc-accept-encoding': ACCEPTED }
      stream.respond({ ...head, ...accepts, ...trailersOf(status) }, { endStream: true })
      dropRest(stream)
    }
    this.#reader?.stop()
  }

  cancel(): void {
    if (this.status !== undefined) return
    this.#reader?.stop()
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_CANCEL)
  }

  #setDeadline(): void {
    if (this.deadline === Number.POSITIVE_INFINITY) return
    this.#timer = setTimeout(() => this.#expire(), delayUntil(this.deadline))
  }

  #expire(): void {
    hangUp(this.caller)
    this.end({ code: DEADLINE_EXCEEDED, message: 'the deadline passed (grpc-timeout)' })
  }

  #closed(): void {
    this.#over?.resolve()
    clearTimeout(this.#timer)
    for (const late of this.#unread) clearTimeout(late)
    this.#received?.reservation.release()
    // If the connection closes, Node may never report the end of a write.
    for (const reservation of this.#unsent) reservation.release()
    this.#unsent.clear()
    this.#reader?.stop()
    LONG_CALLS.delete(this)
    if (this.status === undefined) hangUp(this.caller)
  }

  /** @returns the message in parts, with its prefix */
  async #frame(parts: readonly Uint8Array[]): Promise<readonly Uint8Array[]> {
    const size = sizeOf(parts)
    if (this.#answerEncoding === 'identity' || !isWorthCompressing(size))
      return frameOf(parts, false)
    const message = { body: parts, headers: {} }
    const compressed = await COMPRESSOR.compress(message, size, this.#answerEncoding)
    return compressed === undefined ? frameOf(parts, false) : frameOf([compressed.body], true)
  }

  /** @throws {Cancelled} */
  #untilDrained(): Promise<void> {
    const stream = this.#stream
    return new Promise((resolve, reject) => {
      const settle = () => {
        stream.off('drain', settle)
        stream.off('close', settle)
        if (stream.destroyed) reject(new Cancelled())
        else resolve()
      }
      stream.on('drain', settle)
      stream.on('close', settle)
    })
  }
}

/** Reads grpc-timeout. @returns milliseconds; NaN if the header is not valid */
function timeoutOf({ headers }: RequestHead): number {
  const timeout = headers['grpc-timeout']
  if (timeout === undefined) return Number.POSITIVE_INFINITY
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(String(timeout)) ?? []
  return Number(digits) * (UNIT_MS[unit] ?? Number.NaN)
}

const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
}

/** Clients that send no grpc-accept-encoding accept the encoding of their own messages. */
function accepts({ headers }: RequestHead, encoding: string): boolean {
  const accepted = headers['grpc-accept-encoding'] as string | undefined
  return accepted === undefined || accepted.split(',').some(name => name.trim() === encoding)
}

function requestIdOf({ headers }: RequestHead): OutgoingHttpHeaders {
  const id = headers['x-request-id']
  return id === undefined ? {} : { 'x-request-id': id }
}

const sizeOf = (parts: readonly Uint8Array[]) =>
  parts.reduce((sum, { byteLength }) => sum + byteLength, 0)

function frameOf(parts: readonly Uint8Array[], isCompressed: boolean): readonly Uint8Array[] {
  const size = sizeOf(parts)
  const prefix = Buffer.allocUnsafe(5)
  prefix[0] = Number(isCompressed)
  prefix.writeUInt32BE(size, 1)
  return size <= MOST_JOINED ? [Buffer.concat([prefix, ...parts], 5 + size)] : [prefix, ...parts]
}

/** How often long calls check for changes, such as for clients of Watch. */
const TICK_MS = 250

/**
 * Streams of inference requests, and health watches. One timer polls for all of them: neither
 * readiness nor the end of a connection emits an event.
 */
class LongCalls {
  readonly #calls = new Set<Call>()
  #timer: NodeJS.Timeout | undefined

  add(call: Call): void {
    this.#calls.add(call)
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS).unref()
  }

  delete(call: Call): void {
    this.#calls.delete(call)
    if (this.#calls.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  #tick(): void {
    for (const call of this.#calls) call.tick()
  }
}

const LONG_CALLS = new LongCalls()
