import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { gunzipSync, inflateSync } from 'node:zlib'
import { type Answered, connectGrpc, type Client as GrpcClient } from '../grpc/client.ts'
import { type Frame, PREFACE, RawSession, TYPES } from '../http/frames.ts'
import type { FuzzRequest } from './requests.ts'
import { show } from './show.ts'

/** A response that is parsed without Node's parser, so that the framing is checked, too. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: Buffer
  /** For a gRPC call, `status` is the gRPC status. */
  readonly call?: Answered
}

/** The server violated HTTP, or did not respond. */
export class BadAnswer extends Error {}

const PATIENCE_MS = 15_000
/** The longest wait for a response if a process may have to start first, on a busy machine. */
const PATIENCE_WITH_RESTARTS_MS = 60_000
/** The longest wait for any response on an overloaded machine. */
const MOST_PATIENCE_MS = 120_000

/** The connection stays open until the server closes it. */
export interface Client {
  /** A request whose process exits is sent again on a new connection. */
  readonly restarts: boolean
  readonly sentAgain: number
  /**
   * @returns one response to a complete request, or any number of responses if its framing is
   * broken
   * @throws {BadAnswer} if the response is not HTTP, or if no response arrives
   */
  send(request: FuzzRequest): Promise<HttpAnswer[]>
  close(): void
}

export function createClient(url: string, restarts = false): Client {
  const { hostname, port } = new URL(url)
  let kept: Wire | undefined
  let grpc: GrpcClient | undefined
  let before: FuzzRequest | undefined
  let sentAgain = 0
  const patienceMs = restarts ? PATIENCE_WITH_RESTARTS_MS : PATIENCE_MS

  async function send(request: FuzzRequest): Promise<HttpAnswer[]> {
    if (request.streams !== undefined) return sendFrames(request, Number(port))
    if (request.call !== undefined) {
      if (grpc === undefined || grpc.session.closed) grpc = connectGrpc(Number(port))
      return [await sendCall(request, grpc)]
    }
    if (request.ending !== 'keep')
      return sendAlone(await open(hostname, Number(port), patienceMs), request)
    // Either side may close an idle connection.
    if (kept?.isClosed()) close()
    kept ??= await open(hostname, Number(port), patienceMs)
    const wire = kept
    // The response may arrive before the request is fully written, but the next request must wait.
    const after =
      before === undefined
        ? ''
        : `, after this request on the same connection: ${show(before.bytes)}`
    const [answers] = await Promise.all([
      wire.read(1, request.asked?.method === 'HEAD'),
      wire.write(request),
    ]).catch(error => {
      close()
      throw error instanceof BadAnswer ? new BadAnswer(`${error.message}${after}`) : error
    })
    if (answers.length === 0 && restarts && wire.isClosed()) {
      close()
      sentAgain++
      return send(request)
    }
    if (answers.length === 0)
      throw new BadAnswer(
        `a complete request got no response: ${wire.closedBy() ?? 'the server closed the connection'}${after}`,
      )
    before = request
    // The server may not have recognized an invalid request's method, so the last response to a
    // HEAD request may have a body.
    const last = answers[0]?.headers.get('connection')?.toLowerCase() === 'close'
    if (wire.left() > 0 && !(last && request.asked?.method === 'HEAD'))
      throw new BadAnswer(`${wire.left()} bytes arrived after the response`)
    if (last || wire.isClosed()) {
      close()
    }
    return answers
  }

  function close(): void {
    void grpc?.close()
    grpc = undefined
    kept?.destroy()
    kept = undefined
    before = undefined
  }

  return {
    restarts,
    get sentAgain() {
      return sentAgain
    },
    send,
    close,
  }
}

async function sendAlone(wire: Wire, request: FuzzRequest): Promise<HttpAnswer[]> {
  try {
    await wire.write(request)
    if (request.ending === 'destroy') return []
    wire.end()
    // The corrupted bytes may contain a HEAD request, whose response has a length but no body.
    return await wire.read(
      Number.POSITIVE_INFINITY,
      request.bytes.includes('HEAD') ? 'perhaps' : false,
    )
  } finally {
    wire.destroy()
  }
}

/** @throws {BadAnswer} if no response arrives */
async function sendCall({ bytes, call }: FuzzRequest, grpc: GrpcClient): Promise<HttpAnswer> {
  const { method, metadata } = call as NonNullable<typeof call>
  const answered = await within(MOST_PATIENCE_MS, grpc.send(method, bytes, metadata))
  if (answered === undefined)
    throw new BadAnswer(`the call did not end within ${MOST_PATIENCE_MS} ms`)
  const body = Buffer.from(answered.message)
  if (Number.isNaN(answered.status)) {
    // The server refuses an invalid gRPC call with an HTTP status.
    const status = Number(answered.headers[':status'])
    if (!(status >= 400)) throw new BadAnswer('the call ended without a gRPC status')
    return { status, headers: new Map(), body }
  }
  return { status: answered.status, headers: new Map(), body, call: answered }
}

/**
 * Sends frames on a new connection, and then half-closes it.
 * @returns the responses whose status has an index in HPACK; others are not read
 */
async function sendFrames(
  { bytes, streams = 0 }: FuzzRequest,
  port: number,
): Promise<HttpAnswer[]> {
  const frames = bytes.subarray(PREFACE.length)
  // The server handles frames that arrive with the preface in one turn of the event loop.
  const isOnePacket = frames.length % 2 === 0
  const session = await RawSession.openSilent(port, ...(isOnePacket ? [frames] : []))
  try {
    if (!isOnePacket) session.send(frames)
    const asked = Array.from({ length: streams }, (_, i) => 2 * i + 1)
    const ends = asked.map(id => session.end(id))
    const all = await within(MOST_PATIENCE_MS, Promise.all(ends)).catch(error => {
      throw new BadAnswer(error.message)
    })
    if (all === undefined) throw new BadAnswer('a complete request over HTTP/2 got no response')
    session.socket.end()
    if (
      (await within(
        MOST_PATIENCE_MS,
        isOver(session, bytes).then(() => true),
      )) === undefined
    )
      throw new BadAnswer('the server keeps the connection open although the client half-closed it')
  } finally {
    session.socket.destroy()
  }
  const wrong = session.frames.find(({ type, payload }) => type > 9 || payload.length > 16_384)
  if (wrong !== undefined)
    throw new BadAnswer(
      `the server sent a frame of type ${wrong.type} with ${wrong.payload.length} bytes`,
    )
  return session.frames.flatMap(answerOfFrame)
}

/** HPACK bytes of statuses (RFC 7541, appendix A); `:status` is the server's first header. */
const STATUSES: Readonly<Record<number, number>> = {
  136: 200,
  137: 204,
  139: 304,
  140: 400,
  141: 404,
  142: 500,
}

/**
 * Resolves when the server closes the connection. After the client's GOAWAY, a GOAWAY with an error
 * is enough: the server then waits for open streams until their timeout.
 */
async function isOver(session: RawSession, sent: Buffer): Promise<void> {
  const over = [session.closed]
  if (saysGoaway(sent)) {
    const error = session.frame('goaway', ({ payload }) => payload.readUInt32BE(4) !== 0)
    over.push(error.then(() => {}).catch(() => {}))
  }
  await Promise.race(over)
}

function saysGoaway(bytes: Buffer): boolean {
  for (let at = PREFACE.length; at + 9 <= bytes.length; at += 9 + bytes.readUIntBE(at, 3))
    if (bytes[at + 3] === TYPES.goaway) return true
  return false
}

function answerOfFrame({ type, payload }: Frame): HttpAnswer[] {
  const status = type === TYPES.headers ? STATUSES[payload[0] as number] : undefined
  return status === undefined ? [] : [{ status, headers: new Map(), body: Buffer.alloc(0) }]
}

interface Wire {
  write(request: FuzzRequest): Promise<void>
  end(): void
  destroy(): void
  /** @returns `count` responses, or those that arrived before the server closed the connection */
  read(count: number, head: boolean | 'perhaps'): Promise<HttpAnswer[]>
  left(): number
  isClosed(): boolean
  closedBy(): string | undefined
}

async function open(host: string, port: number, patienceMs: number): Promise<Wire> {
  const socket: Socket = connect({ host, port, noDelay: true, allowHalfOpen: true })
  let received = Buffer.alloc(0)
  let closed = false
  let error: Error | undefined
  let wake = () => {}
  socket.on('data', chunk => {
    received = Buffer.concat([received, chunk])
    wake()
  })
  const onClosed = () => {
    closed = true
    wake()
  }
  socket.on('end', onClosed)
  socket.on('close', onClosed)
  socket.on('error', reason => {
    error = reason
  })
  await Promise.race([once(socket, 'connect'), once(socket, 'close')]).catch(onClosed)
  if (closed)
    throw new BadAnswer(
      `cannot connect to the server: ${error?.message ?? 'the server closed the connection'}`,
    )

  /**
   * Waits for bytes. After the time limit, fails only if the server responds to another request: on
   * a busy machine, the server may not have run.
   */
  async function change(): Promise<void> {
    const changed = new Promise<'changed'>(resolve => {
      wake = () => resolve('changed')
    })
    if ((await within(patienceMs, changed)) !== undefined) return
    const answersOthers = fetch(`http://${host}:${port}/v2/health/live`).then(
      ({ ok }) => ok,
      () => false,
    )
    if ((await within(MOST_PATIENCE_MS, Promise.race([changed, answersOthers]))) === 'changed')
      return
    if ((await within(patienceMs, changed)) !== undefined) return
    throw new BadAnswer(
      `neither a response nor a close within ${patienceMs} ms, nor within the same time after the server responded to another request`,
    )
  }

  return {
    async write({ bytes, cuts }) {
      let from = 0
      for (const cut of [
        ...cuts.map(cut => cut % (bytes.byteLength + 1)).sort((a, b) => a - b),
        bytes.byteLength,
      ]) {
        if (closed) return
        socket.write(bytes.subarray(from, cut))
        from = cut
        if (cut < bytes.byteLength) await nextTurn()
      }
    },
    end: () => socket.end(),
    destroy: () => socket.destroy(),
    async read(count, head) {
      const answers: HttpAnswer[] = []
      while (answers.length < count) {
        const read = readAnswer(received, head, closed)
        if (read !== undefined) {
          received = received.subarray(read.end)
          // A 1xx response precedes the final response.
          if (read.answer.status >= 200) answers.push(read.answer)
        } else if (closed) {
          if (received.byteLength > 0 && error === undefined)
            throw new BadAnswer(
              `the connection closed during a response: ${received.toString('latin1').slice(0, 200)}`,
            )
          break
        } else await change()
      }
      return answers
    },
    left: () => received.byteLength,
    isClosed: () => closed,
    closedBy: () => error?.message,
  }
}

async function within<Value>(ms: number, promise: Promise<Value>): Promise<Value | undefined> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<undefined>(resolve => {
    timer = setTimeout(resolve, ms, undefined)
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    clearTimeout(timer)
  }
}

function readAnswer(
  bytes: Buffer,
  head: boolean | 'perhaps',
  closed: boolean,
): { answer: HttpAnswer; end: number } | undefined {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd === -1) {
    if (
      bytes.byteLength > 0 &&
      !'HTTP/1.1 '.startsWith(bytes.toString('latin1', 0, Math.min(9, bytes.byteLength)))
    ) {
      throw new BadAnswer(
        `not an HTTP response: ${JSON.stringify(bytes.toString('latin1', 0, 100))}`,
      )
    }
    return undefined
  }
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) [\x20-\x7e]*$/.exec(statusLine)?.[1])
  if (!(status >= 100 && status < 600))
    throw new BadAnswer(`not an HTTP response: ${JSON.stringify(statusLine.slice(0, 100))}`)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name, value] = /^([\w-]+): ?([\x20-\x7e\x80-\xff\t]*)$/.exec(line) ?? []
    if (name === undefined || value === undefined)
      throw new BadAnswer(`not a header: ${JSON.stringify(line.slice(0, 100))}`)
    if (headers.has(name.toLowerCase())) throw new BadAnswer(`the header ${name} appears twice`)
    headers.set(name.toLowerCase(), value)
  }
  const from = headEnd + 4
  const bodiless = status < 200 || status === 204 || status === 304 || head === true
  if (bodiless || (head === 'perhaps' && isFollowedByNoBody(bytes, from, closed))) {
    return { answer: { status, headers, body: Buffer.alloc(0) }, end: from }
  }
  const whole =
    headers.get('transfer-encoding') === 'chunked'
      ? readChunks(bytes, from)
      : readLength(bytes, from, headers)
  if (whole === undefined) return undefined
  return {
    answer: { status, headers, body: inflated(whole.body, headers.get('content-encoding')) },
    end: whole.end,
  }
}

const isFollowedByNoBody = (bytes: Buffer, from: number, closed: boolean) =>
  bytes.toString('latin1', from, from + 7) === 'HTTP/1.' || (closed && bytes.byteLength === from)

function readLength(bytes: Buffer, from: number, headers: ReadonlyMap<string, string>) {
  const length = headers.get('content-length')
  if (length === undefined || !/^\d+$/.test(length))
    throw new BadAnswer(`a response has an invalid content-length: ${length}`)
  const end = from + Number(length)
  return end <= bytes.byteLength ? { body: bytes.subarray(from, end), end } : undefined
}

function readChunks(bytes: Buffer, from: number) {
  const chunks: Buffer[] = []
  let at = from
  while (at < bytes.byteLength) {
    const lineEnd = bytes.indexOf('\r\n', at)
    if (lineEnd === -1) return undefined
    const size = Number.parseInt(bytes.toString('latin1', at, lineEnd), 16)
    if (!(size >= 0)) throw new BadAnswer('a chunk of the response has no size')
    const end = lineEnd + 2 + size
    if (end + 2 > bytes.byteLength) return undefined
    if (size === 0) return { body: Buffer.concat(chunks), end: end + 2 }
    chunks.push(bytes.subarray(lineEnd + 2, end))
    at = end + 2
  }
  return undefined
}

function inflated(body: Buffer, encoding: string | undefined): Buffer {
  try {
    if (encoding === 'gzip') return gunzipSync(body)
    if (encoding === 'deflate') return inflateSync(body)
  } catch (error) {
    throw new BadAnswer(`the response is not valid ${encoding}: ${(error as Error).message}`)
  }
  if (encoding !== undefined)
    throw new BadAnswer(`the response has an unknown content-encoding: ${encoding}`)
  return body
}
