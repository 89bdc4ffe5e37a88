/** How long these requests may take in each turn of the event loop. */
const MOST_MS = 1

type Begin = () => void

/**
 * Requests on connections that already have a request in progress: pipelined requests, and further
 * streams of HTTP/2. The connections take turns, and all of them together get a limited time in each
 * turn of the event loop. A connection's first request does not wait here. Therefore, clients
 * that send one request at a time need not wait for clients that send hundreds.
 */
export class RoundRobin {
  /** Keyed by connection; the connection whose turn is next is first. */
  readonly #waiting = new Map<object, Begin[]>()
  readonly #beginSome = () => void this.#begin()
  #scheduled = false
  #accepted = false

  /** @param begin begins the request; must not throw */
  add(connection: object, begin: Begin): void {
    const requests = this.#waiting.get(connection)
    if (requests === undefined) this.#waiting.set(connection, [begin])
    else requests.push(begin)
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
    setImmediate(this.#beginSome)
  }

  async #begin(): Promise<void> {
    const end = performance.now() + (this.#accepted ? 0 : MOST_MS)
    this.#accepted = false
    for (const [connection, requests] of this.#waiting) {
      this.#waiting.delete(connection)
      requests.shift()?.()
      if (requests.length > 0) this.#waiting.set(connection, requests)
      // Let the request continue, so that its time counts.
      await undefined
      if (performance.now() >= end) break
    }
    this.#scheduled = false
    this.#schedule()
  }
}
