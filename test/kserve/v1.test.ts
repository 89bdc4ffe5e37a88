import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { after, before, suite, test } from 'node:test'
import supertest from 'supertest'
import { endPush, startPush } from '../../function/service.ts'
import { EVENT, MODES, refusal, replyIn, SEND } from '../events/events.ts'
import { connect, readMetrics, request as requestBytes } from '../http/client.ts'
import { startReceiver } from '../telemetry/receiver.ts'
import { parseExactly, type WrittenTensor, writeExactly } from '../tensors.ts'

process.env.ON_PREDICTOR = 'yes'
const { startServer, testModel } = await import('../server.ts')
const { author } = await import('../transform/table.ts')
type Server = Awaited<ReturnType<typeof startServer>>

const SETOSA = [5.1, 3.5, 1.4, 0.2]
const VIRGINICA = [6.7, 3, 5.2, 2.3]

async function predict(server: Server, model: string, body: unknown) {
  const { status, text, headers } = await supertest(server.url)
    .post(`/v1/models/${encodeURIComponent(model)}:predict`)
    .set('Content-Type', 'application/json')
    .send(typeof body === 'string' ? body : writeExactly(body))
  return { status, headers, json: parseExactly(text) as Record<string, unknown> }
}

suite('V1 with the iris classifier', () => {
  let iris: Server
  before(async () => {
    iris = await startServer()
  })
  after(() => iris.stop())
  const ask = (body: unknown) => predict(iris, 'iris-classifier', body)

  test('each row of the only input gets a prediction with the outputs by name', async () => {
    const { status, headers, json } = await ask({ instances: [SETOSA, VIRGINICA] })
    assert.equal(status, 200)
    assert.equal(headers['content-type'], 'application/json')
    const predictions = json.predictions as { predicted_class: string; probabilities: number[] }[]
    assert.deepEqual(Object.keys(json), ['predictions'])
    assert.deepEqual(
      predictions.map(({ predicted_class, probabilities }) => [
        predicted_class,
        probabilities.length,
      ]),
      [
        ['setosa', 3],
        ['virginica', 3],
      ],
    )
  })

  test('rows as objects by input name get the same predictions as rows as arrays', async () => {
    assert.deepEqual(
      (await ask({ instances: [{ input: SETOSA }, { input: VIRGINICA }] })).json,
      (await ask({ instances: [SETOSA, VIRGINICA] })).json,
    )
  })

  for (const mode of MODES) {
    test(`an event in ${mode} mode is run once, and the response is an event, as a Broker requires`, async () => {
      const url = `${iris.url}/v1/models/iris-classifier:predict`
      const counted = async () =>
        readMetrics(await (await fetch(`${iris.url}/metrics`)).text()).get(
          'inference_requests_total{model="iris-classifier",version="v1.0.0",protocol="cloudevent",status="success"}',
        ) ?? 0
      const before = await counted()
      const data = { instances: [SETOSA, VIRGINICA] }
      const reply = replyIn(mode, await SEND[mode](url, { ...EVENT, data }))
      assert.equal(reply.type, 'com.example.iris.response')
      assert.deepEqual(reply.data, JSON.parse(JSON.stringify((await ask(data)).json)))
      assert.equal(await counted(), before + 1)
    })
  }

  test('an event whose data is not a V1 request is rejected', async () => {
    const event = { ...EVENT, data: { rows: [SETOSA] } }
    const answer = await SEND.binary(`${iris.url}/v1/models/iris-classifier:predict`, event)
    assert.equal(refusal(400, answer), 'neither instances nor inputs is given; send one of them')
  })

  test('an input as a column, with or without its name, gets each output as a column', async () => {
    const { json } = await ask({ inputs: [SETOSA, VIRGINICA] })
    const { predicted_class, probabilities } = json.outputs as {
      predicted_class: string[]
      probabilities: number[][]
    }
    assert.deepEqual(predicted_class, ['setosa', 'virginica'])
    assert.deepEqual(
      probabilities.map(row => row.length),
      [3, 3],
    )
    assert.deepEqual((await ask({ inputs: { input: [SETOSA, VIRGINICA] } })).json, json)
  })

  test('a request without rows gets an empty list of predictions', async () => {
    assert.deepEqual((await ask({ instances: [] })).json, { predictions: [] })
  })

  test('the signature_name of TensorFlow Serving’s clients is accepted', async () => {
    assert.equal(
      (await ask({ signature_name: 'serving_default', instances: [SETOSA] })).status,
      200,
    )
  })

  test('members that are null count as absent, in small and large requests', async () => {
    for (const rows of [1, 20_000]) {
      const instances = new Array(rows).fill(SETOSA)
      for (const body of [
        { signature_name: null, instances, inputs: null },
        { signature_name: null, instances: null, inputs: { input: instances } },
      ])
        assert.equal((await ask(body)).status, 200, `${rows} rows, ${Object.keys(body)}`)
    }
  })

  test('the model is listed and ready', async () => {
    const { body, status } = await supertest(iris.url).get('/v1/models')
    assert.deepEqual([status, body], [200, { models: ['iris-classifier'] }])
    const ready = await supertest(iris.url).get('/v1/models/iris-classifier')
    assert.deepEqual([ready.status, ready.body], [200, { name: 'iris-classifier', ready: true }])
  })

  test('GET / reports that the server is alive, as KServe’s V1 clients expect; a browser gets the page', async () => {
    const { body } = await supertest(iris.url).get('/')
    assert.deepEqual([body.status, body.name], ['alive', 'onnx-function'])
    assert.match(
      (await supertest(iris.url).get('/').set('Accept', 'text/html')).text,
      /^<!doctype html>/i,
    )
  })

  test('the path may have a percent-encoded colon, a trailing slash or a query', async () => {
    for (const path of [
      '/v1/models/iris-classifier%3Apredict',
      '/v1/models/iris-classifier:predict/',
      '/v1/models/iris-classifier:predict?a=b',
    ]) {
      const { status } = await supertest(iris.url)
        .post(path)
        .send({ instances: [SETOSA] })
      assert.equal(status, 200, path)
    }
  })

  const MISTAKES: readonly { mistake: string; body: unknown; says: RegExp }[] = [
    { mistake: 'that is not JSON', body: '{"instances":', says: /^the body is not valid JSON/ },
    {
      mistake: 'that is an array',
      body: [SETOSA],
      says: /^a predict request must be a JSON object, not an array of length 1$/,
    },
    {
      mistake: 'with neither instances nor inputs',
      body: {},
      says: /^neither instances nor inputs is given; send one of them$/,
    },
    {
      mistake: 'with only null members',
      body: { instances: null, inputs: null },
      says: /^neither instances nor inputs is given; send one of them$/,
    },
    {
      mistake: 'with both instances and inputs',
      body: { instances: [SETOSA], inputs: [SETOSA] },
      says: /^both instances and inputs are given; send only one of them$/,
    },
    {
      mistake: 'whose instances are not an array',
      body: { instances: { input: SETOSA } },
      says: /^instances is an object; it must be an array/,
    },
    {
      mistake: 'whose row is too short',
      body: { instances: [[1, 2, 3]] },
      says: /^input "input": shape \[1,3\] does not fit; the model accepts \[-1,4\]$/,
    },
    {
      mistake: 'whose rows differ in length',
      body: { instances: [SETOSA, [1, 2]] },
      says: /^input "input": data is nested, but does not match shape \[2,4\]/,
    },
    {
      mistake: 'with a single row instead of rows',
      body: { instances: SETOSA },
      says: /^input "input": shape \[4\] has the wrong number of dimensions; the model accepts \[-1,4\]$/,
    },
    {
      mistake: 'that is nested too deeply',
      body: { instances: [[SETOSA]] },
      says: /^input "input": shape \[1,1,4\] has the wrong number of dimensions/,
    },
    {
      mistake: 'with text instead of a number',
      body: { instances: [['5.1', 3.5, 1.4, 0.2]] },
      says: /^input "input": data\[0\] is "5.1"; FP32 accepts numbers/,
    },
    { mistake: 'with a row that is null', body: { instances: [null] }, says: /^input "input": / },
    {
      mistake: 'with a row of an unknown input',
      body: { instances: [{ petal: SETOSA }] },
      says: /^instances\[0\] has "petal"; the model accepts "input"$/,
    },
    {
      mistake: 'with rows as objects and as arrays',
      body: { instances: [{ input: SETOSA }, SETOSA] },
      says: /^instances\[1\] is an array of length 4; it must be an object with "input"$/,
    },
    {
      mistake: 'with a column of an unknown input',
      body: { inputs: { petal: [SETOSA] } },
      says: /^input "petal" is unknown; the model accepts "input"$/,
    },
    {
      mistake: 'with an unknown signature',
      body: { signature_name: 'train', instances: [SETOSA] },
      says: /^signature_name is "train"; an ONNX model has only "serving_default"$/,
    },
    {
      mistake: 'with a duplicate key',
      body: '{"instances":[],"instances":[]}',
      says: /the same key twice/,
    },
    {
      mistake: 'with an input named __proto__',
      body: '{"inputs":{"__proto__":[[1,2,3,4]]}}',
      says: /^input "__proto__" is unknown/,
    },
  ]
  for (const { mistake, body, says } of MISTAKES) {
    test(`a request ${mistake} gets 400 and an error that explains why`, async () => {
      const { status, json } = await ask(body)
      assert.deepEqual([status, Object.keys(json)], [400, ['error']])
      assert.match(json.error as string, says)
    })
  }

  const REFUSED: readonly {
    what: string
    method: 'get' | 'post' | 'put'
    path: string
    status: number
    says: RegExp
    allow?: string
  }[] = [
    {
      what: 'a prediction of an unknown model',
      method: 'post',
      path: '/v1/models/other:predict',
      status: 404,
      says: /^model "other" is unknown; this server has "iris-classifier"$/,
    },
    {
      what: 'the readiness of an unknown model',
      method: 'get',
      path: '/v1/models/other',
      status: 404,
      says: /^model "other" is unknown/,
    },
    {
      what: 'an explanation',
      method: 'post',
      path: '/v1/models/iris-classifier:explain',
      status: 404,
      says: /unknown/,
    },
    {
      what: 'a prediction without a model name',
      method: 'post',
      path: '/v1/models/:predict',
      status: 404,
      says: /^model ":predict" is unknown/,
    },
    {
      what: 'a route that does not exist',
      method: 'get',
      path: '/v1/nothing',
      status: 404,
      says: /^not found: \/v1\/nothing /,
    },
    {
      what: 'a path in capital letters',
      method: 'get',
      path: '/V1/models',
      status: 404,
      says: /^not found: /,
    },
    {
      what: 'a path with an invalid percent encoding',
      method: 'get',
      path: '/v1/models/%zz',
      status: 400,
      says: /a % that is not followed by two hexadecimal digits/,
    },
    {
      what: 'GET of a prediction',
      method: 'get',
      path: '/v1/models/iris-classifier:predict',
      status: 405,
      says: /allowed: POST/,
      allow: 'POST, OPTIONS',
    },
    {
      what: 'POST of readiness',
      method: 'post',
      path: '/v1/models/iris-classifier',
      status: 405,
      says: /allowed: GET/,
      allow: 'GET, HEAD, OPTIONS',
    },
    {
      what: 'PUT of the models',
      method: 'put',
      path: '/v1/models',
      status: 405,
      says: /allowed: GET/,
      allow: 'GET, HEAD, OPTIONS',
    },
  ]
  for (const { what, method, path, status, says, allow } of REFUSED) {
    test(`${what} gets ${status}`, async () => {
      const answer = await supertest(iris.url)[method](path)
      assert.deepEqual(
        [answer.status, answer.headers.allow, Object.keys(answer.body)],
        [status, allow, ['error']],
      )
      assert.match(answer.body.error, says)
    })
  }

  test('form data gets 415; a body that is too large gets 413 while it is being read', async t => {
    const form = await supertest(iris.url)
      .post('/v1/models/iris-classifier:predict')
      .type('form')
      .send({ a: 1 })
    assert.equal(form.status, 415)
    const small = await startServer({ MAX_BODY_BYTES: '100' })
    t.after(small.stop)
    assert.equal(
      (await predict(small, 'iris-classifier', { instances: Array(50).fill(SETOSA) })).status,
      413,
    )
    const endless = await connect(small.port)
    endless.send(
      requestBytes('POST', '/v1/models/iris-classifier:predict', {
        'transfer-encoding': 'chunked',
      }),
    )
    endless.send(`ff\r\n${'['.repeat(255)}\r\n`)
    const { status, headers } = await endless.answer()
    assert.deepEqual([status, headers.connection], [413, 'close'])
    endless.socket.destroy()
  })

  test('OPTIONS lists the methods, and HEAD is handled like GET', async () => {
    const options = await supertest(iris.url).options('/v1/models/iris-classifier:predict')
    assert.deepEqual([options.status, options.headers.allow], [204, 'POST, OPTIONS'])
    assert.equal((await supertest(iris.url).head('/v1/models')).status, 200)
  })

  test('no response names the web framework', async () => {
    for (const path of ['/', '/v1/models', '/v2', '/nothing'])
      assert.equal((await supertest(iris.url).get(path)).headers['x-powered-by'], undefined)
  })

  test('predictions are counted in inference_requests_total', async t => {
    const own = await startServer()
    t.after(own.stop)
    await predict(own, 'iris-classifier', { instances: [SETOSA] })
    await predict(own, 'iris-classifier', {})
    const metrics = readMetrics((await supertest(own.url).get('/metrics')).text)
    const series = (status: string) =>
      `inference_requests_total{model="iris-classifier",version="v1.0.0",protocol="http",status="${status}"}`
    assert.deepEqual([metrics.get(series('success')), metrics.get(series('error'))], [1, 1])
  })
})

test('while a model loads, readiness is 503 with Retry-After, and a prediction waits', async t => {
  const own = await startServer({}, { load: false })
  t.after(own.stop)
  const ready = await supertest(own.url).get('/v1/models/iris-classifier')
  assert.deepEqual(
    [ready.status, ready.headers['retry-after'], ready.body.ready],
    [503, '1', false],
  )
  const waiting = predict(own, 'iris-classifier', { instances: [SETOSA] })
  await own.service.model.load()
  assert.equal((await waiting).status, 200)
})

test('with several inputs and outputs, rows are objects; integers above 2^53 keep their digits', async t => {
  const own = await startServer({ MODEL_DIR: testModel('two-in-two-out') })
  t.after(own.stop)
  const { name } = own.service.model
  const rows = await predict(own, name, {
    instances: [
      { a: [1, 2], b: 10 },
      { b: 9007199254740993n, a: [0.5, 0.25] },
    ],
  })
  assert.deepEqual(rows.json, {
    predictions: [
      { total: 13, doubled: 20 },
      { total: 9007199254740992n, doubled: 18014398509481986n },
    ],
  })
  const columns = await predict(own, name, { inputs: { a: [[1, 2]], b: [10] } })
  assert.deepEqual(columns.json, { outputs: { total: [13], doubled: [20] } })
  assert.deepEqual((await predict(own, name, { instances: [] })).json, { predictions: [] })
  for (const [body, says] of [
    [
      { instances: [[1, 2]] },
      /^instances\[0\] is an array of length 2; it must be an object with "a", "b"$/,
    ],
    [{ instances: [{ a: [1, 2] }] }, /^instances\[0\] has no "b"$/],
    [{ inputs: [[1, 2]] }, /^inputs is an array of length 1; it must be an object with "a", "b"$/],
    [{ inputs: { a: [[1, 2]] } }, /^input "b" is missing/],
  ] as const) {
    const { status, json } = await predict(own, name, body)
    assert.equal(status, 400)
    assert.match(json.error as string, says)
  }
})

test('an output without one row per instance is returned for "inputs", but rejected for "instances"', async t => {
  const own = await startServer({ MODEL_DIR: testModel('vector-sum') })
  t.after(own.stop)
  const { name } = own.service.model
  const rows = await predict(own, name, { instances: [1, 2, 3] })
  assert.equal(rows.status, 400)
  assert.match(
    rows.json.error as string,
    /^output "sum" has the shape \[\], not one row for each of the 3 instances; send "inputs"/,
  )
  assert.deepEqual((await predict(own, name, { inputs: [1, 2, 3] })).json, { outputs: 6 })
})

test('requests to a model with a datatype that JSON cannot represent get 400, and the error suggests V2', async t => {
  for (const [model, says] of [
    ['identity-fp16', /is FP16, which JSON cannot represent; use V2/],
    ['fp16-out', /is FP16, which JSON cannot represent; use V2/],
  ] as const) {
    const own = await startServer({ MODEL_DIR: testModel(model) })
    t.after(own.stop)
    const { status, json } = await predict(own, own.service.model.name, { instances: [[1]] })
    assert.equal(status, 400)
    assert.match(json.error as string, says)
  }
})

test('a large body is handled like a small one up to MAX_JSON_BYTES, which the error names', async t => {
  const server = await startServer({ MAX_JSON_BYTES: '1000000' })
  t.after(server.stop)
  const ask = (body: unknown) => predict(server, 'iris-classifier', body)
  const rows = Array.from({ length: 5_000 }, (_, i) => (i % 2 === 0 ? SETOSA : VIRGINICA))
  const small = (await ask({ instances: [SETOSA, VIRGINICA] })).json.predictions as unknown[]
  const padding = ' '.repeat(200_000)
  const byRows = await ask(`{"instances":${JSON.stringify(rows)}${padding}}`)
  assert.equal(byRows.status, 200)
  const predictions = byRows.json.predictions as unknown[]
  assert.deepEqual([predictions.length, predictions.slice(-2)], [5_000, small])
  const objects = { instances: rows.map(input => ({ input })) }
  assert.deepEqual((await ask(objects)).json, byRows.json)
  const byColumns = await ask({ inputs: { input: [...rows, ...rows].slice(0, 6_001) } })
  const { predicted_class: classes } = byColumns.json.outputs as { predicted_class: string[] }
  assert.deepEqual([classes.length, classes.at(-1)], [6_001, 'setosa'])

  const tooLarge = await ask(`{"instances":[]${' '.repeat(1_000_000)}}`)
  assert.equal(tooLarge.status, 413)
  assert.match(
    tooLarge.json.error as string,
    /^1000016 bytes of JSON exceed the 1000000 bytes allowed \(MAX_JSON_BYTES\)/,
  )
  const answer = await ask({ inputs: new Array(30_000).fill([1, 2, 3, 4]) })
  assert.equal(answer.status, 413, answer.json.error as string)
  assert.match(answer.json.error as string, /^the response as JSON is larger .*MAX_JSON_BYTES/)
})

test('counts one error for a V1 request to a transform if the request cannot be read', async t => {
  const own = await startServer({ TRANSFORM: author('fields.ts'), MAX_JSON_BYTES: '1000' })
  t.after(own.stop)
  const counts = async (protocol: string) => {
    const metrics = readMetrics((await supertest(own.url).get('/metrics')).text)
    return metrics.get(
      `inference_requests_total{model="iris-classifier",version="v1.0.0",protocol="${protocol}",status="error"}`,
    )
  }
  const large = JSON.stringify({ instances: ['x'.repeat(1000)] })
  for (const [i, body] of ['{', '{"inputs":[]}', '{"instances":[}', large].entries()) {
    assert.ok((await predict(own, 'iris-classifier', body)).status >= 400)
    assert.equal(await counts('http'), i + 1, body)
  }
  const url = `${own.url}/v1/models/iris-classifier:predict`
  refusal(400, await SEND.binary(url, { ...EVENT, data: {} }))
  assert.equal(await counts('cloudevent'), 1)
})

test('each instance of a V1 request to a transform has its own spans', async t => {
  const receiver = await startReceiver()
  t.after(receiver.close)
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
  const own = await startServer({ ...env, TRANSFORM: author('any.ts') })
  t.after(own.stop)
  await predict(own, 'iris-classifier', { instances: [{ waits: 20 }, { throws: 'bad' }] })
  await predict(own, 'iris-classifier', { instances: [{ waits: 20 }, {}] })
  // The exporters read the environment directly.
  Object.assign(process.env, env)
  await endPush(startPush(own.service, own.config), 10_000)
  delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT
  const { spans } = receiver
  const instances = spans.filter(({ name }) => name === 'instance')
  assert.deepEqual(
    instances.map(({ attributes }) => attributes['error.type']),
    ['DEADLINE_PASSED', 'BAD_REQUEST', undefined, undefined],
  )
  for (const { traceId, parentSpanId, spanId } of instances.slice(2)) {
    const [server] = spans.filter(({ spanId }) => spanId === parentSpanId)
    assert.deepEqual([server?.kind, server?.traceId], ['server', traceId])
    const parts = spans.filter(({ parentSpanId }) => parentSpanId === spanId)
    assert.deepEqual(
      parts.map(({ name }) => name),
      ['decode', 'preprocess', 'queue', 'run', 'postprocess'],
    )
    assert.ok(parts.every(({ began, ended }) => began <= ended))
  }
})

test('the predictions of a transform may not exceed MAX_JSON_BYTES together', async t => {
  const server = await startServer({ TRANSFORM: author('any.ts'), MAX_JSON_BYTES: '2000' })
  t.after(server.stop)
  const ask = (count: number) =>
    predict(server, 'iris-classifier', { instances: new Array(count).fill({ give: 'model' }) })
  assert.equal((await ask(2)).status, 200)
  const { status, json } = await ask(20)
  assert.equal(status, 413)
  assert.match(json.error as string, /2000 bytes allowed \(MAX_JSON_BYTES\); send fewer instances/)
})

test('a model that fails on a valid request gets 500', async t => {
  const own = await startServer({ MODEL_DIR: testModel('failing') })
  t.after(own.stop)
  const { cases, fails } = readCases('failing')
  const columns = (inputs: readonly WrittenTensor[]) => ({
    inputs: Object.fromEntries(inputs.map(tensor => [tensor.name, nest(tensor)])),
  })
  assert.equal(
    (await predict(own, own.service.model.name, columns((cases[0] as Case).inputs))).status,
    200,
  )
  const { status, json } = await predict(
    own,
    own.service.model.name,
    columns(((fails as Case[])[0] as Case).inputs),
  )
  assert.deepEqual([status, Object.keys(json)], [500, ['error']])
})

interface Case {
  readonly name: string
  readonly inputs: readonly WrittenTensor[]
  readonly outputs: readonly WrittenTensor[]
}

const readCases = (model: string) =>
  parseExactly(readFileSync(`${testModel(model)}/cases.json`, 'utf8')) as {
    readonly cases: readonly Case[]
    readonly fails?: readonly Case[]
  }

const elements = (shape: readonly number[]) =>
  shape.reduce((product, dimension) => product * dimension, 1)

function nest({ shape, data }: Pick<WrittenTensor, 'shape' | 'data'>): unknown {
  const [length, ...inner] = shape
  const all = data ?? []
  if (length === undefined) return all[0]
  const size = elements(inner)
  return Array.from({ length }, (_, i) =>
    nest({ shape: inner, data: all.slice(i * size, (i + 1) * size) }),
  )
}

/** V1 cannot represent the shape of an empty tensor, FP16, or bytes that are not text. */
const isSayable = ({ inputs, outputs }: Case) =>
  inputs.every(({ shape, data }) => elements(shape) > 0 && data !== undefined) &&
  outputs.every(({ data }) => data !== undefined)

const byName = (tensors: readonly WrittenTensor[], value: (tensor: WrittenTensor) => unknown) => {
  const [only, ...others] = tensors
  return only !== undefined && others.length === 0
    ? value(only)
    : Object.fromEntries(tensors.map(tensor => [tensor.name, value(tensor)]))
}

const MODELS = readdirSync(testModel('.')).filter(
  model => existsSync(`${testModel(model)}/cases.json`) && readCases(model).cases.some(isSayable),
)

for (const model of MODELS) {
  test(`V1 returns the values of V2 for ${model}, nested`, async t => {
    const server = await startServer({ MODEL_DIR: testModel(model) })
    t.after(server.stop)
    const { name } = server.service.model
    for (const { name: what, inputs } of readCases(model).cases.filter(isSayable)) {
      const v2 = await supertest(server.url)
        .post(`/v2/models/${name}/infer`)
        .set('Content-Type', 'application/json')
        .send(writeExactly({ inputs }))
      const { outputs } = parseExactly(v2.text) as { outputs?: readonly WrittenTensor[] }
      const columns = await predict(server, name, {
        inputs: Object.fromEntries(inputs.map(tensor => [tensor.name, nest(tensor)])),
      })
      if (outputs === undefined) {
        assert.deepEqual(columns.status, v2.status === 400 ? 400 : v2.status, what)
        continue
      }
      assert.equal(
        writeExactly(columns.json),
        writeExactly({ outputs: byName(outputs, nest) }),
        what,
      )

      const rows = inputs[0]?.shape[0]
      if (rows === undefined || [...inputs, ...outputs].some(({ shape }) => shape[0] !== rows))
        continue
      const instances = Array.from({ length: rows }, (_, row) =>
        Object.fromEntries(inputs.map(tensor => [tensor.name, (nest(tensor) as unknown[])[row]])),
      )
      const predictions = Array.from({ length: rows }, (_, row) =>
        byName(outputs, tensor => (nest(tensor) as unknown[])[row]),
      )
      assert.equal(
        writeExactly((await predict(server, name, { instances })).json),
        writeExactly({ predictions }),
        what,
      )
    }
  })
}
