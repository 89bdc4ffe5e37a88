import type { IncomingHttpHeaders } from 'node:http'
import { type Answer, type Caller, json, Refused, type Request } from '../answer.ts'
import type { Readiness } from '../dataplane.ts'
import { modeOf } from '../events/cloudevent.ts'
import { receiveEvents } from '../events/receive.ts'
import { show } from '../protocol/json.ts'
import type { Service } from '../service.ts'
import { infer } from './infer.ts'

export type Handler = (request: Request, caller: Caller) => Answer | Promise<Answer>

/** A path's handlers by method; HEAD and OPTIONS follow from them. */
export interface Route {
  readonly GET?: Handler
  readonly POST?: Handler
  /** A page, for which the Express application answers GET instead; on `/` only to who accepts HTML. */
  readonly page?: 'always' | 'html'
  /**
   * What only watches, and so keeps no process awake: health, which is told to everybody; the model's readiness, which is not; and
   * metrics, maybe on a port of their own.
   */
  readonly kind?: 'health' | 'readiness' | 'metrics'
  /** Whether a POST is an event; where it is left out, none is. */
  readonly isEvent?: (headers: IncomingHttpHeaders) => boolean
}

/**
 * All routes, in one place.
 * @returns the route of a path, undefined where there is none
 * @throws {Refused} 404, naming the model or version that is not served here
 */
export function createRoutes(service: Service): (path: string) => Route | undefined {
  const { model, dataPlane, metrics } = service

  const server = () => json(dataPlane.server)
  const live = () => json(dataPlane.live())
  const ready = () => answerReadiness(dataPlane.ready())
  const plainHealth = () => json({ status: 'ok', model_loaded: model.loaded !== undefined })
  const plainReady = () => {
    const { ready, error } = dataPlane.ready()
    return ready ? json({ status: 'ready' }) : json({ status: 'not ready', error }, 503, RETRY)
  }
  const prometheus = async (): Promise<Answer> => ({
    status: 200,
    headers: { 'content-type': metrics.contentType },
    body: await metrics.text(),
  })
  const inferHandler: Handler = (request, caller) => infer(request, caller, dataPlane)
  const root: Handler = (request, caller) => {
    const mode = modeOf(request.headers)
    return mode === undefined
      ? infer(request, caller, dataPlane)
      : receiveEvents(request, mode, caller, service)
  }
  const modelReady = () => answerReadiness(dataPlane.modelReady())
  const described: Handler = async (_request, caller) => json(await dataPlane.modelMetadata(caller))

  const routes = new Map<string, Route>([
    [
      '/',
      {
        GET: () => json(dataPlane.server, 200, { vary: 'accept' }),
        POST: root,
        page: 'html',
        isEvent: headers => modeOf(headers) !== undefined,
      },
    ],
    ['/v2', { GET: server }],
    ['/v2/health/live', { GET: live, kind: 'health' }],
    ['/v2/health/ready', { GET: ready, kind: 'health' }],
    ['/health', { GET: plainHealth, kind: 'health' }],
    ['/ready', { GET: plainReady, kind: 'health' }],
    ['/health/liveness', { GET: live, kind: 'health' }],
    ['/health/readiness', { GET: ready, kind: 'health' }],
    ['/metrics', { GET: prometheus, kind: 'metrics' }],
    ['/openapi.json', { GET: server, page: 'always' }],
    ['/docs', { GET: server, page: 'always' }],
  ])
  const modelRoutes: Readonly<Record<string, Route>> = {
    '': { GET: described },
    ready: { GET: modelReady, kind: 'readiness' },
    infer: { POST: inferHandler },
  }

  // The paths of this model as clients write them; the pattern below is for those with a trailing slash or other escapes.
  const ours = `/v2/models/${encodeURIComponent(model.name)}`
  const bases =
    model.version === undefined
      ? [ours]
      : [ours, `${ours}/versions/${encodeURIComponent(model.version)}`]
  for (const base of bases) {
    for (const [verb, route] of Object.entries(modelRoutes))
      routes.set(verb === '' ? base : `${base}/${verb}`, route)
  }

  return path => {
    const route = routes.get(path) ?? routes.get(path.replace(/(?<=[^/])\/$/, ''))
    if (route !== undefined) return route
    const [, name, version, verb = ''] = MODEL_PATH.exec(path) ?? []
    if (name === undefined) return undefined
    checkServed('model', decodeSegment(name), model.name)
    if (version !== undefined)
      checkServed(`version of model "${model.name}"`, decodeSegment(version), model.version)
    return modelRoutes[verb]
  }
}

const MODEL_PATH = /^\/v2\/models\/([^/]+)(?:\/versions\/([^/]+))?(?:\/(ready|infer))?\/?$/

const answerReadiness = (readiness: Readiness): Answer =>
  readiness.ready ? json(readiness) : json(readiness, 503, RETRY)

const RETRY = { 'retry-after': '1' }

function checkServed(what: string, asked: string, served: string | undefined): void {
  if (asked === served) return
  throw new Refused(
    'NOT_FOUND',
    `${what} ${show(asked)} is unknown; ${served === undefined ? 'it has no versions' : `this server has "${served}"`}`,
  )
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new Refused('BAD_HTTP', 'the path has a % that no two hexadecimal digits of UTF-8 follow')
  }
}
