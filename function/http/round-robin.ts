/** How long the actions may take in each turn of the event loop. */
const MOST_MS = 1

type Action = () => void

/**
 * Actions that wait, so that clients that send one request at a time need not wait for clients that
 * send hundreds: to begin a pipelined request or a further stream of HTTP/2, or to close a
 * connection. The connections take turns, and all of them together get a limited time in each turn
 * of the event loop. A connection's first request does not wait here.
 */
export class RoundRobin {
  /** Keyed by connection; the connection whose turn is next is first. */
  readonly #waiting = new Map<object, Action[]>()
  readonly #takeTurns = () => void this.#take()
  #scheduled = false
  #accepted = false

  add(connection: object, action: Action): void {
    const actions = this.#waiting.get(connection)
    if (actions === undefined) this.#waiting.set(connection, [action])
    else actions.push(action)
    this.#schedule()
  }

  /**
   * Records a new connection. The event loop accepts one connection in each turn, and more may be
   * in the accept queue. This turn should therefore be short.
   */
  accepted(): void {
    this.#accepted = true
  }

  #schedule(): void {
    if (this.#scheduled || this.#waiting.size === 0) return
    this.#scheduled = true
    setImmediate(this.#takeTurns)
  }

  async #take(): Promise<void> {
    const end = performance.now() + (this.#accepted ? 0 : MOST_MS)
    this.#accepted = false
    try {
      for (const [connection, [action, ...others]] of this.#waiting) {
        this.#waiting.delete(connection)
        if (others.length > 0) this.#waiting.set(connection, others)
        action?.()
        // Let a request continue, so that its time counts.
        await undefined
        if (performance.now() >= end) break
      }
    } finally {
      this.#scheduled = false
      this.#schedule()
    }
  }
}
