import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/* The types of frames (RFC 9113 section 6), for input that no well-behaved client sends. */

export const TYPES = {
  data: 0,
  headers: 1,
  priority: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

type TypeName = keyof typeof TYPES

export const END_STREAM = 1
export const ACK = 1
export const END_HEADERS = 4

export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'

export interface Frame {
  readonly type: number
  readonly flags: number
  readonly stream: number
  readonly payload: Buffer
}

export function frame(
  type: TypeName,
  payload: Uint8Array = Buffer.alloc(0),
  { flags = 0, stream = 0 } = {},
): Buffer {
  const bytes = Buffer.alloc(9 + payload.byteLength)
  bytes.writeUIntBE(payload.byteLength, 0, 3)
  bytes[3] = TYPES[type]
  bytes[4] = flags
  bytes.writeUInt32BE(stream, 5)
  bytes.set(payload, 9)
  return bytes
}

/** @param settings by identifier (section 6.5.2) */
export const settings = (settings: Readonly<Record<number, number>> = {}): Buffer =>
  frame(
    'settings',
    Buffer.concat(
      Object.entries(settings).map(([id, value]) => {
        const bytes = Buffer.alloc(6)
        bytes.writeUInt16BE(Number(id))
        bytes.writeUInt32BE(value, 2)
        return bytes
      }),
    ),
  )

export const uint32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

/** An HPACK literal without indexing (RFC 7541 section 6.2.2). */
export const header = (name: string, value: string): Buffer =>
  Buffer.concat([Buffer.of(0), text(name), text(value)])

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  return Buffer.concat([integer(bytes.byteLength), bytes])
}

/** An HPACK integer with a 7-bit prefix (RFC 7541 section 5.1). */
function integer(value: number): Buffer {
  if (value < 127) return Buffer.of(value)
  const bytes = [127]
  let rest = value - 127
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push((rest % 128) + 128)
  return Buffer.of(...bytes, rest)
}

export const block = (method: string, path: string, ...more: Buffer[]): Buffer =>
  Buffer.concat([
    header(':method', method),
    header(':scheme', 'http'),
    header(':path', path),
    header(':authority', 'test'),
    ...more,
  ])

/** @param isWhole whether the request has no body */
export const head = (stream: number, block: Buffer, isWhole = true): Buffer =>
  frame('headers', block, { stream, flags: END_HEADERS | (isWhole ? END_STREAM : 0) })

/** A TCP connection that has sent the preface; frames are written to it unchanged. */
export class RawSession {
  readonly socket: Socket
  readonly frames: Frame[] = []
  readonly closed: Promise<void>
  #received = Buffer.alloc(0)
  readonly #waiting: (() => void)[] = []

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('error', () => {})
    socket.on('data', chunk => this.#receive(chunk))
    this.closed = new Promise(resolve =>
      socket.once('close', () => {
        resolve()
        this.#wake()
      }),
    )
  }

  static async open(port: number, own: Readonly<Record<number, number>> = {}): Promise<RawSession> {
    const session = await RawSession.openSilent(port)
    session.send(settings(own))
    return session
  }

  /** Sends only these frames, in one packet with the preface. */
  static async openSilent(port: number, ...frames: Uint8Array[]): Promise<RawSession> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    const session = new RawSession(socket)
    await once(socket, 'connect')
    session.send(Buffer.from(PREFACE), ...frames)
    return session
  }

  send(...frames: Uint8Array[]): void {
    if (this.socket.writable) this.socket.write(Buffer.concat(frames))
  }

  /**
   * Waits for the first matching frame.
   * @throws if the connection closes first
   */
  async frame(type: TypeName, isIt: (frame: Frame) => boolean = () => true): Promise<Frame> {
    return this.#found(frame => frame.type === TYPES[type] && isIt(frame), `a frame of ${type}`)
  }

  async #found(isIt: (frame: Frame) => boolean, what: string): Promise<Frame> {
    for (;;) {
      const found = this.frames.find(isIt)
      if (found !== undefined) return found
      if (this.socket.closed) throw new Error(`the connection closed without ${what}`)
      await new Promise<void>(resolve => {
        this.#waiting.push(resolve)
      })
    }
  }

  #wake(): void {
    for (const wake of this.#waiting.splice(0)) wake()
  }

  /**
   * Waits for the first frame that ends the stream.
   * @throws if the connection closes first
   */
  async end(stream: number): Promise<Frame> {
    const isEnd = (frame: Frame) =>
      frame.stream === stream &&
      (frame.type === TYPES.rstStream ||
        (frame.type <= TYPES.headers && (frame.flags & END_STREAM) !== 0))
    return this.#found(isEnd, `the end of stream ${stream}`)
  }

  /** The error code of the server's final GOAWAY (section 7). */
  async errorCode(): Promise<number> {
    await this.closed
    const last = this.frames.findLast(({ type }) => type === TYPES.goaway)
    if (last === undefined) throw new Error('the connection closed without GOAWAY')
    return last.payload.readUInt32BE(4)
  }

  #receive(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk])
    for (;;) {
      if (this.#received.byteLength < 9) break
      const end = 9 + this.#received.readUIntBE(0, 3)
      if (this.#received.byteLength < end) break
      this.frames.push({
        type: this.#received[3] as number,
        flags: this.#received[4] as number,
        stream: this.#received.readUInt32BE(5),
        payload: this.#received.subarray(9, end),
      })
      this.#received = this.#received.subarray(end)
    }
    this.#wake()
  }
}
