import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller } from '../answer.ts'

export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly caller: Caller
}

export interface Connection {
  /** The response to the newest request; earlier responses are sent first. */
  latest: ServerResponse | undefined
  /** Requests that arrived before the previous one was answered, in order. */
  pipelined: Exchange[]
  /**
   * Bytes read when the connection last became idle. If there are more now, a request is arriving.
   */
  idleBytes: number
  /** When the connection last became idle, on performance.now()'s clock. */
  idleSince: number
  malformed: boolean
  session: Session | undefined
  /** Bytes read when this connection was last considered for dropping. */
  seen?: { readonly bytes: number; readonly at: number }
}

export interface Session {
  /** When the connection last had a stream, on performance.now()'s clock. */
  readonly idleSince: number
  /**
   * 'idle' without streams, 'waiting' if every stream waits for the client, otherwise 'working'.
   */
  readonly state: 'idle' | 'waiting' | 'working'
  /** Closes the connection once its streams are answered. New streams are soon refused. */
  end(): void
  drop(): void
}
