/*
 * Logs each received event as one line, and counts lost events. Without arguments, this is the dead
 * letter sink: every event was lost. With --replies, it receives the function's replies until a
 * real consumer replaces it.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { readConfig } from '../function/config/config.ts'
import {
  type CloudEvent,
  modeOf,
  readBatch,
  readBinaryEvent,
  readStructuredEvent,
} from '../function/events/cloudevent.ts'
import { BadRequest } from '../function/protocol/errors.ts'
import { createLog } from '../function/telemetry/log.ts'
import { createDeadLetterMetrics } from '../function/telemetry/metrics.ts'

const SHOWN_BYTES = 1024
/**
 * The longest part of a structured event or batch that is read. A pod with 128 MiB has room for 20.
 */
const READ_BYTES = 2 ** 20
/**
 * Knative's queue-proxy keeps idle connections for 90 s. If this server closed one earlier, the
 * queue-proxy's next request would fail with 502.
 */
const KEEP_ALIVE_MS = 95_000

const config = readConfig(process.env)
const log = createLog(config.logLevel)
const metrics = createDeadLetterMetrics()
const isForReplies = readArguments(process.argv.slice(2))

const server = createServer({ keepAliveTimeout: KEEP_ALIVE_MS }, async (request, response) => {
  const path = request.url?.split('?')[0]
  if (path === '/health/readiness' || path === '/health/liveness')
    return answer(response, 200, { live: true })
  if (path === '/metrics')
    return response.setHeader('content-type', metrics.contentType).end(await metrics.text())
  if (path !== '/') return answer(response, 404, { error: 'not found; send events with POST /' })
  if (request.method !== 'POST')
    return answer(response.setHeader('allow', 'POST'), 405, {
      error: 'the method is not allowed on /; allowed: POST',
    })
  try {
    for (const { event, bytes } of await readEvents(request)) tell(event, bytes)
    response.writeHead(204).end()
  } catch (error) {
    // The sender hung up, and will send the event again.
    if (!(error instanceof BadRequest)) {
      response.destroy()
      return
    }
    if (!isForReplies) metrics.lost('unreadable')
    log.error(
      { status: 400, error: error.message },
      'the request is not an event; only this line is kept',
    )
    answer(response, 400, { error: error.message })
  }
})

process.once('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})

server.listen(config.port, config.listenHost, () => {
  log.info(
    { url: `http://localhost:${(server.address() as AddressInfo).port}` },
    'listening for events',
  )
})

function readArguments([argument, ...more]: readonly string[]): boolean {
  if (argument === undefined) return false
  if (argument === '--replies' && more.length === 0) return true
  process.stderr.write(
    `consumer: unknown arguments: ${process.argv.slice(2).join(' ')}; allowed: --replies, or no arguments for dead letters\n`,
  )
  process.exit(1)
}

interface Received {
  readonly event: CloudEvent
  /** The number of bytes of the data, or of the complete body if the body contains the data. */
  readonly bytes: number
}

/**
 * Accepts events of any size, because their size may be the reason for the loss. Logs only the
 * beginning of long events.
 * @throws {BadRequest} if the request contains no events
 */
async function readEvents(request: IncomingMessage): Promise<Received[]> {
  const mode = modeOf(request.headers)
  if (mode === undefined)
    throw new BadRequest(
      'the request is not a CloudEvent: it has neither ce- headers nor the type application/cloudevents+json',
    )
  const { head, bytes } = await readBody(request, mode === 'binary' ? SHOWN_BYTES : READ_BYTES)
  if (mode === 'binary') return [{ event: readBinaryEvent(request.headers, head), bytes }]
  if (bytes > head.length) {
    log.warn(
      { begins: head.toString('utf8', 0, SHOWN_BYTES), bytes },
      `the event in ${mode} mode is too long to read; only its beginning is logged`,
    )
    if (!isForReplies) metrics.lost('unreadable')
    return []
  }
  const events =
    mode === 'batched'
      ? Array.from(readBatch(head), ({ event }) => event)
      : [readStructuredEvent(head)]
  return events.map(event => ({ event, bytes }))
}

/** @returns the first `most` bytes, and the total number of bytes */
async function readBody(
  request: IncomingMessage,
  most: number,
): Promise<{ head: Buffer; bytes: number }> {
  const pieces: Buffer[] = []
  let bytes = 0
  for await (const piece of request as AsyncIterable<Buffer>) {
    if (bytes < most) pieces.push(piece.subarray(0, most - bytes))
    bytes += piece.length
  }
  return { head: Buffer.concat(pieces), bytes }
}

/**
 * A Broker adds attributes to a dead letter (Knative Eventing 1.22, pkg/kncloudevents/attributes),
 * but not after a timeout, a refused connection, a pod that cannot start, or a 2xx response whose
 * body is not an event.
 */
function tell({ attributes, data }: CloudEvent, bytes: number): void {
  const {
    knativeerrordest: destination,
    knativeerrorcode: code,
    knativeerrordata: said,
    specversion,
    knativearrivaltime: arrived,
    ...event
  } = attributes
  const shown = { event, data: showData(data), bytes }
  if (isForReplies && destination === undefined && code === undefined) {
    log.info(shown, 'received')
    return
  }
  const status = code === undefined ? undefined : Number(code)
  const reason = lossOf(status)
  metrics.lost(reason)
  const why = said ? reasonOf(String(said)) : NO_REASON[reason]
  log.warn({ ...shown, destination, status, why, arrived }, 'lost')
}

/** @param status -1 if there was no response (Knative Eventing 1.22, pkg/kncloudevents/retries) */
function lossOf(status: number | undefined): 'refused' | 'exhausted' | 'no_answer' {
  if (status === undefined || !(status >= 100)) return 'no_answer'
  return status >= 500 || RETRIED.has(status) ? 'exhausted' : 'refused'
}

/** Statuses below 500 after which a Broker retries. */
const RETRIED: ReadonlySet<number> = new Set([404, 408, 409, 429])

const NO_REASON = {
  refused: 'the response gives no reason',
  exhausted: 'the response gives no reason',
  no_answer: 'no response',
} as const

/**
 * @param encoded the destination's response in Base64, of which Knative keeps 1024 characters, or
 * plain text
 */
function reasonOf(encoded: string): string {
  const isBase64 = encoded.length % 4 === 0 && /^[A-Za-z0-9+/]+={0,2}$/.test(encoded)
  const text = isBase64 ? Buffer.from(encoded, 'base64').toString() : encoded
  try {
    const { error } = JSON.parse(text)
    return typeof error === 'string' ? error : text
  } catch {
    return text
  }
}

function showData(data: CloudEvent['data']): unknown {
  if (data === undefined) return undefined
  if ('json' in data) return JSON.stringify(data.json.value).slice(0, SHOWN_BYTES)
  return Buffer.from(data.bytes).toString().slice(0, SHOWN_BYTES)
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}
