import type { IncomingMessage, ServerResponse } from 'node:http'
import express, { type Request, type RequestHandler, type Response } from 'express'
import type { Middleware, Respond } from '../function/http/listener.ts'

/**
 * The predictor as an Express application. HTTP/1.1 requests pass through it to the listener's
 * routes; HTTP/2 requests are routed directly, because it cannot serve them.
 *
 * It answers nothing itself. The listener reads bodies and writes answers, so that limits, errors,
 * compression and shutdown are the same with and without it.
 */
export function createApp(): Middleware {
  const app = express()
  app.disable('x-powered-by')
  app.use((_request, response) => {
    ;(response.locals.respond as Respond)()
  })
  return (request: IncomingMessage, response: ServerResponse, respond: Respond) => {
    // For a target that is not a path, Express would use url.parse, which is deprecated.
    if (!request.url?.startsWith('/')) return respond()
    ;(response as Response).locals = { respond }
    // The application has no route for a target without a path.
    ;(app as RequestHandler)(request as Request, response as Response, () => respond())
  }
}
