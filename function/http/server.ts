import { createServer, type Server, type ServerOptions } from 'node:http'
import type { Config } from '../config/config.ts'
import type { Log } from '../telemetry/log.ts'
import type { Drops } from './connection-limit.ts'

// Knative's queue-proxy keeps idle connections for 90 s. If this server closed one first, the
// queue-proxy's next request would fail with 502.
const KEEP_ALIVE_MS = 95_000

export const BACKLOG = 1024

/** How many TLS handshakes may be open besides the connections, as a share of MAX_CONNECTIONS. */
const SHARE_OF_HANDSHAKES = 1 / 4

export interface HttpServer {
  readonly server: Server
  /** The event for a new connection that can carry requests. */
  readonly connectionEvent: 'connection' | 'secureConnection'
  dropHandshakes(): void
  /** Resolves when the oldest open handshake ends; undefined if none is open. */
  handshakeEnds(): Promise<void> | undefined
}

export const keepAliveMs = ({ idleExitMs }: Config): number =>
  idleExitMs > 0 ? Math.min(idleExitMs, KEEP_ALIVE_MS) : KEEP_ALIVE_MS

/** @throws {Error} if the certificate or its key cannot be used */
export async function createHttpServer(
  config: Config,
  log: Log,
  drops: Drops,
): Promise<HttpServer> {
  const options: ServerOptions = {
    keepAliveTimeout: keepAliveMs(config),
    requestTimeout: config.requestTimeoutMs,
    headersTimeout: Math.min(config.requestTimeoutMs, 60_000),
    connectionsCheckingInterval: Math.min(config.requestTimeoutMs, 5_000),
    // Node would refuse a request without a Host header and send no body. This server's response
    // gives the reason.
    requireHostHeader: false,
  }
  if (config.tls === undefined)
    return {
      server: createServer(options),
      connectionEvent: 'connection',
      dropHandshakes() {},
      handshakeEnds: () => undefined,
    }
  const { createSecureServer } = await import('./access/tls.ts')
  const limit = { most: Math.ceil(SHARE_OF_HANDSHAKES * config.maxConnections), drops }
  const secure = createSecureServer(options, config.tls, { log, limit })
  return { ...secure, connectionEvent: 'secureConnection' }
}

/**
 * Listens on the configured port or socket.
 * @returns the port
 * @throws {Error} if it cannot listen on the port
 */
export async function bind(server: Server, config: Config): Promise<number> {
  const { port, listenHost, listenFd } = config
  await new Promise<void>((resolve, reject) => {
    server.once('error', error => reject(new Error(failureOf(error, config))))
    if (listenFd !== undefined) server.listen({ fd: listenFd }, BACKLOG, resolve)
    else {
      const host = listenHost === undefined ? undefined : { host: listenHost }
      server.listen({ port, ...host, backlog: BACKLOG }, resolve)
    }
  })
  const address = server.address()
  if (address === null || typeof address === 'string')
    throw new Error(
      'the socket that systemd passed (LISTEN_FDS) is not a TCP socket; set ListenStream= to an address with a port',
    )
  return address.port
}

export function urlOf({ listenHost = 'localhost', tls }: Config, port: number): string {
  const host = listenHost.includes(':') ? `[${listenHost}]` : listenHost
  return `${tls === undefined ? 'http' : 'https'}://${host}:${port}`
}

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'it is already in use',
  EACCES: 'permission denied',
  EADDRNOTAVAIL: 'this machine has no such address',
}

function failureOf(
  { code = '', message }: NodeJS.ErrnoException,
  { port, metricsPort, listenHost = '', listenFd }: Config,
): string {
  const reason = REASONS[code] ?? message
  const variable = port > 0 && port === metricsPort ? 'METRICS_PORT' : 'PORT'
  return listenFd === undefined
    ? `cannot listen on ${listenHost}:${port}: ${reason} (${variable}, LISTEN_HOST)`
    : `cannot listen on the socket passed as descriptor ${listenFd}: ${reason} (LISTEN_FDS)`
}
