import { createHash } from 'node:crypto'
import { deflateSync, gunzipSync, gzipSync, inflateSync } from 'node:zlib'
import type { Reply, Send, Sent } from '../connection.ts'
import { parseJson, toJson } from '../json.ts'
import type { Target } from '../point.ts'

/** onnx-function with altered requests or responses. */
export interface Wrong {
  readonly reads?: (sent: Sent, target: Target) => Sent
  readonly answers?: (reply: Reply, sent: Sent, target: Target) => Reply
}

export function behind(
  target: Target,
  { reads = sent => sent, answers = reply => reply }: Wrong,
): Target {
  return {
    ...target,
    send: async sent => answers(await target.send(reads(sent, target)), sent, target),
  }
}

export function keyOf({ body = '', ...rest }: Sent): string {
  return `${JSON.stringify(rest)} ${createHash('sha1').update(body).digest('base64')}`
}

/** Sends equal requests only once, because onnx-function gives them equal responses. */
export function remembered(send: Send): Send {
  const answers = new Map<string, Promise<Reply>>()
  return sent => {
    const key = keyOf(sent)
    const known = answers.get(key)
    if (known !== undefined) return known
    const answer = send(sent)
    answers.set(key, answer)
    return answer
  }
}

export const isInference = ({ method = 'POST', path }: Sent) =>
  method === 'POST' && /\/infer\/?(\?.*)?$/.test(path)

/** Changes only the JSON of a response, and keeps its binary data and compression. */
export function withJson(reply: Reply, change: (json: Json) => unknown): Reply {
  const encoding = reply.headers['content-encoding']
  const body =
    encoding === 'gzip'
      ? gunzipSync(reply.body)
      : encoding === 'deflate'
        ? inflateSync(reply.body)
        : reply.body
  const length = Number(reply.headers['inference-header-content-length'] ?? body.byteLength)
  let json: Json
  try {
    json = parseJson(body.toString('utf8', 0, length)) as Json
  } catch {
    return reply
  }
  const header = Buffer.from(toJson(change(json)))
  const changed = Buffer.concat([header, body.subarray(length)])
  return {
    status: reply.status,
    headers: {
      ...reply.headers,
      'content-length': String(changed.byteLength),
      ...(reply.headers['inference-header-content-length'] !== undefined && {
        'inference-header-content-length': String(header.byteLength),
      }),
    },
    body:
      encoding === 'gzip'
        ? gzipSync(changed)
        : encoding === 'deflate'
          ? deflateSync(changed)
          : changed,
  }
}

// biome-ignore lint/suspicious/noExplicitAny: mutations read and change arbitrary JSON
export type Json = any

export const json = (status: number, body: unknown, headers = {}): Reply => ({
  status,
  headers: { 'content-type': 'application/json', ...headers },
  body: Buffer.from(toJson(body)),
})
