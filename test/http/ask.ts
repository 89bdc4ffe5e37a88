import { type Answer, bytesOf, type Caller } from '../../function/answer.ts'
import { readConfig } from '../../function/config/config.ts'
import type { RequestHead } from '../../function/http/head.ts'
import { createResponder, HungUp } from '../../function/http/respond.ts'
import type { TableRoute } from '../../function/http/routes.ts'
import { createService, type Service } from '../../function/service.ts'

export interface Answered extends Omit<Answer, 'body'> {
  readonly body: string
  // biome-ignore lint/suspicious/noExplicitAny: tests inspect arbitrary JSON
  readonly json: any
}

export interface Asked {
  readonly headers?: Record<string, string>
  readonly httpVersion?: string
  readonly body?: string
  /** Whether the client closes the connection before its body is complete. */
  readonly hangsUp?: boolean
}

export interface App {
  readonly service: Service
  lastUsed(): number
  /** @returns undefined if the client has hung up */
  ask(method: string, url: string, asked?: Asked): Promise<Answered | undefined>
}

/** @param rows the routes to use instead of the configured ones */
export async function createApp(
  env: Record<string, string> = {},
  rows?: readonly TableRoute[],
): Promise<App> {
  const config = readConfig({ LOG_LEVEL: 'silent', ...env })
  const service = createService(config)
  const responder = await createResponder(service, config, rows)
  return {
    service,
    lastUsed: () => responder.lastUsed,
    async ask(method, url, asked = {}) {
      const body = {
        read: async () => {
          if (asked.hangsUp) throw new HungUp()
          return Buffer.from(asked.body ?? '')
        },
        becomeAnswer() {},
        release() {},
      }
      const answer = await responder.respond(headOf(method, url, asked), callerOf(), body)
      if (answer === undefined) return undefined
      const text = String(bytesOf(answer.body))
      const isJson = answer.headers['content-type']?.startsWith('application/json')
      return { ...answer, body: text, json: isJson ? JSON.parse(text) : undefined }
    },
  }
}

function headOf(
  method: string,
  url: string,
  { headers = {}, httpVersion = '1.1' }: Asked,
): RequestHead {
  const all = { host: 'test', ...headers }
  return { method, url, httpVersion, headers: all, rawHeaders: Object.entries(all).flat() }
}

function callerOf(): Caller {
  const arrived = performance.now()
  return { arrived, deadline: arrived + 10_000, gone: false }
}
