import type { Transform } from 'node:stream'
import { createGunzip, createInflate, deflate, gzip } from 'node:zlib'
import { Refused } from '../answer.ts'
import { show } from '../protocol/json.ts'

/**
 * An answer smaller than this fits one network packet compressed or not; a larger one would take
 * seconds and its size once more.
 */
const WORTH_COMPRESSING = { least: 1400, most: 16 * 2 ** 20 }

/** Whether an answer of so many bytes is compressed for clients that accept it. */
export const isWorthCompressing = (bytes: number): boolean =>
  bytes >= WORTH_COMPRESSING.least && bytes <= WORTH_COMPRESSING.most

/** How a body of one Content-Encoding is inflated. */
export interface Decoder {
  readonly name: string
  create(options: { chunkSize: number }): Transform
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
 * @returns undefined where the body is not compressed
 * @throws {Refused} 415
 */
export function decoderOf(contentEncoding: string | undefined): Decoder | undefined {
  const name = (contentEncoding ?? 'identity').trim().toLowerCase()
  if (name === 'identity' || name === '') return undefined
  const decoder = DECODERS.get(name)
  if (decoder !== undefined) return decoder
  throw new Refused(
    'UNSUPPORTED_MEDIA_TYPE',
    `Content-Encoding ${show(contentEncoding)} is not supported; send gzip, deflate or none`,
    {
      'accept-encoding': 'gzip, deflate',
    },
  )
}

/**
 * The body compressed as the client prefers, or undefined where the client did not ask for it or it
 * would not be smaller.
 */
export async function compress(
  body: Uint8Array,
  acceptEncoding: string,
): Promise<{ encoding: string; body: Uint8Array } | undefined> {
  const encoding = preferredEncoding(acceptEncoding)
  if (encoding === undefined) return undefined
  const compressed = await new Promise<Buffer>((resolve, reject) => {
    const compressBody = encoding === 'gzip' ? gzip : deflate
    compressBody(body, (error, result) => (error === null ? resolve(result) : reject(error)))
  })
  return compressed.byteLength < body.byteLength ? { encoding, body: compressed } : undefined
}

/**
 * Of gzip and deflate the one of higher quality, gzip between equals; neither where identity is
 * preferred (RFC 9110 section 12.5.3).
 */
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
