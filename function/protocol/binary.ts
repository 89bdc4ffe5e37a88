import { isUtf8 } from 'node:buffer'
import { DATATYPES } from './datatypes.ts'
import { BadRequest } from './errors.ts'
import { show } from './json.ts'
import { elementCount, type Tensor, type TensorData, type TensorMetadata } from './tensor.ts'
import { encodeTexts, shortText } from './texts.ts'

/**
 * Binary tensor data (Triton's extension_binary_data.md): little-endian, row-major. A BYTES element
 * is its length in four little-endian bytes, then its bytes. On every platform of ONNX Runtime for
 * Node, typed arrays have the same layout.
 */

const LENGTH_PREFIX = 4

/**
 * Reads Inference-Header-Content-Length, the length of the JSON before the binary tensor data.
 * Undefined if the body is only JSON.
 * @throws {BadRequest} if the header is not a length
 */
export function readJsonLength(header: string | string[] | undefined): number | undefined {
  if (header === undefined) return undefined
  if (!/^\d{1,15}$/.test(String(header))) {
    throw new BadRequest(
      `Inference-Header-Content-Length is ${show(header)}; it must be a number of bytes`,
    )
  }
  return Number(header)
}

/**
 * Reads one tensor from exactly its bytes: as a view if they are aligned, otherwise as a copy.
 * @throws {BadRequest} if the bytes do not match `shape`, or an element is not a value of the
 * datatype
 */
export function readBinaryTensor(
  bytes: Uint8Array,
  shape: readonly number[],
  { name, datatype }: TensorMetadata,
): TensorData {
  const input = `input ${show(name)}`
  const elements = elementCount(shape)
  const row = DATATYPES[datatype]
  if (row.view === undefined) return readStrings(bytes, elements, shape, input)
  if (bytes.byteLength !== elements * row.bytes) {
    throw new BadRequest(
      `${input}: shape [${shape}] of ${datatype} needs ${elements * row.bytes} bytes of binary data; got ${bytes.byteLength}`,
    )
  }
  if (datatype === 'BOOL') checkBooleans(bytes, input)
  const aligned = bytes.byteOffset % row.bytes === 0 ? bytes : new Uint8Array(bytes)
  return row.view(aligned.buffer, aligned.byteOffset, elements)
}

/**
 * Counts the elements of a request without a shape. {@link readBinaryTensor} rejects an incomplete
 * last element.
 */
export function countBinaryElements(bytes: Uint8Array, { name, datatype }: TensorMetadata): number {
  const row = DATATYPES[datatype]
  if (row.view !== undefined) return Math.floor(bytes.byteLength / row.bytes)
  let count = 0
  for (let at = 0; at < bytes.byteLength; count++)
    at = elementEnd(bytes, at, count, `input ${show(name)}`)
  return count
}

/**
 * Returns a tensor's bytes. Copies a typed array only if it is part of a larger buffer, which would
 * otherwise stay in memory until the client has read the response.
 */
export function writeBinaryTensor({ data }: Tensor): Uint8Array {
  if (!Array.isArray(data)) {
    const { buffer, byteOffset, byteLength } = data as Exclude<TensorData, readonly string[]>
    const bytes = new Uint8Array(buffer, byteOffset, byteLength)
    return byteLength < buffer.byteLength ? bytes.slice() : bytes
  }
  return encodeTexts(data as readonly string[], PREFIX)
}

const PREFIX = {
  sizeOf: () => LENGTH_PREFIX,
  write: (to: Buffer, at: number, length: number) => to.writeUInt32LE(length, at),
}

function checkBooleans(bytes: Uint8Array, input: string): void {
  const at = bytes.findIndex(byte => byte > 1)
  if (at !== -1)
    throw new BadRequest(`${input}: element ${at} is the byte ${bytes[at]}; a BOOL must be 0 or 1`)
}

function readStrings(
  bytes: Uint8Array,
  elements: number,
  shape: readonly number[],
  input: string,
): string[] {
  if (elements > bytes.byteLength / LENGTH_PREFIX) {
    throw new BadRequest(
      `${input}: shape [${shape}] has ${elements} BYTES elements, more than ${bytes.byteLength} bytes of binary data can contain`,
    )
  }
  const strings = new Array<string>(elements)
  let at = 0
  for (let i = 0; i < elements; i++) {
    if (at === bytes.byteLength)
      throw new BadRequest(
        `${input}: shape [${shape}] has ${elements} elements, but the binary data has ${i}`,
      )
    const end = elementEnd(bytes, at, i, input)
    strings[i] = readText(bytes.subarray(at + LENGTH_PREFIX, end), i, input)
    at = end
  }
  if (at < bytes.byteLength) {
    throw new BadRequest(
      `${input}: ${bytes.byteLength - at} bytes of binary data are left over after ${elements} BYTES elements`,
    )
  }
  return strings
}

function elementEnd(bytes: Uint8Array, at: number, i: number, input: string): number {
  if (at + LENGTH_PREFIX > bytes.byteLength) {
    throw new BadRequest(
      `${input}: the 4-byte length of BYTES element ${i} is cut off; ${bytes.byteLength - at} bytes are left`,
    )
  }
  const length = lengthAt(bytes, at)
  if (length > bytes.byteLength - at - LENGTH_PREFIX) {
    throw new BadRequest(
      `${input}: the length of BYTES element ${i} is ${length} bytes, but only ${bytes.byteLength - at - LENGTH_PREFIX} bytes are left`,
    )
  }
  return at + LENGTH_PREFIX + length
}

/** A DataView for each element would take longer. */
const lengthAt = (bytes: Uint8Array, at: number): number =>
  (bytes[at] as number) +
  (bytes[at + 1] as number) * 2 ** 8 +
  (bytes[at + 2] as number) * 2 ** 16 +
  (bytes[at + 3] as number) * 2 ** 24

export function readText(bytes: Uint8Array, i: number, input: string): string {
  const short = shortText(bytes)
  if (short !== undefined) return short
  // ONNX strings are UTF-8, and ONNX Runtime for Node truncates strings at a NUL. Reject other
  // bytes instead of changing them silently.
  if (!isUtf8(bytes))
    throw new BadRequest(`${input}: BYTES element ${i} is not UTF-8; ONNX strings must be UTF-8`)
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8')
  if (text.includes('\0'))
    throw new BadRequest(
      `${input}: BYTES element ${i} contains a NUL; ONNX Runtime would truncate the text there`,
    )
  return text
}
