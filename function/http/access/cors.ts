import type { IncomingHttpHeaders } from 'node:http'
import type { Answer } from '../../answer.ts'
import type { RequestHead } from '../head.ts'

/**
 * Lets web pages from other origins read responses, with headers that browsers check (Fetch, "CORS
 * protocol").
 */
export interface Cors {
  /**
   * Returns undefined for requests that are not preflights, and for origins that are not allowed.
   */
  preflight(request: RequestHead): Answer | undefined
  /** Returns the headers to add to a response. @param vary the response's own Vary header */
  headers(request: IncomingHttpHeaders, vary?: string): Readonly<Record<string, string>>
}

const PREFLIGHT: Answer = {
  status: 204,
  headers: {
    'access-control-allow-methods': 'GET, HEAD, POST',
    // `*` allows every header except Authorization. With credentials, browsers would read `*`
    // literally, but cookies are never allowed.
    'access-control-allow-headers': '*, authorization',
    'access-control-max-age': '7200',
  },
  body: '',
}

/**
 * @param origins the allowed pages. Cookies are not allowed, because no response depends on them.
 */
export function createCors(origins: readonly string[] | '*'): Cors {
  const allowed = (origin: string | undefined) =>
    origin !== undefined && (origins === '*' || origins.includes(origin))
  return {
    preflight({ method, headers }) {
      const isPreflight =
        method === 'OPTIONS' && headers['access-control-request-method'] !== undefined
      return isPreflight && allowed(headers.origin) ? PREFLIGHT : undefined
    },
    headers({ origin }, vary) {
      const readable = {
        'access-control-allow-origin': origins === '*' ? '*' : (origin ?? ''),
        'access-control-expose-headers': '*',
      }
      return {
        ...(origins !== '*' && { vary: vary === undefined ? 'origin' : `${vary}, origin` }),
        ...(allowed(origin) && readable),
      }
    },
  }
}
