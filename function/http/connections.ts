import type { Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterReading } from './after-reading.ts'
import type { Connection, Exchange, Session } from './connection.ts'
import { ConnectionLimit, type Drops } from './connection-limit.ts'
import { LATE, sendRaw } from './malformed.ts'
import type { RoundRobin } from './round-robin.ts'

/** How long a shutdown waits for the next request of a client that has just been answered. */
export const NEXT_REQUEST_MS = 250

/**
 * The maximum number of requests that a client may pipeline on one connection. Node reads hundreds
 * at once: from 150 connections, that took 2.5 s, mostly for requests that were then not answered.
 */
const MAX_PIPELINED = 128

/**
 * The limit over all connections. Each waiting request is a few kilobytes of objects, which V8's
 * garbage collector copies: with 4,096 requests, it stopped the process for 20 ms at a time.
 */
const MAX_PIPELINED_IN_ALL = 1_024

export interface Bounds {
  readonly connections: number
  /** A lower limit over all connections. */
  readonly pipelined: number
}

const NONE: Exchange[] = []

/** All open connections: which request is next on each, and when each may close. */
export class Connections {
  readonly #open = new Map<Socket, Connection>()
  readonly #limit: ConnectionLimit
  readonly #maxPipelined: number
  readonly #roundRobin: RoundRobin
  readonly #begin: (exchange: Exchange) => void
  #pipelined = 0
  #ending = false
  #patienceMs = NEXT_REQUEST_MS

  /** @param begin answers a request when it is next on its connection */
  constructor(
    bounds: Bounds,
    { drops, roundRobin }: { readonly drops: Drops; readonly roundRobin: RoundRobin },
    begin: (exchange: Exchange) => void,
  ) {
    this.#limit = new ConnectionLimit(bounds.connections, this.#open, drops)
    this.#maxPipelined = Math.min(bounds.pipelined, MAX_PIPELINED_IN_ALL)
    this.#roundRobin = roundRobin
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
    this.#roundRobin.accepted()
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
    // Forget the connection now, not on 'close': until then, the next new connection would also
    // exceed the limit.
    this.#forget(socket)
    if (session === undefined) socket.destroy()
    else session.drop()
  }

  handOver(socket: Socket, session: Session): void {
    const connection = this.#open.get(socket)
    if (connection !== undefined) connection.session = session
    this.#limit.used(socket)
  }

  /**
   * Closes HTTP/2 connections once their streams are answered. HTTP/1.1 connections close after
   * their next response.
   */
  endSessions(): void {
    for (const { session } of this.#open.values()) session?.end()
  }

  /** Destroys HTTP/2 connections, which Node's HTTP/1.1 server no longer tracks. */
  destroySessions(): void {
    for (const [socket, { session }] of this.#open) if (session !== undefined) socket.destroy()
  }

  of(socket: Socket): Connection | undefined {
    return this.#open.get(socket)
  }

  first(): Socket | undefined {
    return this.#open.keys().next().value
  }

  /**
   * Begins a request, or queues it: requests on one connection are answered in order. Pipelining
   * therefore gains a client nothing, and a client that does not read gets at most one response.
   */
  take(exchange: Exchange, connection: Connection): void {
    const before = connection.latest
    connection.latest = exchange.response
    if (before === undefined) this.#limit.used(exchange.request.socket)
    if (before === undefined || before.closed) {
      this.#begin(exchange)
      return
    }
    const { socket } = exchange.request
    if (connection.pipelined.length >= MAX_PIPELINED || !this.#makeRoom(connection)) {
      cutOff(socket)
      return
    }
    if (connection.pipelined === NONE) {
      connection.pipelined = []
      closeWithoutTraces(socket)
    }
    connection.pipelined.push(exchange)
    this.#pipelined++
  }

  /**
   * Makes room for one more pipelined request: cuts off the connection with the most.
   * @returns false if that is `connection`
   */
  #makeRoom(connection: Connection): boolean {
    if (this.#pipelined < this.#maxPipelined) return true
    let most = connection
    let victim: Socket | undefined
    for (const [socket, other] of this.#open)
      if (other.pipelined.length > most.pipelined.length) {
        most = other
        victim = socket
      }
    if (victim === undefined) return false
    this.#pipelined -= most.pipelined.length
    most.pipelined = []
    cutOff(victim)
    return true
  }

  answered({ request }: Exchange, connection: Connection): void {
    const { socket } = request
    // A refused request may still be sending its body.
    if (request.complete || request.closed) this.#becomeIdle(socket, connection)
    else {
      request.once('close', () => this.#becomeIdle(socket, connection))
      // The request may be answered before the parser reports the end of its body; the parser must
      // read on to that end.
      request.resume()
    }
    if (connection.pipelined.length > 0) this.#takeNext(socket, connection)
  }

  #takeNext(socket: Socket, connection: Connection): void {
    const { pipelined } = connection
    // Requests after a response that closes the connection are not answered.
    const taken = pipelined.splice(0, socket.writable ? 1 : pipelined.length)
    this.#pipelined -= taken.length
    const [next] = taken
    if (socket.writable && next !== undefined)
      this.#roundRobin.add(connection, () => this.#begin(next))
  }

  #becomeIdle(socket: Socket, connection: Connection): void {
    connection.idleBytes = socket.bytesRead
    connection.idleSince = performance.now()
    // The response promised to keep the connection open, but was sent only after the shutdown
    // began.
    if (this.#ending) closeWhenIdle(socket, connection, this.#patienceMs)
  }

  closeIdle(socket: Socket): void {
    const connection = this.#open.get(socket)
    if (connection === undefined || isIdle(socket, connection)) socket.destroy()
  }

  /** Closes every connection as soon as it is idle, including connections that open later. */
  async end(patienceMs = NEXT_REQUEST_MS): Promise<void> {
    this.#ending = true
    this.#patienceMs = patienceMs
    this.endSessions()
    for (const [socket, connection] of this.#open) {
      // First read everything that clients have sent.
      await nextTurn()
      closeWhenIdle(socket, connection, patienceMs)
    }
  }

  /** Refuses a request that has not arrived in time, unless its bytes only have to be read. */
  refuseLate(socket: Socket): void {
    const before = this.#open.get(socket)?.latest
    afterReading(() => {
      const latest = this.#open.get(socket)?.latest
      const hasArrived = latest !== before || (latest?.closed === false && latest.req.complete)
      if (!hasArrived) this.refuse(socket, 408, LATE)
    })
  }

  /**
   * Sends an error for malformed bytes once the request before them is answered, and closes the
   * connection.
   * @param headers additional header lines
   */
  refuse(socket: Socket, status: number, message: string, headers = ''): void {
    const connection = this.#open.get(socket)
    if (connection === undefined) {
      // The TLS handshake failed: the client could not read a response.
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
 * Closes a connection once it has been idle for `patienceMs`. A client that has just
 * been answered may already have sent its next request, which the server answers.
 */
function closeWhenIdle(socket: Socket, connection: Connection, patienceMs: number): void {
  if (connection.session !== undefined || !isIdle(socket, connection)) return
  const left = connection.idleSince + patienceMs - performance.now()
  if (left <= 0) socket.destroy()
  else setTimeout(afterReading, left, () => closeWhenIdle(socket, connection, patienceMs))
}

/** The part of Node's HTTP/1.1 parser that handles each request. */
interface Parser {
  onIncoming: () => number
}

/** The parser's result that ends HTTP/1.1 on a connection, as after a protocol upgrade. */
const STOP = 2

/** Closes a connection, and parses no more of the requests that have been read from it. */
function cutOff(socket: Socket): void {
  const { parser } = socket as Socket & { readonly parser?: Parser | null }
  if (parser) parser.onIncoming = () => STOP
  socket.destroy()
}

/**
 * When a connection closes, Node creates an error for each of its pipelined requests. The stack
 * traces, which are never used, would take milliseconds per connection.
 */
function closeWithoutTraces(socket: Socket): void {
  let limit = Error.stackTraceLimit
  socket.prependOnceListener('close', () => {
    limit = Error.stackTraceLimit
    Error.stackTraceLimit = 0
  })
  socket.once('close', () => {
    Error.stackTraceLimit = limit
  })
}

const isIdle = ({ bytesRead }: Socket, { latest, idleBytes }: Connection) =>
  latest?.closed !== false && bytesRead === idleBytes
