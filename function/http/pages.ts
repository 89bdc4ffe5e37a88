import { createHash } from 'node:crypto'
import type { IncomingMessage, ServerResponse } from 'node:http'
import express, { type ErrorRequestHandler, type Request, type Response } from 'express'
import type { Config } from '../config/config.ts'
import type { EventService } from '../events/receive.ts'
import { errorAnswer, Refused, statusOf } from '../handler.ts'
import type { Caller } from '../inference/batcher.ts'
import type { LoadedModel } from '../inference/model.ts'
import { traceOf } from '../telemetry/log.ts'
import { compress } from './body.ts'
import { readPage } from './inline.ts'
import { openApi } from './openapi.ts'
import { createPlayground } from './playground.ts'

/** Answers GET and HEAD of a page. */
export type Pages = (request: IncomingMessage, response: ServerResponse, caller: Caller) => void

const DOCS = readPage('docs.html')
const PLAYGROUND = readPage('playground.html')

/** The Express application for documents and pages; loaded when the first of them is asked for. */
export function createPages(
  { model, log }: EventService,
  config: Pick<Config, 'playground' | 'auth'>,
): Pages {
  const app = express()
  app.disable('x-powered-by')
  let description: string | undefined
  let playground: ReturnType<typeof createPlayground> | undefined

  app.use(({ headers }, response, next) => {
    response.set({
      'X-Content-Type-Options': 'nosniff',
      'Cache-Control': 'no-cache',
      'Referrer-Policy': 'no-referrer',
      'Cross-Origin-Opener-Policy': 'same-origin',
      'Cross-Origin-Resource-Policy': 'same-origin',
    })
    if (headers['x-request-id'] !== undefined) response.set('X-Request-Id', headers['x-request-id'])
    next()
  })
  app.get('/docs', (request, response) =>
    answer(request, response.set('Content-Security-Policy', DOCS_POLICY), HTML, DOCS),
  )
  app.get('/openapi.json', async (request, response) => {
    description ??= JSON.stringify(openApi(model, await loadedFor(response), config))
    await answer(request, response, JSON_TYPE, description)
  })
  app.get('/', async (request, response) => {
    playground ??= createPlayground(PLAYGROUND, model, await loadedFor(response))
    // Another Accept is answered by the server's metadata.
    await answer(
      request,
      response.set('Content-Security-Policy', PLAYGROUND_POLICY).vary('Accept'),
      HTML,
      playground(addressOf(request)),
    )
  })
  app.use(({ path }) => {
    throw new Refused(404, `there is no page at ${path}`)
  })
  const onError: ErrorRequestHandler = (error, request, response, _next) => {
    if (statusOf(error) === undefined)
      log.error(
        { err: error, ...traceOf(request.headers, response.locals.caller) },
        'a page failed unexpectedly',
      )
    const { status, headers, body } = errorAnswer(error)
    response
      .status(status)
      .set(headers)
      .send(Buffer.from(body as string))
  }
  app.use(onError)

  const loadedFor = ({ locals }: Response): Promise<LoadedModel> => model.whenLoaded(locals.caller)

  return (request, response, caller) => {
    ;(response as Response).locals = { caller }
    app(request, response)
  }
}

const HTML = 'text/html; charset=utf-8'
const JSON_TYPE = 'application/json'

async function answer(
  request: Request,
  response: Response,
  type: string,
  body: string,
): Promise<void> {
  const compressed = await compress(Buffer.from(body), request.headers['accept-encoding'])
  if (compressed !== undefined) response.set('Content-Encoding', compressed.encoding)
  response
    .vary('Accept-Encoding')
    .type(type)
    .send(compressed?.body ?? Buffer.from(body))
}

/** Where the client found this server, as far as it and the proxy before us say. */
function addressOf({ headers }: Request): string {
  const scheme = headers['x-forwarded-proto'] === 'https' ? 'https' : 'http'
  return `${scheme}://${headers.host ?? 'localhost'}`
}

/** Nothing but what stands in the file itself, and requests to where it came from. @param page before anything is put into it */
function contentSecurityPolicy(page: string): string {
  const sources = (inline: RegExp) =>
    Array.from(page.matchAll(inline), ([, text = '']) => hashSource(text)).join(' ')
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

const DOCS_POLICY = contentSecurityPolicy(DOCS)
const PLAYGROUND_POLICY = contentSecurityPolicy(PLAYGROUND)
