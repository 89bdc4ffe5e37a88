/** Bytes as one line of ASCII, shortened in the middle. */
export function show(bytes: Buffer, most = 500): string {
  const part = (from: number, to: number) =>
    JSON.stringify(bytes.toString('latin1', from, to))
      .slice(1, -1)
      .replaceAll(/[\x7f-\xff]/g, character => `\\x${character.charCodeAt(0).toString(16)}`)
  if (bytes.byteLength <= most) return part(0, bytes.byteLength)
  return `${part(0, most / 2)} … ${bytes.byteLength - most} bytes … ${part(bytes.byteLength - most / 2, bytes.byteLength)}`
}
