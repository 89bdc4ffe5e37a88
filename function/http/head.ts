import type { IncomingHttpHeaders } from 'node:http'
import { Refused } from '../answer.ts'
import { show } from '../protocol/json.ts'

/** The head of a request. Node's IncomingMessage implements it. */
export interface RequestHead {
  readonly method?: string | undefined
  /** The request target: a path with or without a query. */
  readonly url?: string | undefined
  readonly httpVersion: string
  readonly headers: IncomingHttpHeaders
  /** Alternating names and values. */
  readonly rawHeaders: readonly string[]
}

export function pathOf(target: string): string {
  const query = target.indexOf('?')
  return query === -1 ? target : target.slice(0, query)
}

/**
 * Converts an absolute-form request target (RFC 9112 section 3.2.2) to a path. Runs before
 * authentication, so it avoids URL, which takes milliseconds for a long host.
 */
export function originForm(target: string): string {
  if (target.startsWith('/')) return target
  const [whole, rest] = ABSOLUTE_FORM.exec(target) ?? []
  if (whole === undefined || rest === undefined) return target
  return rest.startsWith('/') ? rest : `/${rest}`
}

/** Matches the scheme and the authority; captures the rest, up to a fragment. */
const ABSOLUTE_FORM = /^[a-z][a-z\d+.-]*:\/\/[^/?#]+([^#]*)/i

export const CLOSE = { connection: 'close' }

/**
 * Checks the rules of HTTP/1.1 that Node does not check (RFC 9112 sections 3.2 and 6.1, RFC 9110
 * section 10.1.1), and refuses heads that Node accepts but a proxy may read differently.
 * @throws {Refused} 400 or 417
 */
export function checkHead({ httpVersion, headers, rawHeaders }: RequestHead): undefined {
  const coding = headers['transfer-encoding']
  if (coding !== undefined && (httpVersion !== '1.1' || coding.toLowerCase() !== 'chunked'))
    throw new Refused(
      'BAD_HTTP',
      `Transfer-Encoding ${show(coding)} is not supported; allowed: chunked, in HTTP/1.1`,
      CLOSE,
    )
  if (httpVersion === '0.9')
    throw new Refused('BAD_HTTP', 'the request line has no HTTP version', CLOSE)
  if (httpVersion === '1.0') return
  if (httpVersion === '1.1') checkHost(headers, rawHeaders)
  else checkAuthority(headers)
  if (headers.expect === undefined || headers.expect.toLowerCase() === '100-continue') return
  throw new Refused(
    'EXPECTATION_FAILED',
    `Expect ${show(headers.expect)} is not supported; allowed: 100-continue`,
  )
}

function checkHost(headers: IncomingHttpHeaders, rawHeaders: readonly string[]): void {
  if (headers.host === undefined) throw new Refused('BAD_HTTP', 'the Host header is missing')
  if (countHosts(rawHeaders) > 1)
    throw new Refused('BAD_HTTP', 'the request has more than one Host header; send one', CLOSE)
}

/** An HTTP/2 request may name the host twice (RFC 9113 section 8.3.1). */
function checkAuthority({ host, ':authority': authority }: IncomingHttpHeaders): void {
  if (host !== undefined && authority !== undefined && host !== authority)
    throw new Refused(
      'BAD_HTTP',
      `:authority is ${show(authority)}, but Host is ${show(host)}; they must be the same`,
    )
}

function countHosts(rawHeaders: readonly string[]): number {
  let count = 0
  for (let i = 0; i < rawHeaders.length; i += 2)
    if (rawHeaders[i]?.length === 4 && rawHeaders[i]?.toLowerCase() === 'host') count++
  return count
}
