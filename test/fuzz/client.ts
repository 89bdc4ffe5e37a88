import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { gunzipSync, inflateSync } from 'node:zlib'
import { type Answered, connectGrpc, type Client as GrpcClient } from '../grpc/client.ts'
import { type Frame, PREFACE, RawSession, TYPES } from '../http/frames.ts'
import type { FuzzRequest } from './requests.ts'
import { show } from './show.ts'

/** One HTTP/1.1 answer, parsed without Node's parser, so that its framing is checked too. */
export interface HttpAnswer {
  readonly status: number
  /** Lower-case names. */
  readonly headers: ReadonlyMap<string, string>
  /** Decompressed. */
  readonly body: Buffer
  /** For a gRPC call: its status is gRPC's. */
  readonly call?: Answered
}

/** The server did something that no HTTP server may do. */
export class BadAnswer extends Error {}

const PATIENCE_MS = 15_000
/** How long to wait when another process must start first, on a busy machine. */
const PATIENCE_WITH_RESTARTS_MS = 60_000
/** How long a server on an overloaded machine may take to answer anything at all. */
const MOST_PATIENCE_MS = 120_000

/** Sends requests one after the other, on a connection that is kept while the server keeps it. */
export interface Client {
  /** The connection closed with its process: the request is sent again on another. */
  readonly restarts: boolean
  /** Requests that were sent again. */
  readonly sentAgain: number
  /**
   * @returns the answers: one when the request is complete, any number when its framing is broken
   * @throws {BadAnswer} when the reply is not HTTP, or none comes
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
    // The answer may come before the request is fully written, but the next request must wait.
    const after =
      before === undefined ? '' : `, on a connection that had answered: ${show(before.bytes)}`
    const [answers] = await Promise.all([
      wire.read(1, request.asked?.method === 'HEAD'),
      wire.write(request),
    ]).catch(error => {
      // This connection yields no further information.
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
        `a complete request was not answered: ${wire.closedBy() ?? 'the server closed the connection'}${after}`,
      )
    before = request
    // Invalid HTTP has no method: the answer that ends the connection may have a body, whether the
    // request was HEAD or not.
    const last = answers[0]?.headers.get('connection')?.toLowerCase() === 'close'
    if (wire.left() > 0 && !(last && request.asked?.method === 'HEAD'))
      throw new BadAnswer(`${wire.left()} bytes came after the answer`)
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
    // A request whose method was corrupted may have become HEAD, whose answers have a length but no
    // body.
    return await wire.read(
      Number.POSITIVE_INFINITY,
      request.bytes.includes('HEAD') ? 'perhaps' : false,
    )
  } finally {
    wire.destroy()
  }
}

/** @throws {BadAnswer} when no answer comes */
async function sendCall({ bytes, call }: FuzzRequest, grpc: GrpcClient): Promise<HttpAnswer> {
  const { method, metadata } = call as NonNullable<typeof call>
  const answered = await within(MOST_PATIENCE_MS, grpc.send(method, bytes, metadata))
  if (answered === undefined) throw new BadAnswer('the call does not end')
  const body = Buffer.from(answered.message)
  if (Number.isNaN(answered.status)) {
    // An invalid gRPC call is refused as an HTTP request.
    const status = Number(answered.headers[':status'])
    if (!(status >= 400)) throw new BadAnswer('the call ends without a status')
    return { status, headers: new Map(), body }
  }
  return { status: answered.status, headers: new Map(), body, call: answered }
}

/**
 * Sends frames on their own connection, then half-closes it.
 * @returns the statuses that HPACK has an index for; others are not read
 */
async function sendFrames(
  { bytes, streams = 0 }: FuzzRequest,
  port: number,
): Promise<HttpAnswer[]> {
  const session = await RawSession.openSilent(port)
  try {
    session.send(bytes.subarray(PREFACE.length))
    const asked = Array.from({ length: streams }, (_, i) => 2 * i + 1)
    const ends = asked.map(id => session.end(id))
    const all = await within(MOST_PATIENCE_MS, Promise.all(ends)).catch(error => {
      throw new BadAnswer(error.message)
    })
    if (all === undefined) throw new BadAnswer('a complete request over HTTP/2 is not answered')
    session.socket.end()
    if (
      (await within(
        MOST_PATIENCE_MS,
        isOver(session, bytes).then(() => true),
      )) === undefined
    )
      throw new BadAnswer('the connection stays open although the client ended it')
  } finally {
    session.socket.destroy()
  }
  const wrong = session.frames.find(({ type, payload }) => type > 9 || payload.length > 16_384)
  if (wrong !== undefined) throw new BadAnswer(`a frame of type ${wrong.type}`)
  return session.frames.flatMap(answerOfFrame)
}

/** Statuses in HPACK's static table (RFC 7541, appendix A); the server writes `:status` first. */
const STATUSES: Readonly<Record<number, number>> = {
  136: 200,
  137: 204,
  139: 304,
  140: 400,
  141: 404,
  142: 500,
}

/**
 * Resolves when the server closes the connection. After a client's GOAWAY, the server's own GOAWAY
 * with an error is enough: the server then gives open streams their full time, which is long here.
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

/** A socket and its received bytes. */
interface Wire {
  write(request: FuzzRequest): Promise<void>
  end(): void
  destroy(): void
  /** @returns that many answers, or those that came before the server closed */
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
      `the server accepts no connection: ${error?.message ?? 'it closed the connection'}`,
    )

  /**
   * Bytes arrived: a server that answers others but not this request fails; a starved one does not.
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
      `no answer and no close within ${patienceMs} ms, nor within the same time after the server answered others`,
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
          // 1xx: the final answer is still to come.
          if (read.answer.status >= 200) answers.push(read.answer)
        } else if (closed) {
          if (received.byteLength > 0 && error === undefined)
            throw new BadAnswer(
              `the connection closed during an answer: ${received.toString('latin1').slice(0, 200)}`,
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

/** The value of `promise`, or undefined after the time limit. */
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

/** The first answer in those bytes and its end, or undefined while incomplete. */
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
      throw new BadAnswer(`not an HTTP answer: ${JSON.stringify(bytes.toString('latin1', 0, 100))}`)
    }
    return undefined
  }
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) [\x20-\x7e]*$/.exec(statusLine)?.[1])
  if (!(status >= 100 && status < 600))
    throw new BadAnswer(`not an HTTP answer: ${JSON.stringify(statusLine.slice(0, 100))}`)
  const headers = new Map<string, string>()
  for (const line of lines) {
    const [, name, value] = /^([\w-]+): ?([\x20-\x7e\x80-\xff\t]*)$/.exec(line) ?? []
    if (name === undefined || value === undefined)
      throw new BadAnswer(`not a header: ${JSON.stringify(line.slice(0, 100))}`)
    if (headers.has(name.toLowerCase())) throw new BadAnswer(`the header ${name} comes twice`)
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
    throw new BadAnswer(`an answer with the content-length ${length}`)
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
    if (!(size >= 0)) throw new BadAnswer('a chunk of the answer has no size')
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
    throw new BadAnswer(`the answer is not ${encoding}: ${(error as Error).message}`)
  }
  if (encoding !== undefined) throw new BadAnswer(`the answer has the content-encoding ${encoding}`)
  return body
}
