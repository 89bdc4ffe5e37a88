import type { Http2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { type Answer, type AnswerMemory, type Caller, Refused, sizeOf } from '../answer.ts'
import { BadRequest, Overloaded } from '../protocol/errors.ts'
import {
  type Arrival,
  type Arriving,
  LEAST_BYTES,
  LEAST_BYTES_MS,
  type Needing,
} from './arrivals.ts'
import { type Decoder, decoderOf } from './compression.ts'
import type { RequestHead } from './head.ts'
import { type BodyMemory, FULL, Reservation, SMALL_BYTES } from './memory.ts'
import { HungUp, type RequestBody } from './respond.ts'

const INFLATED_CHUNK_BYTES = 64 * 1024

/** Larger than the buffer that Node reads into, which bodies share. */
const FREED_BYTES = 2 ** 20

export const declaredLength = ({ headers }: Pick<RequestHead, 'headers'>): number =>
  Number(headers['content-length'] ?? 0)

/** A body's stream: HTTP/1.1 streams have a socket, HTTP/2 streams have a session. */
export type BodyStream = Readable & {
  readonly socket?: Socket | undefined
  readonly session?: Http2Session | undefined
}

/** The address of a body's client; undefined after its connection closed. */
export const addressOf = ({ socket, session }: BodyStream): string | undefined =>
  session?.destroyed === false ? session.socket.remoteAddress : socket?.remoteAddress

/** The source of a body. */
export interface BodySource {
  readonly head: RequestHead
  readonly stream: BodyStream
  readonly response: {
    /** Asks the client for a body that it holds back (100-continue). */
    writeContinue(): void
  }
}

/** The body of one HTTP request, read within the limits and counted in the memory for bodies. */
export class IncomingBody implements RequestBody, AnswerMemory, Arriving, Needing {
  /**
   * The memory counted for the body, then for the answer. Undefined before the body is read and
   * after release.
   */
  reservation: Reservation | undefined
  /** Set while a body arrives in more than one piece. */
  #arrival: Arrival | undefined
  #refuse: (error: Error) => void = () => {}
  /** The whole body has been read, even if Node's parser reports that only later in this turn. */
  wasRead = false
  readonly #source: BodySource
  readonly #memory: BodyMemory
  readonly #maxBytes: number
  #bytes: Uint8Array | undefined

  constructor(source: BodySource, memory: BodyMemory, maxBytes: number) {
    this.#source = source
    this.#memory = memory
    this.#maxBytes = maxBytes
  }

  /**
   * @returns the body, inflated
   * @throws {Refused} 413 if it is too large, 415 if its encoding is unknown
   * @throws {BadRequest} if it does not match its Content-Encoding
   * @throws {Overloaded} if other requests' bodies fill the memory
   * @throws {HungUp} if the client closes the connection before the whole body arrived
   */
  async read(): Promise<Uint8Array> {
    const { head, stream, response } = this.#source
    // The client may have left during authentication; reading would then wait forever.
    if (stream.destroyed) throw new HungUp()
    const decoder = decoderOf(head.headers['content-encoding'])
    const length = declaredLength(head)
    if (length > this.#maxBytes) throw tooLarge('body', this.#maxBytes)
    // Not earlier: a request that is refused needs no body.
    if (head.headers.expect !== undefined && head.httpVersion !== '1.0') response.writeContinue()
    this.reservation = new Reservation(this.#memory)
    await undefined
    const received = await this.#receive(length)
    this.#bytes = decoder === undefined ? received : await inflate(decoder, received, this.#growth)
    this.wasRead = true
    return this.#bytes
  }

  expectAnswer(bytes: number, caller: Caller): Promise<void> | undefined {
    return this.reservation?.expectAnswer(bytes, caller)
  }

  /**
   * Hands the body's place in memory to the answer.
   * @throws {Overloaded} if the answer is larger and other requests fill the memory
   */
  becomeAnswer({ body }: Answer): void {
    if (this.#bytes !== undefined) freeBody(this.#bytes)
    this.#bytes = undefined
    this.reservation?.becomeAnswer(sizeOf(body))
  }

  release(): void {
    this.reservation?.release()
    this.reservation = undefined
  }

  get bytes(): number {
    return this.reservation?.bytes ?? 0
  }

  get address(): string | undefined {
    return addressOf(this.#source.stream)
  }

  /** For a complete body; an arriving one has an Arrival. */
  get lately(): number {
    return Number.POSITIVE_INFINITY
  }

  onStalled(): void {
    this.#refuse(stalled('body'))
  }

  onEvicted(): void {
    this.#refuse(new Overloaded(FULL))
    this.reservation?.release()
  }

  #receive(length: number): Buffer | Promise<Buffer> {
    // Most bodies arrive in one packet with their head and are complete by now. Reading them as a
    // stream would cost 2 µs more, of the 25 µs of an inference.
    const { stream } = this.#source
    // Without a body, an HTTP/2 stream may have ended by now.
    if (stream.readableEnded) return Buffer.alloc(0)
    if (length > 0 && stream.readableLength === length) {
      this.reservation?.add(length, this)
      return stream.read()
    }
    return this.#collect(length)
  }

  async #collect(length: number): Promise<Buffer> {
    const { arrivals } = this.#memory
    const arrival = arrivals.begin(this)
    this.#arrival = arrival
    const onBytes = (bytes: number) => arrival.add(bytes, length)
    const collector = new Collector(length, { ...this.#growth, onBytes })
    const onBegun = (refuse: (error: Error) => void) => {
      this.#refuse = refuse
    }
    try {
      return await collect(this.#source.stream, collector, {
        broken: () => new HungUp(),
        onBegun,
      })
    } finally {
      arrivals.end(arrival)
      this.#arrival = undefined
    }
  }

  get #growth(): Growth {
    return {
      what: 'body',
      maxBytes: this.#maxBytes,
      reserve: bytes => this.reservation?.add(bytes, this.#arrival ?? this),
    }
  }
}

/** Limits on the growth of a body or message while it is read. */
export interface Growth {
  readonly what: 'body' | 'message'
  readonly maxBytes: number
  /** Counts memory before it is allocated. @throws {Overloaded} */
  readonly reserve: (bytes: number) => void
  /** Called when bytes arrive. */
  readonly onBytes?: (bytes: number) => void
}

/**
 * Inflates piece by piece, so that the limits apply while it grows.
 * @throws {Refused} if it is too large
 * @throws {BadRequest} if it is not valid in its encoding
 */
export async function inflate(
  { name, create }: Decoder,
  compressed: Uint8Array,
  growth: Growth,
): Promise<Buffer> {
  const inflater = create({ chunkSize: INFLATED_CHUNK_BYTES })
  inflater.end(compressed)
  try {
    return await collect(inflater, new Collector(0, growth), {
      broken: error =>
        new BadRequest(`the ${growth.what} is not valid ${name} data: ${error.message}`),
    })
  } finally {
    inflater.destroy()
  }
}

/**
 * Collects chunks in one buffer: a body may arrive in chunks of one byte, and each chunk takes 500
 * bytes more (measured). The whole buffer is counted. It grows with the bytes received, so an
 * announced length alone takes no memory.
 */
class Collector {
  readonly #expected: number
  readonly #growth: Growth
  #buffer: Buffer = Buffer.alloc(0)
  #size = 0

  /** @param expected size in bytes, 0 if unknown */
  constructor(expected: number, growth: Growth) {
    this.#expected = expected
    this.#growth = growth
  }

  /** @throws {Refused} 413 @throws {Overloaded} */
  add(chunk: Buffer): void {
    const total = this.#size + chunk.byteLength
    const { what, maxBytes, reserve, onBytes } = this.#growth
    if (total > maxBytes) throw tooLarge(what, maxBytes)
    onBytes?.(chunk.byteLength)
    if (this.#size === 0) {
      reserve(chunk.byteLength)
      this.#buffer = chunk
    } else {
      if (total > this.#buffer.byteLength) this.#grow(total)
      this.#buffer.set(chunk, this.#size)
    }
    this.#size = total
  }

  #grow(least: number): void {
    const { maxBytes, reserve } = this.#growth
    const room = Math.max(least, roomFor(least, this.#expected || maxBytes))
    reserve(room - this.#buffer.byteLength)
    const grown = Buffer.allocUnsafeSlow(room)
    grown.set(this.#buffer.subarray(0, this.#size))
    freeBody(this.#buffer)
    this.#buffer = grown
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#size)
  }

  discard(): void {
    freeBody(this.#buffer)
    this.#buffer = Buffer.alloc(0)
    this.#size = 0
  }
}

interface Collecting {
  /** The error to throw if the stream fails. */
  readonly broken: (error: Error) => Error
  /** Receives a function that ends the collection early. */
  readonly onBegun?: (refuse: (error: unknown) => void) => void
}

/** Collects a whole stream. */
function collect(
  stream: Readable,
  collector: Collector,
  { broken, onBegun }: Collecting,
): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const refuse = (error: unknown) => {
      stream.removeAllListeners('data')
      // The stream may still emit 'end'.
      collector.discard()
      reject(error)
    }
    onBegun?.(refuse)
    stream.on('data', chunk => {
      try {
        collector.add(chunk)
      } catch (error) {
        refuse(error)
      }
    })
    stream.on('end', () => resolve(collector.bytes))
    stream.on('error', error => reject(broken(error)))
    // An HTTP/2 stream that its client cancels emits neither 'end' nor 'error'.
    stream.on('close', () => reject(broken(new Error('it was closed before its end'))))
  })
}

export const tooLarge = (what: Growth['what'], maxBytes: number) =>
  new Refused(
    'BODY_TOO_LARGE',
    `the ${what} is larger than the ${maxBytes} bytes allowed (MAX_BODY_BYTES)`,
  )

export const stalled = (what: Growth['what']) =>
  new Refused(
    'TOO_SLOW',
    `less than ${LEAST_BYTES} bytes of the ${what} arrived in ${LEAST_BYTES_MS / 1_000} s`,
  )

/** Limits on the memory allocated ahead of the bytes of a small body. */
const LEAST_AHEAD_BYTES = 4 * 1024
const MOST_AHEAD_BYTES = 16 * 1024

/**
 * The memory to allocate for a body with `bytes` received of at most `most`, in proportion to the
 * bytes received. An announced body may never come, and V8 collects garbage for it: 128
 * announcements of 64 MiB blocked all requests for seconds. Small bodies get little extra, because
 * many of them share their room; large ones get more, so that they are copied less often.
 */
export function roomFor(bytes: number, most: number): number {
  const ahead = bytes <= SMALL_BYTES ? Math.min(bytes, MOST_AHEAD_BYTES) : bytes
  return Math.min(most, bytes + Math.max(ahead, LEAST_AHEAD_BYTES))
}

/** Frees a large buffer at once, without waiting for the garbage collector. */
export function freeBody({ buffer }: Uint8Array): void {
  if (buffer.byteLength > FREED_BYTES) (buffer as ArrayBuffer).transfer(0)
}
