import { createHash } from 'node:crypto'
import type { Answer, Caller, Request } from '../../answer.ts'
import type { Config } from '../../config/config.ts'
import type { Service } from '../../service.ts'
import type { Pages, TableRoute } from '../routes.ts'
import { DOCS_HTML, PLAYGROUND_HTML } from './html.ts'
import { type DescribedConfig, type DescribedRow, openApi } from './openapi.ts'
import { createPlayground } from './playground.ts'

export function createPages(
  { model }: Service,
  config: DescribedConfig & Pick<Config, 'tls'>,
  rows: readonly TableRoute[],
): Pages {
  let description: Document | undefined
  let playground: ReturnType<typeof createPlayground> | undefined
  let latest: { readonly address: string; readonly document: Document } | undefined
  const served = (html: string) =>
    config.metricsPort === undefined ? html : html.replace(METRICS_LINK, '')
  const docs = documentOf(served(DOCS_HTML))
  return {
    docs: request => page(request, { 'content-security-policy': DOCS_POLICY }, docs),
    async openApi(request, caller) {
      const described = await describedModel(model, caller)
      description ??= documentOf(
        JSON.stringify(openApi(model, described, config, await describeRows(rows))),
      )
      return unlessFresh(request, JSON_HEADERS, description)
    },
    async playground(request, caller) {
      playground ??= createPlayground(
        served(PLAYGROUND_HTML),
        model,
        await describedModel(model, caller),
      )
      // For other Accept headers, the response is the server's metadata.
      const headers = {
        'content-security-policy': PLAYGROUND_POLICY,
        vary: 'accept, accept-encoding',
      }
      const address = addressOf(request, config)
      if (latest?.address !== address)
        latest = { address, document: documentOf(playground(address)) }
      return page(request, headers, latest.document)
    },
  }
}

/** Matches the link to /metrics in both pages, with its list item if it has one. */
const METRICS_LINK = /<li><a href="\/metrics">.*?<\/li>| ?<a href="\/metrics">.*?<\/a>/

async function describedModel(model: Service['model'], caller: Caller) {
  const { signature, example, features } = await model.whenLoaded(caller)
  return { signature, example, features, transform: model.transformer?.described }
}

const describeRows = (rows: readonly TableRoute[]): Promise<DescribedRow[]> =>
  Promise.all(rows.map(async row => ({ ...row, described: await row.operations?.() })))

const COMMON_HEADERS = {
  'cache-control': 'no-cache',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  vary: 'accept-encoding',
}

const JSON_HEADERS = { ...COMMON_HEADERS, 'content-type': 'application/json; charset=utf-8' }
const HTML_HEADERS = { ...COMMON_HEADERS, 'content-type': 'text/html; charset=utf-8' }

/** A page, encoded and hashed once: clients may request it thousands of times per second. */
interface Document {
  readonly bytes: Uint8Array
  /** The entity tag, in quotation marks. */
  readonly tag: string
}

function documentOf(text: string): Document {
  const hash = createHash('sha256').update(text).digest('base64url').slice(0, 27)
  return { bytes: Buffer.from(text), tag: `"${hash}"` }
}

const page = (request: Request, headers: Answer['headers'], html: Document): Answer =>
  unlessFresh(request, { ...HTML_HEADERS, ...headers }, html)

/** Returns the response, or 304 if the client already has it (RFC 9110 section 13.1.2). */
function unlessFresh(
  request: Request,
  headers: Answer['headers'],
  { bytes, tag }: Document,
): Answer {
  // Weak, because the compressed body has the same tag. The client's tags are also compared as weak
  // tags.
  const etag = `W/${tag}`
  const known = request.headers['if-none-match']?.split(',') ?? []
  return known.some(other => [tag, '*'].includes(other.trim().replace(/^W\//, '')))
    ? { status: 304, headers: { ...headers, etag }, body: '' }
    : { status: 200, headers: { ...headers, etag }, body: [bytes] }
}

/**
 * The URL at which the client reached this server, according to the headers of client and proxy.
 */
function addressOf({ headers }: Request, { tls }: Pick<Config, 'tls'>): string {
  const isSecure = tls !== undefined || headers['x-forwarded-proto'] === 'https'
  const scheme = isSecure ? 'https' : 'http'
  return `${scheme}://${headers.host ?? 'localhost'}`
}

/**
 * Allows the page's own inline style and script, and requests to its own server.
 * @param html the page before the model's names are inserted
 */
function contentSecurityPolicy(html: string): string {
  const sources = (inline: RegExp) =>
    Array.from(html.matchAll(inline), ([, text = '']) => hashSource(text)).join(' ')
  return [
    "default-src 'none'",
    `script-src ${sources(/<script type="module">([\s\S]*?)<\/script>/g)}`,
    `style-src ${sources(/<style>([\s\S]*?)<\/style>/g)}`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
    "require-trusted-types-for 'script'",
  ].join('; ')
}

const hashSource = (text: string) =>
  `'sha256-${createHash('sha256').update(text).digest('base64')}'`

const DOCS_POLICY = contentSecurityPolicy(DOCS_HTML)
const PLAYGROUND_POLICY = contentSecurityPolicy(PLAYGROUND_HTML)
