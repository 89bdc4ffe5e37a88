import { createServer, type ServerOptions } from 'node:https'
import type { Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { Config } from '../../config/config.ts'
import type { Log } from '../../telemetry/log.ts'
import { watchFiles } from './watched-files.ts'

/** How long a client may take for the TLS handshake. */
const HANDSHAKE_MS = 10_000

export interface SecureServer {
  readonly server: ReturnType<typeof createServer>
  /** Closes connections whose handshake is not complete. */
  dropHandshakes(): void
  /** Resolves once one of the handshakes under way is over; undefined where there is none. */
  handshakeEnds(): Promise<void> | undefined
}

interface Handshake {
  readonly socket: Socket
  readonly over: Promise<void>
  readonly end: () => void
}

/**
 * An HTTPS server. It replaces its certificate when the files change; open connections keep the one
 * they began with.
 * @throws {Error} of one line, when the files are not a certificate and its key
 */
export function createSecureServer(
  options: ServerOptions,
  { certFile, keyFile }: NonNullable<Config['tls']>,
  log: Log,
): SecureServer {
  const server = createServer({
    ...options,
    handshakeTimeout: HANDSHAKE_MS,
    ALPNProtocols: ['h2', 'http/1.1'],
  })
  const use = ({
    TLS_CERT_FILE: cert,
    TLS_KEY_FILE: key,
  }: {
    TLS_CERT_FILE: string
    TLS_KEY_FILE: string
  }) => {
    // Checked together before use: the two files may be written one after the other.
    createSecureContext({ cert, key })
    server.setSecureContext({ cert, key })
  }
  watchFiles({ TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile }, use, log)

  // Identified by their peer: Node offers no way from the encrypted connection to the socket
  // beneath.
  const handshaking = new Map<string, Handshake>()
  const peer = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`
  const end = (key: string) => {
    handshaking.get(key)?.end()
    handshaking.delete(key)
  }
  server.on('connection', (socket: Socket) => {
    const key = peer(socket)
    const { promise, resolve } = Promise.withResolvers<void>()
    handshaking.set(key, { socket, over: promise, end: resolve })
    socket.once('close', () => end(key))
  })
  server.on('secureConnection', socket => end(peer(socket)))
  return {
    server,
    dropHandshakes() {
      for (const { socket } of handshaking.values()) socket.destroy()
    },
    handshakeEnds: () => handshaking.values().next().value?.over,
  }
}
