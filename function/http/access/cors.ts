import type { IncomingHttpHeaders } from 'node:http'
import type { Answer } from '../../answer.ts'
import type { RequestHead } from '../head.ts'

/** Lets pages of other origins read answers; the browser enforces it (Fetch, "CORS protocol"). */
export interface Cors {
  /**
   * The answer to a browser's preflight request; undefined for another request, or where the page's
   * origin is not allowed.
   */
  preflight(request: RequestHead): Answer | undefined
  /** What an answer gets. @param vary of the answer before */
  headers(request: IncomingHttpHeaders, vary?: string): Readonly<Record<string, string>>
}

const PREFLIGHT: Answer = {
  status: 204,
  headers: {
    'access-control-allow-methods': 'GET, HEAD, POST',
    // The star covers all headers but this one. (With cookies it would be literal, but cookies are
    // never allowed.)
    'access-control-allow-headers': '*, authorization',
    'access-control-max-age': '7200',
  },
  body: '',
}

/** @param origins whose pages are allowed. Cookies are not: no answer depends on them. */
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
