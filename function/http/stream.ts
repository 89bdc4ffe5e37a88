import { constants, type ServerHttp2Stream } from 'node:http2'
import { type Answer, hangUp, json, sizeOf } from '../answer.ts'
import type { Config } from '../config/config.ts'
import type { Service } from '../service.ts'
import { afterReading } from './after-reading.ts'
import type { Arrival } from './arrivals.ts'
import { addressOf, IncomingBody } from './body.ts'
import { isWorthCompressing } from './compression.ts'
import type { Session } from './connection.ts'
import { callerOf, report } from './exchange.ts'
import type { RequestHead } from './head.ts'
import { LATE } from './malformed.ts'
import type { BodyMemory } from './memory.ts'
import type { Responder } from './respond.ts'
import { compressAnswer, headersOf, isHandedOver, LINGER_MS, waitForReader } from './send.ts'
import { SLICE_BYTES, writeInSlices } from './slices.ts'

export interface StreamContext {
  readonly service: Service
  readonly config: Config
  readonly responder: Responder
  readonly memory: BodyMemory
}

interface Exchange {
  readonly stream: ServerHttp2Stream
  readonly head: RequestHead
  readonly body: IncomingBody
  readonly session: Session
}

/** Answers one request; never rejects. */
export async function answerStream(
  stream: ServerHttp2Stream,
  head: RequestHead,
  session: Session,
  context: StreamContext,
): Promise<void> {
  const { service, config, responder, memory } = context
  const caller = callerOf(head, service, config.requestTimeoutMs)
  const response = {
    writeContinue() {
      // The request may have timed out during authentication.
      if (!stream.headersSent) stream.additionalHeaders({ ':status': 100 })
    },
  }
  const body = new IncomingBody({ head, stream, response }, memory, config.maxBodyBytes)
  caller.memory = body
  const exchange = { stream, head, body, session }
  stream.once('close', () => {
    // Node also finishes the response of a stream that the client has cancelled.
    if (stream.aborted || !stream.writableFinished) hangUp(caller)
    const status = stream.headersSent ? Number(stream.sentHeaders[':status']) : undefined
    report({ head, caller, status }, service)
  })
  if (!stream.endAfterHeaders) endLate(exchange, context)
  try {
    const answer = await responder.respond(head, caller, body)
    if (answer !== undefined) await send(exchange, answer, context)
  } catch (error) {
    await send(exchange, responder.refuse(error, head, caller), context)
  }
}

/** Refuses a request whose body does not arrive in time, as over HTTP/1.1. */
function endLate(exchange: Exchange, context: StreamContext): void {
  const { stream } = exchange
  const refuse = () => {
    if (stream.readableEnded || stream.closed || stream.headersSent) return
    void send(exchange, json({ error: LATE }, 408), context)
  }
  const late = setTimeout(afterReading, context.config.requestTimeoutMs, refuse)
  const stop = () => clearTimeout(late)
  stream.once('end', stop)
  stream.once('close', stop)
}

async function send(exchange: Exchange, answer: Answer, context: StreamContext): Promise<void> {
  const { 'accept-encoding': acceptEncoding } = exchange.head.headers
  const compresses = acceptEncoding !== undefined && isWorthCompressing(sizeOf(answer.body))
  write(exchange, compresses ? await compressAnswer(answer, acceptEncoding) : answer, context)
}

function write(exchange: Exchange, answer: Answer, { memory, config }: StreamContext): void {
  const { stream, head, body, session } = exchange
  if (stream.headersSent || stream.closed || stream.destroyed) {
    body.release()
    return
  }
  const length = sizeOf(answer.body)
  const { connection, ...headers } = headersOf(answer, head, length)
  const isEmpty = length === 0 || head.method === 'HEAD'
  stream.once('finish', () => dropRest(stream))
  stream.respond({ ':status': answer.status, ...headers }, { endStream: isEmpty })
  let reading: Arrival | undefined
  if (length > SLICE_BYTES && !isEmpty)
    writeInSlices(stream, answer.body, bytes => reading?.add(bytes))
  else if (!isEmpty) end(stream, answer.body)
  stream.resume()
  if (connection === 'close') session.end()
  // Node passes the bytes to the socket at the end of this turn of the event loop.
  setImmediate(() => {
    if (stream.closed || isHandedOver(stream)) body.release()
    else
      reading = waitForReader(stream, body, length, {
        memory,
        requestTimeoutMs: config.requestTimeoutMs,
        address: addressOf(stream),
        cutOff: () => cutOff(stream),
      })
  })
}

/** How long a client may go on sending after the response has ended. */
const STOP_MS = 100

/**
 * Discards the rest of a request whose response has ended (RFC 9113 section 8.1). Clients stop
 * sending when they read the status. If the stream closed at once, some clients, such as curl 7.88,
 * would lose the response.
 */
export function dropRest(stream: ServerHttp2Stream): void {
  stream.resume()
  if (stream.endAfterHeaders || stream.readableEnded) return
  const late = setTimeout(() => stream.close(constants.NGHTTP2_NO_ERROR), STOP_MS)
  stream.on('close', () => clearTimeout(late))
}

/**
 * Closes a stream whose client does not read. If the client reads nothing from the connection,
 * RST_STREAM is not sent, and Node would keep the response: then closes the connection.
 */
export function cutOff(stream: ServerHttp2Stream): void {
  const { session } = stream
  stream.close(constants.NGHTTP2_ENHANCE_YOUR_CALM)
  const late = setTimeout(
    () => session?.destroy(undefined, constants.NGHTTP2_ENHANCE_YOUR_CALM),
    LINGER_MS,
  )
  stream.once('close', () => clearTimeout(late))
}

function end(stream: ServerHttp2Stream, body: Answer['body']): void {
  if (typeof body === 'string') {
    stream.end(body)
    return
  }
  stream.cork()
  for (const part of body) stream.write(part)
  stream.end()
  stream.uncork()
}
