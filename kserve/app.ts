import type { IncomingMessage, ServerResponse } from 'node:http'
import express, { type Request, type RequestHandler, type Response } from 'express'
import type { Middleware, Respond } from '../function/http/listener.ts'

/**
 * The predictor's Express application passes HTTP/1.1 requests to the listener's routes. HTTP/2
 * requests bypass Express, which does not support HTTP/2. Because the listener reads bodies and
 * writes responses, limits, errors, compression and shutdown do not depend on Express.
 */
export function createApp(): Middleware {
  const app = express()
  app.disable('x-powered-by')
  app.use((_request, response) => {
    ;(response.locals.respond as Respond)()
  })
  return (request: IncomingMessage, response: ServerResponse, respond: Respond) => {
    // For other targets, Express would call url.parse, which is deprecated: Node would print a warning
    // between the lines of the log.
    if (!PLAIN_PATH.test(request.url ?? '')) return respond()
    ;(response as Response).locals = { respond }
    // Express calls this if it finds no route.
    ;(app as RequestHandler)(request as Request, response as Response, () => respond())
  }
}

/** Matches the targets that Express parses without url.parse. */
const PLAIN_PATH = /^\/[^#\s]*$/
