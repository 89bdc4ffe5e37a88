import type { IncomingHttpHeaders } from 'node:http'
import type { Answer } from '../../answer.ts'
import type { RequestHead } from '../head.ts'

/** Lets pages of other origins read answers. The browser enforces it (Fetch, "CORS protocol"). */
export interface Cors {
  /**
   * Answers a browser's preflight request. Undefined for any other request, or if the page's origin
   * is not allowed.
   */
  preflight(request: RequestHead): Answer | undefined
  /** Headers to add to an answer. @param vary the answer's own Vary header */
  headers(request: IncomingHttpHeaders, vary?: string): Readonly<Record<string, string>>
}

const PREFLIGHT: Answer = {
  status: 204,
  headers: {
    'access-control-allow-methods': 'GET, HEAD, POST',
    // `*` covers every header except Authorization. (It is literal for requests with credentials,
    // but cookies are never allowed.)
    'access-control-allow-headers': '*, authorization',
    'access-control-max-age': '7200',
  },
  body: '',
}

/** @param origins of the allowed pages. Cookies are not allowed: no answer depends on them. */
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
