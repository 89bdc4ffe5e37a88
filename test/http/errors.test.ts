import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { json } from '../../function/answer.ts'
import { readConfig } from '../../function/config/config.ts'
import { listen } from '../../function/http/listener.ts'
import { pathsOf, ROUTES } from '../../function/http/routes.ts'
import { createService } from '../../function/service.ts'
import { type Server, startServer, testModel } from '../server.ts'
import { exchange, IRIS, irisBody, type RawAnswer, request } from './client.ts'

let server: Server
let loading: Server
let failing: Server
before(async () => {
  server = await startServer({ MAX_BODY_BYTES: '5000' })
  loading = await startServer({ REQUEST_TIMEOUT_MS: '100' }, { load: false })
  failing = await startServer({ MODEL_DIR: testModel('failing') })
})
after(() => Promise.all([server, loading, failing].map(each => each.stop())))

const MODEL = '/v2/models/iris-classifier'
const PATHS = [
  '/v2/',
  ...ROUTES.flatMap(({ path }) => pathsOf(path, { name: 'iris-classifier', version: 'v1.0.0' })),
]
const EVENT = {
  'ce-specversion': '1.0',
  'ce-id': '1',
  'ce-source': '/test',
  'ce-type': 'a.request',
  'content-type': 'application/json',
}

function assertError({ status, headers, json, body }: RawAnswer, expected: number): void {
  assert.equal(status, expected, body)
  assert.match(headers['content-type'] ?? '', /^application\/json/)
  assert.ok(typeof json.error === 'string' && json.error !== '', body)
  assert.doesNotMatch(body, /\bat .*[/(].*:\d+|node_modules|\.ts\b/, 'no stack trace')
  if (status === 405) assert.match(headers.allow ?? '', /OPTIONS/)
  if (status === 503) assert.match(headers['retry-after'] ?? '', /^\d+$/)
}

for (const route of PATHS) {
  test(`a method that ${route} does not allow gets 405 with Allow and a JSON error`, async () => {
    for (const method of [
      'PUT',
      'DELETE',
      'PATCH',
      'TRACE',
      'PROPFIND',
      ...(/\/(infer|index)$/.test(route) ? ['GET'] : route === '/' ? [] : ['POST']),
    ]) {
      assertError(await exchange(server.port, request(method, route, { accept: 'text/html' })), 405)
    }
  })
}

const POSTS = [IRIS, `${MODEL}/versions/v1.0.0/infer`, '/']
const REFUSED: readonly {
  what: string
  headers?: Record<string, string>
  body?: string
  status: number
}[] = [
  { what: 'no body', status: 400 },
  { what: 'a body that is not JSON', body: '{', status: 400 },
  { what: 'JSON that is not an object', body: '[]', status: 400 },
  {
    what: 'a form',
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: irisBody(),
    status: 415,
  },
  {
    what: 'an unknown encoding',
    headers: { 'content-encoding': 'br' },
    body: irisBody(),
    status: 415,
  },
  {
    what: 'a wrong length of the JSON',
    headers: { 'inference-header-content-length': '9999' },
    body: irisBody(),
    status: 400,
  },
  {
    what: 'an invalid length of the JSON',
    headers: { 'inference-header-content-length': 'x' },
    body: irisBody(),
    status: 400,
  },
  { what: 'a body that is too large', body: irisBody().padEnd(5001), status: 413 },
  {
    what: 'a body that is not valid gzip data',
    headers: { 'content-encoding': 'gzip' },
    body: irisBody(),
    status: 400,
  },
]
for (const { what, headers, body, status } of REFUSED) {
  test(`POST with ${what} gets ${status} with a JSON error, on every route for inference`, async () => {
    for (const route of POSTS)
      assertError(await exchange(server.port, request('POST', route, headers, body)), status)
  })
}

const NOWHERE = [
  ...[
    '/nowhere',
    '//v2',
    '/v2/repository',
    '/v2/models/other',
    '/v2/models/other/infer',
    '/v2/models/__proto__/infer',
  ],
  ...[
    `${MODEL}/versions/v9`,
    `${MODEL}/versions/v9/infer`,
    `${MODEL}/versions/`,
    `${MODEL}/explain`,
    `${IRIS}/more`,
    '/v2/health',
    '/constructor',
  ],
  ...[
    '/docs/nowhere',
    '/openapi.json/nowhere',
    '/metrics/nowhere',
    '/favicon.ico',
    `/${'long'.repeat(1000)}`,
    '/v2/../v2',
    '/%2e%2e/etc/passwd',
  ],
]
test('an unknown path gets 404 with a JSON error, for every method', async () => {
  for (const path of NOWHERE) {
    for (const method of ['GET', 'POST', 'PUT', 'OPTIONS'])
      assertError(await exchange(server.port, request(method, path, { accept: 'text/html' })), 404)
  }
})

test('invalid percent-encoding gets 400 with a JSON error', async () => {
  for (const path of [
    '/v2/models/%',
    '/v2/models/%zz/infer',
    '/v2/models/%ff',
    `${MODEL}/versions/%c3`,
  ]) {
    assertError(await exchange(server.port, request('GET', path)), 400)
  }
})

test('readiness routes return a JSON error with Retry-After while the model is not ready, and other routes work', async () => {
  for (const path of ['/v2/health/ready', '/health/readiness']) {
    const answer = await exchange(loading.port, request('GET', path))
    assertError(answer, 503)
    assert.deepEqual([answer.json.live, answer.json.ready], [true, false])
  }
  const model = await exchange(loading.port, request('GET', `${MODEL}/ready`))
  assertError(model, 503)
  assert.deepEqual([model.json.name, model.json.ready], ['iris-classifier', false])
  assertError(await exchange(loading.port, request('GET', '/ready')), 503)
  assert.deepEqual((await exchange(loading.port, request('GET', '/health'))).json, {
    status: 'ok',
    model_loaded: false,
  })
  for (const path of ['/', '/v2', '/v2/health/live', '/health/liveness', '/metrics']) {
    assert.equal((await exchange(loading.port, request('GET', path))).status, 200, path)
  }
})

test('a request whose deadline passes gets 504 with a JSON error', async () => {
  for (const path of [IRIS, '/'])
    assertError(await exchange(loading.port, request('POST', path, {}, irisBody())), 504)
  assertError(await exchange(loading.port, request('POST', '/', EVENT, irisBody())), 504)
  assertError(await exchange(loading.port, request('GET', MODEL)), 504)
})

test('if the model fails, a request gets 500 and an event gets 422, with a JSON error', async () => {
  const body = JSON.stringify({
    inputs: [{ name: 'index', shape: [1], datatype: 'INT64', data: [99] }],
  })
  assertError(
    await exchange(failing.port, request('POST', '/v2/models/failing/infer', {}, body)),
    500,
  )
  assertError(await exchange(failing.port, request('POST', '/', {}, body)), 500)
  assertError(await exchange(failing.port, request('POST', '/', EVENT, body)), 422)
})

test('an invalid event gets 400 or 415 with a JSON error', async () => {
  const { 'ce-id': _, ...noId } = EVENT
  assertError(await exchange(server.port, request('POST', '/', noId, irisBody())), 400)
  assertError(
    await exchange(
      server.port,
      request('POST', '/', { 'content-type': 'application/cloudevents+json' }, '{}'),
    ),
    400,
  )
  assertError(
    await exchange(
      server.port,
      request('POST', '/', { 'content-type': 'application/cloudevents-batch+json' }, '{}'),
    ),
    400,
  )
  assertError(
    await exchange(
      server.port,
      request('POST', '/', { 'content-type': 'application/cloudevents+avro' }, 'x'),
    ),
    415,
  )
})

test('a response whose headers cannot be sent becomes 500, and the next request is answered', async t => {
  const config = readConfig({ PORT: '0', LISTEN_HOST: '127.0.0.1', LOG_LEVEL: 'silent' })
  const rows = [
    { path: '/broken', GET: () => json({}, 200, { 'x-broken': '\u2019' }) },
    { path: '/whole', GET: () => json({}) },
  ]
  const listener = await listen(createService(config), config, { rows })
  t.after(() => listener.close(0))
  assertError(await exchange(listener.port, request('GET', '/broken')), 500)
  assert.equal((await exchange(listener.port, request('GET', '/whole'))).status, 200)
})
