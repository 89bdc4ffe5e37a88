import type { ServerHttp2Stream } from 'node:http2'
import type { Config } from '../config/config.ts'
import type { Authenticate } from '../http/access/authentication.ts'
import type { RequestHead } from '../http/head.ts'
import type { BodyMemory } from '../http/memory.ts'
import type { Service } from '../service.ts'

/** What answering calls depends on. */
export interface GrpcContext {
  readonly service: Service
  readonly config: Config
  /** The memory for messages, which are bodies. */
  readonly memory: BodyMemory
  /** Undefined where callers need no authentication. */
  readonly authenticate: Authenticate | undefined
}

/**
 * Answers one call.
 * @param head of the stream; its `url` is the method's path. Pseudo-headers are among its headers
 */
export type AnswerCall = (stream: ServerHttp2Stream, head: RequestHead) => void

/** Loaded at the first call. */
export function createGrpc(_context: GrpcContext): AnswerCall {
  return (stream, { url = '' }) => {
    // Trailers-Only, as an error before any message is sent.
    stream.respond(
      {
        ':status': 200,
        'content-type': 'application/grpc',
        'grpc-status': '12',
        'grpc-message': `${url} is not implemented`,
      },
      { endStream: true },
    )
  }
}
