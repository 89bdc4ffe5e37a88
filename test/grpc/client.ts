import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2'
import { unzipSync } from 'node:zlib'
import { HEALTH, REFLECTION } from '../../function/grpc/protos.ts'
import { INFERENCE_PROTO } from '../../function/protocol/inference-proto.ts'
import { decodeMessage, type Message } from '../../function/protocol/protobuf-decode.ts'
import { encodeMessage } from '../../function/protocol/protobuf-encode.ts'
import { parseProto } from '../../function/protocol/protobuf-schema.ts'

/** Unlike the server, this client reads typed contents like any other message. */
const INFERENCE = parseProto('grpc_service.proto', INFERENCE_PROTO)

export interface Answered {
  readonly status: number
  readonly message: string
  readonly messages: readonly Message[]
  readonly headers: Readonly<Record<string, unknown>>
  readonly trailers: Readonly<Record<string, unknown>>
}

export type Metadata = Readonly<Record<string, string | string[]>>

export interface Client {
  readonly session: ClientHttp2Session
  call(
    method: string,
    request: Message | readonly Message[],
    metadata?: Metadata,
  ): Promise<Answered>
  send(method: string, frames: Uint8Array, metadata?: Metadata): Promise<Answered>
  open(method: string, metadata?: Metadata): OpenCall
  close(): Promise<void>
}

export interface OpenCall {
  readonly stream: ClientHttp2Stream
  write(request: Message): void
  /** Undefined after the last message. */
  next(): Promise<Message | undefined>
  readonly answered: Promise<Answered>
}

export function connectGrpc(port: number): Client {
  const session = connect(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  const open = (method: string, metadata: Metadata = {}) => openCall(session, method, metadata)
  const send = (method: string, frames: Uint8Array, metadata?: Metadata) => {
    const call = open(method, metadata)
    call.stream.end(frames)
    return call.answered
  }
  return {
    session,
    open,
    send,
    call(method, request, metadata) {
      const requests: readonly Message[] = Array.isArray(request) ? request : [request]
      return send(
        method,
        Buffer.concat(requests.map(request => frame(encode(method, request)))),
        metadata,
      )
    },
    async close() {
      session.close()
      session.destroy()
    },
  }
}

function openCall(session: ClientHttp2Session, method: string, metadata: Metadata): OpenCall {
  const stream = session.request({
    ':method': 'POST',
    ':path': pathOf(method),
    'content-type': 'application/grpc',
    te: 'trailers',
    ...metadata,
  })
  let headers: Record<string, unknown> = {}
  let trailers: Record<string, unknown> | undefined
  const messages: Message[] = []
  let read = 0
  let bytes = Buffer.alloc(0)
  let wake = () => {}
  let over = false
  stream.on('error', () => {})
  stream.on('response', received => {
    headers = received
  })
  stream.on('trailers', received => {
    trailers = received
  })
  stream.on('data', (chunk: Buffer) => {
    bytes = Buffer.concat([bytes, chunk])
    while (bytes.length >= 5 && bytes.length >= 5 + bytes.readUInt32BE(1)) {
      const end = 5 + bytes.readUInt32BE(1)
      const message = bytes.subarray(5, end)
      const whole = bytes[0] === 1 ? unzipSync(message) : message
      messages.push(decodeMessage(typesOf(method).output, whole))
      bytes = bytes.subarray(end)
    }
    wake()
  })
  const answered = new Promise<Answered>(resolve => {
    stream.on('close', () => {
      over = true
      wake()
      const end: Record<string, unknown> = trailers ?? headers
      const status = Number(end['grpc-status'] ?? Number.NaN)
      const message = decodeURIComponent(String(end['grpc-message'] ?? ''))
      resolve({ status, message, messages, headers, trailers: end })
    })
  })
  return {
    stream,
    answered,
    write: request => stream.write(frame(encode(method, request))),
    async next() {
      while (read === messages.length && !over) {
        await new Promise<void>(resolve => {
          wake = resolve
        })
      }
      return messages[read++]
    },
  }
}

export function frame(message: Uint8Array, flag = 0): Buffer {
  const prefix = Buffer.alloc(5)
  prefix[0] = flag
  prefix.writeUInt32BE(message.byteLength, 1)
  return Buffer.concat([prefix, message])
}

export const encode = (method: string, request: Message): Buffer =>
  Buffer.concat(encodeMessage(typesOf(method).input, request).parts)

/** A method without a service in its name belongs to Triton's service. */
export const pathOf = (method: string) =>
  method.includes('/') ? `/${method}` : `/inference.GRPCInferenceService/${method}`

function typesOf(method: string) {
  const name = method.slice(method.lastIndexOf('/') + 1)
  const found = [INFERENCE, HEALTH, REFLECTION]
    .flatMap(({ services }) => services.flatMap(({ methods }) => methods))
    .find(method => method.name === name)
  if (found === undefined) throw new Error(`${method} is unknown to this test client`)
  return found
}
