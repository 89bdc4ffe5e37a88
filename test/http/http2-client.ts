import { once } from 'node:events'
import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  connect,
  type IncomingHttpHeaders,
  type SecureClientSessionOptions,
} from 'node:http2'

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

/** Ignores errors, so tests must check how the session ended. */
export async function openSession(
  url: string,
  options: SecureClientSessionOptions = {},
): Promise<ClientHttp2Session> {
  const session = connect(url, { rejectUnauthorized: false, ...options })
  session.on('error', () => {})
  await once(session, 'connect')
  return session
}

/** A POST without a given body stays open for writing. */
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

/** @throws if the stream is closed before the response */
export async function answerOf(stream: ClientHttp2Stream): Promise<Http2Answer> {
  const [headers] = (await Promise.race([
    once(stream, 'response'),
    once(stream, 'close').then(() => {
      throw new Error(`the stream was closed with code ${stream.rstCode} before a response`)
    }),
  ])) as [IncomingHttpHeaders]
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk)
  return { status: Number(headers[':status']), headers, body: Buffer.concat(chunks) }
}

export const ask = (
  session: ClientHttp2Session,
  path: string,
  request: Http2Request = {},
): Promise<Http2Answer> => answerOf(open(session, path, request))
