import { type Answer, type Caller, errorAnswer, Refused, type Request } from '../answer.ts'
import type { Config } from '../config/config.ts'
import { countRefusal } from '../errors.ts'
import { lazily } from '../lazily.ts'
import { whyNoPath } from '../not-served.ts'
import type { Service } from '../service.ts'
import { type Log, traceOf } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Authenticate } from './access/authentication.ts'
import type { Cors } from './access/cors.ts'
import type { Handshake } from './access/webhook.ts'
import { CLOSE, checkHead, pathOf, type RequestHead } from './head.ts'
import {
  createRoutes,
  eventPathsOf,
  type Route,
  type RouteLookup,
  rowsFor,
  type TableRoute,
} from './routes.ts'

/** Only the route's handler reads the body. */
export interface RequestBody {
  /**
   * @throws {Refused|BadRequest|Overloaded} if the body is refused
   * @throws {HungUp} if the client has hung up
   */
  read(): Promise<Uint8Array>
  /**
   * Gives the body's memory to the response.
   * @throws {Overloaded} if there is no room for the response
   */
  becomeAnswer(answer: Answer): void
  release(): void
}

/** The client closed the connection before its request was complete, so no response is sent. */
export class HungUp extends Error {
  readonly code = 'HUNG_UP'
}

export interface ResponderOptions {
  readonly routeOf: RouteLookup
  readonly authenticate: Authenticate | undefined
  readonly cors: Cors | undefined
  readonly handshake: Handshake | undefined
  readonly metrics: Metrics
  readonly log: Log
  /**
   * Whether to close a probe's connection after the response: repeated probes on one connection
   * would keep an unused process alive.
   */
  readonly closeProbes: boolean
}

interface StepContext {
  readonly head: RequestHead
  readonly path: string
  readonly caller: Caller
  readonly body: RequestBody
  /** @throws {Refused} if the path names a model or version that is not served */
  readonly findRoute: () => Route | undefined
  /** Set by the step that finds the route. */
  route: Route | undefined
}

/** @returns the response, or undefined to continue with the next step */
type Step = (
  context: StepContext,
  options: ResponderOptions,
) => Answer | undefined | Promise<Answer | undefined>

const STEPS: readonly Step[] = [
  ({ head }) => checkHead(head),
  answerPreflight,
  answerHandshake,
  checkCaller,
  requireRoute,
  answerOptions,
  callHandler,
]

/** Answers requests without a socket. Only the head depends on the HTTP version. */
export class Responder {
  /**
   * When a request was last answered, on performance.now()'s clock. Probes and scrapes do not
   * count.
   */
  lastUsed = performance.now()
  readonly #options: ResponderOptions

  constructor(options: ResponderOptions) {
    this.#options = options
  }

  get authenticate(): Authenticate | undefined {
    return this.#options.authenticate
  }

  /** Undefined if the client has hung up. */
  async respond(head: RequestHead, caller: Caller, body: RequestBody): Promise<Answer | undefined> {
    const { routeOf } = this.#options
    const path = pathOf(head.url ?? '')
    const context: StepContext = {
      head,
      path,
      caller,
      body,
      findRoute: () => routeFor(path, head, routeOf),
      route: undefined,
    }
    try {
      for (const step of STEPS) {
        const result = step(context, this.#options)
        const answer = result instanceof Promise ? await result : result
        if (answer !== undefined) return this.#finish(context, answer)
      }
      throw new Error('no step answered the request')
    } catch (error) {
      body.release()
      if ((error as Partial<HungUp>).code === 'HUNG_UP') return undefined
      return this.#finish(context, this.refuse(error, head, caller))
    } finally {
      if (context.route?.kind === undefined) this.lastUsed = performance.now()
    }
  }

  /** Creates the response to an error. Counts the error, and logs an unexpected one. */
  refuse(error: unknown, { headers }: RequestHead, caller: Caller): Answer {
    const { metrics, log } = this.#options
    const meaning = countRefusal(error, metrics)
    if (meaning === undefined)
      log.error({ err: error, ...traceOf(headers, caller) }, 'request failed unexpectedly')
    return errorAnswer(error)
  }

  #finish({ head, route }: StepContext, answer: Answer): Answer {
    const { cors, closeProbes } = this.#options
    const isProbe = closeProbes && route?.kind !== undefined
    if (cors === undefined && !isProbe) return answer
    const { headers } = answer
    return {
      ...answer,
      headers: {
        ...headers,
        ...cors?.headers(head.headers, headers.vary),
        ...(isProbe ? CLOSE : undefined),
      },
    }
  }
}

/** The route of `OPTIONS *`, which is a request to the server, not to a path. */
const ANYTHING: Route = {
  GET: () => ({ status: 200, headers: {}, body: '' }),
  POST: () => ({ status: 200, headers: {}, body: '' }),
}

const NO_BODY = new Uint8Array(0)

function routeFor(path: string, { method }: RequestHead, routeOf: RouteLookup): Route | undefined {
  if (path === '*' && method === 'OPTIONS') return ANYTHING
  return routeOf(path)
}

function answerPreflight({ head }: StepContext, { cors }: ResponderOptions): Answer | undefined {
  return cors?.preflight(head)
}

/**
 * Runs before authentication: the sender asks for permission without a token. Each event needs a
 * token.
 */
function answerHandshake(
  { head, path }: StepContext,
  { handshake }: ResponderOptions,
): Answer | undefined {
  return handshake?.(head, path)
}

/** Not async, so that requests without authentication do not wait. */
function checkCaller(
  { head, findRoute }: StepContext,
  { authenticate }: ResponderOptions,
): Promise<undefined> | undefined {
  return authenticate && refuseUnlessAllowed(authenticate, head, findRoute)
}

async function refuseUnlessAllowed(
  authenticate: Authenticate,
  head: RequestHead,
  findRoute: StepContext['findRoute'],
): Promise<undefined> {
  const refusal = await authenticate(head, findRoute)
  if (refusal !== undefined) throw new Refused(refusal.code, refusal.message, refusal.headers)
}

/** @throws {Refused} 404 if there is no route */
function requireRoute(context: StepContext): undefined {
  const { path } = context
  context.route = context.findRoute()
  if (context.route === undefined)
    throw new Refused(
      'NOT_FOUND',
      `not found: ${shorten(path)} (${whyNoPath(path) ?? 'see /docs for all routes'})`,
    )
}

function answerOptions({ head, route }: StepContext): Answer | undefined {
  if (head.method !== 'OPTIONS') return undefined
  return { status: 204, headers: { allow: allow(route) }, body: '' }
}

/** @throws {Refused} 405 if the route does not allow the method */
function callHandler(context: StepContext): Answer | Promise<Answer> {
  const { head, path, caller, route } = context
  const method = head.method === 'HEAD' ? 'GET' : head.method
  if (method === 'GET' && route?.GET !== undefined) {
    const handler = route.page !== undefined && acceptsHtml(head) ? route.page : route.GET
    return handler({ method, path, headers: head.headers, body: NO_BODY }, caller)
  }
  if (method === 'POST' && route?.POST !== undefined) return callWithBody(route.POST, context)
  throw new Refused(
    'METHOD_NOT_ALLOWED',
    `${head.method} is not allowed on ${shorten(path)}; allowed: ${allow(route)}`,
    { allow: allow(route) },
  )
}

async function callWithBody(
  handler: NonNullable<Route['POST']>,
  { head: { headers }, path, caller, body }: StepContext,
): Promise<Answer> {
  if (caller.trace !== undefined) caller.trace.isRouted = true
  const request: Request = { method: 'POST', path, headers, body: await body.read() }
  const answer = await handler(request, caller)
  body.becomeAnswer(answer)
  return answer
}

const acceptsHtml = ({ headers }: RequestHead) => /\btext\/html\b/.test(headers.accept ?? '')

const allow = (route: Route | undefined) =>
  [route?.GET && 'GET, HEAD', route?.POST && 'POST', 'OPTIONS'].filter(Boolean).join(', ')

const shorten = (path: string) => (path.length > 100 ? `${path.slice(0, 97)}...` : path)

/**
 * Creates a service's responder. Loads authentication, CORS and pages only if they are used, to
 * keep startup and other requests fast.
 * @throws {Error} if the configured authentication cannot be used
 */
export async function createResponder(
  service: Service,
  config: Config,
  rows: readonly TableRoute[] = rowsFor(config),
): Promise<Responder> {
  const { auth, corsOrigins, webhookOrigins, idleExitMs } = config
  const { log, metrics } = service
  const pages = lazily(async () =>
    (await import('./pages/pages.ts')).createPages(service, config, rows),
  )
  return new Responder({
    routeOf: createRoutes(rows, { service, pages }),
    authenticate:
      auth && (await (await import('./access/authentication.ts')).createAuthentication(auth, log)),
    cors: corsOrigins && (await import('./access/cors.ts')).createCors(corsOrigins),
    handshake:
      webhookOrigins &&
      (await import('./access/webhook.ts')).createHandshake(webhookOrigins, eventPathsOf(rows)),
    closeProbes: idleExitMs > 0,
    metrics,
    log,
  })
}
