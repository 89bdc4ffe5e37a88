import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/*
 * Moves a connection from Node's HTTP/1.1 server to HTTP/2. The HTTP/1.1 parser reports HTTP/2's
 * preface as an error, so HTTP/1.1 connections need no extra check.
 */

/** RFC 9113 section 3.4. */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

export interface ParserError extends NodeJS.ErrnoException {
  readonly rawPacket?: Buffer
  readonly bytesParsed?: number
}

/**
 * Returns the first bytes of an HTTP/2 connection; undefined for other connections. After HTTP/1.1,
 * a connection must not change to HTTP/2: a proxy may share it between clients. Over TLS, ALPN
 * selects the version.
 */
export function prefacedBytes(
  { code, rawPacket, bytesParsed }: ParserError,
  socket: Socket,
): Uint8Array | undefined {
  if (code !== 'HPE_PAUSED_H2_UPGRADE' || rawPacket === undefined || bytesParsed === undefined)
    return undefined
  if ((socket as TLSSocket).encrypted) return undefined
  const rest = rawPacket.subarray(bytesParsed)
  if (socket.bytesRead - rest.byteLength !== PREFACE.byteLength) return undefined
  return Buffer.concat([PREFACE, rest])
}

export const agreedOnHttp2 = (socket: Socket): boolean =>
  (socket as TLSSocket).alpnProtocol === 'h2'

/**
 * Events whose listeners belong to Node's HTTP/1.1 server. Its 'close' listener stays, because it
 * frees the parser.
 */
const LISTENERS = ['data', 'end', 'error', 'drain', 'timeout', 'pause', 'resume']

/** Detaches a connection from Node's HTTP/1.1 server and pauses it. */
export function detach(socket: Socket): void {
  // Makes the server release the handle that its parser reads from.
  socket.on('readable', ignore)
  socket.off('readable', ignore)
  // removeAllListeners() would leave Node's mark that the socket has a reader.
  for (const event of LISTENERS)
    for (const listener of socket.listeners(event))
      socket.off(event, listener as (...values: unknown[]) => void)
  socket.on('error', ignore)
  // Removes the parser from the list with the time limit for request heads.
  ;(socket as Socket & { parser?: { remove(): void } }).parser?.remove()
  // As in an HTTP/2 server: when the client closes its half of the connection, Node closes the
  // other.
  socket.allowHalfOpen = false
  socket.pause()
}

const ignore = () => {}
