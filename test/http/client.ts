import { once } from 'node:events'
import { connect as connectSocket, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'

export interface RawAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  // biome-ignore lint/suspicious/noExplicitAny: tests inspect arbitrary JSON
  readonly json: any
}

export interface Connection {
  readonly socket: Socket
  send(bytes: string | Uint8Array): void
  /**
   * The next response, in order of arrival.
   * @param to the request's method, because a response to HEAD has no body
   */
  answer(to?: 'HEAD'): Promise<RawAnswer>
  readonly closed: Promise<void>
}

export async function connect(port: number): Promise<Connection> {
  const socket = connectSocket({ port, host: '127.0.0.1', noDelay: true })
  let received = Buffer.alloc(0)
  let chunks: Buffer[] = []
  /**
   * The number of bytes to wait for before joining the pieces, so that the pieces of a large
   * response are joined only once.
   */
  let wanted = 0
  let over = false
  let wake = () => {}
  socket.on('data', chunk => {
    chunks.push(chunk)
    wanted -= chunk.length
    if (wanted <= 0) wake()
  })
  const closed = new Promise<void>(resolve => {
    socket.once('close', () => {
      over = true
      wake()
      resolve()
    })
  })
  await once(socket, 'connect')
  // The server may also reset the connection.
  socket.on('error', () => {})

  async function answer(to?: 'HEAD'): Promise<RawAnswer> {
    for (;;) {
      received = Buffer.concat([received, ...chunks])
      chunks = []
      const { answer, length } = readAnswer(received, to)
      if (answer !== undefined) {
        received = received.subarray(length)
        return answer
      }
      wanted = length - received.length
      if (over)
        throw new Error(
          `the connection closed before a response; received: ${JSON.stringify(received.toString('latin1', 0, 300))}`,
        )
      await new Promise<void>(resolve => {
        wake = resolve
      })
    }
  }

  return { socket, send: bytes => socket.write(bytes), answer, closed }
}

/** The response is undefined while it is incomplete; `length` is its minimum length. */
function readAnswer(
  bytes: Buffer,
  to: 'HEAD' | undefined,
): { answer: RawAnswer | undefined; length: number } {
  const headEnd = bytes.indexOf('\r\n\r\n')
  if (headEnd === -1) return { answer: undefined, length: bytes.length + 1 }
  const [statusLine = '', ...lines] = bytes.toString('latin1', 0, headEnd).split('\r\n')
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(statusLine)?.[1])
  const headers = Object.fromEntries(
    lines.map(line => [
      line.slice(0, line.indexOf(':')).toLowerCase(),
      line.slice(line.indexOf(':') + 1).trim(),
    ]),
  )
  const bodyless = to === 'HEAD' || status < 200 || status === 204
  const end = headEnd + 4 + (bodyless ? 0 : Number(headers['content-length']))
  if (bytes.length < end) return { answer: undefined, length: end }
  const body = bytes.toString('utf8', headEnd + 4, end)
  const isJson =
    headers['content-type']?.startsWith('application/json') &&
    headers['content-encoding'] === undefined &&
    body !== ''
  const json = isJson ? JSON.parse(body) : undefined
  return { answer: { status, headers, body, json }, length: end }
}

export async function isListening(port: number): Promise<boolean> {
  const connection = await connect(port).catch(() => undefined)
  connection?.socket.destroy()
  return connection !== undefined
}

export async function exchange(
  port: number,
  bytes: string | Uint8Array,
  to?: 'HEAD',
): Promise<RawAnswer> {
  const connection = await connect(port)
  connection.send(bytes)
  const answer = await connection.answer(to)
  connection.socket.destroy()
  return answer
}

export function request(
  method: string,
  target: string,
  headers: Record<string, string> = {},
  body = '',
): string {
  const all = {
    host: 'test',
    ...(body === '' ? {} : { 'content-length': String(Buffer.byteLength(body)) }),
    ...headers,
  }
  return `${method} ${target} HTTP/1.1\r\n${Object.entries(all)
    .map(header => `${header.join(': ')}\r\n`)
    .join('')}\r\n${body}`
}

export const IRIS = '/v2/models/iris-classifier/infer'

export const irisBody = (id?: string) =>
  JSON.stringify({
    id,
    inputs: [{ name: 'input', shape: [1, 4], datatype: 'FP32', data: [5.1, 3.5, 1.4, 0.2] }],
  })

export const SLOW = '/v2/models/slow/infer'

export const slowBody = (more: object = {}) =>
  JSON.stringify({
    ...more,
    inputs: [{ name: 'x', shape: [1, 2], datatype: 'FP32', data: [1, 2] }],
  })

/** Blocks the event loop. */
export function busy(ms: number): void {
  const end = performance.now() + ms
  while (performance.now() < end);
}

/** Waits until a condition is true, by default for at most ten seconds. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  patienceMs = 10_000,
): Promise<void> {
  const deadline = performance.now() + patienceMs
  while (!(await isSo())) {
    if (performance.now() > deadline) throw new Error(`timed out while waiting until ${what}`)
    await wait(5)
  }
}

export function readMetrics(text: string): Map<string, number> {
  const lines = text.split('\n').filter(line => line !== '' && !line.startsWith('#'))
  return new Map(
    lines.map(line => [
      line.slice(0, line.lastIndexOf(' ')),
      Number(line.slice(line.lastIndexOf(' ') + 1)),
    ]),
  )
}
