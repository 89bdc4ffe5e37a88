import { writeSync } from 'node:fs'
import {
  constants,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Socket } from 'node:net'
import type { AnswerCall } from '../grpc/handler.ts'
import { lazily } from '../lazily.ts'
import { afterReading } from './after-reading.ts'
import type { Session } from './connection.ts'
import type { Drops } from './connection-limit.ts'
import { type Connections, NEXT_REQUEST_MS } from './connections.ts'
import type { RequestHead } from './head.ts'
import { ResetSockets } from './reset-sockets.ts'
import type { RoundRobin } from './round-robin.ts'
import { LINGER_MS } from './send.ts'
import { keepAliveMs } from './server.ts'
import { answerStream, type StreamContext } from './stream.ts'
import { StreamLimit, waitsForClient } from './stream-limit.ts'

/** The maximum number of streams on a connection, as for pipelined requests. */
const MAX_STREAMS = 128

/** How many bytes a client may send on one stream before the server reads them. */
const STREAM_WINDOW_BYTES = 256 * 1024

/**
 * The same limit with authentication: while it waits for the issuer's keys, these bytes are not
 * counted. This is HTTP/2's default.
 */
const UNAUTHENTICATED_WINDOW_BYTES = 65_535

/**
 * How many bytes may be on their way on all streams of a connection. Node reads these bytes as they
 * arrive, so this window never stays full.
 */
const CONNECTION_WINDOW_BYTES = 4 * 2 ** 20

/** The same limit as for HTTP/1.1. */
const MAX_HEADER_BYTES = 16 * 1024

/** If connections never closed, gRPC clients would never connect to a new replica. */
const MAX_AGE_MS = 3_600_000

/**
 * A GOAWAY frame that refuses no stream yet (RFC 9113 section 6.8). The session cannot send it:
 * after session.goaway(), nghttp2 would ignore new streams.
 */
const SHUTDOWN_NOTICE = Buffer.of(0, 0, 8, 7, 0, 0, 0, 0, 0, 0x7f, 255, 255, 255, 0, 0, 0, 0)

export interface Http2Context extends StreamContext {
  readonly connections: Connections
  readonly drops: Drops
  readonly roundRobin: RoundRobin
  readonly grpc: boolean
  /** Whether the server is closing, so that new sessions must end, too. */
  isClosing(): boolean
}

/** Serves HTTP/2 connections, which the HTTP/1.1 server hands over. Does not listen. */
export class Http2 {
  readonly #server: Http2Server
  readonly #context: Http2Context
  readonly #limit: StreamLimit
  readonly #resets = new ResetSockets()
  readonly #loadGrpc: () => Promise<AnswerCall>
  /** Undefined until the first call. */
  #answerCall: AnswerCall | undefined

  constructor(context: Http2Context) {
    this.#context = context
    this.#server = createServer({
      settings: {
        maxConcurrentStreams: MAX_STREAMS,
        initialWindowSize:
          context.config.auth === undefined ? STREAM_WINDOW_BYTES : UNAUTHENTICATED_WINDOW_BYTES,
        maxHeaderListSize: MAX_HEADER_BYTES,
      },
    })
    this.#limit = new StreamLimit(context.config.maxConnections, context.drops)
    this.#loadGrpc = lazily(async () => {
      const { createGrpc } = await import('../grpc/handler.ts')
      const { service, config, memory, responder } = context
      const { authenticate } = responder
      const onUsed = () => {
        responder.lastUsed = performance.now()
      }
      this.#answerCall = createGrpc({ service, config, memory, authenticate, onUsed })
      return this.#answerCall
    })
  }

  takeOver(socket: Socket, received: Uint8Array): void {
    if (socket.destroyed) return
    if (received.byteLength > 0) socket.unshift(received)
    this.#server.once('session', session => this.#begin(session, socket))
    this.#server.emit('connection', socket)
  }

  #begin(session: ServerHttp2Session, socket: Socket): void {
    const { connections, config, roundRobin, isClosing } = this.#context
    const open = new OpenSession(session, socket, {
      firstMs: Math.min(config.requestTimeoutMs, 60_000),
      idleMs: keepAliveMs(config),
      ageMs: MAX_AGE_MS,
      // One timeout for answering the last requests, and one for reading the responses.
      leavingMs: 2 * config.requestTimeoutMs,
    })
    session.on('stream', (stream, headers, _flags, rawHeaders) => {
      // Without a listener for errors, a stream that its client cancels would end the process.
      stream.on('error', ignore)
      stream.on('end', () => {
        // After RST_STREAM with NO_ERROR, Node would wait for a response that cannot be sent.
        if (stream.closed && stream.writableLength > 0) stream.destroy()
      })
      if (!this.#limit.admit(stream)) return
      open.began(stream)
      const answer = () => this.#answer(stream, headOf(headers, rawHeaders), open)
      if (open.streams === 1 || !stream.endAfterHeaders) answer()
      else
        roundRobin.add(open, () => {
          if (!stream.closed) answer()
        })
    })
    connections.handOver(socket, open)
    if (session.encrypted) this.#resets.watch(socket)
    // Wait for the server's settings, which must be the session's first frame.
    if (isClosing()) setImmediate(() => open.end())
  }

  #answer(stream: ServerHttp2Stream, head: RequestHead, session: Session): void {
    if (!(this.#context.grpc && IS_GRPC.test(head.headers['content-type'] ?? '')))
      void answerStream(stream, head, session, this.#context)
    else if (this.#answerCall === undefined) void this.#answerFirst(stream, head)
    else this.#answerCall(stream, head)
  }

  async #answerFirst(stream: ServerHttp2Stream, head: RequestHead): Promise<void> {
    const { service } = this.#context
    try {
      const answer = await this.#loadGrpc()
      if (!stream.destroyed) answer(stream, head)
    } catch (error) {
      service.log.error({ err: error }, 'call failed unexpectedly')
      stream.close(constants.NGHTTP2_INTERNAL_ERROR)
    }
  }
}

const ignore = () => {}

/** gRPC, but not gRPC-Web or another media type with this prefix. */
const IS_GRPC = /^application\/grpc(?![-\w])/i

function headOf(headers: IncomingHttpHeaders, rawHeaders: readonly string[]): RequestHead {
  headers.host ??= headers[':authority']
  return {
    method: headers[':method'],
    url: headers[':path'] ?? '',
    httpVersion: '2',
    headers,
    rawHeaders,
  }
}

/** The part of Node's handle of a socket that a direct write needs. */
interface Handle {
  readonly fd: number
  /** The bytes of the session that the kernel has not accepted. */
  readonly writeQueueSize: number
}

/**
 * Writes a frame between the session's frames, unless the connection is encrypted or the client is
 * not reading. socket.write() is not possible: if the kernel or TLS delayed that write, the session
 * would mistake its end for the end of one of the session's own writes, and Node would abort the
 * process.
 */
function writeFrame(socket: Socket, frame: Uint8Array): void {
  const { _handle: handle, encrypted } = socket as Socket & {
    readonly _handle?: Handle | null
    readonly encrypted?: boolean
  }
  if (encrypted || !handle || handle.writeQueueSize > 0 || !(handle.fd >= 0)) return
  let written = 0
  try {
    written = writeSync(handle.fd, frame)
  } catch {
    return
  }
  // The client has left megabytes unread, so the rest of the frame cannot be sent.
  if (written < frame.byteLength) socket.destroy()
}

interface Times {
  /** The time limit for the client's first frame. */
  readonly firstMs: number
  /** The time limit for a connection without streams. */
  readonly idleMs: number
  readonly ageMs: number
  /** The time limit for streams that are open when the client sends GOAWAY. */
  readonly leavingMs: number
}

/** An HTTP/2 connection. It closes when it is idle or old, or when the process shuts down. */
export class OpenSession implements Session {
  readonly #session: ServerHttp2Session
  readonly #socket: Socket
  readonly #times: Times
  readonly #streams = new Set<ServerHttp2Stream>()
  #idle: NodeJS.Timeout
  idleSince = performance.now()
  #ending = false
  #isClosing = false

  constructor(session: ServerHttp2Session, socket: Socket, times: Times) {
    this.#session = session
    this.#socket = socket
    this.#times = times
    this.#idle = setTimeout(afterReading, times.firstMs, () => this.#onIdle()).unref()
    // Vary the age by 10 %: clients that connected together should not reconnect together.
    const age = setTimeout(() => this.#onAge(), times.ageMs * (0.9 + Math.random() / 5)).unref()
    session.once('connect', () => session.setLocalWindowSize(CONNECTION_WINDOW_BYTES))
    session.once('remoteSettings', () => this.#restartIdle())
    // Node closes the session after its last stream. After an invalid frame, the streams never
    // close: nghttp2 stops reading and writing, and Node keeps the streams.
    let leaving: NodeJS.Timeout | undefined
    session.once('goaway', () => {
      leaving = setTimeout(() => this.#destroy(), times.leavingMs).unref()
    })
    // The session has ended the socket. It emits 'close' only after the socket.
    socket.once('finish', () => this.#closeSocket())
    session.once('close', () => {
      clearTimeout(this.#idle)
      clearTimeout(age)
      clearTimeout(leaving)
      this.#closeSocket()
    })
  }

  began(stream: ServerHttp2Stream): void {
    this.#streams.add(stream)
    stream.on('close', () => {
      this.#streams.delete(stream)
      if (this.#session.destroyed) this.#closeSocket()
      this.idleSince = performance.now()
      this.#idle.refresh()
    })
  }

  get streams(): number {
    return this.#streams.size
  }

  get state(): 'idle' | 'waiting' | 'working' {
    if (this.#streams.size === 0) return 'idle'
    for (const stream of this.#streams) if (!waitsForClient(stream)) return 'working'
    return 'waiting'
  }

  /** Closes the connection at once, and tells the client which streams were not answered. */
  drop(): void {
    this.#destroy(constants.NGHTTP2_ENHANCE_YOUR_CALM)
  }

  #destroy(code?: number): void {
    this.#session.destroy(undefined, code)
    this.#closeSocket()
  }

  /**
   * Closes the socket of a closed session. Node would wait until the client has read everything and
   * closed its half of the connection.
   */
  #closeSocket(): void {
    if (this.#socket.destroyed || this.#isClosing) return
    this.#isClosing = true
    const late = setTimeout(() => this.#socket.destroy(), LINGER_MS)
    this.#socket.once('close', () => clearTimeout(late))
  }

  /**
   * Closes the session once its streams are answered, including streams that the client opens
   * before it receives GOAWAY (RFC 9113 section 6.8).
   */
  end(): void {
    if (this.#ending || this.#session.closed) return
    this.#ending = true
    writeFrame(this.#socket, SHUTDOWN_NOTICE)
    setTimeout(afterReading, NEXT_REQUEST_MS, () => this.#session.close())
  }

  #restartIdle(): void {
    clearTimeout(this.#idle)
    this.#idle = setTimeout(afterReading, this.#times.idleMs, () => this.#onIdle()).unref()
  }

  #onIdle(): void {
    if (this.#streams.size > 0) this.#idle.refresh()
    else if (this.#ending) this.#destroy()
    else {
      this.end()
      this.#idle.refresh()
    }
  }

  #onAge(): void {
    this.end()
    setTimeout(() => this.#destroy(), this.#times.ageMs).unref()
  }
}
