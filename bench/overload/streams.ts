import { once } from 'node:events'
import net from 'node:net'

/*
 * gRPC calls over raw sockets. Node's HTTP/2 client needs more time for a call than the server, so
 * a benchmark with it would measure the client. This client does not decode messages: it recognizes
 * a refusal because it consists only of trailers.
 */

export type CallEnd = 'answered' | 'refused' | 'broken'

const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
const HEAD_BYTES = 9
const DATA = 0
const HEADERS = 1
const RST_STREAM = 3
const SETTINGS = 4
const PING = 6
const WINDOW_UPDATE = 8
const ACK = 1
const END_STREAM = 1
const END_HEADERS = 4
/** A connection's initial flow-control window (RFC 9113 section 6.9.2). */
const FIRST_WINDOW = 65_535
/** Concurrent calls per connection. Servers should allow at least 100 (RFC 9113 section 6.5.2). */
const MOST_STREAMS = 100

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const all = Buffer.allocUnsafe(HEAD_BYTES + payload.byteLength)
  all.writeUIntBE(payload.byteLength, 0, 3)
  all[3] = type
  all[4] = flags
  all.writeUInt32BE(stream, 5)
  all.set(payload, HEAD_BYTES)
  return all
}

/**
 * Encodes literals without indexing (RFC 7541 section 6.2.2), so that every call can use the same
 * bytes. Each name and value must be shorter than 127 bytes.
 */
function headerBlock(headers: Readonly<Record<string, string>>): Buffer {
  const literal = (text: string) => Buffer.concat([Buffer.of(text.length), Buffer.from(text)])
  const fields = Object.entries(headers).map(([name, value]) =>
    Buffer.concat([Buffer.of(0), literal(name), literal(value)]),
  )
  return Buffer.concat(fields)
}

export interface CallBytes {
  readonly path: string
  readonly timeout: string
  /** The message with its five-byte prefix. */
  readonly message: Uint8Array
}

export class Streams {
  readonly #socket: net.Socket
  readonly #call: CallBytes
  readonly #block: Buffer
  readonly #calls = new Map<number, { answered: boolean; onEnd: (end: CallEnd) => void }>()
  #window = FIRST_WINDOW
  #nextId = 1
  #unread: Buffer = Buffer.alloc(0)

  private constructor(socket: net.Socket, call: CallBytes) {
    this.#socket = socket
    this.#call = call
    this.#block = headerBlock({
      ':method': 'POST',
      ':scheme': 'http',
      ':path': call.path,
      ':authority': 'localhost',
      'content-type': 'application/grpc',
      te: 'trailers',
      'grpc-timeout': call.timeout,
    })
    socket.on('data', chunk => this.#read(chunk))
    socket.on('error', () => {})
    socket.on('close', () => {
      for (const { onEnd } of this.#calls.values()) onEnd('broken')
      this.#calls.clear()
    })
  }

  static async connect(port: number, call: CallBytes): Promise<Streams> {
    const socket = net.connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    const connection = new Streams(socket, call)
    const most = Buffer.alloc(4)
    most.writeUInt32BE(2 ** 31 - 1 - FIRST_WINDOW)
    socket.write(Buffer.concat([PREFACE, frame(SETTINGS, 0, 0, Buffer.alloc(0))]))
    socket.write(frame(WINDOW_UPDATE, 0, 0, most))
    return connection
  }

  get isFree(): boolean {
    const { length } = this.#call.message
    return this.#calls.size < MOST_STREAMS && this.#window >= length && !this.#socket.destroyed
  }

  send(onEnd: (end: CallEnd) => void): void {
    const id = this.#nextId
    const { message } = this.#call
    this.#nextId += 2
    this.#window -= message.byteLength
    this.#calls.set(id, { answered: false, onEnd })
    this.#socket.cork()
    this.#socket.write(frame(HEADERS, END_HEADERS, id, this.#block))
    this.#socket.write(frame(DATA, END_STREAM, id, message))
    process.nextTick(() => this.#socket.uncork())
  }

  close(): void {
    this.#socket.destroy()
  }

  #read(chunk: Buffer): void {
    let bytes = this.#unread.length === 0 ? chunk : Buffer.concat([this.#unread, chunk])
    while (bytes.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + bytes.readUIntBE(0, 3)
      if (bytes.length < end) break
      this.#take(bytes.subarray(0, end))
      bytes = bytes.subarray(end)
    }
    this.#unread = bytes
  }

  #take(whole: Buffer): void {
    const [type, flags] = [whole[3], whole[4] as number]
    const id = whole.readUInt32BE(5)
    const payload = whole.subarray(HEAD_BYTES)
    if (type === SETTINGS && !(flags & ACK))
      this.#socket.write(frame(SETTINGS, ACK, 0, Buffer.alloc(0)))
    else if (type === PING && !(flags & ACK)) this.#socket.write(frame(PING, ACK, 0, payload))
    else if (type === WINDOW_UPDATE && id === 0) this.#window += payload.readUInt32BE()
    const call = this.#calls.get(id)
    if (call === undefined) return
    if (type === RST_STREAM) this.#end(id, 'broken')
    else if (type === DATA) call.answered = true
    if ((type === DATA || type === HEADERS) && flags & END_STREAM)
      this.#end(id, call.answered ? 'answered' : 'refused')
  }

  #end(id: number, end: CallEnd): void {
    this.#calls.get(id)?.onEnd(end)
    this.#calls.delete(id)
  }
}
