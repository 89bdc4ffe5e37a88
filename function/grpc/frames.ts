import type { ServerHttp2Stream } from 'node:http2'
import { Refused } from '../answer.ts'
import { afterReading } from '../http/after-reading.ts'
import type { Arrival, Arriving, Needing } from '../http/arrivals.ts'
import { addressOf, inflate, ownBuffer, roomFor, stalled, tooLarge } from '../http/body.ts'
import type { Decoder } from '../http/compression.ts'
import { type BodyMemory, FULL, Reservation } from '../http/memory.ts'
import { freeOwn } from '../inference/transfer.ts'
import { Overloaded } from '../protocol/errors.ts'

/** The client cancelled the call or closed the connection, so no response is sent. */
export class Cancelled extends Error {}

/** Created once: a stack trace takes a twentieth of the time of a call. */
const STOPPED = new Cancelled()

/** A message, whose memory stays reserved until it is answered. */
export interface Received {
  readonly message: Uint8Array
  readonly reservation: Reservation
}

export interface ReaderOptions {
  readonly memory: BodyMemory
  readonly maxBytes: number
  /**
   * The time limit of a message from its first byte; of a call's only message, from the start of
   * the call.
   */
  readonly longestMs: number
  readonly decoder: Decoder | undefined
}

interface Waiting extends Received {
  readonly isCompressed: boolean
}

/** One byte says whether the message is compressed; four bytes contain its length. */
const PREFIX_BYTES = 5

/** When this many messages wait, the stream pauses. */
const MOST_WAITING = 16

/**
 * Reads a call's messages. Copies a small message once, from the socket's buffer, and a large one
 * into memory that grows. Messages end at a multiple of eight bytes, to align the raw tensor
 * contents in their last field for ONNX Runtime.
 */
export class MessageReader implements Arriving {
  readonly #stream: ServerHttp2Stream
  readonly #options: ReaderOptions
  readonly #prefix = Buffer.alloc(PREFIX_BYTES)
  #prefixBytes = 0
  #message: Buffer | undefined
  #length = 0
  #messageBytes = 0
  #isCompressed = false
  #reservation: Reservation
  readonly #waiting: Waiting[] = []
  #error: unknown
  #ended = false
  #wake: (() => void) | undefined
  #late: NodeJS.Timeout | undefined
  #arrival: Arrival | undefined
  #isInflating = false

  constructor(stream: ServerHttp2Stream, options: ReaderOptions) {
    this.#stream = stream
    this.#options = options
    this.#reservation = new Reservation(options.memory)
    stream.on('data', (chunk: Buffer) => this.#take(chunk))
    stream.on('end', () => this.#end())
    // After RST_STREAM with NO_ERROR, Node keeps a paused stream open until it is read.
    stream.on('aborted', () => {
      this.stop()
      stream.resume()
    })
    stream.on('close', () => {
      if (!this.#ended) this.#fail(STOPPED)
    })
  }

  /** Whether no message, even a partial one, is waiting or being decompressed. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#prefixBytes === 0 && !this.#isInflating
  }

  get hasMore(): boolean {
    return this.#waiting.length > 0
  }

  get bytes(): number {
    return this.#reservation.bytes
  }

  get address(): string | undefined {
    return addressOf(this.#stream)
  }

  onStalled(): void {
    this.#fail(stalled('message'))
  }

  onEvicted(): void {
    this.#fail(new Overloaded(FULL))
  }

  expectMessage(): void {
    if (this.#arrival !== undefined) return
    this.#arrival = this.#options.memory.arrivals.begin(this)
    const late = () => {
      if (this.#late !== timer) return
      this.#fail(new Refused('TOO_SLOW', 'no message arrived within REQUEST_TIMEOUT_MS'))
    }
    const timer = setTimeout(afterReading, this.#options.longestMs, late)
    this.#late = timer
  }

  #expectNothing(): void {
    clearTimeout(this.#late)
    this.#late = undefined
    if (this.#arrival !== undefined) this.#options.memory.arrivals.end(this.#arrival)
    this.#arrival = undefined
  }

  /**
   * @returns the next message; undefined after the last
   * @throws {Refused|Overloaded} @throws {Cancelled}
   */
  async next(): Promise<Received | undefined> {
    while (this.#waiting.length === 0) {
      if (this.#error !== undefined) throw this.#error
      if (this.#ended) return undefined
      await new Promise<void>(resolve => {
        this.#wake = resolve
      })
    }
    const received = this.#waiting.shift() as Waiting
    if (this.#stream.isPaused()) {
      if (this.#prefixBytes > 0) this.expectMessage()
      this.#stream.resume()
    }
    return received.isCompressed ? this.#inflate(received) : received
  }

  stop(): void {
    this.#fail(STOPPED)
    for (const { reservation } of this.#waiting.splice(0)) reservation.release()
  }

  #take(chunk: Buffer): void {
    if (this.#error !== undefined) return
    try {
      let at = 0
      while (at < chunk.length)
        at = this.#message === undefined ? this.#takePrefix(chunk, at) : this.#takeBytes(chunk, at)
    } catch (error) {
      this.#fail(error)
    }
    if (this.#waiting.length < MOST_WAITING) return
    this.#stream.pause()
    // While the stream is paused, no time limit applies: the client does not cause the delay.
    this.#expectNothing()
  }

  #takePrefix(chunk: Buffer, from: number): number {
    const size = Math.min(PREFIX_BYTES - this.#prefixBytes, chunk.length - from)
    this.#prefix.set(chunk.subarray(from, from + size), this.#prefixBytes)
    this.#prefixBytes += size
    if (this.#prefixBytes === PREFIX_BYTES) this.#begin()
    else this.expectMessage()
    return from + size
  }

  /** @throws {Refused} before any of the message is stored */
  #begin(): void {
    const { maxBytes, decoder } = this.#options
    const flag = this.#prefix[0] as number
    const length = this.#prefix.readUInt32BE(1)
    if (flag > 1)
      throw new Refused('BAD_FRAME', `a message begins with the byte ${flag}; it must be 0 or 1`)
    if (flag === 1 && decoder === undefined)
      throw new Refused('BAD_FRAME', 'a message is compressed, but grpc-encoding names no encoding')
    if (length > maxBytes) throw tooLarge('message', maxBytes)
    this.#isCompressed = flag === 1
    this.#length = length
    this.#messageBytes = 0
    this.#message = this.#allocate(0)
    if (length === 0) this.#complete()
  }

  #takeBytes(chunk: Buffer, from: number): number {
    const size = Math.min(this.#length - this.#messageBytes, chunk.length - from)
    this.#arrival?.add(size, this.#length)
    const message = this.#withRoom(this.#messageBytes + size)
    message.set(chunk.subarray(from, from + size), this.#messageBytes)
    this.#messageBytes += size
    if (this.#messageBytes === this.#length) this.#complete()
    else this.expectMessage()
    return from + size
  }

  #withRoom(bytes: number): Buffer {
    const message = this.#message as Buffer
    if (bytes <= message.length) return message
    const grown = this.#allocate(bytes)
    grown.set(message.subarray(0, this.#messageBytes))
    freeOwn(message)
    this.#message = grown
    return grown
  }

  /** Without an arrival, the message is complete. */
  get #needing(): Needing {
    return this.#arrival ?? { lately: Number.POSITIVE_INFINITY, address: this.address }
  }

  /** Allocates at least `bytes`, but not at once the whole length that the prefix announces. */
  #allocate(bytes: number): Buffer {
    const before = (8 - (this.#length % 8)) % 8
    const room = before + roomFor(bytes, this.#length)
    this.#reservation.add(room - (this.#message?.length ?? 0), this.#needing)
    return ownBuffer(Buffer.allocUnsafe(room)).subarray(before)
  }

  #complete(): void {
    this.#expectNothing()
    this.#waiting.push({
      message: this.#message as Buffer,
      reservation: this.#reservation,
      isCompressed: this.#isCompressed,
    })
    this.#message = undefined
    this.#prefixBytes = 0
    this.#reservation = new Reservation(this.#options.memory)
    this.#continue()
  }

  async #inflate({ message, reservation }: Received): Promise<Received> {
    const { decoder, maxBytes } = this.#options
    this.#isInflating = true
    try {
      const inflated = await inflate(decoder as Decoder, message, {
        what: 'message',
        maxBytes,
        reserve: bytes => reservation.add(bytes, this.#needing),
        checkClient: () => {
          if (this.#stream.closed) throw STOPPED
        },
      })
      // The call may have ended: no other code then releases the reservation.
      if (this.#stream.destroyed) throw STOPPED
      return { message: inflated, reservation }
    } catch (error) {
      reservation.release()
      throw error
    } finally {
      this.#isInflating = false
    }
  }

  #end(): void {
    if (this.#prefixBytes > 0)
      this.#fail(new Refused('BAD_FRAME', 'the call ends within a message'))
    this.#ended = true
    this.#continue()
  }

  #fail(error: unknown): void {
    this.#error ??= error
    this.#expectNothing()
    this.#message = undefined
    this.#reservation.release()
    this.#continue()
  }

  #continue(): void {
    this.#wake?.()
    this.#wake = undefined
  }
}
