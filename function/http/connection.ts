import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller } from '../answer.ts'

/** A request and its response. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly caller: Caller
}

/** State of a connection. */
export interface Connection {
  /** The response to the newest request; earlier responses are sent first. */
  latest: ServerResponse | undefined
  /** Requests that arrived before the previous request was answered, in order. */
  pipelined: Exchange[]
  /**
   * Bytes read when the connection last became idle. If more bytes have been read since, a request
   * is arriving.
   */
  idleBytes: number
  /** When the connection last became idle, on performance.now()'s clock. */
  idleSince: number
  /** True if the connection will be closed because the client sent malformed HTTP. */
  malformed: boolean
  /** The state of an HTTP/2 connection; undefined for HTTP/1.1. */
  session: Session | undefined
  /** Bytes read when this connection was last considered for dropping. */
  seen?: { readonly bytes: number; readonly at: number }
}

/** A connection that uses HTTP/2. */
export interface Session {
  /** When the connection last had a stream, on performance.now()'s clock. */
  readonly idleSince: number
  /**
   * The state is 'idle' if there is no stream, 'waiting' if every stream waits for the client, and
   * 'working' otherwise.
   */
  readonly state: 'idle' | 'waiting' | 'working'
  /**
   * Closes the connection once its streams are answered. The connection soon stops accepting new
   * streams.
   */
  end(): void
  /** Closes the connection at once. */
  drop(): void
}
