import type { Transform } from 'node:stream'
import { promisify } from 'node:util'
import { createGunzip, createInflate, deflate, gzip, type Zlib } from 'node:zlib'
import { type Answer, bytesOf, Refused } from '../answer.ts'
import { show } from '../protocol/json.ts'

/**
 * In bytes. A smaller response fits in one packet anyway. A larger one would take seconds to
 * compress, and as much memory as the response itself.
 */
const WORTH_COMPRESSING = { least: 1400, most: 16 * 2 ** 20 }

export const isWorthCompressing = (bytes: number): boolean =>
  bytes >= WORTH_COMPRESSING.least && bytes <= WORTH_COMPRESSING.most

export interface Decoder {
  readonly name: string
  create(options: { chunkSize: number }): Transform & Pick<Zlib, 'bytesWritten'>
}

const GZIP: Decoder = { name: 'gzip', create: options => createGunzip(options) }
/** "deflate" is the zlib format (RFC 9110 section 8.4.1.2). */
const DEFLATE: Decoder = { name: 'deflate', create: options => createInflate(options) }
const DECODERS = new Map([
  ['gzip', GZIP],
  ['x-gzip', GZIP],
  ['deflate', DEFLATE],
])

/**
 * @returns undefined if the body is not compressed
 * @throws {Refused} 415 if the encoding is not supported
 */
export function decoderOf(contentEncoding: string | undefined): Decoder | undefined {
  const name = (contentEncoding ?? 'identity').trim().toLowerCase()
  if (name === 'identity' || name === '') return undefined
  const decoder = DECODERS.get(name)
  if (decoder !== undefined) return decoder
  throw new Refused(
    'UNSUPPORTED_MEDIA_TYPE',
    `Content-Encoding ${show(contentEncoding)} is not supported; send gzip, deflate or identity`,
    {
      'accept-encoding': 'gzip, deflate',
    },
  )
}

export interface Compressed {
  readonly encoding: Encoding
  readonly body: Uint8Array
}

type Encoding = 'gzip' | 'deflate'

/**
 * How many responses are compressed at a time. Small responses need not wait for large responses,
 * which leave them one of libuv's four threads. A compression takes 270 KiB besides its input and
 * output.
 */
const AT_A_TIME = { small: 4, large: 3 }

const SMALL_BYTES = 128 * 1024

/** While this many bytes wait for compression, further responses are sent uncompressed. */
const MOST_WAITING_BYTES = 16 * 2 ** 20

/**
 * Limits the compressed documents that are kept. Without a limit, clients could fill the memory
 * with documents for any host name.
 */
const KEPT = { documents: 16, bytes: 256 * 1024 }

export class Compressor {
  /** Keyed by encoding and entity tag; the last used is last. */
  readonly #documents = new Map<string, Promise<Uint8Array | undefined>>()
  readonly #small = new Turns(AT_A_TIME.small)
  readonly #large = new Turns(AT_A_TIME.large)

  /**
   * Compresses a body with the encoding that the client prefers. Returns undefined if the client
   * accepts no encoding, the body would not become smaller, or too many responses wait.
   * @param bytes the body's size
   */
  async compress(
    { body, headers }: Pick<Answer, 'body' | 'headers'>,
    bytes: number,
    acceptEncoding: string,
  ): Promise<Compressed | undefined> {
    const encoding = preferredEncoding(acceptEncoding)
    if (encoding === undefined) return undefined
    const compressed = await (headers.etag === undefined
      ? this.#compress(encoding, body, bytes)
      : this.#once(`${encoding} ${headers.etag}`, () => this.#compress(encoding, body, bytes)))
    return compressed && compressed.byteLength < bytes ? { encoding, body: compressed } : undefined
  }

  async #once(
    key: string,
    compress: () => Promise<Uint8Array | undefined>,
  ): Promise<Uint8Array | undefined> {
    const known = this.#documents.get(key)
    const document = known ?? compress()
    this.#documents.delete(key)
    this.#documents.set(key, document)
    const oldest = this.#documents.keys().next().value
    if (this.#documents.size > KEPT.documents && oldest !== undefined)
      this.#documents.delete(oldest)
    const compressed = await document
    if (!(compressed && compressed.byteLength <= KEPT.bytes)) this.#documents.delete(key)
    return compressed
  }

  #compress(
    encoding: Encoding,
    body: Answer['body'],
    bytes: number,
  ): Promise<Uint8Array | undefined> {
    const turns = bytes <= SMALL_BYTES ? this.#small : this.#large
    const compress = encoding === 'gzip' ? gzipped : deflated
    return turns.take(bytes, () => compress(bytesOf(body)))
  }
}

/** Compresses a few responses at a time, in order of arrival. */
class Turns {
  readonly #atATime: number
  readonly #waiting: (() => void)[] = []
  #waitingBytes = 0
  #running = 0

  constructor(atATime: number) {
    this.#atATime = atATime
  }

  /** @returns undefined if too many responses wait */
  async take(bytes: number, compress: () => Promise<Uint8Array>): Promise<Uint8Array | undefined> {
    if (this.#running < this.#atATime) this.#running++
    else {
      if (this.#waitingBytes + bytes > MOST_WAITING_BYTES) return undefined
      this.#waitingBytes += bytes
      // A compression that ends passes its slot to the next one in the queue.
      await new Promise<void>(resolve => this.#waiting.push(resolve))
      this.#waitingBytes -= bytes
    }
    try {
      return await compress()
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }
}

/** All listeners and calls share libuv's threads. */
export const COMPRESSOR = new Compressor()

const gzipped = (body: Uint8Array) => promisify(gzip)(body)
const deflated = (body: Uint8Array) => promisify(deflate)(body)

/**
 * Returns gzip or deflate, whichever has the higher quality (gzip if equal); undefined if the
 * client prefers identity (RFC 9110 section 12.5.3).
 */
function preferredEncoding(acceptEncoding: string): Encoding | undefined {
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
