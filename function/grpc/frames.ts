import type { ServerHttp2Stream } from 'node:http2'
import { Refused } from '../answer.ts'
import { afterReading } from '../http/after-reading.ts'
import type { Arrival, Arriving, Needing } from '../http/arrivals.ts'
import { addressOf, freeBody, inflate, roomFor, stalled, tooLarge } from '../http/body.ts'
import type { Decoder } from '../http/compression.ts'
import { type BodyMemory, FULL, Reservation } from '../http/memory.ts'
import { DeadlinePassed, Overloaded } from '../protocol/errors.ts'

/** The client cancelled the call or closed the connection, so no answer is sent. */
export class Cancelled extends Error {}

/** Created once: capturing a stack trace for each call would take a twentieth of its time. */
const STOPPED = new Cancelled()

/** One message of a call, with the memory counted for it until it is answered. */
export interface Received {
  readonly message: Uint8Array
  readonly reservation: Reservation
}

export interface ReaderOptions {
  readonly memory: BodyMemory
  readonly maxBytes: number
  /**
   * Time limit for a message from its first byte. For a call's only message, it starts with the
   * call.
   */
  readonly longestMs: number
  /** Inflates compressed messages. */
  readonly decoder: Decoder | undefined
}

/** A message as received. */
interface Waiting extends Received {
  readonly isCompressed: boolean
}

/** Before each message: one byte that says whether it is compressed, four with its length. */
const PREFIX_BYTES = 5

/** Most messages that may wait to be read; at this limit, the stream is paused. */
const MOST_WAITING = 16

/**
 * Reads the messages of a call. A small message is copied once, from the socket's buffer; a large
 * one goes into memory that grows. Its end is aligned to eight bytes, so that the raw tensor
 * contents in the last field are aligned as ONNX Runtime requires.
 */
export class MessageReader implements Arriving {
  readonly #stream: ServerHttp2Stream
  readonly #options: ReaderOptions
  readonly #prefix = Buffer.alloc(PREFIX_BYTES)
  #prefixBytes = 0
  #message: Buffer | undefined
  /** From the prefix. */
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
    stream.on('close', () => {
      if (!this.#ended) this.#fail(STOPPED)
    })
  }

  /** No message, nor part of one, is waiting or being inflated. */
  get isIdle(): boolean {
    return this.#waiting.length === 0 && this.#prefixBytes === 0 && !this.#isInflating
  }

  /** A message is waiting to be read. */
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

  /** From now on, the next message must arrive in time. */
  expectMessage(): void {
    if (this.#arrival !== undefined) return
    this.#arrival = this.#options.memory.arrivals.begin(this)
    const late = () => {
      // The message may have just arrived.
      if (this.#late !== timer) return
      this.#fail(new DeadlinePassed('no message arrived within REQUEST_TIMEOUT_MS'))
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
   * @returns undefined after the last message
   * @throws {Refused|Overloaded|DeadlinePassed} @throws {Cancelled}
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

  /** Stops reading; the rest of the call is ignored. */
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
    // No time limit while the stream is paused: the delay is not the client's.
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

  /** @throws {Refused} before storing any of the message, if it cannot be accepted */
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

  /** The message's memory, with room for at least `bytes`. */
  #withRoom(bytes: number): Buffer {
    const message = this.#message as Buffer
    if (bytes <= message.length) return message
    const grown = this.#allocate(bytes)
    grown.set(message.subarray(0, this.#messageBytes))
    freeBody(message)
    this.#message = grown
    return grown
  }

  /** Without an arrival, the message is complete. */
  get #needing(): Needing {
    return this.#arrival ?? { lately: Number.POSITIVE_INFINITY, address: this.address }
  }

  /** Allocates at least `bytes`, but not all that the prefix announces. */
  #allocate(bytes: number): Buffer {
    const before = (8 - (this.#length % 8)) % 8
    const room = before + roomFor(bytes, this.#length)
    this.#reservation.add(room - (this.#message?.length ?? 0), this.#needing)
    return Buffer.allocUnsafe(room).subarray(before)
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
      })
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
