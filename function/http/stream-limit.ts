import { constants, type ServerHttp2Stream } from 'node:http2'
import { type Drops, MOST_LOOKS, Round, SETTLED_MS } from './connection-limit.ts'

/** Whether a stream's body is arriving or its response is being read. */
export const waitsForClient = (stream: ServerHttp2Stream): boolean =>
  stream.headersSent || !(stream.endAfterHeaders || stream.readableEnded)

/** Limits open streams over all connections: each stream uses as much memory as a connection. */
export class StreamLimit {
  readonly #most: number
  readonly #drops: Drops
  /** When each stream began, on performance.now()'s clock. */
  readonly #open = new Map<ServerHttp2Stream, number>()
  readonly #round = new Round(this.#open)

  constructor(most: number, drops: Drops) {
    this.#most = most
    this.#drops = drops
  }

  /** @returns whether the stream may be answered; otherwise it is refused, so that clients retry */
  admit(stream: ServerHttp2Stream): boolean {
    if (this.#open.size >= this.#most) {
      const stuck = this.#longestWaiting()
      this.#drops.count('stream')
      this.#open.delete(stuck ?? stream)
      if (stuck === undefined) {
        stream.close(constants.NGHTTP2_REFUSED_STREAM)
        return false
      }
      stuck.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    }
    this.#open.set(stream, performance.now())
    this.#round.step()
    stream.on('close', () => this.#open.delete(stream))
    return true
  }

  #longestWaiting(): ServerHttp2Stream | undefined {
    const settled = performance.now() - SETTLED_MS
    for (const [stream, began] of this.#round.next(MOST_LOOKS))
      if (began <= settled && waitsForClient(stream)) return stream
    return undefined
  }
}
