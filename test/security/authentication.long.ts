import assert from 'node:assert/strict'
import { pbkdf2 } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, type TestContext, test } from 'node:test'
import { createVerify } from '../../function/http/access/jwt.ts'
import { watchFiles } from '../../function/http/access/watched-files.ts'
import { createLog } from '../../function/telemetry/log.ts'
import { connectGrpc } from '../grpc/client.ts'
import {
  connect,
  exchange,
  IRIS,
  irisBody,
  type RawAnswer,
  readMetrics,
  request,
  until,
} from '../http/client.ts'
import { open, openSession } from '../http/http2-client.ts'
import { type Server, spawnFunction, startProcess, startServer } from '../server.ts'
import {
  AUDIENCE,
  claims,
  createKey,
  EVENTS_AUDIENCE,
  ISSUER,
  inSeconds,
  type Key,
  keySet,
  sign,
  startIssuer,
} from './tokens.ts'

const SECRET = 'correct-horse-battery-staple'
const MODEL = '/v2/models/iris-classifier'
const HEALTH = [
  '/v2/health/live',
  '/v2/health/ready',
  '/health',
  '/ready',
  '/health/liveness',
  '/health/readiness',
]
const V1 =
  process.env.ON_PREDICTOR === undefined
    ? []
    : ['/v1/models', '/v1/models/iris-classifier', '/v1/models/nobody']
const PROTECTED = [
  '/',
  '/v2',
  '/metrics',
  '/openapi.json',
  '/docs',
  MODEL,
  `${MODEL}/ready`,
  '/v2/models/nobody',
  '/nowhere',
  ...V1,
]

const temporary = mkdtempSync(join(tmpdir(), 'security-'))
after(() => rmSync(temporary, { recursive: true }))

const bearer = (token: string): Record<string, string> => ({ authorization: `Bearer ${token}` })
const infer = (port: number, headers: Record<string, string>, target = IRIS) =>
  exchange(
    port,
    request('POST', target, { 'content-type': 'application/json', ...headers }, irisBody()),
  )
const EVENT = {
  'ce-specversion': '1.0',
  'ce-id': '1',
  'ce-source': '/garden',
  'ce-type': 'a.request',
}

function assertRefused(answer: RawAnswer, status: 401 | 403, says: RegExp): void {
  assert.equal(answer.status, status, answer.body)
  assert.match(answer.json.error, says)
  assert.match(answer.headers['www-authenticate'] ?? '', /^Bearer realm="onnx-function"/)
}

suite('a server with a secret', () => {
  let server: Server
  before(async () => {
    server = await startServer({ AUTH_SECRET: SECRET })
  })
  after(() => server.stop())

  test('answers a caller that sends the secret, on every route', async () => {
    assert.equal((await infer(server.port, bearer(SECRET))).status, 200)
    assert.equal(
      (await infer(server.port, { ...bearer(SECRET), ...EVENT }, '/')).headers['ce-type'],
      'a.response',
    )
    for (const target of ['/v2', '/metrics', '/docs', '/openapi.json', MODEL]) {
      assert.equal(
        (await exchange(server.port, request('GET', target, bearer(SECRET)))).status,
        200,
        target,
      )
    }
  })

  for (const target of HEALTH) {
    test(`answers ${target} without credentials`, async () => {
      assert.equal((await exchange(server.port, request('GET', target))).status, 200)
      assert.equal(
        (await exchange(server.port, request('GET', target, bearer('a-secret-that-is-none'))))
          .status,
        200,
      )
    })
  }

  for (const target of PROTECTED) {
    test(`answers ${target} with 401 without credentials, whether or not the path exists`, async () => {
      for (const method of ['GET', 'POST', 'OPTIONS', 'DELETE']) {
        const answer = await exchange(server.port, request(method, target))
        assertRefused(answer, 401, /^a bearer token is needed/)
        assert.equal(answer.headers['www-authenticate'], 'Bearer realm="onnx-function"')
      }
      assert.equal((await exchange(server.port, request('HEAD', target), 'HEAD')).status, 401)
    })
  }

  const WRONG: readonly (readonly [what: string, authorization: string])[] = [
    ['another secret', 'Bearer incorrect-horse-battery-staple'],
    ['the beginning of the secret', `Bearer ${SECRET.slice(0, -1)}`],
    ['the secret with one more letter', `Bearer ${SECRET}s`],
    ['the secret in capitals', `Bearer ${SECRET.toUpperCase()}`],
    ['the secret twice', `Bearer ${SECRET} ${SECRET}`],
    ['the secret twice, with a comma', `Bearer ${SECRET},Bearer ${SECRET}`],
    ['the secret with the scheme Basic', `Basic ${Buffer.from(`:${SECRET}`).toString('base64')}`],
    ['the secret without a scheme', SECRET],
    ['nothing after the scheme', 'Bearer '],
    ['the secret in quotes', `Bearer "${SECRET}"`],
    [
      'a token without a signature',
      `Bearer ${Buffer.from('{"alg":"none"}').toString('base64url')}.e30.`,
    ],
  ]
  for (const [what, authorization] of WRONG) {
    test(`rejects ${what} with 401`, async () => {
      assertRefused(await infer(server.port, { authorization }), 401, /bearer token/)
    })
  }

  test('accepts the scheme in any case', async () => {
    assert.equal((await infer(server.port, { authorization: `bEARER ${SECRET}` })).status, 200)
  })

  test('rejects two Authorization headers, even if one of them is valid', async () => {
    for (const [first, second] of [
      [SECRET, 'wrong-wrong-wrong-wrong'],
      ['wrong-wrong-wrong-wrong', SECRET],
      [SECRET, SECRET],
    ]) {
      const bytes = `GET /v2 HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${first}\r\nauthorization: Bearer ${second}\r\n\r\n`
      const { status, json } = await exchange(server.port, bytes)
      assert.deepEqual(
        [status, json.error],
        [400, 'the request has more than one Authorization header; send one'],
      )
    }
  })

  test('accepts the secret only in the Authorization header', async () => {
    for (const target of [
      `/v2?access_token=${SECRET}`,
      `/v2?authorization=Bearer%20${SECRET}`,
      `//${SECRET}@a/v2`,
    ]) {
      assert.equal((await exchange(server.port, request('GET', target))).status, 401, target)
    }
    for (const name of [
      'x-authorization',
      'proxy-authorization',
      'cookie',
      'x-forwarded-user',
      'x-api-key',
    ]) {
      assert.equal((await infer(server.port, { [name]: `Bearer ${SECRET}` })).status, 401, name)
    }
  })

  const TRICKS = [
    '/health/../v2',
    '/health/..%2fmetrics',
    '/%2e%2e/v2',
    '/health;/../metrics',
    '/health%00',
    '/health/liveness/../../metrics',
    '//health',
    '/./health',
    '/HEALTH/../metrics',
    '/metrics?/health',
    '/metrics#/health',
    '/metrics/',
    '/metrics//',
    '/v2/models/iris-classifier/infer?x=/v2/health/live',
    'http://a/metrics',
    'http://a/health/../metrics',
    'http://health/metrics',
    '\\health',
    '/v2/health/live/../../models/iris-classifier/infer',
    '/v1/models/iris-classifier:predict',
    '/v1/models/iris-classifier%3Apredict',
  ]
  for (const target of TRICKS) {
    test(`requires credentials for the target ${target}`, async () => {
      for (const method of ['GET', 'POST']) {
        // Node answers an invalid target with 400.
        assert.ok(
          [400, 401].includes((await exchange(server.port, request(method, target))).status),
        )
      }
    })
  }

  test('ignores headers with which other servers change the target of a request', async () => {
    for (const name of [
      'x-original-url',
      'x-rewrite-url',
      'x-http-method-override',
      'x-forwarded-prefix',
      'x-forwarded-uri',
    ]) {
      assert.equal(
        (await exchange(server.port, request('GET', '/metrics', { [name]: '/health' }))).status,
        401,
        name,
      )
    }
  })

  test('neither requests nor reads the complete body of a refused caller', async () => {
    const waiting = await exchange(
      server.port,
      request('POST', IRIS, { expect: '100-continue', 'content-length': '5' }),
    )
    assert.equal(waiting.status, 401)
    const connection = await connect(server.port)
    connection.send(
      `POST ${IRIS} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`,
    )
    assert.equal((await connection.answer()).headers.connection, 'close')
    connection.send('5\r\nhello\r\n')
    await connection.closed
  })

  test('answers a valid request on a connection after a refused request', async () => {
    const connection = await connect(server.port)
    connection.send(
      request('GET', '/v2') + request('GET', '/v2', bearer(SECRET)) + request('GET', '/v2'),
    )
    assert.deepEqual(
      [
        (await connection.answer()).status,
        (await connection.answer()).status,
        (await connection.answer()).status,
      ],
      [401, 200, 401],
    )
    connection.socket.destroy()
  })

  test('counts refused requests', async () => {
    const metrics = async () =>
      readMetrics(
        (await exchange(server.port, request('GET', '/metrics', bearer(SECRET)))).body,
      ).get('inference_rejected_total{reason="unauthenticated"}') ?? 0
    const before = await metrics()
    await infer(server.port, {})
    assert.equal((await metrics()) - before, 1)
  })
})

test('a secret of 16 characters may end in =', async t => {
  const secret = 'c2l4dGVlbiBjaA=='
  const server = await startServer({ AUTH_SECRET: secret })
  t.after(server.stop)
  assert.equal((await infer(server.port, bearer(secret))).status, 200)
})

suite('a server with a file of secrets', () => {
  const first = 'first-first-first-first'
  const second = 'second-second-second'

  test('accepts each line of the file, and reads a replaced file', async () => {
    // Kubernetes mounts a Secret in this way: the file links to ..data/token, ..data links to a
    // folder, and an update replaces ..data.
    const mount = mkdtempSync(join(temporary, 'mount-'))
    const secrets = (version: string, text: string) => {
      const folder = mkdtempSync(join(mount, `..${version}-`))
      writeFileSync(join(folder, 'token'), text)
      symlinkSync(folder, join(mount, '..data_tmp'))
      renameSync(join(mount, '..data_tmp'), join(mount, '..data'))
    }
    secrets('1', `${first}\n`)
    symlinkSync('..data/token', join(mount, 'token'))
    const server = await startServer({ AUTH_SECRET_FILE: join(mount, 'token') })
    const status = async (secret: string) => (await infer(server.port, bearer(secret))).status
    assert.deepEqual([await status(first), await status(second)], [200, 401])

    secrets('2', `${second}\r\n\n${first}`)
    await until('the second secret is accepted', async () => (await status(second)) === 200)
    assert.equal(await status(first), 200)

    secrets('3', `${second}\n`)
    await until('the first secret is no longer accepted', async () => (await status(first)) === 401)

    await server.stop()
  })

  test('ignores a file without a valid secret, and rejects all its callers after the file was removed', async () => {
    const path = join(temporary, 'secrets')
    writeFileSync(path, first)
    const server = await startProcess({ AUTH_SECRET: SECRET, AUTH_SECRET_FILE: path })
    const port = Number(new URL(server.url).port)
    const status = async (secret: string) => (await infer(port, bearer(secret))).status
    const logged = (says: RegExp) => server.log.some(line => says.test(line))
    writeFileSync(path, 'hunter2')
    await until('the error has been logged', () =>
      logged(/stay in use: secret 1 is not valid .*; it must/),
    )
    assert.deepEqual([await status(first), await status('hunter2')], [200, 401])
    rmSync(path)
    await until('the removed file has been logged', () =>
      logged(/no longer used: .* cannot be read \(ENOENT\)/),
    )
    const answer = await infer(port, bearer(first))
    assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '5'])
    assert.equal(await status('never-never-never-never'), 503)
    assert.equal(await status(SECRET), 200)
    assert.equal((await exchange(port, request('GET', '/v2/health/ready'))).status, 200)
    writeFileSync(path, second)
    await until('the file is in use again', async () => (await status(second)) === 200)
    assert.equal(await status(first), 401)
    assert.ok(!logged(/hunter2|first-first/))
    server.process.kill('SIGTERM')
    assert.deepEqual(await server.exited, [0, null])
  })
})

suite('a watched file', () => {
  /** The test triggers each check of the file. */
  async function watched(t: TestContext, name: string) {
    const path = join(temporary, name)
    writeFileSync(path, 'before')
    const happened: string[] = []
    let wake = () => {}
    const note = (what: string) => {
      happened.push(what)
      wake()
    }
    const error = (...[line]: readonly unknown[]) => note(String(line).replace(/:.*:/, ':'))
    t.mock.timers.enable({ apis: ['setTimeout'] })
    watchFiles(
      { FILE: path },
      ({ FILE }) => note(FILE),
      { ...createLog('silent'), error },
      () => note('lost'),
    )
    const next = () =>
      new Promise<void>(resolve => {
        wake = resolve
      })
    return { path, happened, next }
  }

  test('notices a change right after the first read', async () => {
    const path = join(temporary, 'early')
    writeFileSync(path, 'before')
    // Occupies the threads that run asynchronous calls of the file system.
    for (let i = 0; i < 8; i++) pbkdf2('', '', 100_000, 64, 'sha512', () => {})
    const used: string[] = []
    watchFiles({ FILE: path }, ({ FILE }) => used.push(FILE), createLog('silent'))
    writeFileSync(path, 'after')
    await until('the change is noticed', () => used.length === 2)
    assert.deepEqual(used, ['before', 'after'])
  })

  test('reports a file as lost if it is empty or missing at two checks, and uses it again later', async t => {
    const { path, happened, next } = await watched(t, 'lost')
    const gone = next()
    rmSync(path)
    await gone
    const says = `FILE: FILE ${path} cannot be read (ENOENT)`
    assert.deepEqual(happened, ['before', says])
    writeFileSync(path, '')
    t.mock.timers.tick(1_999)
    assert.deepEqual(happened, ['before', says])
    t.mock.timers.tick(1)
    assert.deepEqual(happened, ['before', says, 'lost', `FILE: FILE ${path} is empty`])
    t.mock.timers.tick(20_000)
    assert.equal(happened.length, 4)
    writeFileSync(path, 'after')
    t.mock.timers.tick(2_000)
    assert.equal(happened.at(-1), 'after')
  })

  test('does not report a file as lost if it is missing only for a moment', async t => {
    const { path, happened, next } = await watched(t, 'rewritten')
    const gone = next()
    rmSync(path)
    await gone
    writeFileSync(path, 'after')
    t.mock.timers.tick(2_000)
    t.mock.timers.tick(20_000)
    assert.ok(!happened.includes('lost'))
    assert.equal(happened.at(-1), 'after')
  })
})

suite('a server with tokens', () => {
  let server: Server
  let key: Key
  let other: Key
  before(async () => {
    key = await createKey('one')
    other = await createKey('two')
    const file = join(temporary, 'keys.json')
    writeFileSync(file, keySet(key))
    server = await startServer({
      AUTH_JWKS: file,
      AUTH_ISSUER: ISSUER,
      AUTH_AUDIENCE: AUDIENCE,
      AUTH_EVENTS_AUDIENCE: EVENTS_AUDIENCE,
      AUTH_SUBJECTS: 'system:serviceaccount:garden:gardener, system:serviceaccount:iris:trigger',
    })
  })
  after(() => server.stop())

  test('accepts an unexpired token of the issuer for the right audience', async () => {
    assert.equal((await infer(server.port, bearer(await sign(key)))).status, 200)
    assert.equal(
      (await infer(server.port, bearer(await sign(key, claims({ aud: ['others', AUDIENCE] })))))
        .status,
      200,
    )
  })

  test('accepts tokens if the clocks differ by less than half a minute', async () => {
    assert.equal(
      (await infer(server.port, bearer(await sign(key, claims({ exp: inSeconds(-15) }))))).status,
      200,
    )
    assert.equal(
      (await infer(server.port, bearer(await sign(key, claims({ nbf: inSeconds(15) }))))).status,
      200,
    )
  })

  const WRONG: readonly (readonly [what: string, claims: () => object, says: RegExp])[] = [
    ['expired', () => ({ exp: inSeconds(-60) }), /has expired/],
    ['not valid yet', () => ({ nbf: inSeconds(120) }), /not valid yet/],
    ['for another audience', () => ({ aud: 'others' }), /for another audience/],
    ['without an audience', () => ({ aud: undefined }), /for another audience/],
    [
      'for an audience whose name begins with that of the right audience',
      () => ({ aud: `${AUDIENCE}-2` }),
      /for another audience/,
    ],
    ['from another issuer', () => ({ iss: 'https://other.example' }), /another issuer/],
    ['without an issuer', () => ({ iss: undefined }), /another issuer/],
    [
      'from an issuer whose name begins like ours',
      () => ({ iss: `${ISSUER}.other.example` }),
      /another issuer/,
    ],
    ['without an expiry', () => ({ exp: undefined }), /no valid expiry/],
    ['with an expiry that is not a number', () => ({ exp: 'never' }), /no valid expiry/],
  ]
  for (const [what, wrong, says] of WRONG) {
    test(`rejects a token that is ${what} with 401`, async () => {
      const answer = await infer(server.port, bearer(await sign(key, { ...claims(), ...wrong() })))
      assertRefused(answer, 401, says)
      assert.match(
        answer.headers['www-authenticate'] ?? '',
        /error="invalid_token", error_description="the token /,
      )
    })
  }

  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const FORGED: readonly (readonly [what: string, forge: () => Promise<string>, says: RegExp])[] = [
    [
      'unsigned (alg none)',
      async () => `${part({ alg: 'none' })}.${part(claims())}.`,
      /not signed with RS256|not a JWT/,
    ],
    [
      'unsigned (alg NONE in capitals)',
      async () => `${part({ alg: 'NONE', kid: 'one' })}.${part(claims())}.`,
      /not signed with RS256|not a JWT/,
    ],
    [
      'without its signature',
      async () => `${(await sign(key)).split('.').slice(0, 2).join('.')}.`,
      /signature does not match/,
    ],
    [
      'signed with the public key as the secret of an HMAC',
      async () => {
        const { createHmac, createPublicKey } = await import('node:crypto')
        const pem = createPublicKey({ key: key.jwk, format: 'jwk' }).export({
          type: 'spki',
          format: 'pem',
        })
        const signed = `${part({ alg: 'HS256', kid: 'one' })}.${part(claims())}`
        return `${signed}.${createHmac('sha256', pem).update(signed).digest('base64url')}`
      },
      /not signed with RS256/,
    ],
    [
      'signed with another key under the id of the issuer’s key',
      () => sign({ privateKey: other.privateKey, kid: 'one' }),
      /signature does not match/,
    ],
    ['signed with another key under its own id', () => sign(other), /not among its issuer's keys/],
    [
      'signed with a key that the token itself contains',
      () => sign(other, claims(), 'RS256', { jwk: other.jwk }),
      /not among its issuer's keys/,
    ],
    [
      'naming a URL of its keys',
      () => sign(other, claims(), 'RS256', { jku: 'http://127.0.0.1:1/keys' }),
      /not among its issuer's keys/,
    ],
    [
      'naming a file path as its key',
      () => sign(other, claims(), 'RS256', { kid: '../../../../dev/null' }),
      /not among its issuer's keys/,
    ],
    [
      'changed after signing',
      async () => {
        const [head, , signature] = (await sign(key)).split('.')
        return `${head}.${part(claims({ sub: 'system:serviceaccount:iris:trigger' }))}.${signature}`
      },
      /signature does not match/,
    ],
    [
      'signed with another algorithm for the same key',
      async () => sign(await createKey('one', 'PS256'), claims(), 'PS256'),
      /not signed with RS256/,
    ],
    [
      'requiring an unknown extension',
      async () => {
        const { createSign } = await import('node:crypto')
        const { exportPKCS8 } = await import('jose')
        const signed = `${part({ alg: 'RS256', kid: 'one', crit: ['exp2'], exp2: 1 })}.${part(claims())}`
        return `${signed}.${createSign('sha256')
          .update(signed)
          .sign(await exportPKCS8(key.privateKey), 'base64url')}`
      },
      /not supported/,
    ],
    ['made of one part', async () => 'abcdefghijklmnopqrstuvwxyz', /not a JWT/],
    ['made of two parts', async () => 'abc.def', /not a JWT/],
    ['encrypted, with five parts', async () => 'a.b.c.d.e', /not a JWT/],
    ['not made of JSON objects', async () => 'e30.e30.e30', /not a JWT|not signed/],
  ]
  for (const [what, forge, says] of FORGED) {
    test(`rejects a token that is ${what} with 401`, async () => {
      assertRefused(await infer(server.port, bearer(await forge())), 401, says)
    })
  }

  test('requires one kind of token for events and another kind for other requests, and answers the wrong kind with 403', async () => {
    const [forRequests, forEvents] = [
      await sign(key),
      await sign(key, claims({ aud: EVENTS_AUDIENCE })),
    ]
    for (const path of ['/', IRIS]) {
      assert.equal((await infer(server.port, { ...bearer(forEvents), ...EVENT }, path)).status, 200)
      assert.equal((await infer(server.port, bearer(forRequests), path)).status, 200)
      assertRefused(
        await infer(server.port, { ...bearer(forRequests), ...EVENT }, path),
        403,
        /not allow events/,
      )
      assertRefused(
        await infer(server.port, bearer(forEvents), path),
        403,
        /not allow requests other than events/,
      )
    }
    assertRefused(
      await exchange(server.port, request('GET', '/v2', bearer(forEvents))),
      403,
      /not allow requests other than events/,
    )
  })

  test('rejects a request that has only a token for events, even with event headers', async () => {
    const forEvents = bearer(await sign(key, claims({ aud: EVENTS_AUDIENCE })))
    assertRefused(
      await infer(server.port, forEvents, IRIS),
      403,
      /not allow requests other than events/,
    )
    assertRefused(
      await exchange(server.port, request('GET', '/metrics', { ...forEvents, ...EVENT })),
      403,
      /not allow requests other than events/,
    )
    assertRefused(
      await exchange(server.port, request('GET', '/', { ...forEvents, ...EVENT })),
      403,
      /not allow requests other than events/,
    )
  })

  test('requires a token for events for a batch and a structured event, too', async () => {
    const event = {
      specversion: '1.0',
      id: '1',
      source: '/a',
      type: 'a.request',
      data: JSON.parse(irisBody()),
    }
    for (const [type, body] of [
      ['application/cloudevents+json', event],
      ['application/cloudevents-batch+json', [event]],
    ] as const) {
      const send = async (aud: string) =>
        exchange(
          server.port,
          request(
            'POST',
            '/',
            { ...bearer(await sign(key, claims({ aud }))), 'content-type': type },
            JSON.stringify(body),
          ),
        )
      assert.equal((await send(EVENTS_AUDIENCE)).status, 200)
      assertRefused(await send(AUDIENCE), 403, /not allow events/)
    }
  })

  test('answers a token whose subject is not allowed with 403', async () => {
    for (const sub of [
      'system:serviceaccount:garden:rabbit',
      'system:serviceaccount:garden:gardener2',
      undefined,
      '',
    ]) {
      assertRefused(
        await infer(server.port, bearer(await sign(key, claims({ sub })))),
        403,
        /subject is not allowed/,
      )
    }
  })

  test('does not repeat any content of a forged token in the response', async () => {
    const answer = await infer(
      server.port,
      bearer(await sign(key, claims({ iss: 'https://evil.example"\u00e9' }))),
    )
    assert.doesNotMatch(answer.body + JSON.stringify(answer.headers), /evil/)
  })

  test('frees all resources of a client that hangs up during authentication', async () => {
    const token = await sign(key)
    for (let i = 0; i < 20; i++) {
      const connection = await connect(server.port)
      connection.send(request('POST', IRIS, { ...bearer(token), 'content-length': '1000' }))
      connection.socket.destroy()
      await connection.closed
    }
    await until('no request is in flight', async () => {
      const { body } = await exchange(server.port, request('GET', '/metrics', bearer(token)))
      return readMetrics(body).get('inference_requests_in_flight') === 0
    })
  })
})

suite('a server with a secret and tokens', () => {
  test('accepts the secret and tokens', async () => {
    const key = await createKey('one', 'ES256')
    const file = join(temporary, 'either.json')
    writeFileSync(file, keySet(key))
    const server = await startServer({
      AUTH_SECRET: SECRET,
      AUTH_JWKS: file,
      AUTH_ISSUER: ISSUER,
      AUTH_AUDIENCE: AUDIENCE,
      AUTH_ALGORITHMS: 'ES256',
    })
    assert.equal((await infer(server.port, bearer(SECRET))).status, 200)
    assert.equal((await infer(server.port, bearer(await sign(key, claims(), 'ES256')))).status, 200)
    // Without a separate audience for events, the same tokens are valid for events.
    assert.equal(
      (await infer(server.port, { ...bearer(await sign(key, claims(), 'ES256')), ...EVENT }, '/'))
        .status,
      200,
    )
    assert.equal((await infer(server.port, bearer('neither-of-the-two'))).status, 401)
    await server.stop()
  })
})

suite('the keys of tokens', () => {
  test('reads the keys again when their file changes, and keeps them if the file becomes invalid', async () => {
    const [one, two] = [await createKey('one'), await createKey('two')]
    const file = join(temporary, 'rotated.json')
    writeFileSync(file, keySet(one))
    const server = await startServer({
      AUTH_JWKS: file,
      AUTH_ISSUER: ISSUER,
      AUTH_AUDIENCE: AUDIENCE,
    })
    const status = async (key: Key) => (await infer(server.port, bearer(await sign(key)))).status
    assert.deepEqual([await status(one), await status(two)], [200, 401])
    writeFileSync(file, '{"keys": 1}')
    writeFileSync(file, keySet(one, two))
    await until('the new key is accepted', async () => (await status(two)) === 200)
    assert.equal(await status(one), 200)
    writeFileSync(file, keySet(two))
    await until('the old key is no longer accepted', async () => (await status(one)) === 401)
    await server.stop()
  })

  test('responds with 401 and an ASCII header if a token matches several keys, as RFC 6750 requires', async t => {
    const [one, two] = [await createKey('one'), await createKey('two')]
    const file = join(temporary, 'two.json')
    writeFileSync(file, keySet(one, two))
    const server = await startServer({
      AUTH_JWKS: file,
      AUTH_ISSUER: ISSUER,
      AUTH_AUDIENCE: AUDIENCE,
    })
    t.after(() => server.stop())
    const token = await sign(one, claims(), 'RS256', { kid: undefined })
    const answer = await infer(server.port, bearer(token))
    assertRefused(answer, 401, /names no key \(kid\)/)
    assert.match(answer.headers['www-authenticate'] ?? '', /^[\x20-\x7e]+$/)
  })

  test('fetches keys from their URL again for a token with a new key id, or else after ten minutes', async t => {
    const [one, two] = [await createKey('one'), await createKey('two')]
    const issuer = await startIssuer(keySet(one))
    const server = await startServer({
      AUTH_JWKS: issuer.url,
      AUTH_ISSUER: ISSUER,
      AUTH_AUDIENCE: AUDIENCE,
    })
    const status = async (key: Key) =>
      (await infer(server.port, bearer(await sign(key, claims({ exp: inSeconds(36_000) }))))).status
    assert.equal(issuer.asked, 0)
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    assert.equal(await status(one), 200)
    // Tokens with made-up key ids do not cause a request each time.
    for (let i = 0; i < 5; i++) assert.equal(await status(two), 401)
    assert.equal(issuer.asked, 1)
    issuer.give(200, keySet(two))
    t.mock.timers.tick(31_000)
    assert.deepEqual([await status(two), await status(one), issuer.asked], [200, 401, 2])

    issuer.give(200, keySet(one))
    t.mock.timers.tick(601_000)
    // Even if no token names a new key, the old key is trusted for only ten minutes.
    assert.deepEqual([await status(two), issuer.asked], [401, 3])
    issuer.stop()
    await server.stop()
  })

  const FAILURES: readonly (readonly [what: string, status: number, body: string])[] = [
    ['returns an error', 500, '{}'],
    ['returns another page', 200, '<html>'],
    ['returns no keys', 200, '{"hello":1}'],
    ['redirects', 302, ''],
  ]
  for (const [what, code, body] of FAILURES) {
    test(`answers tokens with 503 and Retry-After while the URL of the keys ${what}`, async t => {
      t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
      const key = await createKey('one')
      const issuer = await startIssuer(keySet(key))
      issuer.give(code, body)
      const server = await startServer({
        AUTH_SECRET: SECRET,
        AUTH_JWKS: issuer.url,
        AUTH_ISSUER: ISSUER,
        AUTH_AUDIENCE: AUDIENCE,
      })
      const token = bearer(await sign(key))
      const answer = await infer(server.port, token)
      assert.deepEqual([answer.status, answer.headers['retry-after']], [503, '30'])
      assert.equal((await infer(server.port, bearer(SECRET))).status, 200)
      issuer.give(200, keySet(key))
      assert.equal((await infer(server.port, token)).status, 503)
      t.mock.timers.tick(30_000)
      assert.equal((await infer(server.port, token)).status, 200)
      issuer.stop()
      await server.stop()
    })
  }

  test('fetches keys from a failing URL only once per cooldown, even for made-up key ids', async t => {
    const [known, unknown] = [await createKey('one'), await createKey('two')]
    const issuer = await startIssuer(keySet(known))
    t.after(issuer.stop)
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() })
    const lines: string[] = []
    const note = (fields: object | string, message?: string) => {
      lines.push(message ?? String(fields))
    }
    const verify = createVerify(
      {
        jwks: new URL(issuer.url),
        issuer: ISSUER,
        audience: AUDIENCE,
        eventsAudience: AUDIENCE,
        algorithms: ['RS256'],
        subjects: undefined,
        clockSkewSeconds: 30,
      },
      { ...createLog('silent'), info: note, error: note },
    )
    const late = claims({ exp: inSeconds(36_000) })
    const good = await sign(known, late)
    const codeOf = async (token: string) => (await verify(token, false))?.code
    assert.equal(await codeOf(good), undefined)
    issuer.give(500, '')
    for (let outage = 0; outage < 3; outage++) {
      t.mock.timers.tick(30_000)
      const bad = await Promise.all(
        Array.from({ length: 20 }, (_, i) =>
          sign({ privateKey: unknown.privateKey, kid: `random-${i}` }, late),
        ),
      )
      for (const token of bad) {
        assert.equal(await codeOf(token), 'KEYS_UNAVAILABLE')
        // Keys that were fetched earlier are trusted for ten minutes.
        assert.equal(await codeOf(good), undefined)
      }
      assert.equal(issuer.asked, 2 + outage)
    }
    assert.match(lines.join(), /^the AUTH_JWKS keys are unavailable[^,]*$/)
    issuer.give(200, keySet(unknown))
    t.mock.timers.tick(30_000)
    assert.equal(await codeOf(await sign(unknown, late)), undefined)
    assert.deepEqual(lines.slice(1), ['the AUTH_JWKS keys are available again'])
  })

  test('answers tokens with 503 if no server listens at the URL of the keys, and counts failures', async t => {
    const issuer = await startIssuer('')
    issuer.stop()
    const server = await startServer({
      AUTH_JWKS: issuer.url,
      AUTH_ISSUER: ISSUER,
      AUTH_AUDIENCE: AUDIENCE,
    })
    t.after(server.stop)
    const token = bearer(await sign(await createKey('one')))
    assert.equal((await infer(server.port, token)).status, 503)
    const client = connectGrpc(server.port)
    t.after(client.close)
    assert.equal((await client.call('ServerMetadata', {}, token)).status, 14)
    const metrics = await server.service.metrics.text()
    assert.match(metrics, /^inference_failures_total\{cause="dependency"\} 2$/m)
  })

  test('logs no error if an HTTP/2 request times out before its token is verified', async t => {
    const key = await createKey('one')
    let giveKeys: (() => void) | undefined
    const issuer = createServer((_request, response) => {
      giveKeys = () => response.end(keySet(key))
    })
    await once(issuer.listen(0, '127.0.0.1'), 'listening')
    t.after(() => issuer.close())
    const server = await startServer({
      AUTH_JWKS: `http://127.0.0.1:${(issuer.address() as AddressInfo).port}/`,
      AUTH_ISSUER: ISSUER,
      AUTH_AUDIENCE: AUDIENCE,
      REQUEST_TIMEOUT_MS: '300',
    })
    t.after(() => server.stop())
    const logged = t.mock.method(server.service.log, 'error', () => {})
    const session = await openSession(server.url)
    const headers = { ...bearer(await sign(key)), expect: '100-continue' }
    const stream = open(session, IRIS, { method: 'POST', headers })
    await until('the server asks for the keys', () => giveKeys !== undefined)
    assert.equal((await once(stream, 'response'))[0][':status'], 408)
    giveKeys?.()
    await once(stream.resume(), 'close')
    session.destroy()
    assert.deepEqual(logged.mock.calls, [])
  })
})

suite('startup', () => {
  const file = (name: string, text: string) => {
    const path = join(temporary, name)
    writeFileSync(path, text)
    return path
  }
  const jwt = { AUTH_ISSUER: ISSUER, AUTH_AUDIENCE: AUDIENCE }
  const FAILING: readonly (readonly [
    what: string,
    env: () => Record<string, string>,
    says: RegExp,
  ])[] = [
    ...['hunter2', 'hunter2 with spaces', '"hunter2-hunter2-hunter2"', 'hunter2=========='].map(
      secret =>
        [
          `the secret ${secret}`,
          () => ({ AUTH_SECRET: secret }),
          /^AUTH_SECRET is not valid \(its value is hidden\); it must be at least 16/,
        ] as const,
    ),
    [
      'a missing file of secrets',
      () => ({ AUTH_SECRET_FILE: '/nowhere' }),
      /AUTH_SECRET_FILE \/nowhere cannot be read \(ENOENT\)/,
    ],
    [
      'an empty file of secrets',
      () => ({ AUTH_SECRET_FILE: file('empty', '') }),
      /AUTH_SECRET_FILE: AUTH_SECRET_FILE \S+ is empty/,
    ],
    [
      'a file with a short secret',
      () => ({ AUTH_SECRET_FILE: file('short', 'hunter2') }),
      /AUTH_SECRET_FILE: secret 1 is not valid \(its value is hidden\); it must be at least 16/,
    ],
    [
      'an invalid file of keys',
      () => ({ ...jwt, AUTH_JWKS: file('none', 'hello') }),
      /AUTH_JWKS: not a JSON Web Key Set/,
    ],
    [
      'a file without keys',
      () => ({ ...jwt, AUTH_JWKS: file('other', '{"a":1}') }),
      /AUTH_JWKS: not a JSON Web Key Set/,
    ],
  ]
  for (const [what, env, says] of FAILING) {
    test(`fails with a one-line error for ${what}`, async () => {
      const child = spawnFunction(env())
      const [output = ''] = await Promise.all([child.stdout?.setEncoding('utf8').toArray()])
      const lines = [output].flat().join('').trimEnd().split('\n')
      assert.equal(lines.length, 1)
      assert.match(JSON.parse(lines[0] as string).msg, says)
      assert.doesNotMatch(lines[0] as string, /hunter2/)
    })
  }
})
