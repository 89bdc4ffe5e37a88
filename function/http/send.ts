import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Writable } from 'node:stream'
import { type Answer, bytesOf, sizeOf } from '../answer.ts'
import type { Config } from '../config/config.ts'
import { afterReading } from './after-reading.ts'
import type { Arrival } from './arrivals.ts'
import { declaredLength, type IncomingBody } from './body.ts'
import { COMPRESSOR, isWorthCompressing } from './compression.ts'
import type { RequestHead } from './head.ts'
import type { BodyMemory, Reservation } from './memory.ts'
import { SLICE_BYTES, writeInSlices } from './slices.ts'

/**
 * How long a refused client may go on sending, so that it can read the reason: closing at once
 * would reset the connection.
 */
export const LINGER_MS = 1_000

/**
 * Statuses of refusals because of a body's size, speed or sender. The rest of the body is then not
 * read.
 */
const CUT_OFF = new Set([401, 403, 408, 413, 503])

const WITHOUT_LENGTH = new Set([204, 304])

export interface Destination {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly body: IncomingBody
}

export interface Waiting {
  readonly memory: BodyMemory
  readonly requestTimeoutMs: number
  readonly address: string | undefined
  cutOff(): void
}

export class Sender {
  /** If true, each connection closes after its response. */
  closing = false
  readonly #memory: BodyMemory
  readonly #config: Config

  constructor(memory: BodyMemory, config: Config) {
    this.#memory = memory
    this.#config = config
  }

  /** Returns a promise only if the response is compressed; most responses are not. */
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
    else if (typeof body === 'string') endWithText(response, body, length)
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
   * Whether to stop reading a body. By default, Node reads and drops the rest. A body refused for
   * its size or sender is cut off instead.
   */
  #cutsOff({ request, body }: Destination, status: number): boolean {
    if (body.wasRead || request.complete) return false
    return CUT_OFF.has(status) || declaredLength(request) > this.#config.maxBodyBytes
  }
}

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

/**
 * Headers for every version of HTTP.
 * @param length the body's size in bytes
 */
export function headersOf(
  { status, headers: own }: Answer,
  request: Pick<RequestHead, 'headers'>,
  length: number,
): Record<string, string | number> {
  // Responses may contain the caller's own text, so browsers must use only the declared media type.
  const headers: Record<string, string | number> = { 'x-content-type-options': 'nosniff', ...own }
  // Uncompressed responses also have Vary: a cache must not send them to clients that accept
  // compression, or compressed responses to other clients.
  if (isWorthCompressing(length)) headers.vary = addTo(own.vary, 'accept-encoding')
  if (!WITHOUT_LENGTH.has(status)) headers['content-length'] = length
  const requestId = request.headers['x-request-id']?.toString()
  if (requestId !== undefined) headers['x-request-id'] = requestId
  return headers
}

/**
 * Counts the memory of a response that does not fit into the socket's buffer until the client has
 * read it, but at most as long as a request may take to arrive, or until faster clients need the
 * memory.
 * @returns the arrival that counts the client's progress
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

export const isHandedOver = (to: Writable): boolean => to.writableEnded && to.writableLength === 0

function addTo(vary: string | undefined, name: string): string {
  if (vary === undefined) return name
  return vary.split(', ').includes(name) ? vary : `${vary}, ${name}`
}

/**
 * Whether the connection closes after the response. After a refused protocol upgrade, Node's parser
 * does not report a malformed request, which would stay unanswered until it times out.
 */
const isLast = ({ headers }: IncomingMessage) => headers.upgrade !== undefined

/**
 * Writes ASCII as Latin-1: this is faster than UTF-8, gives the same bytes, and is the headers'
 * encoding.
 * @param bytes the text's length in UTF-8
 */
function endWithText(response: ServerResponse, text: string, bytes: number): void {
  if (bytes === text.length) response.end(text, 'latin1')
  else response.end(Buffer.from(text))
}

/** Writes headers and parts at once, without copying the tensors. */
function endWithParts(response: ServerResponse, parts: readonly (string | Uint8Array)[]): void {
  response.cork()
  for (const part of parts) response.write(part)
  response.end()
  response.uncork()
}

/**
 * Sends the response, then waits briefly for the client to stop sending before the connection
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
