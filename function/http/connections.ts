import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterReading } from './after-reading.ts'
import type { Connection, Exchange, Session } from './connection.ts'
import { ConnectionLimit, type Drops } from './connection-limit.ts'
import { sendRaw } from './malformed.ts'

/** Time for a client to send its next request while it keeps its connection busy. */
export const NEXT_REQUEST_MS = 250

/**
 * Most requests that a client may pipeline on one connection. Node reads hundreds at once: that
 * many from each of 150 connections took 2.5 s, mostly for requests that were then not answered.
 */
const MAX_PIPELINED = 128

/** Limits over all clients. */
export interface Bounds {
  readonly connections: number
  /** Pipelined requests over all connections. */
  readonly pipelined: number
}

const NONE: Exchange[] = []

/** All open connections: which request is next on each, and when each may be closed. */
export class Connections {
  readonly #open = new Map<Socket, Connection>()
  readonly #limit: ConnectionLimit
  readonly #maxPipelined: number
  readonly #begin: (exchange: Exchange) => void
  /** Count over all connections. */
  #pipelined = 0
  #ending = false
  #patienceMs = NEXT_REQUEST_MS

  /** @param begin answers a request when it is next */
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
    // Forget it now, not on 'close': otherwise the next new connection would also exceed the limit.
    this.#forget(socket)
    if (session === undefined) socket.destroy()
    else session.drop()
  }

  /** The connection uses HTTP/2 from now on. */
  handOver(socket: Socket, session: Session): void {
    const connection = this.#open.get(socket)
    if (connection !== undefined) connection.session = session
    this.#limit.used(socket)
  }

  /** Ends HTTP/2 connections. HTTP/1.1 connections end with their next answer. */
  endSessions(): void {
    for (const { session } of this.#open.values()) session?.end()
  }

  /** Destroys HTTP/2 connections, which Node's server does not know. */
  destroySessions(): void {
    for (const [socket, { session }] of this.#open) if (session !== undefined) socket.destroy()
  }

  /** @returns undefined if it is closed */
  of(socket: Socket): Connection | undefined {
    return this.#open.get(socket)
  }

  /** Returns any open connection. */
  first(): Socket | undefined {
    return this.#open.keys().next().value
  }

  /**
   * Begins a request, or queues it: requests of one connection are answered in order. A client that
   * pipelines many gets no more of the server than others, and at most one answer is made for a
   * client that does not read.
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

  /** The answer to a request was sent, or the client hung up. */
  answered({ request }: Exchange, connection: Connection): void {
    const { socket } = request
    // The client may read a refusal before its whole body has arrived.
    if (request.complete || request.closed) this.#becomeIdle(socket, connection)
    else {
      request.once('close', () => this.#becomeIdle(socket, connection))
      // A body may be answered before the parser reports its end, which it reaches only by reading
      // on.
      request.resume()
    }
    if (connection.pipelined.length > 0) this.#takeNext(socket, connection)
  }

  #takeNext(socket: Socket, { pipelined }: Connection): void {
    // Requests after an answer that closes the connection are not answered.
    const taken = pipelined.splice(0, socket.writable ? 1 : pipelined.length)
    this.#pipelined -= taken.length
    // In the next turn of the event loop: otherwise one connection could occupy a whole turn.
    if (socket.writable && taken[0] !== undefined) setImmediate(this.#begin, taken[0])
  }

  #becomeIdle(socket: Socket, connection: Connection): void {
    connection.idleBytes = socket.bytesRead
    connection.idleSince = performance.now()
    // The answer promised to keep the connection open but was read only now.
    if (this.#ending) closeWhenIdle(socket, connection, this.#patienceMs)
  }

  /** Closes a connection that has received nothing since it became idle. */
  closeIdle(socket: Socket): void {
    const connection = this.#open.get(socket)
    if (connection === undefined || isIdle(socket, connection)) socket.destroy()
  }

  /**
   * Closes each connection when it is idle, now and in future.
   * @param patienceMs a client answered within this time may send one more request
   */
  async end(patienceMs = NEXT_REQUEST_MS): Promise<void> {
    this.#ending = true
    this.#patienceMs = patienceMs
    this.endSessions()
    for (const [socket, connection] of this.#open) {
      // First read everything that clients have sent so far.
      await nextTurn()
      closeWhenIdle(socket, connection, patienceMs)
    }
  }

  /**
   * Answers malformed bytes after the request before them is answered, then closes the connection.
   * @param headers additional header lines
   */
  refuse(socket: Socket, status: number, message: string, headers = ''): void {
    const connection = this.#open.get(socket)
    if (connection === undefined) {
      // A failed handshake: the client could not read an answer.
      socket.destroy()
      return
    }
    // The parser also reports each piece after the first malformed one.
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
 * A recently answered client may have sent its next request before it can know about the shutdown:
 * wait for it briefly and answer it. Close connections that have been idle for longer.
 */
function closeWhenIdle(socket: Socket, connection: Connection, patienceMs: number): void {
  if (connection.session !== undefined || !isIdle(socket, connection)) return
  const left = connection.idleSince + patienceMs - performance.now()
  if (left <= 0) socket.destroy()
  else setTimeout(afterReading, left, () => closeWhenIdle(socket, connection, patienceMs))
}

const isIdle = ({ bytesRead }: Socket, { latest, idleBytes }: Connection) =>
  latest?.closed !== false && bytesRead === idleBytes
