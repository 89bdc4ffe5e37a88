import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { exchange, IRIS, irisBody, request } from '../http/client.ts'
import { type Server, startServer } from '../server.ts'

const PAGE = 'https://garden.example'
const SECRET = 'correct-horse-battery-staple'

const corsOf = (headers: Readonly<Record<string, string>>) =>
  Object.keys(headers).filter(name => name.startsWith('access-control-'))

const ask = (port: number, headers: Record<string, string> = {}, target = IRIS) =>
  exchange(
    port,
    target === IRIS
      ? request('POST', target, headers, irisBody())
      : request('GET', target, headers),
  )

/** A browser sends a preflight for a request that a form could not send. */
const preflight = (port: number, origin: string, target = IRIS) =>
  exchange(
    port,
    request('OPTIONS', target, {
      origin,
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type,ce-id',
    }),
  )

suite('a server without CORS_ORIGINS', () => {
  let server: Server
  before(async () => {
    server = await startServer()
  })
  after(() => server.stop())

  test('lets no page from another origin read responses', async () => {
    for (const target of [IRIS, '/v2', '/docs', '/metrics', '/nowhere']) {
      assert.deepEqual(
        corsOf((await ask(server.port, { origin: PAGE }, target)).headers),
        [],
        target,
      )
    }
    const { status, headers } = await preflight(server.port, PAGE)
    assert.deepEqual([status, headers.allow, corsOf(headers)], [204, 'POST, OPTIONS', []])
  })

  test('forbids browsers to guess the type of any response', async () => {
    for (const target of [
      IRIS,
      '/v2',
      '/',
      '/docs',
      '/openapi.json',
      '/metrics',
      '/nowhere',
      '/health',
      '/v2/models/%3Cscript%3E',
    ]) {
      assert.equal(
        (await ask(server.port, {}, target)).headers['x-content-type-options'],
        'nosniff',
        target,
      )
    }
    assert.equal(
      (await exchange(server.port, 'rubbish\r\n\r\n')).headers['x-content-type-options'],
      'nosniff',
    )
  })

  test('never returns a caller’s data as HTML', async () => {
    const script = '<script>alert(1)</script>'
    const sent = [
      request('GET', `/${encodeURIComponent(script)}`),
      request('GET', `/v2/models/${encodeURIComponent(script)}`, { accept: 'text/html' }),
      request('POST', IRIS, { accept: 'text/html' }, script),
      request('POST', IRIS, { accept: 'text/html', 'content-type': script }, irisBody()),
      request('POST', IRIS, { accept: 'text/html' }, irisBody(script)),
      request('POST', '/', { accept: 'text/html', 'ce-id': script }, irisBody()),
    ]
    for (const bytes of sent) {
      assert.equal(
        (await exchange(server.port, bytes)).headers['content-type'],
        'application/json',
        bytes,
      )
    }
  })

  test('shows values from the request only as text on a page', async () => {
    const answer = await exchange(
      server.port,
      request('GET', '/', { accept: 'text/html', host: '"><script>alert(1)</script>' }),
    )
    assert.doesNotMatch(answer.body, /<script>alert/)
    assert.match(
      answer.headers['content-security-policy'] ?? '',
      /default-src 'none'.*frame-ancestors 'none'/,
    )
  })

  test('sends pages with headers that isolate them from other origins', async () => {
    for (const [target, headers] of [
      ['/docs', {}],
      ['/', { accept: 'text/html' }],
    ] as const) {
      const answer = await exchange(server.port, request('GET', target, headers))
      assert.deepEqual(
        [
          answer.headers['referrer-policy'],
          answer.headers['cross-origin-opener-policy'],
          answer.headers['cross-origin-resource-policy'],
        ],
        ['no-referrer', 'same-origin', 'same-origin'],
      )
    }
  })
})

suite('a server with CORS_ORIGINS', () => {
  let server: Server
  before(async () => {
    server = await startServer({ CORS_ORIGINS: `${PAGE}, http://localhost:3000` })
  })
  after(() => server.stop())

  for (const origin of [PAGE, 'http://localhost:3000']) {
    test(`lets a page from ${origin} read responses, errors, pages and metrics`, async () => {
      for (const target of [IRIS, '/v2', '/docs', '/openapi.json', '/metrics', '/nowhere']) {
        const { headers } = await ask(server.port, { origin }, target)
        assert.equal(headers['access-control-allow-origin'], origin, target)
        assert.equal(headers['access-control-expose-headers'], '*')
        assert.match(headers.vary ?? '', /\borigin\b/)
      }
    })

    test(`allows the preflight of a page from ${origin}`, async () => {
      for (const target of [IRIS, '/', '/nowhere']) {
        const { status, headers } = await preflight(server.port, origin, target)
        assert.equal(status, 204)
        assert.equal(headers['access-control-allow-origin'], origin)
        assert.equal(headers['access-control-allow-methods'], 'GET, HEAD, POST')
        assert.equal(headers['access-control-allow-headers'], '*, authorization')
      }
    })
  }

  const OTHERS = [
    'https://garden.example.evil.example',
    'http://garden.example',
    'https://garden.example:8443',
    'null',
    `${PAGE}/`,
    '*',
  ]
  for (const origin of [...OTHERS, PAGE.toUpperCase()]) {
    test(`does not let a page from ${origin} read responses`, async () => {
      const { headers } = await ask(server.port, { origin })
      assert.deepEqual([corsOf(headers), headers.vary], [[], 'origin'])
      assert.deepEqual(corsOf((await preflight(server.port, origin)).headers), [])
    })
  }

  test('answers other clients as usual, and states in Vary that the response depends on Origin', async () => {
    const { status, headers } = await ask(server.port)
    assert.deepEqual([status, corsOf(headers), headers.vary], [200, [], 'origin'])
    const large = await ask(server.port, { 'accept-encoding': 'gzip' }, '/metrics')
    assert.deepEqual(
      [large.headers.vary, large.headers['content-encoding']],
      ['origin, accept-encoding', 'gzip'],
    )
    assert.match(
      (await ask(server.port, {}, '/docs')).headers.vary ?? '',
      /^accept-encoding, origin$/,
    )
  })

  test('never allows cookies', async () => {
    assert.equal(
      (await preflight(server.port, PAGE)).headers['access-control-allow-credentials'],
      undefined,
    )
  })
})

suite('a server with CORS_ORIGINS=* and a secret', () => {
  let server: Server
  before(async () => {
    server = await startServer({ CORS_ORIGINS: '*', AUTH_SECRET: SECRET })
  })
  after(() => server.stop())

  test('allows requests from every page, because a browser does not send the secret by itself', async () => {
    const { status, headers } = await preflight(server.port, PAGE)
    assert.deepEqual([status, headers['access-control-allow-origin']], [204, '*'])
    const answer = await ask(server.port, { origin: PAGE, authorization: `Bearer ${SECRET}` })
    assert.deepEqual(
      [answer.status, answer.headers['access-control-allow-origin'], answer.headers.vary],
      [200, '*', undefined],
    )
  })

  test('lets a page read the reason for a refusal', async () => {
    const { status, headers } = await ask(server.port, { origin: PAGE })
    assert.deepEqual([status, headers['access-control-allow-origin']], [401, '*'])
  })

  test('does not reveal in a preflight which paths exist', async () => {
    const [there, nowhere] = [
      await preflight(server.port, PAGE, IRIS),
      await preflight(server.port, PAGE, '/nowhere'),
    ]
    const { date: _, ...first } = there.headers
    const { date: __, ...second } = nowhere.headers
    assert.deepEqual([there.status, first], [nowhere.status, second])
    // Without an origin, an OPTIONS request is not a preflight and needs the secret.
    assert.equal(
      (
        await exchange(
          server.port,
          request('OPTIONS', IRIS, { 'access-control-request-method': 'POST' }),
        )
      ).status,
      401,
    )
  })
})
