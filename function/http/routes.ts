import type { IncomingHttpHeaders } from 'node:http'
import { type Answer, type Caller, json, Refused, type Request } from '../answer.ts'
import type { Config } from '../config/config.ts'
import type { Readiness } from '../dataplane.ts'
import { modeOf } from '../events/cloudevent.ts'
import { receiveEvents } from '../events/receive.ts'
import type { Model } from '../inference/model.ts'
import { lazily } from '../lazily.ts'
import { checkServed } from '../served.ts'
import type { Service } from '../service.ts'
import { infer } from './infer.ts'
import type { Operations } from './pages/operation.ts'
import { asksOnlyReady } from './repository.ts'

export type Handler = (request: Request, caller: Caller) => Answer | Promise<Answer>

/** HEAD and OPTIONS follow from GET and POST. */
export interface Route<Answers = Handler> {
  readonly GET?: Answers
  readonly POST?: Answers
  /** Answers GET requests from clients that accept HTML. */
  readonly page?: Answers
  /**
   * Routes of probes and scrapers, which do not keep an unused process alive. Health needs no
   * authentication; a model's readiness does. Metrics may have a separate port.
   */
  readonly kind?: 'health' | 'readiness' | 'metrics'
  /** Whether a POST is an event. If absent, no POST is an event. */
  readonly isEvent?: (headers: IncomingHttpHeaders) => boolean
}

/** Documents and pages, loaded at their first request. */
export interface Pages {
  docs(request: Request): Answer
  openApi(request: Request, caller: Caller): Promise<Answer>
  playground(request: Request, caller: Caller): Promise<Answer>
}

export interface RouteContext {
  readonly service: Service
  readonly pages: () => Promise<Pages>
}

export type TableHandler = (
  context: RouteContext,
  request: Request,
  caller: Caller,
) => Answer | Promise<Answer>

export interface TableRoute extends Route<TableHandler> {
  /**
   * `{model}` and `{version}` are the served model and version, percent-encoded. The part in
   * brackets is optional.
   */
  readonly path: string
  /** The OpenAPI description of rows that pages/operations.ts does not describe. */
  readonly operations?: () => Promise<Operations>
}

const RETRY = { 'retry-after': '1' }

const answerReadiness = (readiness: Readiness): Answer =>
  readiness.ready ? json(readiness) : json(readiness, 503, RETRY)

const live: TableHandler = ({ service: { dataPlane } }) => json(dataPlane.live())
const ready: TableHandler = ({ service: { dataPlane } }) => answerReadiness(dataPlane.ready())

const plainReady: TableHandler = ({ service: { dataPlane } }) => {
  const { ready, error } = dataPlane.ready()
  return ready ? json({ status: 'ready' }) : json({ status: 'not ready', error }, 503, RETRY)
}

export const isEvent = (headers: IncomingHttpHeaders) => modeOf(headers) !== undefined

/**
 * Answers an event with an event, whatever its path, because a subscriber's URI may have any path.
 * A Broker treats a response without `ce-` headers as a failed delivery.
 */
const receive: TableHandler = ({ service }, request, caller) => {
  const mode = modeOf(request.headers)
  return mode === undefined
    ? infer(request, caller, service.dataPlane)
    : receiveEvents(request, mode, caller, service)
}

/** Answers `POST /`, with the transform if there is one. */
const receiveData: TableHandler = (context, request, caller) =>
  context.service.dataPlane.transforms
    ? receiveByTransform(context, request, caller)
    : receive(context, request, caller)

const overHttp = lazily(() => import('./transform.ts'))
const byEvents = lazily(() => import('../events/transform.ts'))

async function receiveByTransform(
  { service }: RouteContext,
  request: Request,
  caller: Caller,
): Promise<Answer> {
  const mode = modeOf(request.headers)
  if (mode !== undefined) {
    const { answerByTransform } = await byEvents()
    return receiveEvents(request, mode, caller, { ...service, answer: answerByTransform(request) })
  }
  const { transform } = await overHttp()
  return transform(request, caller, service.dataPlane)
}

/** All routes. pages/operations.ts compiles only if it describes each route. */
export const ROUTES = [
  {
    path: '/',
    GET: ({ service }) => json(service.dataPlane.server, 200, { vary: 'accept' }),
    page: async ({ pages }, request, caller) => (await pages()).playground(request, caller),
    POST: receiveData,
    isEvent,
  },
  { path: '/v2', GET: ({ service }) => json(service.dataPlane.server) },
  { path: '/v2/health/live', GET: live, kind: 'health' },
  { path: '/v2/health/ready', GET: ready, kind: 'health' },
  {
    path: '/v2/models',
    GET: ({ service: { model } }) => json({ models: [model.name] }),
  },
  {
    // The statistics of all models. This row precedes the model's own paths, because a model may be
    // called "stats".
    path: '/v2/models/stats',
    GET: ({ service }) => json(service.dataPlane.statistics()),
  },
  {
    path: '/v2/repository/index',
    POST: ({ service }, { body }) => json(service.dataPlane.repositoryIndex(asksOnlyReady(body))),
  },
  {
    path: '/v2/models/{model}[/versions/{version}]',
    GET: async ({ service }, _request, caller) =>
      json(await service.dataPlane.modelMetadata(caller)),
  },
  {
    path: '/v2/models/{model}[/versions/{version}]/ready',
    GET: ({ service }) => answerReadiness(service.dataPlane.modelReady()),
    kind: 'readiness',
  },
  {
    path: '/v2/models/{model}[/versions/{version}]/config',
    GET: async ({ service }, _request, caller) =>
      json(await service.dataPlane.configuration(caller)),
  },
  {
    path: '/v2/models/{model}[/versions/{version}]/stats',
    GET: ({ service }) => json(service.dataPlane.statistics()),
  },
  {
    path: '/v2/models/{model}[/versions/{version}]/infer',
    POST: receive,
    isEvent,
  },
  {
    path: '/health',
    GET: ({ service: { model } }) =>
      json({ status: 'ok', model_loaded: model.loaded !== undefined }),
    kind: 'health',
  },
  { path: '/ready', GET: plainReady, kind: 'health' },
  { path: '/health/liveness', GET: live, kind: 'health' },
  { path: '/health/readiness', GET: ready, kind: 'health' },
  {
    path: '/metrics',
    GET: async ({ service: { metrics } }) => ({
      status: 200,
      headers: { 'content-type': metrics.contentType },
      body: await metrics.text(),
    }),
    kind: 'metrics',
  },
  {
    path: '/openapi.json',
    GET: async ({ pages }, request, caller) => (await pages()).openApi(request, caller),
  },
  { path: '/docs', GET: async ({ pages }, request) => (await pages()).docs(request) },
] as const satisfies readonly TableRoute[]

export const rowsFor = ({
  metricsPort,
  playground,
}: Pick<Config, 'metricsPort' | 'playground'>): TableRoute[] =>
  ROUTES.filter(({ path }) => metricsPort === undefined || path !== '/metrics').map(
    ({ page, ...row }: TableRoute) => (playground && page ? { ...row, page } : row),
  )

/** @throws {Refused} 404 naming the model or version that is not served */
export type RouteLookup = (path: string) => Route | undefined

export function createRoutes(rows: readonly TableRoute[], context: RouteContext): RouteLookup {
  const { model } = context.service
  const routes = rows.map(row => ({ path: row.path, route: bind(row, context) }))
  // Paths as clients usually write them. The patterns below match trailing slashes and other
  // escapes.
  const byPath = new Map(
    routes.flatMap(({ path, route }) => pathsOf(path, model).map(path => [path, route] as const)),
  )
  const patterns = routes.map(({ path, route }) => ({ pattern: patternOf(path), route }))
  return path => {
    const route = byPath.get(path)
    if (route !== undefined) return route
    for (const { pattern, route } of patterns) {
      const match = pattern.exec(path)
      if (match === null) continue
      checkPath(match.groups ?? {}, model)
      return route
    }
    return undefined
  }
}

function bind(
  { GET, POST, page, operations: _, ...row }: TableRoute,
  context: RouteContext,
): Route {
  const bound =
    (handler: TableHandler): Handler =>
    (request, caller) =>
      handler(context, request, caller)
  return {
    ...row,
    ...(GET && { GET: bound(GET) }),
    ...(POST && { POST: bound(POST) }),
    ...(page && { page: bound(page) }),
  }
}

type Named = Pick<Model, 'name' | 'version'>

/** The path without the optional part comes first. */
export function pathsOf(path: string, { name, version }: Named): string[] {
  const short = path.replace(OPTIONAL_PART, '')
  const long = path.replace(OPTIONAL_PART, '$1')
  const templates = short === long || version === undefined ? [short] : [short, long]
  return templates.map(template =>
    template
      .replace('{model}', encodeURIComponent(name))
      .replace('{version}', encodeURIComponent(version ?? '')),
  )
}

const OPTIONAL_PART = /\[(.*)\]/

/** Matches a row's paths for any model, in any escaping, with or without a trailing slash. */
function patternOf(path: string): RegExp {
  const source = path
    .replaceAll('.', '\\.')
    // Some clients escape the colon.
    .replaceAll(':', '(?::|%3A|%3a)')
    .replace(OPTIONAL_PART, '(?:$1)?')
    .replaceAll(/\{(\w+)\}/g, '(?<$1>[^/]+)')
  return new RegExp(path === '/' ? '^/$' : `^${source}/?$`)
}

/** Whether events can be sent to a path, whatever model the path names. */
export function eventPathsOf(rows: readonly TableRoute[]): (path: string) => boolean {
  const patterns = rows.flatMap(({ path, isEvent }) => (isEvent ? [patternOf(path)] : []))
  return path => patterns.some(pattern => pattern.test(path))
}

/** @throws {Refused} 404 for another model or version, 400 if the percent-encoding is invalid */
function checkPath({ model, version }: Readonly<Record<string, string>>, served: Named): void {
  if (model !== undefined) checkServed({ model: decodeSegment(model) }, served)
  if (version !== undefined) checkServed({ version: decodeSegment(version) }, served)
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment)
  } catch {
    throw new Refused(
      'BAD_HTTP',
      'the path has a % that is not followed by two hexadecimal digits of UTF-8',
    )
  }
}

/** Hides the error for an unknown model from unauthenticated callers. */
export function routeOrNone(findRoute: () => Route | undefined): Route | undefined {
  try {
    return findRoute()
  } catch {
    return undefined
  }
}
