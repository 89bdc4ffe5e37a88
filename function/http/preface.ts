import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'

/*
 * How a connection leaves Node's HTTP/1.1 server for HTTP/2. Its parser reports HTTP/2's preface as
 * an error, so nothing stands in front of HTTP/1.1.
 */

/** The first bytes of a connection that speaks HTTP/2 (RFC 9113 section 3.4). */
const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')

/** Node's error of bytes that its parser does not take. */
export interface ParserError extends NodeJS.ErrnoException {
  readonly rawPacket?: Buffer
  readonly bytesParsed?: number
}

/**
 * @returns the bytes that a connection of HTTP/2 began with; undefined where it is not one. A
 *   connection that spoke HTTP/1.1 must not change: a proxy may share it between its clients. Over
 *   TLS, ALPN decides
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

/** Whether the client and this server agreed on HTTP/2. */
export const agreedOnHttp2 = (socket: Socket): boolean =>
  (socket as TLSSocket).alpnProtocol === 'h2'

/** Of Node's HTTP/1.1 server. Its listener for 'close' stays: it frees the parser. */
const LISTENERS = ['data', 'end', 'error', 'drain', 'timeout', 'pause', 'resume']

/** Takes a connection from Node's HTTP/1.1 server; nothing is read from it until another reads. */
export function detach(socket: Socket): void {
  // Makes the server let go of the handle that its parser reads from.
  socket.on('readable', ignore)
  socket.off('readable', ignore)
  // One by one: removeAllListeners() would leave Node's mark that the socket has a reader.
  for (const event of LISTENERS)
    for (const listener of socket.listeners(event))
      socket.off(event, listener as (...values: unknown[]) => void)
  socket.on('error', ignore)
  // Without a time for the request's head; its parser is in the list of those that have one.
  ;(socket as Socket & { parser?: { remove(): void } }).parser?.remove()
  // As a server of HTTP/2 has it: a client that closes its half gets the other closed.
  socket.allowHalfOpen = false
  socket.pause()
}

const ignore = () => {}
