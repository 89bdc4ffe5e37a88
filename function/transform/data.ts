import { BadRequest } from '../protocol/errors.ts'
import { parseJson, show } from '../protocol/json.ts'
import { isJson, mediaTypeOf } from '../protocol/media-type.ts'
import type { Call } from './call.ts'

/**
 * Returns a call's data for the transform: parsed JSON, text as a string, or other data as bytes.
 * Rounds JSON integers beyond 2^53, as JSON.parse does: code that adds numbers would fail on a
 * bigint, which only some callers send.
 * @throws {BadRequest} if the data does not match its media type
 */
export function readData({ data, contentType }: Call): unknown {
  if ('value' in data) return data.value
  const { bytes, isJson: isJsonText } = data
  if (isJsonText === true) return parseJson(bytes, 'the data').value
  const { type, charset } = mediaTypeOf(contentType)
  if (isJson(type)) {
    if (charset !== 'utf-8')
      throw new BadRequest(`the charset of the JSON is ${show(charset)}; JSON must be in UTF-8`)
    return parseJson(bytes, 'the data').value
  }
  return type.startsWith('text/') ? readText(bytes, charset) : ownBytes(bytes)
}

/**
 * Returns a Uint8Array with its own memory. In Node's shared pool, `new Float32Array(bytes.buffer)`
 * would expose other callers' data.
 */
export function ownBytes(bytes: Uint8Array): Uint8Array {
  const { buffer, byteLength } = bytes
  return byteLength === buffer.byteLength ? new Uint8Array(buffer) : new Uint8Array(bytes)
}

function readText(bytes: Uint8Array, charset: string): string {
  let decoder: InstanceType<typeof TextDecoder>
  try {
    decoder = new TextDecoder(charset, { fatal: true })
  } catch {
    throw new BadRequest(`the charset ${show(charset)} of the text is unknown; send UTF-8`)
  }
  try {
    return decoder.decode(bytes)
  } catch {
    throw new BadRequest(`the text is not valid ${charset.toUpperCase()}`)
  }
}
