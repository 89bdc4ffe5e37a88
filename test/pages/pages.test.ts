import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { after, before, describe, test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { promisify } from 'node:util'
import supertest from 'supertest'
import { serverMetadata } from '../../function/inference/metadata.ts'
import { projectFolder, type Server, startProcess, startServer, testModel } from '../server.ts'

const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'
const PAGES = [
  { path: '/docs', type: 'text/html; charset=utf-8' },
  { path: '/docs/', type: 'text/html; charset=utf-8' },
  { path: '/openapi.json', type: 'application/json; charset=utf-8' },
  { path: '/', type: 'text/html; charset=utf-8' },
]

describe('pages', () => {
  let server: Server
  before(async () => {
    server = await startServer()
  })
  after(() => server.stop())
  const get = (path: string) => supertest(server.url).get(path).set('Accept', BROWSER)

  for (const { path, type } of PAGES) {
    test(`GET ${path} returns ${type}, with headers against type sniffing and stale copies, and does not name the framework`, async () => {
      const { status, headers } = await get(path)
      assert.deepEqual(
        [
          status,
          headers['content-type'],
          headers['x-content-type-options'],
          headers['cache-control'],
          headers['x-powered-by'],
        ],
        [200, type, 'nosniff', 'no-cache', undefined],
      )
    })

    test(`HEAD ${path} returns the same headers as GET, without the body`, async () => {
      const whole = await get(path)
      const head = await supertest(server.url)
        .head(path)
        .set('Accept', BROWSER)
        .set('Accept-Encoding', 'gzip, deflate')
      for (const header of [
        'content-type',
        'content-length',
        'etag',
        'content-security-policy',
        'vary',
      ]) {
        assert.equal(head.headers[header], whole.headers[header], header)
      }
      assert.deepEqual([head.status, head.text], [200, undefined])
    })

    test(`GET ${path} with the entity tag of the client's copy gets 304`, async () => {
      const { headers } = await get(path)
      const weak = String(headers.etag)
      for (const tag of [weak, weak.replace('W/', ''), `"other", ${weak}`]) {
        const again = await get(path).set('If-None-Match', tag)
        assert.equal(again.status, 304, tag)
      }
      const other = await get(path).set('If-None-Match', '"other"')
      assert.equal(other.status, 200)
    })

    test(`GET ${path} returns the same body with and without compression`, async () => {
      const compressed = await get(path).set('Accept-Encoding', 'gzip')
      const plain = await get(path).set('Accept-Encoding', 'identity')
      assert.deepEqual(
        [compressed.headers['content-encoding'], plain.headers['content-encoding']],
        ['gzip', undefined],
      )
      assert.deepEqual([compressed.text, compressed.body], [plain.text, plain.body])
    })
  }

  test('a page may run only its own script, and load only from its own server', async () => {
    for (const path of ['/docs', '/']) {
      const policy = String((await get(path)).headers['content-security-policy'])
      assert.match(
        policy,
        /^default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'sha256-[\w+/=]+'; connect-src 'self';/,
      )
      assert.doesNotMatch(policy, /unsafe|https?:|\*/)
    }
  })

  test('a page does not refer to other servers', async () => {
    for (const path of ['/docs', '/']) {
      const { text } = await get(path)
      assert.doesNotMatch(text.replaceAll(server.url, ''), /https?:\/\/|(src|href)="(?!\/|data:,)/)
    }
  })

  test('a compressed page has fewer than 25,000 bytes', async () => {
    for (const path of ['/docs', '/']) {
      const { headers } = await get(path).set('Accept-Encoding', 'gzip')
      assert.ok(
        Number(headers['content-length']) < 25_000,
        `${path}: ${headers['content-length']} bytes`,
      )
    }
  })

  for (const accept of ['application/json', '*/*', 'text/plain', undefined]) {
    test(`GET / returns the server's metadata to clients that accept ${accept ?? 'any type'}`, async () => {
      const request = supertest(server.url).get('/')
      const { status, body } = await (accept === undefined
        ? request.unset('Accept')
        : request.set('Accept', accept))
      assert.deepEqual(
        [status, body.name, body.extensions],
        [200, 'onnx-function', serverMetadata.extensions],
      )
    })
  }

  test('GET / in a browser shows the served model and how to send requests', async () => {
    const { text } = await get('/')
    for (const part of [
      '<h1>iris-classifier <small>v1.0.0</small></h1>',
      'Logistic regression',
      'setosa, versicolor, virginica',
      'sepal length (cm), sepal width (cm), petal length (cm), petal width (cm)',
      '<code>[batch, 4]</code>',
      'href="/docs"',
      'href="/openapi.json"',
      'href="/metrics"',
      'href="/v2/models/iris-classifier"',
    ]) {
      assert.ok(text.includes(part), part)
    }
  })

  test('the command on GET / works if it is pasted into a shell', async () => {
    const { stdout } = await promisify(execFile)('bash', [
      '-c',
      (await commandOf(server)).replace('curl', 'curl -sS'),
    ])
    assert.deepEqual(JSON.parse(stdout).outputs[1].data, ['setosa'])
  })

  test('the command on GET / contains the address of the request, with https if a proxy reports it', async () => {
    const { text } = await get('/').set('Host', 'iris.example').set('X-Forwarded-Proto', 'https')
    assert.ok(text.includes('https://iris.example/v2/models/iris-classifier/infer'))
  })

  test('the command on GET / contains https if the server has a certificate', async t => {
    const folder = join(projectFolder, 'test/security/certificates')
    const [TLS_CERT_FILE, TLS_KEY_FILE] = [join(folder, 'first.crt'), join(folder, 'first.key')]
    const own = await startServer({ TLS_CERT_FILE, TLS_KEY_FILE })
    t.after(own.stop)
    const { text } = await supertest(own.url).get('/').set('Accept', BROWSER).disableTLSCerts()
    assert.ok(text.includes(`${own.url}/v2/models/iris-classifier/infer`))
  })

  test('no page links to metrics or polls them if they have their own port', async t => {
    const own = await startServer({ METRICS_PORT: '0' })
    t.after(own.stop)
    for (const path of ['/', '/docs']) {
      const { text } = await supertest(own.url).get(path).set('Accept', BROWSER)
      assert.ok(text.includes('<a href="/openapi.json">'), path)
      assert.ok(!text.includes('<a href="/metrics">'), path)
    }
  })

  test('a complete URL in the request line gets the same response as its path', async () => {
    const socket = connect(server.port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(`GET ${server.url}/openapi.json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    assert.match(await text(socket), /^HTTP\/1\.1 200 OK\r\n.*"openapi":"3\.1\.0"/s)
  })

  test('a page returns the x-request-id of the request', async () => {
    for (const { path } of PAGES)
      assert.equal((await get(path).set('X-Request-Id', 'abc')).headers['x-request-id'], 'abc')
  })

  test('a page refuses methods other than GET, HEAD and OPTIONS', async () => {
    const { status, headers, body } = await supertest(server.url).post('/docs').send({})
    assert.deepEqual(
      [status, headers.allow, typeof body.error],
      [405, 'GET, HEAD, OPTIONS', 'string'],
    )
  })
})

async function commandOf({ url }: Server): Promise<string> {
  const page = await (await fetch(url, { headers: { accept: 'text/html' } })).text()
  const [, command = ''] = /<pre[^>]*>([^<]*)<\/pre>/.exec(page) ?? []
  return command.replaceAll(/&#(\d+);/g, (_, code) => String.fromCharCode(Number(code)))
}

test('markup in a model’s names appears on the page only as text', async t => {
  const evil = `<script>alert(1)</script><img src=x onerror=alert(1)>"'&{{tensors}}$&\``
  const folder = mkdtempSync(join(tmpdir(), 'model-'))
  t.after(() => rmSync(folder, { recursive: true }))
  cpSync(join(projectFolder, 'models/iris/v1.0.0/model.onnx'), join(folder, 'model.onnx'))
  const name = evil.replaceAll('/', '\u2215')
  writeFileSync(
    join(folder, 'model.json'),
    JSON.stringify({ name, version: name, description: evil, labels: [evil] }),
  )
  const server = await startServer({ MODEL_DIR: folder })
  t.after(() => server.stop())
  const answer = await fetch(server.url, { headers: { accept: 'text/html' } })
  const page = await answer.text()
  const iris = await startServer()
  t.after(() => iris.stop())
  const policyOfIris = (await fetch(iris.url, { headers: { accept: 'text/html' } })).headers.get(
    'content-security-policy',
  )
  assert.deepEqual(page.match(/<(script|img)\b/g), ['<script', '<script'])
  assert.equal(answer.headers.get('content-security-policy'), policyOfIris)
  // The markup occurs once in each of the title, the heading, the version, the description and the
  // labels.
  assert.equal(page.split('alert(1)&#60;').length - 1, 5)
  const { body } = await supertest(server.url).get('/openapi.json')
  assert.equal(body.info.title, name)
  const shown = /^curl '([^']*(?:'\\''[^']*)*)'/.exec(await commandOf(server))
  assert.equal(
    shown?.[1]?.replaceAll(`'\\''`, `'`),
    `${server.url}/v2/models/${encodeURIComponent(name)}/infer`,
  )
})

test('the page contains the model\u2019s inputs for the form, and the example as a person would type it', async t => {
  for (const [env, example] of [
    [{}, { shape: [1, 4], elements: ['5.1', '3.5', '1.4', '0.2'] }],
    [{ MODEL_DIR: testModel('identity-bool') }, { shape: [1], every: 'false' }],
    [{ MODEL_DIR: testModel('identity-fp16') }, { shape: [1], every: '0' }],
    [{ MODEL_DIR: testModel('identity-bytes') }, { shape: [1], every: '' }],
  ] as const) {
    const server = await startServer(env)
    t.after(() => server.stop())
    const { text } = await supertest(server.url).get('/').set('Accept', BROWSER)
    const model = JSON.parse(/<script id="model"[^>]*>(.*)<\/script>/.exec(text)?.[1] ?? '')
    assert.deepEqual(model.inputs[0].example, example)
  }
})

test('the page contains the names of each input’s elements from model.json', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'model-'))
  t.after(() => rmSync(folder, { recursive: true }))
  cpSync(testModel('two-in-two-out'), folder, { recursive: true })
  const json = JSON.parse(readFileSync(join(folder, 'model.json'), 'utf8'))
  writeFileSync(
    join(folder, 'model.json'),
    JSON.stringify({ ...json, features: { a: ['<b>', 'c'] } }),
  )
  const server = await startServer({ MODEL_DIR: folder })
  t.after(() => server.stop())
  const { text } = await supertest(server.url).get('/').set('Accept', BROWSER)
  const model = JSON.parse(/<script id="model"[^>]*>(.*)<\/script>/.exec(text)?.[1] ?? '')
  const named = model.inputs.map(({ features }: { features?: string[] }) => features)
  assert.deepEqual(named, [['<b>', 'c'], undefined])
  assert.ok(text.includes('<h2>Features of a</h2><p>&#60;b&#62;, c</p>'))
})

test('the page does not list the elements of an example that is too large or has equal elements', async () => {
  const { createPlayground } = await import('../../function/http/pages/playground.ts')
  const exampleOf = (datatype: 'FP32' | 'FP16', data: Float32Array | Uint16Array) => {
    const shape = [1, data.length]
    const metadata = { name: 'x', datatype, shape, dimensionNames: ['', ''], anyRank: false }
    const loaded = {
      signature: { inputs: [metadata], outputs: [metadata] },
      example: [{ name: 'x', datatype, shape, data }],
      features: {},
    }
    const page = createPlayground(
      '{{model}}',
      { name: 'm', version: undefined, description: undefined, labels: [] },
      loaded,
    )
    return JSON.parse(page('http://x')).inputs[0].example
  }
  assert.deepEqual(exampleOf('FP32', new Float32Array(3 * 224 * 224).fill(0.5)), {
    shape: [1, 150_528],
    every: '0.5',
  })
  assert.equal(
    exampleOf(
      'FP32',
      Float32Array.from({ length: 2_000 }, (_, i) => i),
    ).elements.length,
    2_000,
  )
  assert.deepEqual(
    exampleOf(
      'FP32',
      Float32Array.from({ length: 300_000 }, (_, i) => i),
    ),
    { shape: [1, 300_000] },
  )
  const halves = Uint16Array.from([0x3c00, 0x8000, 0x7bff, 0x0001, 0xfc00, 0x7e00, 0x2e66])
  assert.deepEqual(exampleOf('FP16', halves).elements, [
    '1',
    '-0',
    '65504',
    '5.9605e-8',
    '-Infinity',
    'NaN',
    '0.099976',
  ])
})

test('with a transform, the page contains its schemas and a command for POST /', async t => {
  const folder = mkdtempSync(join(tmpdir(), 'transform-'))
  t.after(() => rmSync(folder, { recursive: true }))
  const file = join(folder, 'transform.js')
  writeFileSync(
    file,
    `export default {
      input: { type: 'object', required: ['it\\'s'], properties: { 'it\\'s': { type: 'number', minimum: 5 } } },
      output: { type: 'string' },
      preprocess: data => ({ input: [[data['it\\'s'], 3.5, 1.4, 0.2]] }),
      postprocess: ({ predicted_class }) => predicted_class.data[0],
    }`,
  )
  const server = await startServer({ TRANSFORM: file, EXECUTION: 'inline' })
  t.after(() => server.stop())
  const { text } = await supertest(server.url).get('/').set('Accept', BROWSER)
  const { transform } = JSON.parse(/<script id="model"[^>]*>(.*)<\/script>/.exec(text)?.[1] ?? '')
  const { input, ...rest } = transform
  assert.deepEqual(Object.keys(input.properties), ["it's"])
  assert.deepEqual(rest, {
    preprocess: true,
    postprocess: true,
    output: { type: 'string' },
    example: { "it's": 5 },
  })
  assert.ok(text.includes('<h2>Model inputs</h2>'))
  const command = (await commandOf(server)).replace('curl', 'curl -sS')
  const { stdout } = await promisify(execFile)('bash', ['-c', command])
  assert.equal(stdout, '"setosa"')
  const { body } = await supertest(server.url).get('/openapi.json')
  assert.ok(JSON.stringify(body.paths['/'].post.requestBody).includes("it's"))
})

test('with PLAYGROUND=off, browsers get the server\u2019s metadata at GET /, as /openapi.json describes, and /docs is served', async t => {
  const server = await startServer({ PLAYGROUND: 'off' })
  t.after(() => server.stop())
  const root = await supertest(server.url).get('/').set('Accept', BROWSER)
  assert.deepEqual(
    [root.status, root.type, root.body.name],
    [200, 'application/json', 'onnx-function'],
  )
  const { body } = await supertest(server.url).get('/openapi.json')
  assert.deepEqual(Object.keys(body.paths['/'].get.responses[200].content), ['application/json'])
  assert.equal((await supertest(server.url).get('/docs')).type, 'text/html')
})

for (const model of [
  'two-in-two-out',
  'scalar',
  'identity-bytes',
  'fp16-out',
  'unknown-rank',
  'identity-fp16',
]) {
  test(`GET / lists the inputs and outputs of the model ${model}`, async t => {
    const server = await startServer({ MODEL_DIR: testModel(model) })
    t.after(() => server.stop())
    const { body: metadata } = await supertest(server.url).get(`/v2/models/${model}`)
    const { text: page } = await supertest(server.url).get('/').set('Accept', BROWSER)
    for (const { name, datatype } of [...metadata.inputs, ...metadata.outputs]) {
      assert.ok(page.includes(`<code>${name}</code>`) && page.includes(`<code>${datatype}</code>`))
    }
  })
}

describe('while the model loads', () => {
  const OF_THE_MODEL = ['/openapi.json', '/']

  test('pages that describe the model wait for it, and /docs does not wait', async t => {
    const server = await startServer({}, { load: false })
    t.after(() => server.stop())
    const waiting = OF_THE_MODEL.map(path =>
      fetch(server.url + path, { headers: { accept: BROWSER } }),
    )
    assert.equal((await fetch(`${server.url}/docs`)).status, 200)
    await server.service.model.load()
    assert.deepEqual(
      (await Promise.all(waiting)).map(({ status }) => status),
      [200, 200],
    )
  })

  for (const path of OF_THE_MODEL) {
    test(`${path} gets 504 in JSON after REQUEST_TIMEOUT_MS`, async t => {
      const server = await startServer({ REQUEST_TIMEOUT_MS: '30' }, { load: false })
      t.after(() => server.stop())
      const answer = await fetch(server.url + path, { headers: { accept: BROWSER } })
      assert.deepEqual(
        [answer.status, answer.headers.get('content-type'), await answer.json()],
        [504, 'application/json', { error: 'the deadline passed before the model was loaded' }],
      )
    })
  }

  test('a request for /openapi.json gets 503 with Retry-After if the model cannot be loaded', async t => {
    const server = await startServer({ MODEL_DIR: testModel('broken') }, { load: false })
    t.after(() => server.stop())
    await assert.rejects(server.service.model.load())
    const answer = await fetch(`${server.url}/openapi.json`)
    assert.deepEqual(
      [answer.status, answer.headers.get('retry-after'), await answer.json()],
      [503, '1', { error: 'the model could not be loaded' }],
    )
  })
})

test('an unexpected error in a page appears only in the log', async t => {
  const server = await startServer({}, { load: false })
  t.after(() => server.stop())
  t.mock.method(server.service.model, 'whenLoaded', () => Promise.reject(new Error('a secret')))
  const { status, body } = await supertest(server.url).get('/openapi.json')
  assert.deepEqual(
    [status, body],
    [500, { error: 'the server failed on this request; see the server log' }],
  )
})

test('a page that is requested while the process drains closes its connection', async t => {
  const { url, process, exited } = await startProcess({ DRAIN_DELAY_MS: '5000' })
  t.after(() => process.kill('SIGKILL'))
  process.kill('SIGTERM')
  while ((await fetch(`${url}/ready`)).status !== 503) await setTimeout(10)
  for (const { path } of PAGES) {
    const { status, headers } = await supertest(url).get(path).set('Accept', BROWSER)
    assert.deepEqual([status, headers.connection], [200, 'close'])
  }
  process.kill('SIGTERM')
  await exited
})
