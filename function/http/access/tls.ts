import { createServer, type ServerOptions } from 'node:https'
import type { Socket } from 'node:net'
import { createSecureContext } from 'node:tls'
import type { Config } from '../../config/config.ts'
import type { Log } from '../../telemetry/log.ts'
import type { Drops } from '../connection-limit.ts'
import { watchFiles } from './watched-files.ts'

const HANDSHAKE_MS = 10_000

export interface SecureServer {
  readonly server: ReturnType<typeof createServer>
  dropHandshakes(): void
  /** Resolves when the oldest open handshake ends; undefined if none is open. */
  handshakeEnds(): Promise<void> | undefined
}

interface Around {
  readonly log: Log
  readonly limit: HandshakeLimit
}

/** Limits concurrent handshakes: beyond the limit, the oldest is dropped. */
interface HandshakeLimit {
  readonly most: number
  readonly drops: Drops
}

interface Handshake {
  readonly socket: Socket
  readonly over: Promise<void>
  readonly end: () => void
}

/**
 * Creates an HTTPS server, which replaces its certificate when the files change; open connections
 * keep the previous one.
 * @throws {Error} if the files are not a certificate and its key
 */
export function createSecureServer(
  options: ServerOptions,
  { certFile, keyFile }: NonNullable<Config['tls']>,
  { log, limit }: Around,
): SecureServer {
  const server = createServer({
    ...options,
    handshakeTimeout: HANDSHAKE_MS,
    ALPNProtocols: ['h2', 'http/1.1', 'http/1.0'],
  })
  const use = ({
    TLS_CERT_FILE: cert,
    TLS_KEY_FILE: key,
  }: {
    TLS_CERT_FILE: string
    TLS_KEY_FILE: string
  }) => {
    // Check that the certificate and the key match: they may be written one after the other.
    createSecureContext({ cert, key })
    server.setSecureContext({ cert, key })
  }
  watchFiles({ TLS_CERT_FILE: certFile, TLS_KEY_FILE: keyFile }, use, log)

  const handshakes = new Handshakes(limit)
  server.on('connection', (socket: Socket) => handshakes.began(socket))
  server.on('secureConnection', socket => handshakes.ended(socket))
  return {
    server,
    dropHandshakes: () => handshakes.dropAll(),
    handshakeEnds: () => handshakes.firstEnds(),
  }
}

/**
 * Open handshakes, oldest first, keyed by the peer's address and port: Node does not expose an
 * encrypted connection's underlying socket.
 */
class Handshakes {
  readonly #limit: HandshakeLimit
  readonly #open = new Map<string, Handshake>()

  constructor(limit: HandshakeLimit) {
    this.#limit = limit
  }

  began(socket: Socket): void {
    const { most, drops } = this.#limit
    const key = peerOf(socket)
    const { promise, resolve } = Promise.withResolvers<void>()
    this.#open.set(key, { socket, over: promise, end: resolve })
    socket.once('close', () => this.#end(key))
    if (this.#open.size <= most) return
    const [oldest, { socket: dropped }] = this.#open.entries().next().value as [string, Handshake]
    drops.count('handshake')
    this.#end(oldest)
    dropped.destroy()
  }

  ended(socket: Socket): void {
    this.#end(peerOf(socket))
  }

  /** Resolves when the oldest handshake ends; undefined if none is open. */
  firstEnds(): Promise<void> | undefined {
    return this.#open.values().next().value?.over
  }

  dropAll(): void {
    for (const { socket } of this.#open.values()) socket.destroy()
  }

  #end(key: string): void {
    this.#open.get(key)?.end()
    this.#open.delete(key)
  }
}

const peerOf = ({ remoteAddress, remotePort }: Socket) => `${remoteAddress} ${remotePort}`
