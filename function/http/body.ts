import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Readable, Transform } from 'node:stream'
import { createGunzip, createInflate, deflate, gzip } from 'node:zlib'
import { Refused } from '../handler.ts'
import { BadRequest, Overloaded } from '../protocol/errors.ts'
import { show } from '../protocol/json.ts'

/**
 * Bodies and large answers held in memory at once, over all requests, in units of the largest one allowed. Beside them there may be
 * one body more in tensors that wait, and of the one that is being answered its tensors and its answer: five in all.
 */
const HELD_BODIES = 2

/** Smaller ones have room for themselves, so that they are not turned away for the sake of large ones. */
const SMALL_BYTES = 128 * 1024
const HELD_SMALL_BYTES = 16 * 2 ** 20

/** Two of the largest answers in JSON. */
const HELD_LARGE_ANSWER_BYTES = 32 * 2 ** 20

/** An answer smaller than this fits one network packet compressed or not; a larger one would take seconds and its size once more. */
const WORTH_COMPRESSING = { least: 1400, most: 16 * 2 ** 20 }

/** Whether an answer of so many bytes is compressed for who asks for it. */
export const isWorthCompressing = (bytes: number): boolean =>
  bytes >= WORTH_COMPRESSING.least && bytes <= WORTH_COMPRESSING.most

/** What bodies may take of memory. */
export interface BodyLimits {
  readonly maxBodyBytes: number
}

/** Reads request bodies within the limits; one for the whole server, because memory is. */
export interface BodyReader {
  /**
   * @returns the body, inflated, and what it holds of the memory for bodies
   * @throws {Refused} 413 too large, 415 unknown encoding
   * @throws {BadRequest} when it is not what its Content-Encoding says
   * @throws {Overloaded} when other requests' bodies fill the memory for them
   */
  read(
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<{ readonly body: Uint8Array; readonly held: Held }>
  /**
   * Room for an answer without a body.
   * @throws {Overloaded}
   */
  holdAnswer(bytes: number): Held
}

/** What one request holds of the memory for bodies. */
export interface Held {
  /**
   * The body is gone, and the answer has taken its place.
   * @throws {Overloaded} when that is larger, and other requests fill the memory
   */
  becomeAnswer(bytes: number): void
  /** Its client does not read it as fast as it came. @param cut ends that, where small requests need the room; it releases this */
  waitsForReader(cut: () => void): void
  release(): void
}

export function createBodyReader({ maxBodyBytes }: BodyLimits): BodyReader {
  const heldByAll = { small: 0, large: 0 }
  const large = HELD_BODIES * maxBodyBytes
  const most = { small: Math.min(HELD_SMALL_BYTES, large), large }
  // Answers may be larger than the bodies that ask for them.
  const mostWithAnswers = {
    small: HELD_SMALL_BYTES,
    large: Math.max(large, HELD_LARGE_ANSWER_BYTES),
  }

  /** Small answers that wait for their clients to read them, the oldest first. */
  const unread = new Set<Holding>()

  class Holding implements Held {
    bytes = 0
    cut: (() => void) | undefined

    /** @throws {Overloaded} */
    add(bytes: number): void {
      this.become(this.bytes + bytes)
      checkRoom(this, most)
    }

    becomeAnswer(bytes: number): void {
      const grows = bytes > this.bytes
      this.become(bytes)
      if (grows) checkRoom(this, mostWithAnswers)
    }

    waitsForReader(cut: () => void): void {
      this.cut = cut
      if (poolOf(this.bytes) === 'small') unread.add(this)
    }

    release(): void {
      this.become(0)
      if (this.cut !== undefined) unread.delete(this)
    }

    private become(bytes: number): void {
      heldByAll[poolOf(this.bytes)] -= this.bytes
      heldByAll[poolOf(bytes)] += bytes
      this.bytes = bytes
    }
  }

  /** Who does not read small answers makes room for who does; large ones take their time. @throws {Overloaded} */
  function checkRoom({ bytes }: Holding, most: Readonly<typeof heldByAll>): void {
    const pool = poolOf(bytes)
    // What is alone is not too much, however large.
    const isFull = () => heldByAll[pool] > most[pool] && heldByAll[pool] > bytes
    if (!isFull()) return
    if (pool === 'small') {
      for (const { cut } of unread) {
        cut?.()
        if (!isFull()) return
      }
    }
    throw new Overloaded('other requests\u2019 bodies fill the memory for them; try again later')
  }

  async function read(request: IncomingMessage, response: ServerResponse) {
    const decode = decoderOf(request.headers['content-encoding'])
    const length = declaredLength(request)
    if (length > maxBodyBytes) throw tooLarge()
    // Only now: a body that would be refused is never asked for.
    if (request.headers.expect !== undefined && request.httpVersion === '1.1')
      response.writeContinue()
    const held = new Holding()
    const hold = (bytes: number) => held.add(bytes)
    try {
      await undefined
      // A body that came in one packet with its head, as most do, is there by now. To read it as a stream, to its end, would cost 2 µs
      // more, of 25 that an inference takes in all.
      const hasArrived = length > 0 && request.readableLength === length
      if (hasArrived) held.add(length)
      const received = hasArrived
        ? request.read()
        : await collect(request, length, hold, () => new HungUp())
      return {
        body: decode === undefined ? received : await inflateBody(decode, received, hold),
        held,
      }
    } catch (error) {
      held.release()
      throw error
    }
  }

  function holdAnswer(bytes: number): Held {
    const held = new Holding()
    try {
      held.becomeAnswer(bytes)
    } catch (error) {
      held.release()
      throw error
    }
    return held
  }

  const tooLarge = () =>
    new Refused(413, `the body is larger than the ${maxBodyBytes} bytes allowed (MAX_BODY_BYTES)`)

  /**
   * All of a stream in one buffer, because a body may come in chunks of a byte, each of which takes 500 more (measured). It is as
   * large as the body where that is known, and else grows: what nothing was written to takes no memory.
   * @param expected its length, 0 where that is not known
   * @param broken what to throw when the stream fails
   */
  function collect(
    stream: Readable,
    expected: number,
    hold: (bytes: number) => void,
    broken: (error: Error) => Error,
  ): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      let body: Buffer = Buffer.alloc(0)
      let size = 0
      const add = (chunk: Buffer) => {
        const total = size + chunk.byteLength
        if (total > maxBodyBytes) throw tooLarge()
        hold(chunk.byteLength)
        if (size === 0) body = chunk
        else {
          if (total > body.byteLength) grow(total)
          body.set(chunk, size)
        }
        size = total
      }
      const grow = (least: number) => {
        const grown = Buffer.allocUnsafeSlow(
          Math.max(least, expected || Math.min(2 * least, maxBodyBytes)),
        )
        grown.set(body.subarray(0, size))
        free(body)
        body = grown
      }
      stream.on('data', chunk => {
        try {
          add(chunk)
        } catch (error) {
          stream.removeAllListeners('data')
          free(body)
          // The end of the stream may still be told.
          body = Buffer.alloc(0)
          size = 0
          reject(error)
        }
      })
      stream.on('end', () => resolve(body.subarray(0, size)))
      stream.on('error', error => reject(broken(error)))
    })
  }

  /** Piece by piece, so that what it grows to is held to the limits while it grows. */
  async function inflateBody(
    { name, create }: Decoder,
    compressed: Buffer,
    hold: (bytes: number) => void,
  ): Promise<Buffer> {
    const inflater = create({ chunkSize: INFLATED_CHUNK })
    inflater.end(compressed)
    try {
      return await collect(
        inflater,
        0,
        hold,
        error => new BadRequest(`the body is not valid ${name} data: ${error.message}`),
      )
    } finally {
      inflater.destroy()
    }
  }

  return { read, holdAnswer }
}

const poolOf = (bytes: number) => (bytes <= SMALL_BYTES ? 'small' : 'large')

/** Gives large memory back at once, and not when it is found that nobody needs it any more. */
export function free({ buffer }: Uint8Array): void {
  if (buffer.byteLength > FREED_BYTES) (buffer as ArrayBuffer).transfer(0)
}

/** Larger than what Node reads into, which bodies share. */
const FREED_BYTES = 2 ** 20

export const declaredLength = ({ headers }: IncomingMessage) =>
  Number(headers['content-length'] ?? 0)

/** The client closed the connection before its request was complete; there is nobody to answer. */
export class HungUp extends Error {}

interface Decoder {
  readonly name: string
  readonly create: (options: { chunkSize: number }) => Transform
}

const GZIP: Decoder = { name: 'gzip', create: options => createGunzip(options) }
/** "deflate" is the zlib format (RFC 9110 section 8.4.1.2). */
const DEFLATE: Decoder = { name: 'deflate', create: options => createInflate(options) }
const INFLATED_CHUNK = 64 * 1024
const DECODERS = new Map([
  ['gzip', GZIP],
  ['x-gzip', GZIP],
  ['deflate', DEFLATE],
])

function decoderOf(contentEncoding: string | undefined): Decoder | undefined {
  const name = (contentEncoding ?? 'identity').trim().toLowerCase()
  if (name === 'identity' || name === '') return undefined
  const decoder = DECODERS.get(name)
  if (decoder !== undefined) return decoder
  throw new Refused(
    415,
    `Content-Encoding ${show(contentEncoding)} is not supported; send gzip, deflate or none`,
    {
      'accept-encoding': 'gzip, deflate',
    },
  )
}

/** The body compressed as the client prefers, or undefined where it did not ask or it would not be worth it. */
export async function compress(
  body: Uint8Array,
  acceptEncoding: string | undefined,
): Promise<{ encoding: string; body: Uint8Array } | undefined> {
  if (acceptEncoding === undefined || !isWorthCompressing(body.byteLength)) return undefined
  const encoding = preferredEncoding(acceptEncoding)
  if (encoding === undefined) return undefined
  const compressed = await new Promise<Buffer>((resolve, reject) => {
    const compressIt = encoding === 'gzip' ? gzip : deflate
    compressIt(body, (error, result) => (error === null ? resolve(result) : reject(error)))
  })
  return compressed.byteLength < body.byteLength ? { encoding, body: compressed } : undefined
}

/** Of gzip and deflate the one of higher quality, gzip between equals; neither where identity is preferred (RFC 9110 section 12.5.3). */
function preferredEncoding(acceptEncoding: string): 'gzip' | 'deflate' | undefined {
  const quality = new Map<string, number>()
  for (const item of acceptEncoding.toLowerCase().split(',')) {
    const [name, ...parameters] = item.split(';').map(part => part.trim())
    const q = parameters.find(parameter => parameter.startsWith('q='))
    quality.set(
      name === 'x-gzip' ? 'gzip' : (name ?? ''),
      q === undefined ? 1 : Number(q.slice(2)) || 0,
    )
  }
  const of = (name: string) => quality.get(name) ?? quality.get('*') ?? 0
  const best = of('gzip') >= of('deflate') ? 'gzip' : 'deflate'
  return of(best) > 0 && of(best) >= (quality.get('identity') ?? 0) ? best : undefined
}
