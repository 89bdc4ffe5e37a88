import { createRequire } from 'node:module'
import net from 'node:net'
import type * as runtime from 'faas-js-runtime'

/*
 * faas-js-runtime, Knative's runtime for Node.js; its only route is `/`. With BENCH_ANSWER, the
 * handler only returns those bytes, which shows the cost of the runtime.
 */

// The runtime always listens on all interfaces; a benchmark needs only loopback.
const { listen } = net.Server.prototype
net.Server.prototype.listen = function (this: net.Server, ...[options, ...rest]: unknown[]) {
  return Reflect.apply(listen, this, [
    { ...(options as net.ListenOptions), host: '127.0.0.1' },
    ...rest,
  ])
}

interface Context {
  readonly body?: unknown
  readonly headers: Record<string, string | undefined>
}

async function handleOf(): Promise<(context: Context) => unknown> {
  if (process.env.BENCH_ANSWER !== undefined) {
    const { status, headers, body } = JSON.parse(process.env.BENCH_ANSWER)
    const answer = { statusCode: status, headers, body: Buffer.from(body, 'base64').toString() }
    return () => answer
  }
  const { infer } = await import('./onnx.ts')
  return async ({ body }) => ({
    headers: { 'content-type': 'application/json' },
    body: await infer(body as Parameters<typeof infer>[0]),
  })
}

// Node finds no named exports in this CommonJS package.
const { start }: typeof runtime = createRequire(import.meta.url)('faas-js-runtime')
const handle = await handleOf()
await start(
  handle as unknown as Parameters<typeof start>[0],
  { port: Number(process.env.PORT), bodyLimit: 64 * 2 ** 20 } as object,
)
