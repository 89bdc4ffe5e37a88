import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2'

/** A request; absent, it is GET without a body. */
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

/** A session that is connected. Its end by an error is for the test to look at. */
export async function openSession(
  url: string,
  options: SecureClientSessionOptions = {},
): Promise<ClientHttp2Session> {
  const session = connect(url, { rejectUnauthorized: false, ...options })
  session.on('error', () => {})
  await once(session, 'connect')
  return session
}

/** Opens a stream; its body ends only where it is given. */
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

/** What a stream is answered. @throws where it is cancelled before */
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
