import { BadRequest, Refused } from 'onnx-function'
import { PNG } from 'pngjs'

const MIN_SIDE = 8
const MAX_SIDE = 512

/** A PNG's signature of eight bytes, and the length and type of its header. */
const BEGINNING = Buffer.from('\x89PNG\r\n\x1a\n\0\0\0\rIHDR', 'latin1')

export interface Picture {
  readonly width: number
  readonly height: number
  /** RGBA, one byte each. */
  readonly data: Uint8Array
}

/**
 * Checks the size before it inflates any data.
 * @throws {BadRequest} if the file is not a PNG, is damaged or too small, or is interlaced
 * @throws {Refused} with 413 if the picture has too many pixels
 */
export function readPng(bytes: Uint8Array): Picture {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  checkSize(file)
  try {
    return PNG.sync.read(file)
  } catch (error) {
    throw new BadRequest(`the PNG is damaged: ${(error as Error).message}`)
  }
}

function checkSize(file: Buffer): void {
  if (file.length < 33 || !file.subarray(0, BEGINNING.length).equals(BEGINNING))
    throw new BadRequest('the body is not a PNG; send a PNG with Content-Type: image/png')
  const width = file.readUInt32BE(16)
  const height = file.readUInt32BE(20)
  if (width > MAX_SIDE || height > MAX_SIDE)
    throw new Refused(
      413,
      `the picture is ${width} × ${height} pixels; at most ${MAX_SIDE} × ${MAX_SIDE} are allowed`,
    )
  if (width < MIN_SIDE || height < MIN_SIDE)
    throw new BadRequest(
      `the picture is ${width} × ${height} pixels; at least ${MIN_SIDE} × ${MIN_SIDE} are required`,
    )
  // pngjs inflates an interlaced picture without a limit, and reads the size from the last header.
  if (file[28] !== 0) throw new BadRequest('the PNG is interlaced; save it without interlacing')
  for (let at = 33; at + 8 <= file.length; at += 12 + file.readUInt32BE(at))
    if (file.toString('latin1', at + 4, at + 8) === 'IHDR')
      throw new BadRequest('the PNG is damaged: it has two headers')
}
