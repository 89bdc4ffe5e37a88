import type { Socket } from 'node:net'
import type { Log } from '../telemetry/log.ts'
import type { DropReason, Metrics } from '../telemetry/metrics.ts'
import type { Connection } from './connection.ts'

/** How long a connection must wait for its client before a new connection may replace it. */
export const SETTLED_MS = 1_000

/** How many connections to examine for each new one: refusing a connection must be cheap. */
export const MOST_LOOKS = 64

/** If the connections without a request exceed this share of the limit, they are dropped first. */
const SHARE_OF_UNUSED = 1 / 4

const LOGGED_EVERY_MS = 60_000

export class Drops {
  readonly #metrics: Pick<Metrics, 'dropped'>
  readonly #log: Pick<Log, 'warn'>
  readonly #most: number
  #loggedAt = Number.NEGATIVE_INFINITY
  #notLogged = 0

  constructor(
    { metrics, log }: { metrics: Pick<Metrics, 'dropped'>; log: Pick<Log, 'warn'> },
    most: number,
  ) {
    this.#metrics = metrics
    this.#log = log
    this.#most = most
  }

  count(reason: DropReason): void {
    this.#metrics.dropped(reason)
    this.#notLogged++
    const now = performance.now()
    if (now - this.#loggedAt < LOGGED_EVERY_MS) return
    this.#log.warn(
      { reason, dropped: this.#notLogged, maxConnections: this.#most },
      'connections dropped: MAX_CONNECTIONS reached',
    )
    this.#loggedAt = now
    this.#notLogged = 0
  }
}

/**
 * Cycles through a changing collection, a few steps at a time. Take a step for every item added: an
 * idle iterator keeps removed items alive.
 */
export class Round<Item> {
  readonly #items: Iterable<Item>
  #left: Iterator<Item>

  constructor(items: Iterable<Item>) {
    this.#items = items
    this.#left = items[Symbol.iterator]()
  }

  step(): void {
    if (this.#left.next().done === true) this.#left = this.#items[Symbol.iterator]()
  }

  /** Yields up to `most` items, and wraps around once. */
  *next(most: number): Generator<Item> {
    let begins = 0
    for (let taken = 0; taken < most; ) {
      const { done, value } = this.#left.next()
      if (done !== true) {
        taken++
        yield value
      } else if (begins++ === 0) this.#left = this.#items[Symbol.iterator]()
      else return
    }
  }
}

/**
 * Limits open connections. Beyond the limit, drops a connection that waits for its client, so that
 * health probes and honest clients can connect; if all connections are busy, refuses the new one.
 */
export class ConnectionLimit {
  readonly #most: number
  readonly #open: ReadonlyMap<Socket, Connection>
  readonly #drops: Drops
  /** Connections without a request head, oldest first. */
  readonly #unused = new Set<Socket>()
  readonly #round: Round<[Socket, Connection]>

  constructor(most: number, open: ReadonlyMap<Socket, Connection>, drops: Drops) {
    this.#most = most
    this.#open = open
    this.#drops = drops
    this.#round = new Round(open)
  }

  /**
   * Records a new connection.
   * @returns the connection to drop, which may be the new one
   */
  opened(socket: Socket): Socket | undefined {
    this.#unused.add(socket)
    this.#round.step()
    if (this.#open.size <= this.#most) return undefined
    const victim = this.#longestWaiting(socket) ?? socket
    this.#drops.count(victim === socket ? 'refused' : 'idle')
    return victim
  }

  /** Records that a head has arrived, or that the connection was closed. */
  used(socket: Socket): void {
    this.#unused.delete(socket)
  }

  #longestWaiting(newcomer: Socket): Socket | undefined {
    const settled = performance.now() - SETTLED_MS
    const oldest = this.#unused.values().next().value as Socket
    if ((this.#open.get(oldest)?.idleSince ?? 0) <= settled) return oldest
    let stuck: Socket | undefined
    let idle: Socket | undefined
    for (const [socket, connection] of this.#round.next(MOST_LOOKS)) {
      if (socket === newcomer) continue
      const state = stateOf(socket, connection)
      if (state === 'idle') {
        if (idleSinceOf(connection) <= settled) return socket
        idle ??= socket
      } else if (state === 'waiting' && isStuck(socket, connection, settled)) stuck ??= socket
    }
    if (stuck !== undefined) return stuck
    const unused = oldest === newcomer ? undefined : oldest
    // During a flood of connections that have sent no request, drop such a connection rather than
    // an idle one that has been used.
    const isFlood = this.#unused.size > SHARE_OF_UNUSED * this.#most
    return isFlood ? (unused ?? idle) : (idle ?? unused)
  }
}

const idleSinceOf = ({ session, idleSince }: Connection) => session?.idleSince ?? idleSince

/** Whether a connection is idle, waits for its client within a request, or is busy. */
function stateOf(
  { bytesRead }: Socket,
  { latest, session, idleBytes }: Connection,
): 'idle' | 'waiting' | 'working' {
  if (session !== undefined) return session.state
  if (latest?.closed !== false) return bytesRead === idleBytes ? 'idle' : 'waiting'
  return latest.req.complete && !latest.headersSent ? 'working' : 'waiting'
}

function isStuck(socket: Socket, connection: Connection, settled: number): boolean {
  const { bytesRead } = socket
  const { seen } = connection
  if (seen?.bytes === bytesRead) return seen.at <= settled
  connection.seen = { bytes: bytesRead, at: performance.now() }
  return false
}
