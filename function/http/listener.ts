import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import { Server as NetServer, type Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises'
import { hangUp } from '../answer.ts'
import type { Config } from '../config/config.ts'
import { lazily } from '../lazily.ts'
import type { Service } from '../service.ts'
import { afterReading } from './after-reading.ts'
import { IncomingBody } from './body.ts'
import type { Connection, Exchange } from './connection.ts'
import { Drops } from './connection-limit.ts'
import { Connections, NEXT_REQUEST_MS } from './connections.ts'
import { callerOf, report } from './exchange.ts'
import { originForm } from './head.ts'
import { reasonOf } from './malformed.ts'
import { BodyMemory } from './memory.ts'
import { agreedOnHttp2, detach, type ParserError, prefacedBytes } from './preface.ts'
import { createResponder, type Responder } from './respond.ts'
import { RoundRobin } from './round-robin.ts'
import type { TableRoute } from './routes.ts'
import { Sender } from './send.ts'
import { BACKLOG, bind, createHttpServer, type HttpServer } from './server.ts'

/** In a shorter turn of the event loop, hardly any connection can have arrived. */
const QUIET_TURN_MS = 0.02

export type Respond = () => Promise<void>

/** Runs before the routes, such as an Express application. Calls `respond` to pass a request on. */
export type Middleware = (
  request: IncomingMessage,
  response: ServerResponse,
  respond: Respond,
) => void

export interface ListenOptions {
  readonly middleware?: Middleware | undefined
  readonly rows?: readonly TableRoute[]
  /** Whether to answer gRPC calls, which `rows` does not limit. Default: true. */
  readonly grpc?: boolean
}

/** @throws {Error} if it cannot listen on the port */
export async function listen(
  service: Service,
  config: Config,
  { middleware, rows, grpc = true }: ListenOptions = {},
): Promise<Listener> {
  const responder = await createResponder(service, config, rows)
  const memory = new BodyMemory(config.maxBodyBytes, () => service.model.freeBytes)
  const sender = new Sender(memory, config)
  const drops = new Drops(service, config.maxConnections)
  const roundRobin = new RoundRobin()
  const loadHttp2 = lazily(async () => {
    const { Http2 } = await import('./http2.ts')
    const isClosing = () => sender.closing
    const shared = { service, config, responder, memory, connections, drops, roundRobin }
    return new Http2({ ...shared, grpc, isClosing })
  })
  const serving = { responder, memory, sender, maxBodyBytes: config.maxBodyBytes }
  const bounds = { connections: config.maxConnections, pipelined: config.maxQueueRows }
  const connections = new Connections(bounds, { drops, roundRobin }, exchange => {
    if (middleware === undefined) serve(exchange, serving)
    else middleware(exchange.request, exchange.response, () => serve(exchange, serving))
  })
  const http = await createHttpServer(config, service.log, drops)
  const handOver = (socket: Socket, received: Uint8Array) => {
    detach(socket)
    loadHttp2().then(
      http2 => http2.takeOver(socket, received),
      error => {
        service.log.error({ err: error }, 'HTTP/2 cannot be loaded')
        socket.destroy()
      },
    )
  }
  handleRequests(http, connections, { service, config, handOver })
  const port = await bind(http.server, config)
  return new Listener({ port, http, connections, responder, sender })
}

interface Serving {
  readonly responder: Responder
  readonly memory: BodyMemory
  readonly sender: Sender
  readonly maxBodyBytes: number
}

async function serve(
  { request, response, caller }: Exchange,
  { responder, memory, sender, maxBodyBytes }: Serving,
): Promise<void> {
  const body = new IncomingBody({ head: request, stream: request, response }, memory, maxBodyBytes)
  caller.memory = body
  const destination = { request, response, body }
  try {
    const answer = await responder.respond(request, caller, body)
    if (answer !== undefined) await sender.send(destination, answer)
  } catch (error) {
    await sender.send(destination, responder.refuse(error, request, caller))
  } finally {
    if (response.closed) body.release()
  }
}

interface Handling {
  readonly service: Service
  readonly config: Config
  /** Hands a connection to HTTP/2. @param received bytes already read from it */
  readonly handOver: (socket: Socket, received: Uint8Array) => void
}

const NOTHING = new Uint8Array(0)

function handleRequests(
  { server, connectionEvent }: HttpServer,
  connections: Connections,
  { service, config: { requestTimeoutMs }, handOver }: Handling,
): void {
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    const connection = connections.of(request.socket)
    // The client hung up before its request began.
    if (connection === undefined) return
    const caller = callerOf(request, service, requestTimeoutMs)
    const exchange = { request, response, caller }
    response.on('close', () => onClose(exchange, connection))
    request.url = originForm(request.url ?? '')
    connections.take(exchange, connection)
  }
  const onClose = (exchange: Exchange, connection: Connection) => {
    if (!exchange.response.writableFinished) hangUp(exchange.caller)
    connections.answered(exchange, connection)
    const { request: head, response, caller } = exchange
    report(
      { head, caller, status: response.headersSent ? response.statusCode : undefined },
      service,
    )
  }
  server.on(connectionEvent, (socket: Socket) => {
    connections.add(socket)
    if (agreedOnHttp2(socket)) handOver(socket, NOTHING)
  })
  // Node would close an idle connection even if a request has arrived on it.
  server.on('timeout', (socket: Socket) => afterReading(() => connections.closeIdle(socket)))
  server.on('request', onRequest)
  server.on('checkContinue', onRequest)
  server.on('checkExpectation', onRequest)
  server.on('connect', (_request, socket: Socket) => {
    // Node no longer handles this socket's errors: without a listener, an error would end the
    // process.
    socket.on('error', () => {})
    socket.resume()
    const allow = 'Allow: GET, HEAD, POST, OPTIONS\r\n'
    connections.refuse(socket, 405, 'CONNECT is not supported; this server is not a proxy', allow)
  })
  server.on('clientError', (error: ParserError, socket: Socket) => {
    const preface = prefacedBytes(error, socket)
    if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') connections.refuseLate(socket)
    else if (preface === undefined) connections.refuse(socket, ...reasonOf(error))
    else handOver(socket, preface)
  })
}

interface Parts {
  readonly port: number
  readonly http: HttpServer
  readonly connections: Connections
  readonly responder: Responder
  readonly sender: Sender
}

export class Listener {
  readonly port: number
  readonly responder: Responder
  readonly #parts: Parts

  constructor(parts: Parts) {
    this.port = parts.port
    this.responder = parts.responder
    this.#parts = parts
  }

  stopKeepAlive(): void {
    this.#parts.sender.closing = true
    this.#parts.connections.endSessions()
  }

  /**
   * Stops listening once there has been no connection and no request for `ms` milliseconds from
   * this call.
   * @param prepare awaited before listening stops; clients that connect meanwhile are served
   */
  async closeWhenUnused(ms: number, prepare = async () => {}): Promise<void> {
    const { http, connections, responder } = this.#parts
    // Count from now: loading the model may have taken longer than `ms`.
    responder.lastUsed = performance.now()
    let preparedFor: number | undefined
    for (;;) {
      // First accept connections that have arrived.
      await nextTurn()
      const socket = connections.first()
      const handshake = http.handshakeEnds()
      const left = responder.lastUsed + ms - performance.now()
      if (socket !== undefined) await new Promise(resolve => socket.once('close', resolve))
      else if (handshake !== undefined) await handshake
      else if (left > 0) await wait(left)
      else if (preparedFor === responder.lastUsed) break
      else {
        preparedFor = responder.lastUsed
        await prepare()
      }
    }
    // Stop in the same turn as the last check, so that no connection is accepted in between. Later
    // connections stay in the backlog of systemd's socket.
    stopListening(http.server)
  }

  /**
   * Stops listening, waits at most `timeoutMs` for requests in flight, and closes the remaining
   * connections.
   * @param patienceMs how long an idle connection is kept for its next request
   * @returns whether all requests were answered
   */
  async close(timeoutMs: number, patienceMs?: number): Promise<boolean> {
    const { http, connections, sender } = this.#parts
    const { server } = http
    const done = new Promise<boolean>(resolve => server.once('close', () => resolve(true)))
    await acceptAll(server)
    stopListening(server)
    // Not before listening has stopped: a client whose connection closes opens another at once.
    sender.closing = true
    void connections.end(patienceMs)
    setTimeout(afterReading, NEXT_REQUEST_MS, http.dropHandshakes).unref()
    let timer: NodeJS.Timeout | undefined
    const late = new Promise<boolean>(resolve => {
      timer = setTimeout(() => resolve(false), timeoutMs)
    })
    const finished = await Promise.race([done, late])
    clearTimeout(timer)
    server.closeAllConnections()
    connections.destroySessions()
    return finished
  }
}

/**
 * The close() of Node's HTTP server would also destroy connections whose last response is still
 * being read (Node 24).
 */
const stopListening = (server: Server) => NetServer.prototype.close.call(server)

/**
 * Accepts the connections in the accept queue, which closing the listener would reset. The event
 * loop accepts one per turn (libuv 1.45 and later). Resolves after a short turn without a new
 * connection, or after one turn per place in the queue.
 */
async function acceptAll(server: Server): Promise<void> {
  let accepted = 0
  const count = () => accepted++
  server.on('connection', count)
  for (let turns = 0; turns < BACKLOG; turns++) {
    const before = accepted
    const began = performance.now()
    await nextTurn()
    if (accepted === before && performance.now() - began < QUIET_TURN_MS) break
  }
  server.off('connection', count)
}
