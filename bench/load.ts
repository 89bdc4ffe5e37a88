import { once } from 'node:events'
import net from 'node:net'
import { createHistogram, monitorEventLoopDelay } from 'node:perf_hooks'

/*
 * The load generator sends prepared bytes over raw sockets. An HTTP client costs several times as
 * much as the server, so a benchmark with one would measure the client. Here, a request costs one
 * write, one read and one comparison.
 */

export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export type Verify = (answer: HttpAnswer) => void

export interface Exchange {
  readonly request: Buffer
  readonly others?: readonly Buffer[]
  readonly verify: Verify
}

/** Times are in milliseconds. */
export interface LoadResult {
  readonly requests: number
  /** Includes requests before and after the window. */
  readonly allRequests: number
  readonly perSecond: number
  readonly p50: number
  readonly p99: number
  readonly max: number
  /** The share of its core that the load generator used; near 1, it was the bottleneck. */
  readonly loadBusy: number
}

/** Checks the status of every response, and the content of one in this many. */
const VERIFY_EVERY = 1_000
const READ_BUFFER_BYTES = 256 * 1024
const PATIENCE_MS = 60_000
const MOST_WAITING = 500

interface Connection {
  send(request: Buffer): void
  readonly socket: net.Socket
}

interface Listener {
  /** @param answer the response, if it arrived in one piece; valid only during the call */
  answered(status: number, answer: Buffer | undefined): void
  failed(error: Error): void
}

export type Dial = (to: net.TcpNetConnectOpts) => net.Socket

/** A keep-alive connection with one request in flight at a time. */
function connect(port: number, listener: Listener, dial: Dial = net.connect): Connection {
  /** The length of the latest response. A response of the same length is not parsed. */
  let usual = -1
  /**
   * The response in progress: its head while incomplete, its status, and the number of missing
   * bytes.
   */
  let head: Buffer | undefined
  let status = 0
  let left = 0
  let chunked = false
  let closing = false

  function read(bytes: number, buffer: Uint8Array): boolean {
    const data = buffer as Buffer
    if (left === 0 && head === undefined && !chunked && bytes === usual) {
      listener.answered(statusOf(data), data.subarray(0, bytes))
      return true
    }
    readSlowly(data.subarray(0, bytes))
    return true
  }

  function readSlowly(data: Buffer): void {
    if (chunked) {
      if (endsChunks(data)) finish(undefined)
      return
    }
    if (left > 0) {
      left -= data.length
      if (left <= 0) finish(undefined)
      return
    }
    const all = head === undefined ? data : Buffer.concat([head, data])
    const end = all.indexOf('\r\n\r\n')
    if (end < 0) {
      head = Buffer.from(all)
      return
    }
    const text = all.toString('latin1', 0, end + 2)
    status = statusOf(all)
    closing = /\r\nconnection: close\r\n/i.test(text)
    const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(text)?.[1]
    chunked = length === undefined
    const total = end + 4 + Number(length ?? 0)
    const wasWhole = head === undefined
    head = undefined
    if (chunked) {
      if (endsChunks(all)) finish(undefined)
      return
    }
    left = total - all.length
    if (left > 0) return
    if (wasWhole && !closing) usual = total
    finish(wasWhole ? all : undefined)
  }

  function finish(answer: Buffer | undefined): void {
    left = 0
    chunked = false
    if (closing) listener.failed(new Error('the response has the header Connection: close'))
    else listener.answered(status, answer)
  }

  const socket = dial({
    port,
    host: '127.0.0.1',
    noDelay: true,
    onread: { buffer: Buffer.allocUnsafe(READ_BUFFER_BYTES), callback: read },
  })
  socket.on('error', error => listener.failed(error))
  socket.on('close', () => listener.failed(new Error('the server closed the connection')))
  return { socket, send: request => void socket.write(request) }
}

const statusOf = (head: Buffer) =>
  ((head[9] as number) - 48) * 100 + ((head[10] as number) - 48) * 10 + (head[11] as number) - 48

const endsChunks = (data: Buffer) =>
  data.length >= 5 && data.toString('latin1', data.length - 5) === '0\r\n\r\n'

function parse(answer: Buffer): HttpAnswer {
  const end = answer.indexOf('\r\n\r\n')
  const lines = answer.toString('latin1', 0, end).split('\r\n').slice(1)
  const headers = Object.fromEntries(
    lines.map(line => {
      const colon = line.indexOf(':')
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()]
    }),
  )
  const body = answer.subarray(end + 4)
  return {
    status: statusOf(answer),
    headers,
    body: headers['transfer-encoding'] === 'chunked' ? joinChunks(body) : body,
  }
}

function joinChunks(body: Buffer): Buffer {
  const chunks: Buffer[] = []
  for (let at = 0; ; ) {
    const line = body.indexOf('\r\n', at)
    const length = Number.parseInt(body.toString('latin1', at, line), 16)
    if (!(length > 0)) return Buffer.concat(chunks)
    chunks.push(body.subarray(line + 2, line + 2 + length))
    at = line + 2 + length + 2
  }
}

/**
 * Sends one request on a connection of its own.
 * @throws {Error} if the connection breaks, or no complete response arrives in time
 */
export async function exchange(
  port: number,
  request: Buffer,
  timeoutMs = PATIENCE_MS,
): Promise<HttpAnswer> {
  const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
  const late = setTimeout(
    () => socket.destroy(new Error(`no response within ${timeoutMs} ms`)),
    timeoutMs,
  )
  try {
    await once(socket, 'connect')
    const written = writeInPieces(socket, request)
    written.catch(() => {})
    const chunks: Buffer[] = []
    let received = 0
    let total = 0
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      received += chunk.length
      if (total === 0) total = lengthOf(Buffer.concat(chunks))
      if (total > 0 && received >= total) break
      if (total === Number.POSITIVE_INFINITY && endsChunks(chunk)) break
    }
    const whole = Buffer.concat(chunks)
    // A killed server leaves its response incomplete.
    const length = lengthOf(whole)
    const isCut = Number.isFinite(length) && whole.length < length
    if (length === 0 || isCut) throw new Error('the server closed the connection')
    return parse(whole)
  } finally {
    clearTimeout(late)
    socket.destroy()
  }
}

/** @returns 0 if the head is incomplete, infinity if the response is chunked */
function lengthOf(answer: Buffer): number {
  const end = answer.indexOf('\r\n\r\n')
  if (end < 0) return 0
  const length = /\r\ncontent-length: *(\d+)\r\n/i.exec(answer.toString('latin1', 0, end + 2))?.[1]
  return length === undefined ? Number.POSITIVE_INFINITY : end + 4 + Number(length)
}

/** Writes in pieces, so that a large request does not block the other connections. */
async function writeInPieces(socket: net.Socket, request: Buffer): Promise<void> {
  for (let at = 0; at < request.length; at += READ_BUFFER_BYTES) {
    if (!socket.write(request.subarray(at, at + READ_BUFFER_BYTES))) await once(socket, 'drain')
  }
}

/** @throws {Error} if the status is not 200 or the content is wrong */
export async function verified(port: number, { request, verify }: Exchange): Promise<HttpAnswer> {
  const answer = await exchange(port, request)
  check(answer, verify)
  return answer
}

function check(answer: HttpAnswer, verify: Verify): void {
  if (answer.status !== 200)
    throw new Error(`returned status ${answer.status}: ${answer.body.toString('utf8', 0, 300)}`)
  verify(answer)
}

function createClock() {
  const histogram = createHistogram({ figures: 3 })
  let requests = 0
  let first = 0
  let last = 0
  const cpu = process.cpuUsage()
  const started = performance.now()
  return {
    record(sent: number, now: number) {
      if (requests === 0) first = now
      last = now
      requests++
      histogram.record(Math.max(1, Math.round((now - sent) * 1e6)))
    },
    get requests() {
      return requests
    },
    result(): Omit<LoadResult, 'allRequests'> {
      const { user, system } = process.cpuUsage(cpu)
      const ms = (percent: number) => histogram.percentile(percent) / 1e6
      return {
        requests,
        // The window runs from the first to the last response, so that it does not cut a long run
        // in two.
        perSecond: requests < 2 ? Number.NaN : (requests - 1) / ((last - first) / 1_000),
        p50: ms(50),
        p99: ms(99),
        max: histogram.max / 1e6,
        loadBusy: (user + system) / 1_000 / (performance.now() - started),
      }
    },
  }
}

/**
 * Measures a closed loop: each connection sends its next request when its last response arrives. A
 * warm-up, which lasts a fifth of `seconds`, precedes the window. Afterwards, waits for the
 * requests in flight, so that they do not disturb the next subject.
 * @throws {Error} if a response is missing or wrong, or its status is not 200
 */
export async function closedLoop(
  port: number,
  target: Exchange,
  connections: number,
  {
    seconds = Number.POSITIVE_INFINITY,
    requests = Number.POSITIVE_INFINITY,
  }: { seconds?: number; requests?: number },
): Promise<LoadResult> {
  await verified(port, target)
  const { request, others = [], verify } = target
  const bodies = [request, ...others]
  let sentAlready = 0
  const nextRequest = () => bodies[sentAlready++ % bodies.length] as Buffer
  const done = Promise.withResolvers<void>()
  let clock = createClock()
  let counted = 0
  let inFlight = 0
  let ending = false
  let failure: Error | undefined
  const open: Connection[] = []

  function fail(error: Error): void {
    if (ending && inFlight === 0) return
    failure ??= error
    done.resolve()
  }

  for (let index = 0; index < connections; index++) {
    let sent = 0
    const connection = connect(port, {
      answered(status, answer) {
        const now = performance.now()
        inFlight--
        if (status !== 200) return fail(new Error(`returned status ${status} under load`))
        if (!ending) clock.record(sent, now)
        if (++counted % VERIFY_EVERY === 0 && answer !== undefined) {
          try {
            verify(parse(answer))
          } catch (error) {
            return fail(error as Error)
          }
        }
        if (counted >= requests) ending = true
        if (ending) {
          if (inFlight === 0) done.resolve()
          return
        }
        sent = now
        inFlight++
        connection.send(nextRequest())
      },
      failed: fail,
    })
    open.push(connection)
    connection.socket.once('connect', () => {
      sent = performance.now()
      inFlight++
      connection.send(nextRequest())
    })
  }

  const timers: NodeJS.Timeout[] = []
  if (Number.isFinite(seconds)) {
    timers.push(setTimeout(() => (clock = createClock()), seconds * 200))
    timers.push(setTimeout(() => (ending = true), seconds * 1_200))
    timers.push(
      setTimeout(
        () => fail(new Error(`no response within ${PATIENCE_MS} ms after the window`)),
        seconds * 1_200 + PATIENCE_MS,
      ),
    )
  }
  let result: Omit<LoadResult, 'allRequests'> | undefined
  // Computes the result now: the load generator's share of its core must not include the wait for
  // requests in flight.
  if (Number.isFinite(seconds))
    timers.push(setTimeout(() => (result = clock.result()), seconds * 1_200 + 1))
  await done.promise
  result ??= clock.result()
  for (const timer of timers) clearTimeout(timer)
  for (const { socket } of open) socket.removeAllListeners('close').destroy()
  if (failure !== undefined) throw failure
  if (result.requests === 0) throw new Error('no response arrived during the window')
  await verified(port, target)
  return { ...result, allRequests: counted + 2 }
}

/** In milliseconds. */
export interface Paced {
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly requests: number
}

/**
 * Sends requests at a fixed interval, like probes, without waiting for earlier responses.
 * @param verifyEvery checks the content of one response in this many; the status is always checked
 * @returns `stop`, which waits for the requests in flight. A time begins when the request is
 * written, so it excludes the load generator's own delays, which {@link watchLag} measures
 */
export function paced(
  port: number,
  { request, verify }: Exchange,
  everyMs: number,
  verifyEvery = 100,
): { stop(): Promise<Paced> } {
  const clock = createClock()
  const idle: (Connection & { sent: number })[] = []
  const all = new Set<Connection>()
  let inFlight = 0
  let failure: Error | undefined
  let stopped = false
  const drained = Promise.withResolvers<void>()

  function fail(error: Error): void {
    if (stopped && inFlight === 0) return
    failure ??= error
    drained.resolve()
  }

  function open(): Connection & { sent: number } {
    const connection: Connection & { sent: number } = {
      ...connect(port, {
        answered(status, answer) {
          clock.record(connection.sent, performance.now())
          inFlight--
          idle.push(connection)
          if (status !== 200)
            fail(
              new Error(
                `a paced request returned status ${status}: ${answer === undefined ? '' : parse(answer).body.toString()}`,
              ),
            )
          if (answer !== undefined && clock.requests % verifyEvery === 1 % verifyEvery) {
            try {
              verify(parse(answer))
            } catch (error) {
              fail(error as Error)
            }
          }
          if (stopped && inFlight === 0) drained.resolve()
        },
        failed(error) {
          if (!all.delete(connection)) return
          // A server may close idle connections, as bare node:http does after five seconds.
          if (idle.includes(connection)) idle.splice(idle.indexOf(connection), 1)
          else fail(error)
        },
      }),
      sent: 0,
    }
    all.add(connection)
    return connection
  }

  const timer = setInterval(() => {
    // With this many requests in flight, the p99 is already far too high.
    if (inFlight >= MOST_WAITING) return
    const connection = idle.pop() ?? open()
    connection.sent = performance.now()
    inFlight++
    connection.send(request)
  }, everyMs)

  return {
    async stop() {
      clearInterval(timer)
      stopped = true
      const late = setTimeout(
        () => fail(new Error(`no response within ${PATIENCE_MS} ms after the last request`)),
        PATIENCE_MS,
      )
      if (inFlight > 0) await drained.promise
      clearTimeout(late)
      for (const { socket } of all) socket.removeAllListeners('close').destroy()
      if (failure !== undefined) throw failure
      const { requests, p50, p99, max } = clock.result()
      if (requests === 0) throw new Error('no response arrived')
      return { requests, p50, p99, max }
    },
  }
}

export interface OpenAnswer extends HttpAnswer {
  /** When the request was due, in milliseconds after the first request. */
  readonly due: number
  /** The time from when the request was due until its response, in milliseconds. */
  readonly ms: number
}

/**
 * Sends each request when it is due, without waiting for earlier responses, like clients that do
 * not slow down for a busy server. A request's time includes its wait for a connection, whose
 * number is limited.
 * @param requestOf returns the bytes of a request
 * @returns the number of requests sent, the number that found no free connection within
 * `patienceMs`, and the 99th percentile of the load generator's own lag in milliseconds
 */
export async function openLoop(
  port: number,
  perSecond: number,
  seconds: number,
  requestOf: (index: number) => Buffer,
  onAnswer: (answer: OpenAnswer, index: number) => void,
  {
    connections = 1_000,
    patienceMs = PATIENCE_MS,
    dial,
    onFailure,
  }: {
    connections?: number
    patienceMs?: number
    dial?: Dial | undefined
    onFailure: (error: Error, index: number) => void
  },
): Promise<{ sent: number; givenUp: number; lag: number }> {
  interface Seat extends Connection {
    index: number
  }
  const idle: Seat[] = []
  const all = new Set<Seat>()
  const due: number[] = []
  const started = performance.now()
  const dueAt = (index: number) => (index * 1_000) / perSecond
  const total = Math.floor(perSecond * seconds)
  const lag = createHistogram({ figures: 3 })
  const done = Promise.withResolvers<void>()
  let next = 0
  let open = 0
  let sent = 0
  let givenUp = 0

  function seat(): Seat {
    const answered = (status: number, answer: Buffer | undefined) => {
      const { index } = taken
      if (answer === undefined)
        onFailure(new Error(`the response with status ${status} arrived in several pieces`), index)
      else
        onAnswer(
          { ...parse(answer), due: dueAt(index), ms: performance.now() - started - dueAt(index) },
          index,
        )
      leave(taken)
      idle.push(taken)
    }
    const taken: Seat = {
      ...connect(port, { answered, failed: error => lose(taken, error) }, dial),
      index: -1,
    }
    all.add(taken)
    return taken
  }

  function lose(taken: Seat, error: Error): void {
    if (!all.delete(taken)) return
    const at = idle.indexOf(taken)
    if (at >= 0) idle.splice(at, 1)
    taken.socket.destroy()
    if (taken.index < 0) return
    onFailure(error, taken.index)
    leave(taken)
  }

  function leave(taken: Seat): void {
    taken.index = -1
    open--
    if (open === 0 && next === total && due.length === 0) done.resolve()
  }

  function send(): void {
    const now = performance.now() - started
    for (; next < total && dueAt(next) <= now; next++) {
      lag.record(Math.max(1, Math.round((now - dueAt(next)) * 1e6)))
      due.push(next)
    }
    let at = 0
    for (; at < due.length; at++) {
      const index = due[at] as number
      if (now - dueAt(index) > patienceMs) {
        givenUp++
        continue
      }
      const taken = idle.pop() ?? (all.size < connections ? seat() : undefined)
      if (taken === undefined) break
      taken.index = index
      open++
      sent++
      taken.send(requestOf(index))
    }
    due.splice(0, at)
    if (next === total && due.length === 0 && open === 0) done.resolve()
  }

  const timer = setInterval(send, 1)
  const late = setTimeout(() => done.resolve(), seconds * 1_000 + PATIENCE_MS)
  await done.promise
  clearInterval(timer)
  clearTimeout(late)
  for (const taken of all)
    if (taken.index >= 0) onFailure(new Error('no response arrived'), taken.index)
  for (const { socket } of all) socket.removeAllListeners('close').destroy()
  return { sent, givenUp, lag: lag.percentile(99) / 1e6 }
}

/**
 * Measures how late this process's timers are, and thus the error of a paced figure.
 * @returns a function that stops and returns the 99th percentile in milliseconds
 */
export function watchLag(): () => number {
  const lag = monitorEventLoopDelay({ resolution: 1 })
  lag.enable()
  return () => {
    lag.disable()
    return Math.max(0, lag.percentile(99) / 1e6 - 1)
  }
}
