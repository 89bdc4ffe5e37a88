import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type IncomingMessage, request as sendRequest } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import * as exported from '../function/package.ts'
import { load, request, start } from '../function/package.ts'
import { IRIS, irisBody, until } from './http/client.ts'
import { testModel } from './server.ts'

const POST = { method: 'POST', headers: { 'content-type': 'application/json' } }
// biome-ignore lint/suspicious/noExplicitAny: tests read arbitrary fields of a response
const jsonOf = (answer: Response): Promise<any> => answer.json()

const ask = { ...POST, body: irisBody('1') }

test('the package exports these names', () => {
  assert.deepEqual(Object.keys(exported).sort(), [
    'BadRequest',
    'Refused',
    'Unavailable',
    'defineTransform',
    'load',
    'request',
    'start',
  ])
})

describe('start()', () => {
  test('serves a model on a free port of the loopback interface until it is closed', async () => {
    const server = await start()
    assert.match(server.url, /^http:\/\/127\.0\.0\.1:\d+$/)
    const answer = await fetch(server.url + IRIS, ask)
    assert.deepEqual([answer.status, (await jsonOf(answer)).id], [200, '1'])
    await server.close()
    await assert.rejects(fetch(server.url))
  })

  test('starts several servers in one process, each with its own model and environment', async () => {
    const options = [
      { model: testModel('identity-fp32'), env: { MODEL_NAME: 'first' } },
      {
        model: new URL('./models/scalar/model.onnx', import.meta.url),
        env: { EXECUTION: 'worker' },
      },
    ]
    const servers = await Promise.all(options.map(start))
    try {
      const models = servers.map(async ({ url }) => (await fetch(`${url}/v2/models`)).json())
      assert.deepEqual(await Promise.all(models), [{ models: ['first'] }, { models: ['scalar'] }])
    } finally {
      await Promise.all(servers.map(server => server.close()))
    }
  })

  test('completes requests in flight before it closes', async () => {
    const server = await start()
    const head = { ...POST.headers, expect: '100-continue' }
    const sending = sendRequest(server.url + IRIS, { method: 'POST', headers: head })
    sending.flushHeaders()
    await once(sending, 'continue')
    const closed = server.close()
    sending.end(irisBody('1'))
    const [answer] = (await once(sending, 'response')) as [IncomingMessage]
    assert.equal(answer.statusCode, 200)
    answer.resume()
    await closed
  })

  test('closes its port if METRICS_PORT is in use', async t => {
    const other = await start()
    t.after(() => other.close())
    const ports = () => process.getActiveResourcesInfo().filter(name => name === 'TCPServerWrap')
    const before = ports()
    await assert.rejects(
      start({ env: { METRICS_PORT: new URL(other.url).port } }),
      /^Error: cannot listen on .*: it is already in use \(METRICS_PORT, LISTEN_HOST\)/,
    )
    await until('only the other port is open', () => ports().length === before.length)
  })

  test('rejects with a one-line message if the model or a variable is invalid', async () => {
    await assert.rejects(start({ model: 'nowhere' }), /^Error: no model: MODEL_DIR .*nowhere/)
    await assert.rejects(
      start({ model: testModel('broken') }),
      /^Error: the model cannot be loaded/,
    )
    await assert.rejects(
      start({ env: { PORT: 'x' } }),
      /^Error: PORT is "x"; it must be an integer/,
    )
  })
})

describe('request()', () => {
  test('serves one request without a socket', async () => {
    const answer = await request(IRIS, ask)
    assert.equal(answer.headers.get('content-type'), 'application/json')
    assert.deepEqual((await jsonOf(answer)).outputs[1].data, ['setosa'])
  })

  test('applies authentication, limits, encodings, routes and methods of a loaded function', async () => {
    const app = await load({
      env: { MAX_BODY_BYTES: '1000', AUTH_SECRET: 'a-secret-of-the-tests' },
    })
    const headers = { ...POST.headers, authorization: 'Bearer a-secret-of-the-tests' }
    const zipped = { ...ask, headers: { ...headers, 'content-encoding': 'gzip' } }
    const statuses = [
      app.request('/v2'),
      app.request('/v2', { headers }),
      app.request('/nowhere', { headers }),
      app.request(IRIS, { headers }),
      app.request(IRIS, { ...ask, headers }),
      app.request(IRIS, { ...ask, headers, body: 'x'.repeat(1001) }),
      app.request(IRIS, { ...zipped, body: gzipSync(irisBody('1')) }),
      app.request('/v2', { method: 'OPTIONS', headers }),
      app.request(new Request(`http://elsewhere/v2`, { method: 'HEAD', headers })),
    ].map(async answer => (await answer).status)
    assert.deepEqual(await Promise.all(statuses), [401, 200, 404, 405, 200, 413, 200, 204, 200])
    await app.close()
  })

  for (const EXECUTION of ['inline', 'worker'])
    test(`completes requests in progress before it closes, with EXECUTION=${EXECUTION}`, async () => {
      const app = await load({ env: { EXECUTION } })
      const answers = [1, 2, 3].map(() => app.request(IRIS, ask))
      await app.close()
      for (const answer of answers) assert.equal((await answer).status, 200)
      await assert.rejects(app.request(IRIS, ask), /^Error: the function is closed/)
    })

  test('returns the headers of a response over HTTP', async () => {
    const { headers } = await request('/v2', { headers: { 'x-request-id': '7' } })
    const names = ['content-length', 'x-content-type-options', 'x-request-id']
    assert.deepEqual(
      names.map(name => headers.get(name)),
      ['130', 'nosniff', '7'],
    )
  })

  test('rejects if its signal is aborted, as when a caller closes the connection', async t => {
    const app = await load({ model: testModel('slow') })
    t.after(() => app.close())
    const controller = new AbortController()
    const inputs = [{ name: 'x', datatype: 'FP32', shape: [1, 2], data: [1.5, 2] }]
    const body = JSON.stringify({ inputs })
    const answering = app.request('/', { ...POST, body, signal: controller.signal })
    controller.abort(new Error('enough'))
    await assert.rejects(answering, /enough/)
    const later = new AbortController()
    const running = app.request('/', { ...POST, body, signal: later.signal })
    setImmediate(() => later.abort(new Error('too late')))
    await assert.rejects(running, /too late/)
  })

  test('passes the abort of its signal to the author’s code', async t => {
    const folder = mkdtempSync(join(tmpdir(), 'hangs-up-'))
    t.after(() => rmSync(folder, { recursive: true }))
    const transform = join(folder, 'transform.mjs')
    writeFileSync(
      transform,
      'export default { preprocess: (_, { signal }) => new Promise(() => globalThis.preprocessing(signal)) }',
    )
    const begun = Promise.withResolvers<AbortSignal>()
    Object.assign(globalThis, { preprocessing: begun.resolve })
    const app = await load({ transform, env: { EXECUTION: 'inline' } })
    t.after(() => app.close())
    const caller = new AbortController()
    const answering = app.request('/', { ...POST, body: '{}', signal: caller.signal })
    const signal = await begun.promise
    caller.abort(new Error('enough'))
    await assert.rejects(answering, /enough/)
    assert.equal(signal.aborted, true)
  })
})
