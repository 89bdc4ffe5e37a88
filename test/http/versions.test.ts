import assert from 'node:assert/strict'
import { after, suite, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { type Server, startServer } from '../server.ts'
import { connect, IRIS, irisBody, request } from './client.ts'
import { ask, openSession } from './http2-client.ts'

/*
 * REST, events and pages return the same responses over HTTP/1.1 and HTTP/2. The other files test
 * over HTTP/1.1.
 */

interface Rule {
  readonly rule: string
  /** GET by default. */
  readonly method?: string
  readonly path?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Uint8Array
  readonly status: number
  readonly isLoading?: true
  readonly env?: Readonly<Record<string, string>>
  readonly varies?: true
}

const MODEL = '/v2/models/iris-classifier'
const JSON_TYPE = { 'content-type': 'application/json' }
const EVENT = {
  'ce-id': '1',
  'ce-source': '/test',
  'ce-type': 'test.request',
  'ce-specversion': '1.0',
  ...JSON_TYPE,
}
const STRUCTURED = JSON.stringify({
  id: '1',
  source: '/test',
  type: 'test.request',
  specversion: '1.0',
  data: JSON.parse(irisBody()),
})
const BINARY = (() => {
  const json = JSON.stringify({
    inputs: [
      {
        name: 'input',
        shape: [1, 4],
        datatype: 'FP32',
        parameters: { binary_data_size: 16 },
      },
    ],
    parameters: { binary_data_output: true },
  })
  const data = Buffer.from(new Float32Array([5.1, 3.5, 1.4, 0.2]).buffer)
  return { length: String(json.length), body: Buffer.concat([Buffer.from(json), data]) }
})()

const SECRET = 'a-secret-of-the-tests-1'
const AUTH = { env: { AUTH_SECRET: SECRET } }
const CORS = { env: { CORS_ORIGINS: 'https://page.test' } }
const SMALL = { env: { MAX_BODY_BYTES: '200' } }
const ORIGIN = { origin: 'https://page.test' }

const ROUTES: readonly Rule[] = [
  { rule: 'server metadata', path: '/v2', status: 200 },
  { rule: 'liveness', path: '/v2/health/live', status: 200 },
  { rule: 'readiness', path: '/v2/health/ready', status: 200 },
  { rule: 'model metadata', path: MODEL, status: 200 },
  { rule: 'a version’s metadata', path: `${MODEL}/versions/v1.0.0`, status: 200 },
  { rule: 'model readiness', path: `${MODEL}/ready`, status: 200 },
  { rule: 'a percent-encoded name', path: '/v2/models/iris%2Dclassifier', status: 200 },
  { rule: 'a trailing slash and a query', path: `${MODEL}/?a=b`, status: 200 },
  { rule: 'Knative’s probes', path: '/health/readiness', status: 200 },
  { rule: 'metrics', path: '/metrics', status: 200, varies: true },
  { rule: 'OpenAPI', path: '/openapi.json', headers: { host: 'api.test' }, status: 200 },
  { rule: 'the documentation page', path: '/docs', status: 200 },
  {
    rule: 'the page for browsers',
    path: '/',
    headers: { accept: 'text/html', host: 'page.test' },
    status: 200,
  },
  { rule: 'the root for other clients', path: '/', status: 200 },
  { rule: 'HEAD', method: 'HEAD', path: '/v2', status: 200 },
  { rule: 'HEAD of an unknown path', method: 'HEAD', path: '/nowhere', status: 404 },
  { rule: 'OPTIONS of a route', method: 'OPTIONS', path: IRIS, status: 204 },
  { rule: 'OPTIONS of the server', method: 'OPTIONS', path: '*', status: 204 },
]

const INFERENCE: readonly Rule[] = [
  { rule: 'JSON', body: irisBody('one'), status: 200 },
  {
    rule: 'binary tensor data',
    headers: { 'inference-header-content-length': BINARY.length },
    body: BINARY.body,
    status: 200,
  },
  {
    rule: 'a compressed body',
    headers: { 'content-encoding': 'gzip' },
    body: gzipSync(irisBody()),
    status: 200,
  },
  {
    rule: 'a compressed response',
    method: 'GET',
    path: '/openapi.json',
    headers: { 'accept-encoding': 'gzip', host: 'api.test' },
    status: 200,
  },
  {
    rule: 'a body that is announced with Expect',
    headers: { expect: '100-continue' },
    body: irisBody(),
    status: 200,
  },
  {
    rule: 'a request id',
    headers: { 'x-request-id': 'id-1' },
    body: irisBody(),
    status: 200,
  },
  {
    rule: 'a request id in Latin-1',
    headers: { 'x-request-id': 'n\u00f6' },
    body: irisBody(),
    status: 200,
  },
  { rule: 'a request at the root', path: '/', body: irisBody(), status: 200 },
  { rule: 'an event in binary mode', path: '/', headers: EVENT, body: irisBody(), status: 200 },
  {
    rule: 'an event in structured mode',
    path: '/',
    headers: { 'content-type': 'application/cloudevents+json' },
    body: STRUCTURED,
    status: 200,
  },
  {
    rule: 'events in batched mode',
    path: '/',
    headers: { 'content-type': 'application/cloudevents-batch+json' },
    body: `[${STRUCTURED}]`,
    status: 200,
  },
]

const REFUSALS: readonly Rule[] = [
  { rule: 'a body that is not JSON', body: '{', status: 400 },
  { rule: 'no body', body: '', status: 400 },
  { rule: 'invalid percent-encoding', method: 'GET', path: '/v2/models/%zz', status: 400 },
  { rule: 'another model', path: '/v2/models/other/infer', body: irisBody(), status: 404 },
  { rule: 'an unknown path', path: '/nowhere', body: irisBody(), status: 404 },
  { rule: 'a method that the route does not allow', method: 'DELETE', status: 405 },
  { rule: 'a body for a route without POST', path: '/v2', body: 'x'.repeat(1000), status: 405 },
  {
    rule: 'a declared body that is too large',
    body: irisBody('x'.repeat(200)),
    ...SMALL,
    status: 413,
  },
  {
    rule: 'a body that is too large after decompression',
    headers: { 'content-encoding': 'gzip' },
    body: gzipSync(irisBody('x'.repeat(5_000))),
    ...SMALL,
    status: 413,
  },
  { rule: 'another media type', headers: { 'content-type': 'text/plain' }, body: 'x', status: 415 },
  { rule: 'another encoding', headers: { 'content-encoding': 'br' }, body: 'x', status: 415 },
  { rule: 'another expectation', headers: { expect: 'more' }, body: irisBody(), status: 417 },
  {
    rule: 'an invalid event',
    path: '/',
    headers: { 'ce-id': '1' },
    body: irisBody(),
    status: 400,
  },
  {
    rule: 'a model that is not ready',
    method: 'GET',
    path: '/v2/health/ready',
    isLoading: true,
    status: 503,
  },
  {
    rule: 'a deadline that passes',
    env: { REQUEST_TIMEOUT_MS: '1000' },
    isLoading: true,
    body: irisBody(),
    status: 504,
  },
  { rule: 'no token', ...AUTH, body: irisBody(), status: 401 },
  {
    rule: 'a wrong token',
    ...AUTH,
    headers: { authorization: `Bearer ${SECRET}2` },
    body: irisBody(),
    status: 401,
  },
  {
    rule: 'the correct token',
    ...AUTH,
    headers: { authorization: `Bearer ${SECRET}` },
    body: irisBody(),
    status: 200,
  },
  { rule: 'health without a token', ...AUTH, path: '/health', status: 200 },
  {
    rule: 'a browser’s preflight request',
    ...CORS,
    method: 'OPTIONS',
    headers: { ...ORIGIN, 'access-control-request-method': 'POST' },
    status: 204,
  },
  {
    rule: 'a request from a page with another origin',
    ...CORS,
    headers: ORIGIN,
    body: irisBody(),
    status: 200,
  },
]

/** Rules for routes that only KServe's predictor has. */
const V1: readonly Rule[] = [
  { rule: 'V1’s models', path: '/v1/models', status: 200 },
  { rule: 'V1’s readiness', path: '/v1/models/iris-classifier', status: 200 },
  {
    rule: 'V1’s prediction',
    path: '/v1/models/iris-classifier:predict',
    body: JSON.stringify({ instances: [[5.1, 3.5, 1.4, 0.2]] }),
    status: 200,
  },
  {
    rule: 'V1’s prediction with the colon escaped',
    path: '/v1/models/iris-classifier%3Apredict',
    body: JSON.stringify({ instances: [[5.1, 3.5, 1.4, 0.2]] }),
    status: 200,
  },
  { rule: 'another model in V1', path: '/v1/models/other:predict', body: '{}', status: 404 },
  { rule: 'GET of V1’s prediction', path: '/v1/models/iris-classifier:predict', status: 405 },
]

const RULES = [
  ...ROUTES,
  ...INFERENCE,
  ...REFUSALS,
  ...(process.env.ON_PREDICTOR === undefined ? [] : V1),
]

/** Not compared: headers about the connection, which only one of the versions has, and the time. */
const OF_CONNECTION = new Set(['connection', 'keep-alive', 'transfer-encoding', 'date', ':status'])

interface Comparable {
  readonly status: number
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
}

const servers = new Map<string, Promise<Server>>()
after(async () => {
  for (const server of servers.values()) await (await server).stop()
})

function serverFor({ env = {}, isLoading }: Rule): Promise<Server> {
  const key = JSON.stringify([env, isLoading])
  const server = servers.get(key) ?? startServer(env, { load: isLoading === undefined })
  servers.set(key, server)
  return server
}

const comparable = ({ varies }: Rule, { status, headers, body }: Comparable): Comparable => ({
  status,
  headers: Object.fromEntries(
    Object.entries(headers).filter(
      ([name]) => !OF_CONNECTION.has(name) && !(varies && name === 'content-length'),
    ),
  ),
  body: varies ? '' : body,
})

async function overHttp1(rule: Rule, { port }: Server): Promise<Comparable> {
  const { method = methodOf(rule), path = IRIS, headers, body = '' } = rule
  const bytes = Buffer.from(body)
  const length = method === 'POST' ? { 'content-length': String(bytes.byteLength) } : {}
  const head = request(method, path, { ...length, ...headers })
  const to = method === 'HEAD' ? 'HEAD' : undefined
  const connection = await connect(port)
  connection.send(Buffer.concat([Buffer.from(head, 'latin1'), bytes]))
  let answer = await connection.answer(to)
  if (answer.status === 100) answer = await connection.answer(to)
  connection.socket.destroy()
  return answer
}

async function overHttp2(rule: Rule, { url }: Server): Promise<Comparable> {
  const session = await openSession(url)
  const { path = IRIS } = rule
  const { host = 'test', ...rest } = rule.headers ?? {}
  const headers = { ':authority': host, ...rest }
  const method = rule.method ?? methodOf(rule)
  try {
    const body = rule.body === undefined ? {} : { body: rule.body }
    const answer = await ask(session, path, { method, headers, ...body })
    return { ...answer, body: answer.body.toString() }
  } finally {
    session.destroy()
  }
}

const methodOf = ({ body }: Rule) => (body === undefined ? 'GET' : 'POST')

suite('HTTP/1.1 and HTTP/2 return the same response to', { concurrency: 4 }, () => {
  for (const rule of RULES) {
    test(`${rule.rule} (${rule.status})`, async () => {
      const server = await serverFor(rule)
      const http1 = comparable(rule, await overHttp1(rule, server))
      const http2 = comparable(rule, await overHttp2(rule, server))
      assert.equal(http1.status, rule.status, http1.body)
      assert.deepEqual(http2, http1)
    })
  }
})
