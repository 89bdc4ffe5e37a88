import { createServer, type ServerOptions } from 'node:https'
import type { Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { Config } from '../config/config.ts'
import type { Log } from '../telemetry/log.ts'
import { followFiles } from './followed-files.ts'

/** How long a client may take to agree on how to speak. */
const HANDSHAKE_MS = 10_000

export interface SecureServer {
  readonly server: ReturnType<typeof createServer>
  /** Closes connections that have not come so far as to carry a request. */
  dropHandshakes(): void
}

/**
 * A server of HTTPS, whose certificate is replaced when its files are; connections that are open keep the one they began with.
 * @throws {Error} of one line, when the files are no certificate and its key
 */
export function createSecureServer(
  options: ServerOptions,
  { certFile, keyFile }: NonNullable<Config['tls']>,
  log: Log,
): SecureServer {
  const server = createServer({ ...options, handshakeTimeout: HANDSHAKE_MS })
  const use = ({
    TLS_CERT_FILE: cert,
    TLS_KEY_FILE: key,
  }: {
    TLS_CERT_FILE: string
    TLS_KEY_FILE: string
  }) => {
    // Both are tried before either is used: they may be written one after the other.
    createSecureContext({ cert, key })
    server.setSecureContext({ cert, key })
  }
  followFiles({ TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile }, use, log)

  // Told apart by the other end: Node shows no way from the encrypted connection to the one beneath.
  const handshaking = new Map<string, Socket>()
  const peer = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`
  server.on('connection', (socket: Socket) => {
    const key = peer(socket)
    handshaking.set(key, socket)
    socket.once('close', () => handshaking.delete(key))
  })
  server.on('secureConnection', socket => handshaking.delete(peer(socket)))
  return {
    server,
    dropHandshakes() {
      for (const socket of handshaking.values()) socket.destroy()
    },
  }
}
