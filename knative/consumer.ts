/*
 * Logs each event that it receives as one line, and counts losses. It is the dead letter sink:
 * every event it receives was lost. With --replies it receives the replies until a real consumer
 * replaces it. Part of the same image: `node build/consumer.js`.
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

/** The most of an event's data that a log line shows. */
const SHOWN_BYTES = 1024
/** The most that is read of a structured event or batch: 20 of these fit into a pod of 128 MiB. */
const READ_BYTES = 2 ** 20
/** The queue-proxy keeps idle connections for 90 s; closing first would turn its next request into a 502. */
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
  if (path !== '/') return answer(response, 404, { error: 'events are taken by POST /' })
  if (request.method !== 'POST')
    return answer(response.setHeader('allow', 'POST'), 405, { error: 'events are taken by POST' })
  try {
    for (const { event, bytes } of await readEvents(request)) tell(event, bytes)
    response.writeHead(204).end()
  } catch (error) {
    // The sender hung up mid-request: it will send the event again.
    if (!(error instanceof BadRequest)) {
      response.destroy()
      return
    }
    if (!isForReplies) metrics.lost('unreadable')
    log.error(
      { status: 400, error: error.message },
      'the request is no event; this line is all that is kept of it',
    )
    answer(response, 400, { error: error.message })
  }
})

process.once('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})

server.listen(config.port, config.listenHost, () => {
  log.info({ url: `http://localhost:${(server.address() as AddressInfo).port}` }, 'takes events')
})

/** @returns whether this is the consumer of replies; any other argument ends the process */
function readArguments([argument, ...more]: readonly string[]): boolean {
  if (argument === undefined) return false
  if (argument === '--replies' && more.length === 0) return true
  process.stderr.write(
    `consumer: the arguments are ${process.argv.slice(2).join(' ')}; allowed: none, for dead letters, or --replies\n`,
  )
  process.exit(1)
}

interface Received {
  readonly event: CloudEvent
  /** Size of the data, or of the whole body when it contains the data. */
  readonly bytes: number
}

/**
 * Accepts events of any size, because some were lost for their size: of data beside the attributes
 * it keeps the beginning, and a body too long to read is described by its beginning.
 * @throws {BadRequest} when the request carries no events
 */
async function readEvents(request: IncomingMessage): Promise<Received[]> {
  const mode = modeOf(request.headers)
  if (mode === undefined)
    throw new BadRequest(
      'the request is no CloudEvent: it has neither ce- headers nor application/cloudevents+json',
    )
  const { head, bytes } = await readBody(request, mode === 'binary' ? SHOWN_BYTES : READ_BYTES)
  if (mode === 'binary') return [{ event: readBinaryEvent(request.headers, head), bytes }]
  if (bytes > head.length) {
    log.warn(
      { begins: head.toString('utf8', 0, SHOWN_BYTES), bytes },
      `too long in ${mode} mode to be read: no more is known of it`,
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

/** @returns the first `most` bytes, and the total number */
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
 * The attributes that a Broker adds to an event that it gives up (Knative Eventing 1.22,
 * pkg/kncloudevents/attributes). It adds none when there was no answer to report: a timeout, a
 * refused connection, a pod that cannot start, or a 2xx whose body is not an event.
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

/** @param status -1 when there was no answer (Knative Eventing 1.22, pkg/kncloudevents/retries) */
function lossOf(status: number | undefined): 'refused' | 'exhausted' | 'no_answer' {
  if (status === undefined || !(status >= 100)) return 'no_answer'
  return status >= 500 || RETRIED.has(status) ? 'exhausted' : 'refused'
}

/** Statuses below 500 after which a Broker retries. */
const RETRIED: ReadonlySet<number> = new Set([404, 408, 409, 429])

const NO_REASON = {
  refused: 'the answer says no reason',
  exhausted: 'the answer says no reason',
  no_answer: 'no answer',
} as const

/** @param encoded the destination's answer in Base64, of which Knative keeps 1024 characters; plain text is left as it is */
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
