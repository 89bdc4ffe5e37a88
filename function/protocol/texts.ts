/** How the length before a text is written. */
interface Head {
  readonly sizeOf: (length: number) => number
  readonly write: (to: Buffer, at: number, length: number) => void
}

/** Encodes texts in UTF-8 one after another, each behind a head with its length in bytes. */
export function encodeTexts(texts: readonly string[], head: Head): Buffer {
  const lengths = new Uint32Array(texts.length)
  let size = 0
  for (let i = 0; i < texts.length; i++) {
    const length = Buffer.byteLength(texts[i] as string)
    lengths[i] = length
    size += head.sizeOf(length) + length
  }
  const bytes = Buffer.allocUnsafeSlow(size)
  let at = 0
  for (let i = 0; i < texts.length; i++) {
    const length = lengths[i] as number
    head.write(bytes, at, length)
    at += head.sizeOf(length)
    write(texts[i] as string, bytes, at, length)
    at += length
  }
  return bytes
}

/** For shorter texts, a call of Node's native code takes longer than a loop. */
const SHORT_BYTES = 32

function write(text: string, to: Buffer, at: number, length: number): void {
  const isAscii = length === text.length
  if (isAscii && length < SHORT_BYTES)
    for (let i = 0; i < length; i++) to[at + i] = text.charCodeAt(i)
  else to.write(text, at, length)
}

/** @returns undefined unless the bytes are a short ASCII text without NUL */
export function shortText(bytes: Uint8Array): string | undefined {
  if (bytes.byteLength >= SHORT_BYTES) return undefined
  let text = ''
  for (let i = 0; i < bytes.byteLength; i++) {
    const byte = bytes[i] as number
    if (byte === 0 || byte >= 0x80) return undefined
    text += String.fromCharCode(byte)
  }
  return text
}
