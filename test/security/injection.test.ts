import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { exchange, IRIS, irisBody, type RawAnswer, request, until } from '../http/client.ts'
import { type Server, startProcess, startServer } from '../server.ts'

let server: Server
before(async () => {
  server = await startServer()
})
after(() => server.stop())

const EVENT = {
  'ce-specversion': '1.0',
  'ce-id': '1',
  'ce-source': '/garden',
  'ce-type': 'a.request',
}
const ask = (method: string, target: string, headers: Record<string, string> = {}, body = '') =>
  exchange(server.port, request(method, target, headers, body))

function assertOwn({ headers }: RawAnswer): void {
  const known =
    /^(?:ce-[a-z0-9]+|content-(?:type|length|encoding)|date|connection|keep-alive|x-request-id|x-content-type-options|retry-after|allow|vary)$/
  assert.deepEqual(
    Object.keys(headers).filter(name => !known.test(name)),
    [],
  )
}

const LINES = [
  'a\r\nX-Injected: yes',
  'a\nX-Injected: yes',
  'a\rX-Injected: yes',
  'a\r\n\r\nHTTP/1.1 200 OK\r\n',
  'a\u0085X-Injected: yes',
  'a\u2028b',
  'a\0b',
]

suite('a response header', () => {
  for (const line of LINES) {
    test(`creates no header from the id ${JSON.stringify(line)}, and returns it unchanged in JSON`, async () => {
      const answer = await ask('POST', IRIS, {}, irisBody(line))
      assert.deepEqual([answer.status, answer.json.id], [200, line])
      assertOwn(answer)
    })

    test(`creates no header from event attributes with the value ${JSON.stringify(line)}`, async () => {
      const encoded = encodeURIComponent(line)
      for (const name of [
        'id',
        'source',
        'type',
        'subject',
        'traceparent',
        'tracestate',
        'correlationid',
        'partitionkey',
      ]) {
        for (const value of [encoded, `"${encoded}"`]) {
          const answer = await ask('POST', '/', { ...EVENT, [`ce-${name}`]: value }, irisBody())
          // A line separator is accepted like other characters; control characters are rejected.
          assert.equal(
            answer.status,
            line.includes('\u2028') && name !== 'source' ? 200 : 400,
            `${name}: ${answer.body}`,
          )
          assertOwn(answer)
        }
        const event = {
          specversion: '1.0',
          id: '1',
          source: '/a',
          type: 'a.request',
          data: JSON.parse(irisBody()),
          [name]: line,
        }
        const structured = await ask(
          'POST',
          '/',
          { 'content-type': 'application/cloudevents+json' },
          JSON.stringify(event),
        )
        assert.ok([200, 400].includes(structured.status), structured.body)
        assertOwn(structured)
      }
    })

    test(`creates no header from the text ${JSON.stringify(line)} in the path or in headers`, async () => {
      const encoded = encodeURIComponent(line)
      for (const target of [
        `/${encoded}`,
        `/v2/models/${encoded}`,
        `/v2/models/iris-classifier/versions/${encoded}/infer`,
        `/v2?${encoded}`,
      ]) {
        assertOwn(await ask('GET', target))
        assertOwn(await ask('POST', target, {}, irisBody()))
      }
      for (const name of [
        'x-request-id',
        'content-type',
        'accept',
        'accept-encoding',
        'inference-header-content-length',
        'traceparent',
      ]) {
        assertOwn(await ask('POST', IRIS, { [name]: encoded }, irisBody()))
      }
    })
  }

  test('returns a request id that is not ASCII unchanged', async () => {
    const answer = await exchange(
      server.port,
      Buffer.from(request('GET', '/v2', { 'x-request-id': '\xe9\xff\x80' }), 'latin1'),
    )
    assert.equal(answer.headers['x-request-id'], '\xe9\xff\x80')
    assertOwn(answer)
  })

  test('creates no header from an event attribute with the name of a header', async () => {
    for (const name of ['ce-content-length', 'ce-set-cookie', 'ce-transfer-encoding', 'ce-']) {
      const answer = await ask('POST', '/', { ...EVENT, [name]: '5' }, irisBody())
      assert.equal(answer.status, 400)
      assertOwn(answer)
    }
    const event = {
      specversion: '1.0',
      id: '1',
      source: '/a',
      type: 'a.request',
      data: JSON.parse(irisBody()),
      setcookie: 'a=b',
    }
    assertOwn(
      await ask(
        'POST',
        '/',
        { 'content-type': 'application/cloudevents+json' },
        JSON.stringify(event),
      ),
    )
  })
})

suite('a path in a request', () => {
  const CLIMBING = [
    '/../../../../etc/passwd',
    '/..%2f..%2f..%2fetc%2fpasswd',
    '/%2e%2e/%2e%2e/etc/passwd',
    '/..\\..\\etc\\passwd',
    '/docs/../../../etc/passwd',
    '/docs/..%2f..%2fpackage.json',
    '/docs%00.html',
    '/docs.html',
    '/root.html',
    '/package.json',
    '/build/main.js',
    '/models/iris/v1.0.0/model.onnx',
    '/proc/self/environ',
    'file:///etc/passwd',
    'http://a/../../etc/passwd',
    '/v2/models/..%2f..%2fetc%2fpasswd',
    '/v2/models/../../../etc/passwd/infer',
    '/v2/models/iris-classifier/versions/..%2f..%2f..%2fetc%2fpasswd',
    '/v2/models/iris-classifier/versions/../../../../etc/passwd/infer',
    '/v2/models/%2Fetc%2Fpasswd/ready',
    '/v2/models/iris-classifier%00/infer',
    '/v2/models/iris-classifier/../iris-classifier/infer',
    '/v2/models/.%2Firis-classifier/infer',
    '/v2/models/iris-classifier%2finfer',
    '/v2/models/IRIS-CLASSIFIER/infer',
    '/v1/models/..%2f..%2fetc%2fpasswd:predict',
    '/v1/models/../../etc/passwd',
    '/v2/models/%c0%ae%c0%ae%2fetc/infer',
    '/v2/models/iris-classifier/infer/..;/ready',
    '/v2/models/iris-classifier;a=b/infer',
  ]
  for (const target of CLIMBING) {
    test(`does not lead to a file or another model: ${target}`, async () => {
      for (const method of ['GET', 'POST']) {
        const answer = await ask(method, target, {}, method === 'POST' ? irisBody() : '')
        assert.ok([400, 404].includes(answer.status), `${method}: ${answer.status}`)
        assert.equal(typeof answer.json.error, 'string')
        assert.doesNotMatch(answer.body, /root:|"scripts"|setosa/)
      }
    })
  }
})

suite('the prototype of objects', () => {
  const polluted = () => Object.keys(Object.prototype).concat(Object.keys(Array.prototype))
  const [head, tail] = [
    '{"inputs":[{"name":"input","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]',
    '}]',
  ]
  const BODIES = [
    `{"__proto__":{"polluted":1},${head.slice(1)}${tail}}`,
    `${head}${tail},"__proto__":{"id":"polluted"}}`,
    `${head}${tail},"constructor":{"prototype":{"polluted":1}}}`,
    `${head},"__proto__":{"polluted":1}${tail}}`,
    `${head},"parameters":{"__proto__":{"binary_data_size":4}}${tail}}`,
    `${head}${tail},"parameters":{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}}`,
    `${head}${tail},"outputs":[{"name":"__proto__"}]}`,
    `${head}${tail},"outputs":[{"name":"probabilities","parameters":{"__proto__":{"binary_data":true}}}]}`,
    '{"inputs":[{"name":"__proto__","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}',
    '{"inputs":[{"name":"input","shape":[1,4],"datatype":"__proto__","data":[5.1,3.5,1.4,0.2]}]}',
    '{"inputs":[{"name":"input","shape":[1,4],"datatype":"constructor","data":[5.1,3.5,1.4,0.2]}]}',
    '{"inputs":{"__proto__":[]}}',
    '{"inputs":[{"name":"input","shape":{"__proto__":[1,4],"length":2},"datatype":"FP32","data":[1,2,3,4]}]}',
  ]
  for (const body of BODIES) {
    test(`leaves prototypes unchanged after ${body.length > 90 ? `…${body.slice(-90)}` : body}`, async () => {
      for (const answer of [
        await ask('POST', IRIS, {}, body),
        await ask('POST', '/', EVENT, body),
        await ask(
          'POST',
          '/',
          { 'content-type': 'application/cloudevents+json' },
          `{"specversion":"1.0","id":"1","source":"/a","type":"a","data":${body}}`,
        ),
        await ask('POST', '/v1/models/iris-classifier:predict', {}, body),
      ]) {
        assert.ok(answer.status < 500, answer.body)
        assert.doesNotMatch(answer.body, /"id":"polluted"/)
      }
      assert.deepEqual(polluted(), [])
      assert.equal((await ask('POST', IRIS, {}, irisBody())).json.id, undefined)
    })
  }

  test('leaves prototypes unchanged after events and headers that name them', async () => {
    const event = {
      specversion: '1.0',
      id: '1',
      source: '/a',
      type: 'a.request',
      data: JSON.parse(irisBody()),
    }
    const text = `{"__proto__":{"polluted":1},${JSON.stringify(event).slice(1)}`
    assert.equal(
      (await ask('POST', '/', { 'content-type': 'application/cloudevents+json' }, text)).status,
      400,
    )
    assert.equal(
      (
        await ask(
          'POST',
          '/',
          { 'content-type': 'application/cloudevents-batch+json' },
          `[${text}]`,
        )
      ).status,
      400,
    )
    assert.equal(
      (await ask('POST', '/', { ...EVENT, 'ce-__proto__': '{"polluted":1}' }, irisBody())).status,
      400,
    )
    assert.equal((await ask('GET', '/v2', { __proto__: 'a', constructor: 'b' })).status, 200)
    assert.equal(
      (await ask('GET', '/v2?__proto__[polluted]=1&constructor.prototype.polluted=1')).status,
      200,
    )
    assert.deepEqual(polluted(), [])
  })
})

suite('a log line', () => {
  test('logs one JSON object per line for any request, without secrets', async () => {
    const secret = 'correct-horse-battery-staple'
    const own = await startProcess({ LOG_LEVEL: 'debug', AUTH_SECRET: secret })
    const port = Number(new URL(own.url).port)
    const lie = '"}\n{"level":60,"msg":"it burns"}\u001b[2J\u2028'
    const headers = { authorization: `Bearer ${secret}` }
    for (const bytes of [
      request('GET', `/v2?${encodeURIComponent(lie)}`, headers),
      request('GET', `/${'"}{"level":60,"msg":"it burns"}'.replaceAll(' ', '%20')}`, headers),
      request('GET', '/v2', { ...headers, 'x-request-id': '","level":60,"msg":"it burns' }),
      request('GET', '/v2', { ...headers, traceparent: '\t{"level":60}\x7f'.replace('\x7f', '') }),
      request('POST', IRIS, headers, irisBody(lie)),
      request('POST', '/', { ...headers, ...EVENT, 'ce-id': encodeURIComponent(lie) }, irisBody()),
      request('GET', '/v2', { authorization: `Bearer ${secret}x` }),
    ]) {
      await exchange(port, bytes)
    }
    await until(
      'all requests have been logged',
      () => own.log.filter(line => line.includes('"path"')).length === 7,
    )
    for (const line of own.log) {
      const { level, msg } = JSON.parse(line)
      assert.ok(level < 60, line)
      assert.doesNotMatch(msg, /burns/)
      // biome-ignore lint/suspicious/noControlCharactersInRegex: the line must not contain them
      assert.doesNotMatch(line, /[\x00-\x1f\x7f]/)
      assert.doesNotMatch(line, new RegExp(secret))
    }
    own.process.kill('SIGTERM')
    assert.deepEqual(await own.exited, [0, null])
  })
})

suite('a model with a malicious name', () => {
  for (const name of [
    '..',
    '.',
    '%2e%2e',
    '..%2f..%2fetc',
    '"><script>alert(1)<!--',
    "'; touch x; '",
    '__proto__',
    'a\r\nX-Injected: yes',
    '$(x)`x`',
    'é 日本',
  ]) {
    test(`serves a model called ${JSON.stringify(name)} without side effects of the name`, async t => {
      const own = await startServer({ MODEL_NAME: name })
      t.after(() => own.stop())
      const target = `/v2/models/${encodeURIComponent(name)}`
      const answer = await exchange(own.port, request('GET', target))
      assert.deepEqual([answer.status, answer.json?.name], [200, name])
      assert.equal(
        (await exchange(own.port, request('POST', `${target}/infer`, {}, irisBody()))).status,
        200,
      )
      const reply = await exchange(own.port, request('POST', '/', EVENT, irisBody()))
      assert.equal(reply.status, 200)
      assertOwn(reply)
      const page = await exchange(own.port, request('GET', '/', { accept: 'text/html' }))
      assert.doesNotMatch(page.body, /<script>alert/)
      const metrics = (await exchange(own.port, request('GET', '/metrics'))).body
      assert.ok(
        metrics.split('\n').every(line => /^(?:#[^\n]*|\w+(?:\{[^\n]*\})? \S+|)$/.test(line)),
      )
    })
  }
})
