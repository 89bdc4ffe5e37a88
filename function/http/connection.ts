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
  /** Requests that arrived before the previous one was answered, in order. */
  pipelined: Exchange[]
  /** Bytes read when it last became idle; if more have been read since, a request is arriving. */
  idleBytes: number
  /** When it last became idle, by performance.now(). */
  idleSince: number
  /** To be closed, because the client sent malformed HTTP. */
  malformed: boolean
  /** Undefined for HTTP/1.1. */
  session: Session | undefined
  /** Bytes read at the last look that searched for a connection to drop. */
  seen?: { readonly bytes: number; readonly at: number }
}

/** A connection that uses HTTP/2. */
export interface Session {
  /** When it last had a stream, by performance.now(). */
  readonly idleSince: number
  /** 'idle' without a stream, 'waiting' if every stream waits for the client. */
  readonly state: 'idle' | 'waiting' | 'working'
  /** Closes the connection once its streams are answered. It stops accepting new ones soon. */
  end(): void
  /** Closes the connection at once. */
  drop(): void
}
