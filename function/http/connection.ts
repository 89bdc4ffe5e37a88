import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Caller } from '../answer.ts'

/** A request, and where its answer goes. */
export interface Exchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly caller: Caller
}

/** What is known of a connection. */
export interface Connection {
  /** The response to its newest request; those before it are sent first. */
  latest: ServerResponse | undefined
  /** Requests that arrived before the one ahead of them was answered, in their order. */
  pipelined: Exchange[]
  /** Bytes read when it was last idle: where more have come since, a request is on its way. */
  idleBytes: number
  /** When it was last idle, on performance.now()'s clock. */
  idleSince: number
  /** It is to be closed, because what it sent is not HTTP. */
  malformed: boolean
  /** Undefined while it speaks HTTP/1.1. */
  session: Session | undefined
  /** What had been read when it was last looked at because others wanted its place. */
  seen?: { readonly bytes: number; readonly at: number }
}

/** A connection that speaks HTTP/2. */
export interface Session {
  /** When it last had a stream, on performance.now()'s clock. */
  readonly idleSince: number
  /** Idle without a stream; waiting where every stream waits for the client. */
  readonly state: 'idle' | 'waiting' | 'working'
  /** Closes the connection once its streams are answered; it takes no new ones soon. */
  end(): void
  /** Closes it at once. */
  drop(): void
}
