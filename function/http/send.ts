import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { type Answer, bytesOf, sizeOf } from '../answer.ts'
import type { Config } from '../config/config.ts'
import { afterReading } from './after-reading.ts'
import type { Arrival } from './arrivals.ts'
import { declaredLength, type IncomingBody } from './body.ts'
import { Compressor, isWorthCompressing } from './compression.ts'
import type { RequestHead } from './head.ts'
import type { BodyMemory, Reservation } from './memory.ts'
import { SLICE_BYTES, writeInSlices } from './slices.ts'

/**
 * How long a refused client may go on sending, so that it can read the reason: closing at once
 * would reset the connection.
 */
export const LINGER_MS = 1_000

/** Refusals for the size or the speed of a body, or for its sender: the rest of the body is cut off. */
const CUT_OFF = new Set([401, 403, 408, 413, 503])

const WITHOUT_LENGTH = new Set([204, 304])

const ASCII = /^[\x20-\x7e]*$/

/** Where an answer goes. */
export interface Destination {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly body: IncomingBody
}

/** What waiting for clients depends on. */
export interface Waiting {
  readonly memory: BodyMemory
  readonly requestTimeoutMs: number
  /** Of the client. */
  readonly address: string | undefined
  /** Ends the answer before it is complete. */
  cutOff(): void
}

/** Sends answers over HTTP/1.1. */
export class Sender {
  /** From here on each answer closes its connection. */
  closing = false
  readonly #memory: BodyMemory
  readonly #config: Config

  constructor(memory: BodyMemory, config: Config) {
    this.#memory = memory
    this.#config = config
  }

  /** Not async where it need not be: most answers are not compressed. */
  send(destination: Destination, answer: Answer): void | Promise<void> {
    const acceptEncoding = destination.request.headers['accept-encoding']
    const length = sizeOf(answer.body)
    if (acceptEncoding === undefined || !isWorthCompressing(length))
      this.#write(destination, answer, length)
    else return this.#sendCompressed(destination, answer, acceptEncoding)
  }

  async #sendCompressed(
    destination: Destination,
    answer: Answer,
    acceptEncoding: string,
  ): Promise<void> {
    const smaller = await compressAnswer(answer, acceptEncoding)
    this.#write(destination, smaller, sizeOf(smaller.body))
  }

  #write(destination: Destination, answer: Answer, length: number): void {
    const { status, body } = answer
    const { request, response } = destination
    if (response.headersSent || response.destroyed) {
      destination.body.release()
      return
    }
    const headers = headersOf(answer, request, length)
    const cutsOff = this.#cutsOff(destination, status)
    if (this.closing || cutsOff || isLast(request)) headers.connection = 'close'
    let reading: Arrival | undefined
    response.writeHead(status, headers)
    if (request.method === 'HEAD') response.end()
    else if (cutsOff) lingerThenEnd(request, response, bytesOf(body))
    else if (length > SLICE_BYTES) writeInSlices(response, body, bytes => reading?.add(bytes))
    // Node writes the headers as UTF-8 with a body that is text, though it read them as Latin-1.
    else if (typeof body === 'string') response.end(hasAsciiId(headers) ? body : Buffer.from(body))
    else endWithParts(response, body)
    if (cutsOff || isHandedOver(response)) destination.body.release()
    else
      reading = waitForReader(response, destination.body, length, {
        memory: this.#memory,
        requestTimeoutMs: this.#config.requestTimeoutMs,
        address: request.socket.remoteAddress,
        cutOff: () => response.destroy(),
      })
  }

  /**
   * Node reads and drops the rest of a body. A body that is refused for its size or its sender is
   * cut off instead.
   */
  #cutsOff({ request, body }: Destination, status: number): boolean {
    if (body.wasRead || request.complete) return false
    return CUT_OFF.has(status) || declaredLength(request) > this.#config.maxBodyBytes
  }
}

/** One for the process, whose listeners share libuv's threads. */
const COMPRESSOR = new Compressor()

/** The answer as its client prefers it. */
export async function compressAnswer(answer: Answer, acceptEncoding: string): Promise<Answer> {
  const compressed = await COMPRESSOR.compress(answer, sizeOf(answer.body), acceptEncoding)
  if (compressed === undefined) return answer
  const headers = {
    ...answer.headers,
    'content-encoding': compressed.encoding,
    vary: addTo(answer.headers.vary, 'accept-encoding'),
  }
  return { ...answer, headers, body: [compressed.body] }
}

/** The headers of an answer, in every version of HTTP. @param length of its body */
export function headersOf(
  { status, headers: own }: Answer,
  request: Pick<RequestHead, 'headers'>,
  length: number,
): Record<string, string | number> {
  // Parts of an answer may be the caller's own text: browsers must not take it for anything but
  // its declared type.
  const headers: Record<string, string | number> = { 'x-content-type-options': 'nosniff', ...own }
  // On the uncompressed answer, too: a cache must not give that to clients that accept
  // compression, and the reverse.
  if (isWorthCompressing(length)) headers.vary = addTo(own.vary, 'accept-encoding')
  if (!WITHOUT_LENGTH.has(status)) headers['content-length'] = length
  const requestId = request.headers['x-request-id']?.toString()
  if (requestId !== undefined) headers['x-request-id'] = requestId
  return headers
}

const hasAsciiId = ({ 'x-request-id': id }: Readonly<Record<string, string | number>>) =>
  id === undefined || ASCII.test(String(id))

/**
 * An answer that does not fit the socket waits in memory for its client, for as long as a request
 * may take to arrive, or until others need the memory whose clients make more progress.
 * @returns what counts the progress of its client
 */
export function waitForReader(
  to: Writable,
  body: Pick<IncomingBody, 'reservation'>,
  bytes: number,
  { memory, requestTimeoutMs, address, cutOff }: Waiting,
): Arrival | undefined {
  if (to.closed || bytes === 0) return undefined
  let reservation: Reservation
  try {
    reservation = body.reservation ?? memory.reserveForAnswer(bytes)
  } catch {
    cutOff()
    return undefined
  }
  const close = () => {
    cutOff()
    reservation.release()
  }
  reservation.waitForReader(close)
  const late = setTimeout(afterReading, requestTimeoutMs, close)
  const reading = memory.arrivals.begin({
    get bytes() {
      return reservation.bytes
    },
    address,
    onEvicted: close,
  })
  to.once('close', () => {
    clearTimeout(late)
    memory.arrivals.end(reading)
    reservation.release()
  })
  return reading
}

/** All of an answer has been given to the kernel. */
export const isHandedOver = (to: Writable): boolean => to.writableEnded && to.writableLength === 0

function addTo(vary: string | undefined, name: string): string {
  if (vary === undefined) return name
  return vary.split(', ').includes(name) ? vary : `${vary}, ${name}`
}

/**
 * Whether a connection ends with the answer. After a request to change the protocol, which is not
 * granted, Node's parser does not report a malformed request: it would get no answer until its time
 * is over.
 */
const isLast = ({ headers }: IncomingMessage) => headers.upgrade !== undefined

/** Headers and parts in one write to the socket, without copying the tensors among them. */
function endWithParts(response: ServerResponse, parts: readonly (string | Uint8Array)[]): void {
  response.cork()
  for (const part of parts) response.write(part)
  response.end()
  response.uncork()
}

/**
 * Sends all of the answer, then waits a little for the client to stop sending before the connection
 * closes.
 */
function lingerThenEnd(
  request: IncomingMessage,
  response: ServerResponse,
  body: string | Uint8Array,
): void {
  response.write(body)
  request.resume()
  const timer = setTimeout(() => response.end(), LINGER_MS)
  request.once('close', () => {
    clearTimeout(timer)
    response.end()
  })
  request.once('end', () => response.end())
}
