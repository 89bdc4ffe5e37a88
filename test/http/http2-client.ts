import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2'

/** A request; by default, GET without a body. */
export interface Http2Request {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
}

export interface Http2Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** A connected session. Tests must check for an error at its end. */
export async function openSession(
  url: string,
  options: SecureClientSessionOptions = {},
): Promise<ClientHttp2Session> {
  const session = connect(url, { rejectUnauthorized: false, ...options })
  session.on('error', () => {})
  await once(session, 'connect')
  return session
}

/** Opens a stream; its body ends only if it is given. */
export function open(
  session: ClientHttp2Session,
  path: string,
  { method = 'GET', headers = {}, body }: Http2Request = {},
): ClientHttp2Stream {
  const stream = session.request(
    { ':method': method, ':path': path, ...headers },
    {
      endStream: method === 'GET' || method === 'HEAD' || (body === undefined && method !== 'POST'),
    },
  )
  stream.on('error', () => {})
  if (body !== undefined) stream.end(body)
  return stream
}

/** The answer on a stream. @throws when the stream is cancelled first */
export async function answerOf(stream: ClientHttp2Stream): Promise<Http2Answer> {
  const [headers] = (await Promise.race([
    once(stream, 'response'),
    once(stream, 'close').then(() => {
      throw new Error(`the stream was closed with code ${stream.rstCode} and without an answer`)
    }),
  ])) as [IncomingHttpHeaders]
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return { status: Number(headers[':status']), headers, body: Buffer.concat(chunks) }
}

/** One request on a session. */
export const ask = (
  session: ClientHttp2Session,
  path: string,
  request: Http2Request = {},
): Promise<Http2Answer> => answerOf(open(session, path, request))
