import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { json } from '../../function/answer.ts'
import { ROUTES, type TableRoute } from '../../function/http/routes.ts'
import { createApp } from './ask.ts'
import { IRIS, irisBody } from './client.ts'

describe('requests without a socket', async () => {
  const app = await createApp()
  await app.service.model.load()

  test('a request gets a response that depends on its head and its body', async () => {
    const answer = await app.ask('POST', `${IRIS}?a=b`, { body: irisBody('1') })
    assert.equal(answer?.status, 200)
    assert.deepEqual([answer.json.id, answer.json.outputs[1].data], ['1', ['setosa']])
  })

  test('a request gets 404 for an unknown path, with a reference to all routes', async () => {
    const answer = await app.ask('GET', '/nowhere')
    assert.deepEqual(
      [answer?.status, answer?.json.error],
      [404, 'not found: /nowhere (see /docs for all routes)'],
    )
  })

  test('a request gets 405 for a method that the route does not allow, with the allowed methods', async () => {
    const answer = await app.ask('GET', IRIS)
    assert.deepEqual(
      [answer?.status, answer?.headers.allow, answer?.json.error],
      [405, 'POST, OPTIONS', `GET is not allowed on ${IRIS}; allowed: POST, OPTIONS`],
    )
  })

  test('a request gets the same response for HEAD as for GET', async () => {
    const [head, get] = [await app.ask('HEAD', '/v2'), await app.ask('GET', '/v2')]
    assert.deepEqual(head, get)
  })

  test('a request gets a page only if it accepts HTML', async () => {
    const types = await Promise.all(
      ['text/html', 'application/json'].map(
        async accept =>
          (await app.ask('GET', '/', { headers: { accept } }))?.headers['content-type'],
      ),
    )
    assert.deepEqual(types, ['text/html; charset=utf-8', 'application/json'])
  })

  test('a request gets no response if its client hangs up', async () => {
    assert.equal(await app.ask('POST', IRIS, { hangsUp: true }), undefined)
  })

  test('a request needs no Host header in HTTP/2', async () => {
    const headers = { host: undefined } as unknown as Record<string, string>
    assert.equal((await app.ask('GET', '/v2', { httpVersion: '2.0', headers }))?.status, 200)
    assert.equal((await app.ask('GET', '/v2', { headers }))?.status, 400)
  })
})

test('an error without a code becomes 500, and its text appears only in the log', async () => {
  const failing: TableRoute = {
    path: '/failing',
    GET: () => {
      throw new Error('a secret')
    },
  }
  const { ask } = await createApp({}, [failing])
  const answer = await ask('GET', '/failing')
  assert.deepEqual(
    [answer?.status, answer?.json],
    [500, { error: 'the server failed on this request; see the server log' }],
  )
})

test('the steps run in this order: head, CORS, authentication, route, method', async () => {
  const { ask } = await createApp({
    AUTH_SECRET: 'a-secret-of-the-tests',
    CORS_ORIGINS: 'https://page.example',
  })
  const browser = { origin: 'https://page.example', 'access-control-request-method': 'POST' }
  const authorization = 'Bearer a-secret-of-the-tests'
  const statusOf = async (method: string, path: string, headers: Record<string, string> = {}) =>
    (await ask(method, path, { headers }))?.status
  assert.equal(await statusOf('OPTIONS', '/nowhere', { ...browser, expect: 'what' }), 417)
  assert.equal(await statusOf('OPTIONS', '/nowhere', browser), 204)
  assert.equal(await statusOf('DELETE', '/nowhere'), 401)
  assert.equal(await statusOf('DELETE', '/nowhere', { authorization }), 404)
  assert.equal(await statusOf('DELETE', '/v2', { authorization }), 405)
})

describe('with IDLE_EXIT_SECONDS', async () => {
  const rows: TableRoute[] = [...ROUTES, { path: '/other', GET: () => json({}) }]
  const app = await createApp({ IDLE_EXIT_SECONDS: '10' }, rows)

  for (const [path, closes] of [
    ['/health', true],
    ['/metrics', true],
    ['/v2/models/iris-classifier/ready', true],
    ['/other', false],
  ] as const) {
    test(`GET ${path} ${closes ? 'closes its connection, and does not keep the process alive' : 'keeps the process alive'}`, async () => {
      const before = app.lastUsed()
      const answer = await app.ask('GET', path)
      assert.deepEqual(
        [answer?.headers.connection, app.lastUsed() > before],
        closes ? ['close', false] : [undefined, true],
      )
    })
  }
})
