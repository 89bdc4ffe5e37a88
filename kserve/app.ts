import type { IncomingMessage, ServerResponse } from 'node:http'
import express, {
  type ErrorRequestHandler,
  type Request,
  type RequestHandler,
  type Response,
} from 'express'
import { json, Refused } from '../function/answer.ts'
import type { Middleware, Respond } from '../function/http/listener.ts'
import type { Route, RouteLookup } from '../function/http/routes.ts'
import type { Service } from '../function/service.ts'
import { predict } from './v1.ts'

/**
 * The predictor as an Express application: V1's routes, and behind them everything that the
 * function answers.
 *
 * It only finds the route. The listener reads bodies and writes answers, so that limits, errors,
 * compression and the end of the process are the same with and without it.
 */
export function createPredictor(service: Service): Middleware {
  const v2 = (routeOf: RouteLookup, name: string, verb: 'ready' | 'infer') =>
    routeOf(`/v2/models/${encodeURIComponent(name)}/${verb}`)
  const app = express()
  app.disable('x-powered-by')
  app.enable('case sensitive routing')

  // KServe's own clients take it for V1's liveness.
  const alive = (routeOf: RouteLookup): Route => ({
    ...routeOf('/'),
    GET: () => json({ status: 'alive', ...service.dataPlane.server }, 200, { vary: 'accept' }),
  })
  const models: Route = { GET: () => json({ models: [service.model.name] }) }
  const predicting: Route = {
    POST: (request, caller) => predict(request, caller, service.dataPlane),
  }

  /** @throws {Refused} 404, naming the model that is not served here, as V2 does */
  function ofModel(name: string, routeOf: RouteLookup): Route | undefined {
    const [, asked] = name === service.model.name ? [] : (/^(.*):predict$/s.exec(name) ?? [])
    if (asked === undefined) return v2(routeOf, name, 'ready')
    return v2(routeOf, asked, 'infer') && predicting
  }

  app.all(
    '/',
    answer((_request, routeOf) => alive(routeOf)),
  )
  app.all(
    '/v1/models',
    answer(() => models),
  )
  // Not `/:model\:predict`: some clients write the colon as %3A, which the parameter is free of.
  app.all(
    '/v1/models/:model',
    answer(({ params }, routeOf) => ofModel(params.model as string, routeOf)),
  )
  app.use((_request, response) => {
    respondOf(response)()
  })
  const onError: ErrorRequestHandler = (error, _request, response, _next) => {
    respondOf(response)(() => {
      // The router's own refusals, such as a % that encodes nothing, say whose mistake it is.
      throw error.status === 400 ? new Refused('BAD_HTTP', error.message) : error
    })
  }
  app.use(onError)

  return (request: IncomingMessage, response: ServerResponse, respond: Respond) => {
    // Express would read a target that is no path by url.parse, which is deprecated and will throw.
    if (!request.url?.startsWith('/')) return respond()
    ;(response as Response).locals = { respond }
    // The application has no route for a target without a path.
    ;(app as RequestHandler)(request as Request, response as Response, () => respond())
  }
}

const answer =
  (find: (request: Request, routeOf: RouteLookup) => Route | undefined): RequestHandler =>
  (request, response) => {
    respondOf(response)(routeOf => find(request, routeOf))
  }

const respondOf = ({ locals }: Response): Respond => locals.respond
