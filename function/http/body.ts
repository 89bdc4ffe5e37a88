import type { IncomingMessage, ServerResponse } from 'node:http'
import { promisify } from 'node:util'
import { deflate, gunzip, gzip, inflate } from 'node:zlib'
import { Refused } from '../handler.ts'
import { BadRequest, Overloaded } from '../protocol/errors.ts'

/** Bodies held in memory at once, over all requests, in units of the largest one allowed. */
const HELD_BODIES = 4

/** An answer smaller than this fits one network packet compressed or not. */
const WORTH_COMPRESSING = 1400

/** What bodies may take of memory. */
export interface BodyLimits {
  readonly maxBodyBytes: number
}

/** Reads request bodies within the limits; one for the whole server, because memory is. */
export interface BodyReader {
  /**
   * @returns the body, inflated; `release` when the request is answered
   * @throws {Refused} 413 too large, 415 unknown encoding
   * @throws {BadRequest} when it is not what its Content-Encoding says
   * @throws {Overloaded} when other requests' bodies fill the memory for them
   */
  read(request: IncomingMessage, response: ServerResponse): Promise<{ readonly body: Uint8Array; readonly release: () => void }>
}

export function createBodyReader({ maxBodyBytes }: BodyLimits): BodyReader {
  let held = 0

  async function read(request: IncomingMessage, response: ServerResponse) {
    const decode = decoderOf(request.headers['content-encoding'])
    if (declaredLength(request) > maxBodyBytes) throw tooLarge()
    // Only now: a body that would be refused is never asked for.
    if (request.headers.expect !== undefined) response.writeContinue()
    let mine = 0
    const hold = (bytes: number) => {
      held += bytes
      mine += bytes
      if (held > HELD_BODIES * maxBodyBytes) throw new Overloaded('other requests\u2019 bodies fill the memory for them; try again later')
    }
    const release = () => {
      held -= mine
      mine = 0
    }
    try {
      const received = await receive(request, hold)
      if (decode === undefined) return { body: received, release }
      const body = await inflateBody(decode, received)
      hold(body.byteLength)
      return { body, release }
    } catch (error) {
      release()
      throw error
    }
  }

  const tooLarge = () => new Refused(413, `the body is larger than the ${maxBodyBytes} bytes allowed (MAX_BODY_BYTES)`)

  function receive(request: IncomingMessage, hold: (bytes: number) => void): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const chunks: Buffer[] = []
      let size = 0
      request.on('data', (chunk: Buffer) => {
        size += chunk.byteLength
        try {
          if (size > maxBodyBytes) throw tooLarge()
          hold(chunk.byteLength)
        } catch (error) {
          request.removeAllListeners('data')
          reject(error)
          return
        }
        chunks.push(chunk)
      })
      request.on('end', () => resolve(chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)))
      request.on('close', () => {
        if (!request.complete) reject(new HungUp())
      })
      // An 'error' always comes with the 'close' above; unheard, it would end the process.
      request.on('error', () => {})
    })
  }

  async function inflateBody(decode: Decoder, body: Uint8Array): Promise<Uint8Array> {
    try {
      return await decode.inflate(body, { maxOutputLength: maxBodyBytes })
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE') throw tooLarge()
      throw new BadRequest(`the body is not valid ${decode.name} data: ${(error as Error).message}`)
    }
  }

  return { read }
}

export const declaredLength = ({ headers }: IncomingMessage) => Number(headers['content-length'] ?? 0)

/** The client closed the connection before its request was complete; there is nobody to answer. */
export class HungUp extends Error {}

interface Decoder {
  readonly name: string
  readonly inflate: (body: Uint8Array, options: { maxOutputLength: number }) => Promise<Buffer>
}

const GZIP: Decoder = { name: 'gzip', inflate: promisify(gunzip) }
/** "deflate" is the zlib format (RFC 9110 section 8.4.1.2). */
const DEFLATE: Decoder = { name: 'deflate', inflate: promisify(inflate) }
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
  throw new Refused(415, `Content-Encoding ${JSON.stringify(contentEncoding)} is not supported; send gzip, deflate or none`, {
    'accept-encoding': 'gzip, deflate',
  })
}

const COMPRESSORS = new Map([
  ['gzip', promisify<Uint8Array, Buffer>(gzip)],
  ['deflate', promisify<Uint8Array, Buffer>(deflate)],
])

/** The body compressed as the client prefers, or undefined where it did not ask or it would not be worth it. */
export async function compress(
  body: Uint8Array,
  acceptEncoding: string | undefined,
): Promise<{ encoding: string; body: Uint8Array } | undefined> {
  if (acceptEncoding === undefined || body.byteLength < WORTH_COMPRESSING) return undefined
  const encoding = preferredEncoding(acceptEncoding)
  if (encoding === undefined) return undefined
  const compressed = await (COMPRESSORS.get(encoding) as (body: Uint8Array) => Promise<Buffer>)(body)
  return compressed.byteLength < body.byteLength ? { encoding, body: compressed } : undefined
}

/** Of gzip and deflate the one with the higher quality, gzip between equals (RFC 9110 section 12.5.3). */
function preferredEncoding(acceptEncoding: string): string | undefined {
  const quality = new Map<string, number>()
  for (const item of acceptEncoding.toLowerCase().split(',')) {
    const [name, ...parameters] = item.split(';').map(part => part.trim())
    const q = parameters.find(parameter => parameter.startsWith('q='))
    quality.set(name === 'x-gzip' ? 'gzip' : (name ?? ''), q === undefined ? 1 : Number(q.slice(2)) || 0)
  }
  const of = (name: string) => quality.get(name) ?? quality.get('*') ?? 0
  if (of('gzip') === 0 && of('deflate') === 0) return undefined
  return of('gzip') >= of('deflate') ? 'gzip' : 'deflate'
}
