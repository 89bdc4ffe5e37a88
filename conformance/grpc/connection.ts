import * as http2 from 'node:http2'
import { gunzipSync, inflateSync } from 'node:zlib'

export const STATUS = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  UNAUTHENTICATED: 16,
} as const

export interface SentCall {
  /** A path such as /inference.GRPCInferenceService/ModelInfer. */
  readonly method: string
  /** The client's messages, each with its length prefix. */
  readonly frames: Uint8Array
  readonly metadata?: Readonly<Record<string, string>>
  readonly cancels?: boolean
}

export interface CallReply {
  readonly status: number
  readonly message: string
  /** Decompressed. */
  readonly messages: readonly Buffer[]
  readonly compressed: readonly boolean[]
  readonly metadata: Readonly<Record<string, unknown>>
}

/** @throws {Error} if the server is unreachable or times out */
export type Call = (sent: SentCall) => Promise<CallReply>

export function frame(message: Uint8Array, compressed = false): Buffer {
  const prefix = Buffer.alloc(5)
  prefix[0] = Number(compressed)
  prefix.writeUInt32BE(message.byteLength, 1)
  return Buffer.concat([prefix, message])
}

/** @param address HOST:PORT, or an http or https URL */
export function connectGrpc(
  address: string,
  headers: Readonly<Record<string, string>> = {},
  timeoutMs = 30_000,
): Call {
  const url = /^https?:/.test(address) ? address : `http://${address}`
  const always = Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
  let session: http2.ClientHttp2Session | undefined
  const connected = () => {
    if (session === undefined || session.closed || session.destroyed) {
      session = http2.connect(url)
      session.on('error', () => {})
      // An open connection must not keep the process running.
      session.unref()
    }
    return session
  }
  return sent =>
    makeCall(connected(), { ...sent, metadata: { ...always, ...sent.metadata } }, timeoutMs)
}

function makeCall(
  session: http2.ClientHttp2Session,
  { method, frames, metadata, cancels }: SentCall,
  timeoutMs: number,
): Promise<CallReply> {
  return new Promise((resolve, reject) => {
    const stream = session.request({
      ':method': 'POST',
      ':path': method,
      'content-type': 'application/grpc',
      te: 'trailers',
      ...metadata,
    })
    const late = setTimeout(() => {
      reject(new Error(`no response within ${timeoutMs / 1000} s`))
      stream.close(http2.constants.NGHTTP2_CANCEL)
    }, timeoutMs)
    const received: Record<string, unknown> = {}
    const chunks: Buffer[] = []
    stream.on('response', headers => Object.assign(received, headers))
    stream.on('trailers', trailers => Object.assign(received, trailers))
    stream.on('data', chunk => chunks.push(chunk))
    stream.on('error', reject)
    stream.on('close', () => {
      clearTimeout(late)
      try {
        resolve(readReply(Buffer.concat(chunks), received))
      } catch (error) {
        reject(error)
      }
    })
    if (cancels) {
      stream.write(frames)
      stream.close(http2.constants.NGHTTP2_CANCEL)
    } else stream.end(frames)
  })
}

function readReply(bytes: Buffer, metadata: Record<string, unknown>): CallReply {
  const messages: Buffer[] = []
  const compressed: boolean[] = []
  for (let at = 0; at < bytes.byteLength; ) {
    const end = at + 5 + bytes.readUInt32BE(at + 1)
    const message = bytes.subarray(at + 5, end)
    const isCompressed = bytes[at] === 1
    const inflate = metadata['grpc-encoding'] === 'gzip' ? gunzipSync : inflateSync
    messages.push(isCompressed ? inflate(message) : message)
    compressed.push(isCompressed)
    at = end
  }
  const status = Number(metadata['grpc-status'] ?? (metadata[':status'] ? -1 : STATUS.CANCELLED))
  const message = decodeURIComponent(String(metadata['grpc-message'] ?? ''))
  return { status, message, messages, compressed, metadata }
}
