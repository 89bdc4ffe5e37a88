import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { after, before, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { onPredictor, type Server, startServer, testModel } from '../server.ts'
import { Document, type Example, readDocument, sendExample } from './document.ts'

/** An array of numbers, with names for the values that JSON's numbers cannot express. */
const FLAT = {
  type: 'array',
  items: {
    anyOf: [{ type: 'number', format: 'float' }, { enum: ['NaN', 'Infinity', '-Infinity'] }],
  },
}

const fields = fileURLToPath(new URL('../transform/authors/fields.ts', import.meta.url))

/**
 * Each model tests one property of the examples: datatypes, ranks, the number of tensors, or values
 * that JSON cannot express.
 */
const MODELS: Readonly<Record<string, Record<string, string>>> = {
  iris: {},
  'a transform': { TRANSFORM: fields, EXECUTION: 'inline' },
  'the other iris': { MODEL_DIR: 'models/iris/v2.0.0' },
  ...Object.fromEntries(
    [
      'two-in-two-out',
      'same-dimension',
      'scalar',
      'unknown-rank',
      'no-batch',
      'middle',
      'identity-bool',
      'identity-bytes',
      'identity-fp16',
      'identity-int64',
      'fp16-out',
      'big-int-out',
      'specials',
    ].map(name => [name, { MODEL_DIR: testModel(name) }]),
  ),
  'a model whose name and version need quoting': {
    MODEL_NAME: 'a {b} "c"~1%?',
    MODEL_VERSION: '§ 1',
  },
}

for (const [name, env] of Object.entries(MODELS)) {
  describe(`the OpenAPI document of ${name}`, () => {
    let server: Server
    let document: Document
    before(async () => {
      server = await startServer(env)
      document = await readDocument(server.url)
    })
    after(() => server.stop())

    test('has examples that match its schemas, and each example gets the described response with 200', async () => {
      const examples = document.examples()
      assert.ok(examples.some(({ operation }) => operation.operationId === 'infer'))
      for (const example of examples) {
        document.checkRequest(example)
        const answer = await sendExample(server.url, example)
        assert.equal(answer.status, 200, `${example.name}: ${await answer.clone().text()}`)
        await document.check(answer, example.operation)
      }
    })

    test('has no reference without a target', () => {
      for (const [, ref] of JSON.stringify(document.json).matchAll(/"\$ref":"([^"]*)"/g))
        document.resolve({ $ref: ref })
    })

    test('lists exactly the methods that each path allows', async () => {
      for (const [path, methods] of Object.entries(document.json.paths)) {
        const { headers } = await fetch(server.url + path, { method: 'OPTIONS' })
        const taken = headers
          .get('allow')
          ?.split(', ')
          .filter(method => method !== 'HEAD' && method !== 'OPTIONS')
        assert.deepEqual(
          taken?.sort(),
          Object.keys(methods)
            .map(method => method.toUpperCase())
            .sort(),
          path,
        )
      }
    })
  })
}

describe('the OpenAPI document', () => {
  let server: Server
  let document: Document
  before(async () => {
    server = await startServer()
    document = await readDocument(server.url)
  })
  after(() => server.stop())

  test('describes every path of the server', () => {
    const model = '/v2/models/iris-classifier'
    const paths = [
      '/',
      '/docs',
      '/health',
      '/health/liveness',
      '/health/readiness',
      '/metrics',
      '/openapi.json',
      '/ready',
      '/v2',
      '/v2/health/live',
      '/v2/health/ready',
      '/v2/models',
      ...[
        '',
        '/config',
        '/infer',
        '/ready',
        '/stats',
        '/versions/v1.0.0',
        '/versions/v1.0.0/config',
        '/versions/v1.0.0/infer',
        '/versions/v1.0.0/ready',
        '/versions/v1.0.0/stats',
      ].map(end => model + end),
      '/v2/models/stats',
      '/v2/repository/index',
    ]
    const v1 = ['', '/iris-classifier', '/iris-classifier:predict'].map(end => `/v1/models${end}`)
    assert.deepEqual(
      Object.keys(document.json.paths).sort(),
      [...paths, ...(onPredictor ? v1 : [])].sort(),
    )
  })

  test('is an OpenAPI 3.1 document with the name and version of the model', () => {
    const { openapi, info } = document.json as unknown as {
      openapi: string
      info: Record<string, string>
    }
    assert.deepEqual([openapi, info.title, info.version], ['3.1.0', 'iris-classifier', 'v1.0.0'])
  })

  test('gives each operation a unique id, a summary, a tag with a description, and a response for 405', () => {
    const ids = document.operations.map(({ operationId }) => operationId)
    assert.deepEqual(ids, [...new Set(ids)])
    const tags = new Set((document.json.tags as { name: string }[]).map(({ name }) => name))
    for (const { operationId, tags: own, responses, ...rest } of document.operations) {
      assert.ok(
        operationId && 'summary' in rest && own.every(tag => tags.has(tag)) && responses[405],
        operationId,
      )
    }
  })

  test('describes the name, shape and datatype of the model’s input', () => {
    const { InferenceRequest } = (document.json.components as { schemas: Record<string, unknown> })
      .schemas
    const { items } = (
      InferenceRequest as { properties: { inputs: { items: { properties: unknown } } } }
    ).properties.inputs
    assert.deepEqual(items.properties, {
      name: { const: 'input' },
      shape: {
        type: 'array',
        description: '[batch, 4]',
        minItems: 2,
        maxItems: 2,
        items: { type: 'integer', minimum: 0 },
      },
      datatype: { const: 'FP32' },
      parameters: {
        type: ['object', 'null'],
        additionalProperties: { type: ['string', 'number', 'boolean', 'null'] },
      },
      data: {
        description:
          'Elements in row-major order, flat or nested to match the shape: numbers in the range of FP32, or "NaN", "Infinity", "-Infinity".',
        anyOf: [FLAT, { type: 'array', items: FLAT }],
      },
    })
  })

  test('has a schema that refuses the same requests as the server', async () => {
    const [request] = document.examples().filter(({ name }) => name === 'infer request')
    assert.ok(request)
    const good = JSON.parse(`${request.body}`)
    const [input] = good.inputs
    for (const wrong of [
      { ...good, id: 1 },
      { ...good, inputs: [] },
      { ...good, inputs: [input, input] },
      { ...good, outputs: [{ name: 'other' }] },
      ...[
        { name: 'other' },
        { datatype: 'FP64' },
        { shape: [4] },
        { shape: [-1, 4] },
        { data: ['a', 0, 0, 0] },
      ].map(change => ({ ...good, inputs: [{ ...input, ...change }] })),
    ]) {
      const example: Example = { ...request, body: Buffer.from(JSON.stringify(wrong)) }
      assert.throws(() => document.checkRequest(example), JSON.stringify(wrong))
      assert.equal((await sendExample(server.url, example)).status, 400)
    }
  })

  test('has no example if the model\u2019s inputs are too large to show', async () => {
    const { openApi } = await import('../../function/http/pages/openapi.ts')
    const tensor = { name: 'pixels', datatype: 'FP32', shape: [3, 224, 224] } as const
    const metadata = { ...tensor, dimensionNames: ['', '', ''], anyRank: false }
    const described = openApi(
      { name: 'large', version: undefined, description: undefined },
      {
        signature: { inputs: [metadata], outputs: [metadata] },
        example: [{ ...tensor, data: new Float32Array(3 * 224 * 224) }],
      },
      { playground: true, auth: undefined, metricsPort: undefined },
    )
    assert.deepEqual(
      new Document(described).examples().filter(({ body }) => body !== undefined),
      [],
    )
  })
})

describe('the OpenAPI document of a server with authentication', () => {
  const SECRET = 'a-secret-of-the-tests'
  const authorization = `Bearer ${SECRET}`
  const fetchDocument = async ({ url }: Server) =>
    new Document(
      (await (await fetch(`${url}/openapi.json`, { headers: { authorization } })).json()) as Record<
        string,
        unknown
      >,
    )

  test('requires the bearer token and describes the response without a token, for every route except health', async t => {
    const server = await startServer({ AUTH_SECRET: SECRET })
    t.after(server.stop)
    const document = await fetchDocument(server)
    const { security, components } = document.json as unknown as Record<string, unknown> & {
      components: Record<string, unknown>
    }
    assert.deepEqual(
      [security, components.securitySchemes],
      [[{ bearer: [] }], { bearer: { type: 'http', scheme: 'bearer' } }],
    )
    for (const id of [
      'infer',
      'receive',
      'root',
      'modelMetadata',
      'serverMetadata',
      'metrics',
      'openApi',
      'docs',
      'live',
      'ready',
      'health',
    ]) {
      const operation = document.operation(id)
      const answer = await fetch(server.url + operation.path, { method: operation.method })
      const isHealth = ['live', 'ready', 'health'].includes(id)
      assert.equal(answer.status, isHealth ? 200 : 401, id)
      await document.check(answer, operation)
    }
  })

  test('does not mention authentication if it is not configured', async t => {
    const server = await startServer()
    t.after(server.stop)
    const text = await (await fetch(`${server.url}/openapi.json`)).text()
    assert.doesNotMatch(text, /"security":\[\{|"40[13]":/)
  })
})

describe('an error response matches the OpenAPI document:', () => {
  const servers: Server[] = []
  after(() => Promise.all(servers.map(server => server.stop())))

  async function start(
    env: Record<string, string> = {},
    options?: { load: boolean },
  ): Promise<Server> {
    const server = await startServer(env, options)
    servers.push(server)
    return server
  }

  async function check(
    server: Server,
    document: Document,
    id: string,
    expected: number,
    request: RequestInit = {},
    path?: string,
  ) {
    const operation = document.operation(id)
    const answer = await fetch(server.url + (path ?? operation.path), {
      method: operation.method,
      ...request,
    })
    assert.equal(answer.status, expected, await answer.clone().text())
    await document.check(answer, operation)
  }

  const json = { 'content-type': 'application/json' }
  const eventHeaders = {
    'ce-specversion': '1.0',
    'ce-id': '1',
    'ce-source': '/test',
    'ce-type': 'test',
    ...json,
  }

  test('400, 404, 405 and 415', async () => {
    const server = await start()
    const document = await readDocument(server.url)
    await check(server, document, 'infer', 400, { body: '{}', headers: json })
    await check(server, document, 'receive', 400, { body: '{}', headers: eventHeaders })
    await check(server, document, 'infer', 404, { body: '{}' }, '/v2/models/other/infer')
    await check(
      server,
      document,
      'modelMetadata',
      404,
      {},
      '/v2/models/iris-classifier/versions/other',
    )
    for (const { operationId } of document.operations)
      await check(server, document, operationId, 405, { method: 'DELETE' })
    await check(server, document, 'infer', 415, {
      body: '{}',
      headers: { 'content-type': 'text/plain' },
    })
    await check(server, document, 'receive', 415, {
      body: '{}',
      headers: { 'content-type': 'application/cloudevents+xml' },
    })
  })

  test('413', async () => {
    const server = await start({ MAX_BODY_BYTES: '10' })
    const document = await readDocument(server.url)
    await check(server, document, 'infer', 413, { body: 'more than ten bytes' })
    await check(server, document, 'receive', 413, { body: 'more than ten bytes' })
  })

  test('500 for a request and 422 for an event on which the model fails', async () => {
    const server = await start({ MODEL_DIR: testModel('failing') })
    const document = await readDocument(server.url)
    const { fails } = JSON.parse(readFileSync(`${testModel('failing')}/cases.json`, 'utf8'))
    const body = JSON.stringify({ inputs: fails[0].inputs })
    await check(server, document, 'infer', 500, { body, headers: json })
    await check(server, document, 'receive', 500, { body, headers: json })
    await check(server, document, 'receive', 422, { body, headers: eventHeaders })
  })

  test('503 if the model does not accept requests, and 504 if the model is not loaded in time', async () => {
    const described = await start()
    const document = await readDocument(described.url)
    described.service.model.retire()
    for (const id of ['ready', 'readiness', 'readyStatus', 'modelReady', 'modelReadyOfVersion'])
      await check(described, document, id, 503)
    const loading = await start({ REQUEST_TIMEOUT_MS: '50' }, { load: false })
    for (const id of ['modelMetadata', 'openApi']) await check(loading, document, id, 504)
    await check(loading, document, 'infer', 504, { body: '{}', headers: json })
    await check(loading, document, 'root', 504, { headers: { accept: 'text/html' } })
    const failed = await start(
      { MODEL_DIR: testModel('broken'), MODEL_NAME: 'iris-classifier', MODEL_VERSION: 'v1.0.0' },
      { load: false },
    )
    await assert.rejects(failed.service.model.load())
    for (const id of ['modelMetadata', 'openApi']) await check(failed, document, id, 503)
    await check(failed, document, 'infer', 503, { body: '{}', headers: json })
  })
})
