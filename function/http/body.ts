import type { Http2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { type Answer, type AnswerMemory, type Caller, Refused, sizeOf } from '../answer.ts'
import { freeOwn, own } from '../inference/transfer.ts'
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

/** A larger buffer is freed at once. */
const FREED_BYTES = 64 * 1024

export const declaredLength = ({ headers }: Pick<RequestHead, 'headers'>): number =>
  Number(headers['content-length'] ?? 0)

/** HTTP/1.1 streams have a socket, HTTP/2 streams a session. */
export type BodyStream = Readable & {
  readonly socket?: Socket | undefined
  readonly session?: Http2Session | undefined
}

/** Returns the client's address; undefined after the connection has closed. */
export const addressOf = ({ socket, session }: BodyStream): string | undefined =>
  session?.destroyed === false ? session.socket.remoteAddress : socket?.remoteAddress

/** Whether the client has hung up. The stream of a complete body is closed over HTTP/1.1. */
const hasLeft = (stream: BodyStream): boolean =>
  'session' in stream ? stream.closed : stream.socket?.destroyed === true

export interface BodySource {
  readonly head: RequestHead
  readonly stream: BodyStream
  readonly response: {
    writeContinue(): void
  }
}

/** The body of one request. Reading it enforces the limits and counts its memory. */
export class IncomingBody implements RequestBody, AnswerMemory, Arriving, Needing {
  /**
   * Memory for the body, and later for the response. Undefined before reading and after release.
   */
  reservation: Reservation | undefined
  /** Set while the body arrives in more than one piece. */
  #arrival: Arrival | undefined
  #refuse: (error: Error) => void = () => {}
  /**
   * True once the body has been read, even if Node's parser reports the end later in this turn of
   * the event loop.
   */
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
   * @returns the decompressed body
   * @throws {Refused} 413 if the body is too large, 415 if its encoding is not supported
   * @throws {BadRequest} if the body is not valid in its Content-Encoding
   * @throws {Overloaded} if the bodies of other requests fill the memory
   * @throws {HungUp} if the client closes the connection before the body is complete
   */
  async read(): Promise<Uint8Array> {
    const { head, stream, response } = this.#source
    // If the client disconnected during authentication, reading would wait forever.
    if (stream.destroyed || stream.closed) throw new HungUp()
    const decoder = decoderOf(head.headers['content-encoding'])
    const length = declaredLength(head)
    if (length > this.#maxBytes) throw tooLarge('body', this.#maxBytes)
    // Request the body only now: a refused request does not need it.
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
   * Gives the body's memory to the response.
   * @throws {Overloaded} if the response is larger and other requests fill the memory
   */
  becomeAnswer({ body }: Answer): void {
    if (this.#bytes !== undefined) freeOwn(this.#bytes)
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

  /** Infinite, because this body is complete. An Arrival measures a body that is arriving. */
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
    // Most bodies arrive in one packet with their head. Reading such a body as a stream would add 2
    // µs to the 25 µs of an inference.
    const { stream } = this.#source
    // An HTTP/2 stream without a body may have ended.
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
      checkClient: () => {
        if (hasLeft(this.#source.stream)) throw new HungUp()
      },
    }
  }
}

/** Limits the growth of a body or message while it is read. */
export interface Growth {
  readonly what: 'body' | 'message'
  readonly maxBytes: number
  /** Counts memory before it is allocated. @throws {Overloaded} */
  readonly reserve: (bytes: number) => void
  readonly onBytes?: (bytes: number) => void
  /** Called before each piece is decompressed. Throws if the client has hung up. */
  readonly checkClient: () => void
}

/**
 * Decompresses a body piece by piece, within the limits.
 * @throws {Refused} if the result is too large
 * @throws {BadRequest} if the data is not valid in its encoding
 * @throws {HungUp|Cancelled} if the client hangs up
 */
export async function inflate(
  { name, create }: Decoder,
  compressed: Uint8Array,
  growth: Growth,
): Promise<Buffer> {
  const invalid = (why: string) =>
    new BadRequest(`the ${growth.what} is not valid ${name} data: ${why}`)
  const inflater = create({ chunkSize: INFLATED_CHUNK_BYTES })
  inflater.end(compressed)
  const collector = new Collector(0, growth)
  let hasTurn = false
  try {
    for await (const chunk of inflater) {
      const { byteLength } = collector.bytes
      if (!hasTurn && byteLength >= SMALL_BYTES) {
        await LARGE_BODIES.begin((byteLength * compressed.byteLength) / inflater.bytesWritten)
        hasTurn = true
      }
      // A turn of a client that has hung up would delay the bodies that wait.
      growth.checkClient()
      collector.add(chunk)
    }
    // Node ignores bytes after the end of the compressed data.
    const rest = compressed.byteLength - inflater.bytesWritten
    if (rest > 0) throw invalid(`${rest} bytes follow its end`)
    return collector.bytes
  } catch (error) {
    collector.discard()
    const { code = '', message } = error as NodeJS.ErrnoException
    throw code.startsWith('Z_') ? invalid(message) : error
  } finally {
    if (hasTurn) LARGE_BODIES.end()
    inflater.destroy()
  }
}

/** Turns, smallest body first. */
class Turns {
  #isTaken = false
  readonly #waiting: { readonly bytes: number; readonly begin: () => void }[] = []

  /** Waits for a turn. @param bytes the body's estimated size */
  async begin(bytes: number): Promise<void> {
    if (this.#isTaken) await new Promise<void>(begin => this.#waiting.push({ bytes, begin }))
    this.#isTaken = true
  }

  end(): void {
    let next = 0
    for (const [i, { bytes }] of this.#waiting.entries())
      if (bytes < (this.#waiting[next]?.bytes ?? 0)) next = i
    const [turn] = this.#waiting.splice(next, 1)
    if (turn === undefined) this.#isTaken = false
    else turn.begin()
  }
}

/**
 * Large bodies are decompressed one at a time: a few bytes can expand to megabytes, and threads
 * that decompress several such bodies would leave the main thread little time on a single core. The
 * body that seems smallest is next, because bodies that expand much would delay all others.
 */
const LARGE_BODIES = new Turns()

/**
 * Collects chunks in one buffer: a body may arrive in chunks of one byte, each of which would take
 * another 500 bytes (measured). The buffer grows with the bytes received, so announcing a length
 * uses no memory.
 */
class Collector {
  readonly #expected: number
  readonly #growth: Growth
  #buffer: Buffer = Buffer.alloc(0)
  #size = 0

  /** @param expected the size in bytes; 0 if unknown */
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
    const grown = ownBuffer(Buffer.allocUnsafeSlow(room))
    grown.set(this.#buffer.subarray(0, this.#size))
    freeOwn(this.#buffer)
    this.#buffer = grown
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#size)
  }

  discard(): void {
    freeOwn(this.#buffer)
    this.#buffer = Buffer.alloc(0)
    this.#size = 0
  }
}

interface Collecting {
  readonly broken: (error: Error) => Error
  readonly onBegun?: (refuse: (error: unknown) => void) => void
}

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
    stream.on('close', () => reject(broken(new Error('the stream was closed before its end'))))
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
    `fewer than ${LEAST_BYTES} bytes of the ${what} arrived in ${LEAST_BYTES_MS / 1_000} s`,
  )

/** The memory allocated ahead for a small body. */
const LEAST_AHEAD_BYTES = 4 * 1024
const MOST_AHEAD_BYTES = 16 * 1024

/**
 * Returns how many bytes to allocate for a body of which `bytes` have arrived; at most `most`.
 * Allocating the announced size makes V8 collect garbage: 128 announcements of 64 MiB blocked all
 * requests for seconds. Small bodies get little extra, because many share a limit; large bodies get
 * more, to be copied less often.
 */
export function roomFor(bytes: number, most: number): number {
  const ahead = bytes <= SMALL_BYTES ? Math.min(bytes, MOST_AHEAD_BYTES) : bytes
  return Math.min(most, bytes + Math.max(ahead, LEAST_AHEAD_BYTES))
}

/**
 * Marks a buffer of one body, so that {@link freeOwn} may free it. Several bodies share the buffer
 * into which Node reads.
 */
export function ownBuffer(buffer: Buffer): Buffer {
  if (buffer.byteLength > FREED_BYTES) own([buffer])
  return buffer
}
