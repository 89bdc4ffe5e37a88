import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gunzipSync } from 'node:zlib'
import { type Point, readPoints, readSpans, type Span } from './otlp.ts'

/*
 * An OpenTelemetry Collector that receives OTLP over HTTP, so that `npm test` needs only Node. The
 * system tests push to a real one.
 */
export interface Receiver {
  readonly url: string
  readonly requests: readonly { readonly path: string; readonly headers: IncomingHttpHeaders }[]
  readonly spans: readonly Span[]
  readonly metrics: readonly (readonly Point[])[]
  close(): Promise<void>
}

/** @param answer answers pushes instead of accepting them */
export async function startReceiver(
  answer?: (response: ServerResponse) => void,
): Promise<Receiver> {
  const requests: { path: string; headers: IncomingHttpHeaders }[] = []
  const spans: Span[] = []
  const metrics: Point[][] = []
  const server = createServer(async (request, response) => {
    const path = request.url as string
    const sent = Buffer.concat(await request.toArray())
    requests.push({ path, headers: request.headers })
    if (answer !== undefined) {
      answer(response)
      return
    }
    const body = request.headers['content-encoding'] === 'gzip' ? gunzipSync(sent) : sent
    if (path.endsWith('/traces')) spans.push(...readSpans(body))
    else metrics.push(readPoints(body))
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    spans,
    metrics,
    async close() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}
