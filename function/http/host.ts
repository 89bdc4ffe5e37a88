import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http'
import { type AddressInfo, Server as NetServer, type Socket } from 'node:net'
import { setImmediate as nextTurn, setTimeout as wait } from 'node:timers/promises'
import type { Config } from '../config/config.ts'
import type { EventService } from '../events/receive.ts'
import { type Answer, bytesOf, errorAnswer, json, Refused, sizeOf, statusOf } from '../handler.ts'
import type { Caller } from '../inference/batcher.ts'
import { lazily } from '../lazily.ts'
import { Overloaded } from '../protocol/errors.ts'
import { show } from '../protocol/json.ts'
import { traceOf } from '../telemetry/log.ts'
import type { RejectionReason } from '../telemetry/metrics.ts'
import type { Admit } from './authentication.ts'
import {
  compress,
  createBodyReader,
  declaredLength,
  free,
  type Held,
  HungUp,
  isWorthCompressing,
} from './body.ts'
import { createRoutes, type Route } from './routes.ts'

// The queue-proxy keeps idle connections for 90 s; closing first would turn its next request into a 502.
const KEEP_ALIVE_MS = 95_000

/** Connections that may wait to be let in. */
const BACKLOG = 1024

/** So short a turn of the event loop that hardly anybody can have connected in it. */
const QUIET_TURN_MS = 0.02

/** How long a client that is refused may go on sending, so that it gets to read why: closing at once would reset the connection. */
const LINGER_MS = 1_000

/** How long a client that keeps its connection busy may take to send the next request. */
const NEXT_REQUEST_MS = 250

/** The listener. */
export interface Host {
  readonly port: number
  /** From here on every answer closes its connection. */
  stopKeepAlive(): void
  /** Stops listening once nobody is connected and nothing was asked for so long, and resolves then: there is nothing left to lose. */
  closeWhenUnused(ms: number): Promise<void>
  /** Stops listening and waits for requests in flight, at most so long; then cuts what is left. @returns whether all was answered */
  close(timeoutMs: number): Promise<boolean>
}

/** Answers a request by the route that `find` gives, or throws why there is none; without it, by the route of the request's path. */
export type Respond = (find?: () => Route | undefined) => Promise<void>

/** What stands between the listener and the routes, such as an Express application. It hands every request on by `respond`. */
export type Front = (request: IncomingMessage, response: ServerResponse, respond: Respond) => void

/**
 * How many requests a client may send ahead on one connection, before the answer to the first is sent. Node reads hundreds in one go, and
 * so many from each of 150 connections took 2.5 s, most of it for those that were then not answered.
 */
const MAX_AHEAD = 128

/** What is known of a connection. */
interface Connection {
  /** The response to its newest request; those before it are sent first. */
  latest: ServerResponse | undefined
  /** Requests that came before the one ahead of them was answered, in their order. */
  ahead: Begun[]
  /** Bytes read when it was last idle: where more have come since, a request is on its way. */
  idleAt: number
  /** When it was last idle, on performance.now()'s clock. */
  restedAt: number
  /** True once it is to be closed because what it sent is not HTTP. */
  broken: boolean
}

type Begun = readonly [request: IncomingMessage, response: ServerResponse, caller: Caller]

/**
 * Listens on the configured port; requests are routed to plain handlers, pages to the Express application.
 * @param front what requests pass through before they are routed
 * @throws {Error} of one line, when the port cannot be had
 */
export async function listen(service: EventService, config: Config, front?: Front): Promise<Host> {
  const { log, metrics, traces } = service
  const routes = createRoutes(service)
  const routeOf = config.metricsPort === undefined ? routes : withoutMetrics(routes)
  // Loaded where they are asked for: nobody else's start and requests pay for them.
  const admit =
    config.auth && (await (await import('./authentication.ts')).createAdmission(config.auth, log))
  const cors = config.corsOrigins && (await import('./cors.ts')).createCors(config.corsOrigins)
  const bodies = createBodyReader(config)
  const connections = new Map<Socket, Connection>()
  /** Of all connections. */
  let sentAhead = 0
  let closing = false
  let closed = false
  // Pages are Express's: inference never passes through it.
  const pages = lazily(async () => (await import('./pages.ts')).createPages(service, config))
  /** When something was last asked, on performance.now()'s clock; whoever only watches does not ask. */
  let askedAt = performance.now()

  const options = {
    keepAliveTimeout:
      config.idleExitMs > 0 ? Math.min(config.idleExitMs, KEEP_ALIVE_MS) : KEEP_ALIVE_MS,
    requestTimeout: config.requestTimeoutMs,
    headersTimeout: Math.min(config.requestTimeoutMs, 60_000),
    connectionsCheckingInterval: Math.min(config.requestTimeoutMs, 5_000),
    // Node would refuse a missing Host without a body; ours says why.
    requireHostHeader: false,
  }
  const secure =
    config.tls && (await import('./tls.ts')).createSecureServer(options, config.tls, log)
  const server = secure?.server ?? createServer(options)
  server.on(secure === undefined ? 'connection' : 'secureConnection', (socket: Socket) => {
    connections.set(socket, {
      latest: undefined,
      ahead: NO_REQUESTS,
      idleAt: 0,
      restedAt: performance.now(),
      broken: false,
    })
    socket.once('close', () => connections.delete(socket))
    if (closed) endWhenRested(socket, connections.get(socket) as Connection)
  })
  server.on('request', onRequest)
  server.on('checkContinue', onRequest)
  server.on('checkExpectation', onRequest)
  server.on('connect', (_request, socket: Socket) => {
    // Node has let go of this socket: unheard, its error would end the process.
    socket.on('error', () => {})
    socket.resume()
    answerLast(
      socket,
      405,
      'CONNECT is not supported; this is no proxy',
      'Allow: GET, HEAD, POST, OPTIONS\r\n',
    )
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    const [status, message] = BROKEN[error.code ?? ''] ?? [
      400,
      `the request is not valid HTTP: ${error.message.replace(/^Parse Error: /, '')}`,
    ]
    answerLast(socket, status, message)
  })

  function onRequest(request: IncomingMessage, response: ServerResponse): void {
    const { socket } = request
    const connection = connections.get(socket)
    // The client hung up before its request was begun.
    if (connection === undefined) return
    const arrived = performance.now()
    const caller: Caller = {
      arrived,
      deadline: arrived + config.requestTimeoutMs,
      gone: false,
      traceparent: request.headers.traceparent as string | undefined,
      trace: traces?.begin(request.method, arrived),
    }
    const before = connection.latest
    connection.latest = response
    response.on('close', () => onClosed(request, response, caller, connection))
    request.url = originForm(request.url ?? '')
    if (before === undefined || before.closed) begin(request, response, caller)
    else waitForTurn(connection, [request, response, caller])
  }

  function begin(request: IncomingMessage, response: ServerResponse, caller: Caller): void {
    if (front === undefined) respond(request, response, caller)
    else front(request, response, find => respond(request, response, caller, find))
  }

  /**
   * Requests of one connection are answered one after the other: who sends many ahead has no more of the server at a time than others,
   * and who reads no answer has no more than one made.
   */
  function waitForTurn(connection: Connection, begun: Begun): void {
    if (connection.ahead.length >= MAX_AHEAD || sentAhead >= config.maxQueueRows) {
      begun[0].socket.destroy()
      return
    }
    if (connection.ahead.length === 0) connection.ahead = [begun]
    else connection.ahead.push(begun)
    sentAhead++
  }

  function takeTurn(socket: Socket, { ahead }: Connection): void {
    // What comes after an answer that closes the connection is not answered.
    const begun = ahead.splice(0, socket.writable ? 1 : ahead.length)
    sentAhead -= begun.length
    // In the next turn of the event loop: else one connection would have this one to itself until it has read enough.
    if (socket.writable && begun[0] !== undefined) setImmediate(begin, ...begun[0])
  }

  /** The answer was sent, or the client hung up. */
  function onClosed(
    request: IncomingMessage,
    response: ServerResponse,
    caller: Caller,
    connection: Connection,
  ): void {
    if (!response.writableFinished) caller.gone = true
    // A refusal may be read before all of the body has come.
    if (request.complete || request.closed) rest(request.socket, connection)
    else {
      request.once('close', () => rest(request.socket, connection))
      // Who answers as soon as the body is there, before the parser tells that it is over, does not read on to that.
      request.resume()
    }
    if (connection.ahead.length > 0) takeTurn(request.socket, connection)
    if (caller.trace !== undefined)
      traces?.finish(
        caller.trace,
        request,
        response.headersSent ? response.statusCode : undefined,
        caller.traceparent,
      )
    if (!log.isLevelEnabled('debug')) return
    log.debug(
      {
        method: request.method,
        path: request.url,
        status: response.statusCode,
        ms: performance.now() - caller.arrived,
        ...traceOf(request.headers, caller),
      },
      caller.gone ? 'the client hung up' : 'answered',
    )
  }

  function rest(socket: Socket, connection: Connection): void {
    connection.idleAt = socket.bytesRead
    connection.restedAt = performance.now()
    // An answer that promised to keep the connection, and took until now to be read.
    if (closed) endWhenRested(socket, connection)
  }

  async function respond(
    request: IncomingMessage,
    response: ServerResponse,
    caller: Caller,
    find?: () => Route | undefined,
  ): Promise<void> {
    let watches = false
    try {
      checkHead(request)
      const path = pathOf(request.url ?? '')
      const preflight = cors?.preflight(request)
      if (preflight !== undefined) return await send(request, response, preflight)
      if (admit !== undefined) await letIn(admit, request, () => lookUp(path, request, find))
      const route = lookUp(path, request, find)
      if (route === undefined)
        throw new Refused(
          404,
          `there is nothing at ${showPath(path)}; GET / or /docs tells what there is`,
        )
      watches = route.kind !== undefined
      // Who watches comes again and again on one connection, which would never be over.
      if (watches && config.idleExitMs > 0) response.setHeader('connection', 'close')
      const method = request.method === 'HEAD' ? 'GET' : request.method
      if (method === 'OPTIONS')
        return await send(request, response, {
          status: 204,
          headers: { allow: allow(route) },
          body: '',
        })
      const handler = method === 'GET' || method === 'POST' ? route[method] : undefined
      if (handler === undefined)
        throw new Refused(
          405,
          `${request.method} is not for ${showPath(path)}; it takes ${allow(route)}`,
          { allow: allow(route) },
        )
      if (method === 'GET' && isPage(route, request, config)) {
        const page = await pages()
        if (cors !== undefined)
          response.setHeaders(new Map(Object.entries(cors.headers(request.headers))))
        if (closing || isLast(request)) response.setHeader('connection', 'close')
        response.once('prefinish', () => waitToBeRead(response, response.writableLength, undefined))
        return page(request, response, caller)
      }
      if (method === 'GET')
        return await send(
          request,
          response,
          await handler({ method, path, headers: request.headers, body: NOTHING }, caller),
        )
      const { body, held } = await bodies.read(request, response)
      try {
        const answer = await handler(
          { method: 'POST', path, headers: request.headers, body },
          caller,
        )
        free(body)
        held.becomeAnswer(sizeOf(answer.body))
        await send(request, response, answer, held)
      } finally {
        if (response.closed || response.writableLength === 0) held.release()
      }
    } catch (error) {
      if (error instanceof HungUp) return
      if (error instanceof Overloaded) metrics.rejected('overloaded')
      const rejection = error instanceof Refused ? REJECTIONS[error.status] : undefined
      if (rejection !== undefined) metrics.rejected(rejection)
      if (statusOf(error) === undefined)
        log.error(
          { err: error, ...traceOf(request.headers, caller) },
          'a request failed unexpectedly',
        )
      await send(request, response, errorAnswer(error))
    } finally {
      if (!watches) askedAt = performance.now()
    }
  }

  const lookUp = (
    path: string,
    { method }: IncomingMessage,
    find: (() => Route | undefined) | undefined,
  ) =>
    path === '*' && method === 'OPTIONS' ? ANYTHING : find === undefined ? routeOf(path) : find()

  function send(
    request: IncomingMessage,
    response: ServerResponse,
    answer: Answer,
    held?: Held,
  ): void | Promise<void> {
    const acceptEncoding = request.headers['accept-encoding']
    const length = sizeOf(answer.body)
    if (acceptEncoding === undefined || !isWorthCompressing(length))
      write(request, response, answer, length, held)
    else return sendCompressed(request, response, answer, acceptEncoding, held)
  }

  async function sendCompressed(
    request: IncomingMessage,
    response: ServerResponse,
    answer: Answer,
    acceptEncoding: string,
    held: Held | undefined,
  ): Promise<void> {
    const body = bytesOf(answer.body)
    const compressed = await compress(body, acceptEncoding)
    if (compressed === undefined) write(request, response, answer, body.byteLength, held)
    else {
      const headers = {
        ...answer.headers,
        'content-encoding': compressed.encoding,
        vary: 'accept-encoding',
      }
      write(
        request,
        response,
        { ...answer, headers, body: [compressed.body] },
        compressed.body.byteLength,
        held,
      )
    }
  }

  function write(
    request: IncomingMessage,
    response: ServerResponse,
    { status, headers: own, body }: Answer,
    length: number,
    held: Held | undefined,
  ): void {
    if (response.headersSent || response.destroyed) return
    // No browser is to take an answer, some of which is what the caller sent, for anything but what it says it is.
    const headers: Record<string, string | number> = { 'x-content-type-options': 'nosniff', ...own }
    // Said to who gets it plain, too: a cache must not give that to the next.
    if (isWorthCompressing(length)) headers.vary = 'accept-encoding'
    if (cors !== undefined) Object.assign(headers, cors.headers(request.headers, headers.vary))
    if (status !== 204) headers['content-length'] = length
    const requestId = request.headers['x-request-id']?.toString()
    if (requestId !== undefined) headers['x-request-id'] = requestId
    // Node reads and drops what is left of a body; one that is not wanted for its size or its sender is rather cut off.
    // One that was read is whole, although Node may say so only later in this turn.
    const cutOff =
      held === undefined &&
      !request.complete &&
      (CUT_OFF.has(status) || declaredLength(request) > config.maxBodyBytes)
    if (closing || cutOff || isLast(request)) headers.connection = 'close'
    response.writeHead(status, headers)
    if (request.method === 'HEAD') response.end()
    else if (cutOff) lingerThenEnd(request, response, bytesOf(body))
    // Node writes the headers as UTF-8 with a body that is text, though it read them as Latin-1.
    else if (typeof body === 'string')
      response.end(requestId === undefined || ASCII.test(requestId) ? body : Buffer.from(body))
    else endWithParts(response, body)
    if (response.writableLength > 0 && !cutOff) waitToBeRead(response, length, held)
  }

  /** An answer that does not fit the socket waits in memory for its client to read it: for as long as a request may take to arrive. */
  function waitToBeRead(
    response: ServerResponse,
    bytes: number,
    heldAlready: Held | undefined,
  ): void {
    if (response.closed || bytes === 0) return
    let held: Held
    try {
      held = heldAlready ?? bodies.holdAnswer(bytes)
    } catch {
      response.destroy()
      return
    }
    const cut = () => {
      response.destroy()
      held.release()
    }
    held.waitsForReader(cut)
    const late = setTimeout(cut, config.requestTimeoutMs)
    response.once('close', () => {
      clearTimeout(late)
      held.release()
    })
  }

  /** Answers what is no request, after the request before it has its own answer; then the connection closes. */
  function answerLast(socket: Socket, status: number, message: string, headers?: string): void {
    const connection = connections.get(socket)
    if (connection === undefined) {
      // A handshake that failed: nobody could read an answer.
      socket.destroy()
      return
    }
    // The parser tells of every piece that comes after the first broken one, too.
    if (connection.broken) return
    connection.broken = true
    const before = connection.latest
    if (before === undefined || before.writableFinished || before.destroyed)
      sendRaw(socket, status, message, headers)
    else if (before.req.complete)
      before.once('finish', () => sendRaw(socket, status, message, headers))
    else if (before.headersSent) socket.destroy()
    else sendRaw(socket, status, message, headers)
  }

  async function endRested(): Promise<void> {
    for (const [socket, connection] of connections) {
      // What it has sent until now is read first.
      await nextTurn()
      endWhenRested(socket, connection)
    }
  }

  await bind(server, config)
  const address = server.address() as AddressInfo | null
  if (address === null)
    throw new Error(
      'the socket that was passed (LISTEN_FDS) is not of TCP: ListenStream= takes an address with a port',
    )

  return {
    port: address.port,
    stopKeepAlive() {
      closing = true
    },
    async closeWhenUnused(ms) {
      for (;;) {
        // What has arrived already is let in first.
        await nextTurn()
        const [socket] = connections.keys()
        const left = askedAt + ms - performance.now()
        if (socket !== undefined) await new Promise(resolve => socket.once('close', resolve))
        else if (left > 0) await wait(left)
        else break
      }
      // In the same turn as the last look: between them nobody can be let in. Who comes later stays in the backlog of systemd's socket.
      NetServer.prototype.close.call(server)
    },
    async close(timeoutMs) {
      // Not http's own close(): it also destroys connections whose last answer is still being read (Node 24).
      const done = new Promise(resolve => server.once('close', resolve))
      await letEverybodyIn(server)
      NetServer.prototype.close.call(server)
      // Not before: who is told to close connects anew at once.
      closing = true
      closed = true
      void endRested()
      if (secure !== undefined) setTimeout(secure.dropHandshakes, NEXT_REQUEST_MS).unref()
      let timer: NodeJS.Timeout | undefined
      const late = new Promise<boolean>(resolve => {
        timer = setTimeout(() => resolve(false), timeoutMs)
      })
      const finished = await Promise.race([done.then(() => true), late])
      clearTimeout(timer)
      server.closeAllConnections()
      return finished
    },
  }
}

/** @throws {Refused} 400, 401, 403, 503 to who is not let in */
async function letIn(
  admit: Admit,
  request: IncomingMessage,
  find: () => Route | undefined,
): Promise<void> {
  const refusal = await admit(request, find)
  if (refusal !== undefined) throw new Refused(refusal.status, refusal.message, refusal.headers)
  // Meanwhile; whoever reads its body now would wait for ever.
  if (request.destroyed) throw new HungUp()
}

/** What is counted of refusals that happen before inference. */
const REJECTIONS: Readonly<Record<number, RejectionReason>> = {
  401: 'unauthenticated',
  403: 'forbidden',
  413: 'too_large',
}

const CUT_OFF = new Set([401, 403, 413, 503])

/** Where metrics have a port of their own, they are not here. */
const withoutMetrics = (routeOf: (path: string) => Route | undefined) => (path: string) => {
  const route = routeOf(path)
  return route?.kind === 'metrics' ? undefined : route
}

const ASCII = /^[\x20-\x7e]*$/

const NOTHING = new Uint8Array(0)

const NO_REQUESTS: Begun[] = []

/** `OPTIONS *` asks about the server as a whole. */
const ANYTHING: Route = { GET: () => json({}), POST: () => json({}) }

const BROKEN: Readonly<Record<string, [status: number, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, 'the headers are larger than the 16 KiB allowed'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, 'the chunk extensions are larger than allowed'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'the request did not arrive in time (REQUEST_TIMEOUT_MS)'],
}

/**
 * Closing the listener resets who has connected and was not let in yet, and the event loop lets in one a turn (libuv 1.45 and later).
 * Resolves after a turn in which nobody came, and that was short; at the latest when all who may wait have had theirs.
 */
async function letEverybodyIn(server: Server): Promise<void> {
  let letIn = 0
  const count = () => letIn++
  server.on('connection', count)
  for (let turns = 0; turns < BACKLOG; turns++) {
    const [before, began] = [letIn, performance.now()]
    await nextTurn()
    if (letIn === before && performance.now() - began < QUIET_TURN_MS) break
  }
  server.off('connection', count)
}

/**
 * A client that was answered just now, with the promise to keep the connection, may have sent its next request before it can know
 * that we end: that one is waited for a moment, and answered. Who has been quiet for longer is not.
 */
function endWhenRested(socket: Socket, connection: Connection): void {
  if (!isIdle(socket, connection)) return
  const left = connection.restedAt + NEXT_REQUEST_MS - performance.now()
  if (left <= 0) socket.destroy()
  else setTimeout(endWhenRested, left, socket, connection)
}

const isIdle = ({ bytesRead }: Socket, { latest, idleAt }: Connection) =>
  latest?.closed !== false && bytesRead === idleAt

/**
 * What Node leaves to us of HTTP/1.1's own rules (RFC 9112 sections 3.2 and 6.1, RFC 9110 section 10.1.1), and what it takes that another
 * server before us may understand otherwise.
 */
function checkHead({ httpVersion, headers, rawHeaders }: IncomingMessage): void {
  const coding = headers['transfer-encoding']
  if (coding !== undefined && (httpVersion !== '1.1' || coding.toLowerCase() !== 'chunked'))
    throw new Refused(
      400,
      `Transfer-Encoding ${show(coding)} is not supported; only chunked, in HTTP/1.1`,
      CLOSE,
    )
  if (httpVersion === '0.9') throw new Refused(400, 'the request says no version of HTTP', CLOSE)
  if (httpVersion !== '1.1') return
  if (headers.host === undefined) throw new Refused(400, 'the Host header is missing')
  if (countHosts(rawHeaders) > 1)
    throw new Refused(400, 'there is more than one Host header', CLOSE)
  if (headers.expect === undefined || headers.expect.toLowerCase() === '100-continue') return
  throw new Refused(417, `Expect ${show(headers.expect)} cannot be met; only 100-continue`)
}

const CLOSE = { connection: 'close' }

function countHosts(rawHeaders: readonly string[]): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.length === 4 && rawHeaders[i]?.toLowerCase() === 'host') count++
  return count
}

function bind(server: Server, { port, listenHost, listenFd }: Config): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const where =
        listenFd === undefined
          ? `${listenHost ?? ''}:${port}`
          : `the socket passed as descriptor ${listenFd}`
      const reasons: Record<string, string> = {
        EADDRINUSE: 'it is taken',
        EACCES: 'this user may not',
        EADDRNOTAVAIL: 'this machine has no such address',
      }
      const variables = listenFd === undefined ? 'PORT, LISTEN_HOST' : 'LISTEN_FDS'
      reject(
        new Error(
          `cannot listen on ${where}: ${reasons[error.code ?? ''] ?? error.message} (${variables})`,
        ),
      )
    })
    if (listenFd === undefined) {
      server.listen(
        {
          port,
          ...(listenHost === undefined ? undefined : { host: listenHost }),
          backlog: BACKLOG,
        },
        resolve,
      )
    } else {
      server.listen({ fd: listenFd }, BACKLOG, resolve)
    }
  })
}

/** A request target that is a whole URL (RFC 9112 section 3.2.2) as a path; Express would read it by url.parse, of which Node warns. */
function originForm(target: string): string {
  if (target.startsWith('/') || !URL.canParse(target)) return target
  const { pathname, search } = new URL(target)
  return pathname + search
}

/** Without the query. */
export function pathOf(target: string): string {
  const query = target.indexOf('?')
  return query === -1 ? target : target.slice(0, query)
}

const isPage = ({ page }: Route, { headers }: IncomingMessage, { playground }: Config) =>
  page === 'always' ||
  (page === 'html' && playground && /\btext\/html\b/.test(headers.accept ?? ''))

/**
 * Whether a connection is to end with the answer: Node's parser says nothing of a broken request behind one that asks for another
 * protocol, which it does not get, and so nobody would answer that until its time is over.
 */
const isLast = ({ headers }: IncomingMessage) => headers.upgrade !== undefined

const allow = ({ GET, POST }: Route) =>
  [GET && 'GET, HEAD', POST && 'POST', 'OPTIONS'].filter(Boolean).join(', ')

const showPath = (path: string) => (path.length > 100 ? `${path.slice(0, 97)}...` : path)

/** Headers and parts in one write of the socket, without copying the tensors among them. */
function endWithParts(response: ServerResponse, parts: readonly (string | Uint8Array)[]): void {
  response.cork()
  for (const part of parts) response.write(part)
  response.end()
  response.uncork()
}

/** Sends all of the answer, then waits a little for the client to stop sending before the connection closes. */
function lingerThenEnd(
  request: IncomingMessage,
  response: ServerResponse,
  body: string | Uint8Array,
): void {
  response.write(body)
  request.resume()
  const timer = setTimeout(() => response.end(), LINGER_MS)
  request.once('close', () => {
    clearTimeout(timer)
    response.end()
  })
  request.once('end', () => response.end())
}

/** An answer on a connection whose HTTP is broken, so that there is no response object to give it to. */
function sendRaw(socket: Socket, status: number, message: string, headers = ''): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const body = JSON.stringify({ error: message })
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\nContent-Length: ${Buffer.byteLength(body)}\r\n${headers}Connection: close\r\n\r\n${body}`,
  )
  setTimeout(() => socket.destroy(), LINGER_MS).unref()
}
