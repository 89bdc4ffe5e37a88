import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterReading } from './after-reading.ts'
import type { Connection, Exchange, Session } from './connection.ts'
import { ConnectionLimit, type Drops } from './connection-limit.ts'
import { sendRaw } from './malformed.ts'

/** How long a client that keeps its connection busy may take to send the next request. */
export const NEXT_REQUEST_MS = 250

/**
 * How many requests a client may pipeline on one connection. Node reads hundreds in one go, and so
 * many from each of 150 connections took 2.5 s, most of it for requests that were then not
 * answered.
 */
const MAX_PIPELINED = 128

/** How much clients may have open at a time. */
export interface Bounds {
  readonly connections: number
  /** Requests sent ahead, over all connections. */
  readonly pipelined: number
}

const NONE: Exchange[] = []

/** All open connections: whose turn it is on each, and when each may be closed. */
export class Connections {
  readonly #open = new Map<Socket, Connection>()
  readonly #limit: ConnectionLimit
  readonly #maxPipelined: number
  readonly #begin: (exchange: Exchange) => void
  /** Over all connections. */
  #pipelined = 0
  #ending = false
  #patienceMs = NEXT_REQUEST_MS

  /** @param begin answers a request whose turn it is */
  constructor(bounds: Bounds, drops: Drops, begin: (exchange: Exchange) => void) {
    this.#limit = new ConnectionLimit(bounds.connections, this.#open, drops)
    this.#maxPipelined = bounds.pipelined
    this.#begin = begin
  }

  add(socket: Socket): void {
    const connection: Connection = {
      latest: undefined,
      pipelined: NONE,
      idleBytes: 0,
      idleSince: performance.now(),
      malformed: false,
      session: undefined,
    }
    this.#open.set(socket, connection)
    socket.once('close', () => this.#forget(socket))
    const victim = this.#limit.opened(socket)
    if (victim !== undefined) this.#drop(victim)
    if (this.#ending) closeWhenIdle(socket, connection, this.#patienceMs)
  }

  #forget(socket: Socket): void {
    this.#open.delete(socket)
    this.#limit.used(socket)
  }

  #drop(socket: Socket): void {
    const session = this.#open.get(socket)?.session
    // Now, not once it is closed: the next to come would find one too many, too.
    this.#forget(socket)
    if (session === undefined) socket.destroy()
    else session.drop()
  }

  /** The connection speaks HTTP/2 from here on. */
  handOver(socket: Socket, session: Session): void {
    const connection = this.#open.get(socket)
    if (connection !== undefined) connection.session = session
    this.#limit.used(socket)
  }

  /** Ends the connections that speak HTTP/2; those of HTTP/1.1 end with their next answer. */
  endSessions(): void {
    for (const { session } of this.#open.values()) session?.end()
  }

  /** Cuts off the connections that speak HTTP/2, which Node's server does not know. */
  destroySessions(): void {
    for (const [socket, { session }] of this.#open) if (session !== undefined) socket.destroy()
  }

  /** @returns undefined once it is closed */
  of(socket: Socket): Connection | undefined {
    return this.#open.get(socket)
  }

  /** Any open connection. */
  first(): Socket | undefined {
    return this.#open.keys().next().value
  }

  /**
   * Begins a request, or lets it wait: requests of one connection are answered one after the other.
   * A client that pipelines many has no more of the server at a time than others, and for a client
   * that reads no answer no more than one is made.
   */
  take(exchange: Exchange, connection: Connection): void {
    const before = connection.latest
    connection.latest = exchange.response
    if (before === undefined) this.#limit.used(exchange.request.socket)
    if (before === undefined || before.closed) {
      this.#begin(exchange)
      return
    }
    if (connection.pipelined.length >= MAX_PIPELINED || this.#pipelined >= this.#maxPipelined) {
      exchange.request.socket.destroy()
      return
    }
    if (connection.pipelined.length === 0) connection.pipelined = [exchange]
    else connection.pipelined.push(exchange)
    this.#pipelined++
  }

  /** The answer to a request was sent, or its client hung up. */
  answered({ request }: Exchange, connection: Connection): void {
    const { socket } = request
    // A refusal may be read before all of the body has come.
    if (request.complete || request.closed) this.#becomeIdle(socket, connection)
    else {
      request.once('close', () => this.#becomeIdle(socket, connection))
      // A body may be answered before the parser reports its end; without this, the parser would
      // not read on to it.
      request.resume()
    }
    if (connection.pipelined.length > 0) this.#takeNext(socket, connection)
  }

  #takeNext(socket: Socket, { pipelined }: Connection): void {
    // Requests after an answer that closes the connection are not answered.
    const taken = pipelined.splice(0, socket.writable ? 1 : pipelined.length)
    this.#pipelined -= taken.length
    // In the next turn of the event loop: else one connection would have this one to itself until
    // it has read enough.
    if (socket.writable && taken[0] !== undefined) setImmediate(this.#begin, taken[0])
  }

  #becomeIdle(socket: Socket, connection: Connection): void {
    connection.idleBytes = socket.bytesRead
    connection.idleSince = performance.now()
    // An answer that promised to keep the connection, and was read only now.
    if (this.#ending) closeWhenIdle(socket, connection, this.#patienceMs)
  }

  /** Closes a connection on which nothing has come since it became idle. */
  closeIdle(socket: Socket): void {
    const connection = this.#open.get(socket)
    if (connection === undefined || isIdle(socket, connection)) socket.destroy()
  }

  /**
   * Closes each connection once it is idle, now and from here on.
   * @param patienceMs a client that was answered within this time may send its next request
   */
  async end(patienceMs = NEXT_REQUEST_MS): Promise<void> {
    this.#ending = true
    this.#patienceMs = patienceMs
    this.endSessions()
    for (const [socket, connection] of this.#open) {
      // First read what the client has sent until now.
      await nextTurn()
      closeWhenIdle(socket, connection, patienceMs)
    }
  }

  /**
   * Answers bytes that are no request, after the request before them has its own answer; then the
   * connection closes.
   * @param headers further lines of the head
   */
  refuse(socket: Socket, status: number, message: string, headers = ''): void {
    const connection = this.#open.get(socket)
    if (connection === undefined) {
      // A handshake that failed: the client could not read an answer.
      socket.destroy()
      return
    }
    // The parser reports every piece that comes after the first malformed one, too.
    if (connection.malformed) return
    connection.malformed = true
    const before = connection.latest
    const send = () => sendRaw(socket, status, message, headers)
    if (before === undefined || before.writableFinished || before.destroyed) send()
    else if (before.req.complete) before.once('finish', send)
    else if (before.headersSent) socket.destroy()
    else send()
  }
}

/**
 * A client that was answered just now, with the promise to keep the connection, may have sent its
 * next request before it can know that we end: that one is waited for, for a moment, and answered.
 * A connection that has been idle for longer is closed.
 */
function closeWhenIdle(socket: Socket, connection: Connection, patienceMs: number): void {
  if (connection.session !== undefined || !isIdle(socket, connection)) return
  const left = connection.idleSince + patienceMs - performance.now()
  if (left <= 0) socket.destroy()
  else setTimeout(afterReading, left, () => closeWhenIdle(socket, connection, patienceMs))
}

const isIdle = ({ bytesRead }: Socket, { latest, idleBytes }: Connection) =>
  latest?.closed !== false && bytesRead === idleBytes
