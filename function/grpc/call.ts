import { constants, type OutgoingHttpHeaders, type ServerHttp2Stream } from 'node:http2'
import { deflate, gzip } from 'node:zlib'
import { type Caller, hangUp, Refused } from '../answer.ts'
import type { Config } from '../config/config.ts'
import { type Decoder, decoderOf, isWorthCompressing } from '../http/compression.ts'
import type { RequestHead } from '../http/head.ts'
import type { BodyMemory, Reservation } from '../http/memory.ts'
import { show } from '../protocol/json.ts'
import { LONGEST_TIMER_MS } from '../timer.ts'
import { Cancelled, MessageReader, type Received } from './frames.ts'
import { DEADLINE_EXCEEDED, OK, type Status, trailersOf, UNAVAILABLE } from './status.ts'

/** Dependencies of a call. */
export interface CallOptions {
  readonly memory: BodyMemory
  readonly config: Pick<Config, 'maxBodyBytes' | 'requestTimeoutMs'>
}

const CONTENT_TYPE = 'application/grpc'
const ACCEPTED = 'identity,deflate,gzip'

/** Messages up to this size are sent in one piece: a write to a stream costs more than the copy. */
const MOST_JOINED = 16 * 1024

/** One call: its messages, answers, status and deadline. */
export class Call {
  readonly head: RequestHead
  readonly caller: Caller
  /** From grpc-timeout, by performance.now(). */
  readonly deadline: number
  /** Undefined until the call is over. */
  status: Status | undefined
  /** Number of answers being made. */
  pending = 0
  readonly #stream: ServerHttp2Stream
  readonly #options: CallOptions
  readonly #encoding: string
  readonly #over = Promise.withResolvers<void>()
  #reader: MessageReader | undefined
  #onTick: (() => void) | undefined
  /** At the last tick, the connection was ending and no answer was due. */
  #mayEnd = false
  #timer: NodeJS.Timeout | undefined
  /** Cuts off a client that does not read. */
  #slow: NodeJS.Timeout | undefined
  #received: Received | undefined

  constructor(stream: ServerHttp2Stream, head: RequestHead, options: CallOptions) {
    this.#stream = stream
    this.#options = options
    this.head = head
    this.#encoding = String(head.headers['grpc-encoding'] ?? 'identity')
    const arrived = performance.now()
    this.deadline = arrived + timeoutOf(head)
    this.caller = {
      arrived,
      deadline: Math.min(arrived + this.requestTimeoutMs, this.deadline),
      gone: false,
      traceparent: head.headers.traceparent as string | undefined,
    }
    stream.once('close', () => this.#closed())
  }

  get requestTimeoutMs(): number {
    return this.#options.config.requestTimeoutMs
  }

  /** The method's path. */
  get path(): string {
    return this.head.url ?? ''
  }

  get isOver(): boolean {
    return this.status !== undefined || this.#stream.destroyed
  }

  /** Resolves when the call is over. */
  get over(): Promise<void> {
    return this.#over.promise
  }

  /** No message is being read or answered. */
  get isIdle(): boolean {
    return this.pending === 0 && this.#reader?.isIdle !== false
  }

  /** The connection accepts no new calls; long calls end when they are idle. */
  get isConnectionEnding(): boolean {
    return this.#stream.session?.closed !== false
  }

  /** Called several times a second during a long call. */
  set onTick(onTick: () => void) {
    this.#onTick = onTick
    LONG_CALLS.add(this)
  }

  tick(): void {
    // First, because a watch must report that the server is ending before the watch itself ends.
    this.#onTick?.()
    const mayEnd = this.isConnectionEnding && this.isIdle
    if (mayEnd && this.#mayEnd)
      this.end({ code: UNAVAILABLE, message: 'the connection is ending; call again' })
    this.#mayEnd = mayEnd
  }

  /**
   * Starts to read messages. With `expectsMessage`, the first one must arrive in time.
   * @throws {Refused} if the call's metadata cannot be read
   */
  open({ expectsMessage }: { readonly expectsMessage: boolean }): void {
    this.#setDeadline()
    if (this.#stream.destroyed) throw new Cancelled()
    const { memory, config } = this.#options
    this.#reader = new MessageReader(this.#stream, {
      memory,
      maxBytes: config.maxBodyBytes,
      longestMs: config.requestTimeoutMs,
      decoder: this.#decoder(),
    })
    if (expectsMessage) this.#reader.expectMessage()
  }

  /**
   * @returns the next message; undefined after the last one
   * @throws {Refused|BadRequest|Overloaded|DeadlinePassed} @throws {Cancelled}
   */
  async read(): Promise<Received | undefined> {
    return this.#reader?.next()
  }

  /** @throws {Refused} if the call has no message, or more than one */
  async readOnly(): Promise<Received> {
    const received = await this.read()
    if (received === undefined) throw new Refused('BAD_FRAME', 'the call has no message')
    if (this.#reader?.hasMore) {
      received.reservation.release()
      throw new Refused('BAD_FRAME', 'the call has more than one message')
    }
    this.#received = received
    return received
  }

  /**
   * Sends a message. Resolves when the next one may be sent.
   * @param reservation of its memory, released after sending
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
          ...(this.#encoding !== 'identity' && { 'grpc-encoding': this.#encoding }),
          ...requestIdOf(this.head),
        },
        { waitForTrailers: true },
      )
    const isFull = this.#write(frame, reservation)
    if (isFull && this.#stream.writableNeedDrain) await this.#untilDrained()
  }

  /** @returns whether the client must read before more is written */
  #write(frame: readonly Uint8Array[], reservation: Reservation | undefined): boolean {
    const stream = this.#stream
    let isSent = false
    let isFull = false
    stream.cork()
    for (const [i, part] of frame.entries()) {
      const isLast = i === frame.length - 1
      const sent = () => {
        isSent = true
        reservation?.release()
      }
      isFull = !stream.write(part, isLast ? sent : undefined) || isFull
    }
    stream.uncork()
    // Node hands the bytes to the socket at the end of this turn.
    setImmediate(() => {
      if (!isSent && !stream.destroyed) this.#waitForReader(reservation)
    })
    return isFull
  }

  /** Cuts off a client that does not read its answers, as over HTTP/1.1. */
  #waitForReader(reservation: Reservation | undefined): void {
    const stream = this.#stream
    const cutOff = () => {
      stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
      reservation?.release()
    }
    reservation?.waitForReader(cutOff)
    if (this.#slow !== undefined) return
    const before = stream.writableLength
    this.#slow = setTimeout(() => {
      this.#slow = undefined
      if (stream.writableLength >= before) cutOff()
      else if (stream.writableLength > 0) this.#waitForReader(undefined)
    }, this.requestTimeoutMs)
  }

  /** Ends the call. */
  end(status: Status = OK): void {
    const stream = this.#stream
    if (this.isOver) return
    this.status = status
    if (stream.headersSent) {
      stream.once('wantTrailers', () => {
        stream.sendTrailers(trailersOf(status))
        this.#dropRest()
      })
      stream.end()
    } else {
      const head = { ':status': 200, 'content-type': CONTENT_TYPE, ...requestIdOf(this.head) }
      const accepts = { 'grpc-accept-encoding': ACCEPTED }
      stream.respond({ ...head, ...accepts, ...trailersOf(status) }, { endStream: true })
      this.#dropRest()
    }
    this.#reader?.stop()
  }

  /** The client no longer waits for the call. */
  cancel(): void {
    if (this.status !== undefined) return
    this.#reader?.stop()
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_CANCEL)
  }

  /**
   * Drops the rest of the request (RFC 9113 section 8.1). Clients stop by themselves when they read
   * the status; closing the stream at once could lose the status.
   */
  #dropRest(): void {
    const stream = this.#stream
    stream.resume()
    if (stream.readableEnded) return
    const late = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), STOP_MS)
    stream.once('close', () => clearTimeout(late))
  }

  /** @throws {Refused} UNIMPLEMENTED, naming the supported encodings */
  #decoder(): Decoder | undefined {
    if (this.#encoding === 'identity' || this.#encoding === 'gzip' || this.#encoding === 'deflate')
      return decoderOf(this.#encoding)
    throw new Refused(
      'UNSUPPORTED_MEDIA_TYPE',
      `grpc-encoding ${show(this.#encoding)} is not supported; send identity, gzip or deflate`,
    )
  }

  #setDeadline(): void {
    if (this.deadline === Number.POSITIVE_INFINITY) return
    if (Number.isNaN(this.deadline))
      throw new Refused(
        'BAD_HTTP',
        `grpc-timeout is ${show(this.head.headers['grpc-timeout'])}; it must be up to eight digits and one of H, M, S, m, u, n`,
      )
    const ms = Math.max(this.deadline - performance.now(), 0)
    this.#timer = setTimeout(() => this.#expire(), Math.min(ms, LONGEST_TIMER_MS))
  }

  #expire(): void {
    hangUp(this.caller)
    this.end({ code: DEADLINE_EXCEEDED, message: 'the deadline passed (grpc-timeout)' })
  }

  #closed(): void {
    this.#over.resolve()
    clearTimeout(this.#timer)
    clearTimeout(this.#slow)
    this.#received?.reservation.release()
    LONG_CALLS.delete(this)
    if (this.status === undefined) hangUp(this.caller)
  }

  /** @returns the message as sent, with its prefix */
  async #frame(parts: readonly Uint8Array[]): Promise<readonly Uint8Array[]> {
    const size = sizeOf(parts)
    if (this.#encoding === 'identity' || !isWorthCompressing(size)) return frameOf(parts, false)
    const compressed = await compress(this.#encoding, Buffer.concat(parts, size))
    return compressed.byteLength < size ? frameOf([compressed], true) : frameOf(parts, false)
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

/** @returns milliseconds; NaN if the header is not valid */
function timeoutOf({ headers }: RequestHead): number {
  const timeout = headers['grpc-timeout']
  if (timeout === undefined) return Number.POSITIVE_INFINITY
  const [, digits, unit = ''] = /^(\d{1,8})([HMSmun])$/.exec(String(timeout)) ?? []
  return Number(digits) * (UNIT_MS[unit] ?? Number.NaN)
}

/** How long a client may go on sending after its call has ended. */
const STOP_MS = 100

const UNIT_MS: Readonly<Record<string, number>> = {
  H: 3_600_000,
  M: 60_000,
  S: 1_000,
  m: 1,
  u: 1e-3,
  n: 1e-6,
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

const compress = (encoding: string, bytes: Uint8Array): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const run = encoding === 'gzip' ? gzip : deflate
    run(bytes, (error, result) => (error === null ? resolve(result) : reject(error)))
  })

/** How often long calls check for changes. Probes that watch expect changes within this time. */
const TICK_MS = 250

/**
 * Long calls: streams of inference requests, and health watches. One timer polls for all of them,
 * because neither readiness nor the end of a connection emits an event.
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
