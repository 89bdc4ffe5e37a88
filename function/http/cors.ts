import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import type { Answer } from '../answer.ts'

/** Which pages may read answers: the browser that shows them asks, and keeps to it (Fetch, "CORS protocol"). */
export interface Cors {
  /** The answer to a browser's question before the request itself; undefined where this is none, or the page's origin may not. */
  preflight(request: IncomingMessage): Answer | undefined
  /** @param vary of the answer without them */
  headers(request: IncomingHttpHeaders, vary?: string | number): Readonly<Record<string, string>>
}

const PREFLIGHT: Answer = {
  status: 204,
  headers: {
    'access-control-allow-methods': 'GET, HEAD, POST',
    // The star stands for all but this one, and for itself where a request carries cookies, which none is let carry.
    'access-control-allow-headers': '*, authorization',
    'access-control-max-age': '7200',
  },
  body: '',
}

/** @param origins whose pages; no answer differs by who asks from where, so no cookies are let through either */
export function createCors(origins: readonly string[] | '*'): Cors {
  const allowed = (origin: string | undefined) =>
    origin !== undefined && (origins === '*' || origins.includes(origin))
  return {
    preflight({ method, headers }) {
      const isAsking =
        method === 'OPTIONS' && headers['access-control-request-method'] !== undefined
      return isAsking && allowed(headers.origin) ? PREFLIGHT : undefined
    },
    headers({ origin }, vary) {
      const varied = origins === '*' ? undefined : vary === undefined ? 'origin' : `${vary}, origin`
      return {
        ...(varied === undefined ? undefined : { vary: varied }),
        ...(allowed(origin)
          ? {
              'access-control-allow-origin': origins === '*' ? '*' : (origin as string),
              'access-control-expose-headers': '*',
            }
          : undefined),
      }
    },
  }
}
