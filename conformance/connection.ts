import * as http from 'node:http'
import * as https from 'node:https'
import * as net from 'node:net'
import { buffer } from 'node:stream/consumers'
import * as tls from 'node:tls'

export interface Reply {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly body: Buffer
}

export interface Sent {
  readonly method?: string
  readonly path: string
  readonly headers?: http.OutgoingHttpHeaders
  readonly body?: string | Uint8Array
  /** Sends the body in chunks of this many bytes, without a Content-Length. */
  readonly chunkBytes?: number
  /**
   * Sends two chunks on a new connection, one byte per packet, so that even the chunk lengths are
   * split.
   */
  readonly bytewise?: boolean
}

/**
 * Adds only Host, Connection, the body's length and the connection's own headers. Does not follow
 * redirects.
 * @throws {Error} if the server is unreachable, closes the connection, or times out
 */
export type Send = (request: Sent) => Promise<Reply>

export interface ConnectionOptions {
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly timeoutMs?: number
}

export function connect(
  url: string,
  { headers: given = {}, timeoutMs = 30_000 }: ConnectionOptions = {},
): Send {
  const always = Object.fromEntries(
    Object.entries(given).map(([name, value]) => [name.toLowerCase(), value]),
  )
  const { protocol, hostname, port, host, pathname } = new URL(url)
  const secure = protocol === 'https:'
  const client = secure ? https : http
  const agent = new client.Agent({ keepAlive: true })
  const where = {
    host: hostname.replace(/^\[|\]$/g, ''),
    port: Number(port || (secure ? 443 : 80)),
  }
  const prefix = pathname.replace(/\/$/, '')
  const late = () => new Error(`no response within ${timeoutMs / 1000} s`)

  const send = (sent: Sent, again = false): Promise<Reply> => {
    const { method = 'POST', path, headers = {}, body, chunkBytes } = sent
    const length =
      body === undefined || chunkBytes !== undefined
        ? undefined
        : { 'content-length': Buffer.byteLength(body) }
    return new Promise((resolve, reject) => {
      const request = client.request({
        ...where,
        path: prefix + path,
        method,
        headers: { ...length, ...always, ...headers },
        agent,
        // Some servers repeat an id of any length in a header.
        maxHeaderSize: 8 * 2 ** 20,
        signal: AbortSignal.timeout(timeoutMs),
      })
      request.on('error', (error: NodeJS.ErrnoException) => {
        // A server may close an idle connection just as the client reuses it.
        if (request.reusedSocket && !again && ['ECONNRESET', 'EPIPE'].includes(error.code ?? ''))
          resolve(send(sent, true))
        else reject(error.name === 'AbortError' ? late() : error)
      })
      request.on('response', async response => {
        try {
          resolve({
            status: response.statusCode as number,
            headers: response.headers,
            body: await buffer(response),
          })
        } catch (error) {
          reject(error)
        }
      })
      if (body === undefined || chunkBytes === undefined) request.end(body)
      else writeChunks(request, Buffer.from(body), chunkBytes)
    })
  }

  async function sendBytewise({ path, headers, body = '' }: Sent): Promise<Reply> {
    const socket = secure ? tls.connect({ ...where, servername: hostname }) : net.connect(where)
    socket.setNoDelay().setTimeout(timeoutMs, () => socket.destroy(late()))
    const text = String(body)
    const half = text.length >> 1
    const chunks = [text.slice(0, half), text.slice(half), ''].map(
      chunk => `${Buffer.byteLength(chunk).toString(16)}\r\n${chunk}\r\n`,
    )
    const fields = {
      host,
      ...always,
      ...headers,
      'transfer-encoding': 'chunked',
      connection: 'close',
    }
    const head = [
      `POST ${prefix}${path} HTTP/1.1`,
      ...Object.entries(fields).map(([name, value]) => `${name}: ${value}`),
      '',
      '',
    ].join('\r\n')
    const answer = buffer(socket)
    for (const byte of Buffer.from(head + chunks.join(''))) {
      if (socket.destroyed) break
      await new Promise(written => socket.write(Buffer.of(byte), written))
    }
    const bytes = await answer
    const end = bytes.indexOf('\r\n\r\n')
    return {
      status: Number(/^HTTP\/1\.\d (\d+)/.exec(bytes.toString('latin1', 0, end))?.[1] ?? 0),
      headers: {},
      body: bytes.subarray(end + 4),
    }
  }

  return sent => (sent.bytewise ? sendBytewise(sent) : send(sent))
}

async function writeChunks(
  request: http.ClientRequest,
  body: Buffer,
  chunkBytes: number,
): Promise<void> {
  request.setNoDelay()
  for (let at = 0; at < body.byteLength && !request.destroyed; at += chunkBytes) {
    await new Promise(written => request.write(body.subarray(at, at + chunkBytes), written))
  }
  request.end()
}
