import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { afterReading } from './after-reading.ts'
import { LINGER_MS } from './send.ts'

export const LATE = 'the request did not arrive in time (REQUEST_TIMEOUT_MS)'

const REASONS: Readonly<Record<string, [status: number, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'the headers are larger than the 16 KiB allowed'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'the chunk extensions are larger than allowed'],
  HPE_PAUSED_H2_UPGRADE: [
    400,
    'this connection uses HTTP/1.1; start HTTP/2 with the first byte of a connection, or over TLS with ALPN',
  ],
  HPE_INVALID_EOF_STATE: [
    400,
    'the client closed its half of the connection before the request was complete',
  ],
}

/** Returns the status and message for bytes that Node's parser rejects. */
export const reasonOf = ({
  code = '',
  message,
}: NodeJS.ErrnoException): [status: number, message: string] =>
  REASONS[code] ?? [400, `the request is not valid HTTP: ${message.replace(/^Parse Error: /, '')}`]

/** Writes a response to malformed HTTP, for which Node creates no response object. */
export function sendRaw(socket: Socket, status: number, message: string, headers: string): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const body = JSON.stringify({ error: message })
  const lines = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    'Content-Type: application/json',
    'X-Content-Type-Options: nosniff',
    `Content-Length: ${Buffer.byteLength(body)}`,
  ]
  socket.end(`${lines.join('\r\n')}\r\n${headers}Connection: close\r\n\r\n${body}`)
  setTimeout(afterReading, LINGER_MS, () => socket.destroy()).unref()
}
