import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, test } from 'node:test'
import faas, { type Function as RuntimeFunction } from 'faas-js-runtime'
import * as knativeFunction from '../function/index.ts'
import {
  type Answer,
  assertAcknowledged,
  BATCHED,
  EVENT,
  type EventJson,
  IRIS,
  post,
  refusal,
  replyIn,
  SEND,
  STRUCTURED,
  sdkEvents,
  without,
} from './events/events.ts'
import { INHERITED, projectFolder, startServer, testModel } from './server.ts'
import { startReceiver } from './telemetry/receiver.ts'

interface Runtime {
  readonly url: string
  readonly process: ChildProcess
}

async function startRuntime(
  env: Record<string, string> = {},
  cwd = projectFolder,
): Promise<Runtime> {
  const cli = join(projectFolder, 'node_modules/faas-js-runtime/bin/cli.js')
  const child = spawn(process.execPath, [cli, join(projectFolder, 'function/index.ts')], {
    cwd,
    env: {
      ...INHERITED,
      FUNC_PORT: '0',
      FUNC_LOG_LEVEL: 'info',
      LOG_LEVEL: 'silent',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const port = await new Promise<string>((resolve, reject) => {
    // Keep reading: a full pipe would block the process.
    createInterface({ input: child.stdout }).on('line', line => {
      const port = /Server listening at .*:(\d+)/.exec(line)?.[1]
      if (port !== undefined) resolve(port)
    })
    child.once('exit', () => reject(new Error('the runtime exited before it listened')))
  })
  return { url: `http://127.0.0.1:${port}`, process: child }
}

async function stopRuntime({ process }: Runtime): Promise<void> {
  process.kill('SIGTERM')
  assert.deepEqual(await once(process, 'exit'), [0, null])
}

const JSON_TYPE = { 'content-type': 'application/json' }
const CE = { 'ce-specversion': '1.0', 'ce-id': '1', 'ce-source': '/garden', 'ce-type': 'x.request' }

/** Like {@link refusal}, but the runtime adds a charset to the content type. */
function refused(status: number, answer: Answer): string {
  assert.equal(answer.headers['content-type'], 'application/json; charset=utf-8')
  return refusal(status, {
    ...answer,
    headers: { ...answer.headers, 'content-type': 'application/json' },
  })
}

/** Like {@link replyIn}, but the runtime adds a charset to the content type. */
const reply = (mode: 'binary' | 'structured', answer: Answer): EventJson =>
  replyIn(mode, {
    ...answer,
    headers: {
      ...answer.headers,
      'content-type': String(answer.headers['content-type']).replace(
        'application/json; charset=utf-8',
        'application/json',
      ),
    },
  })

describe('the function under the command faas-js-runtime', () => {
  let runtime: Runtime
  before(async () => {
    runtime = await startRuntime()
  })
  after(() => stopRuntime(runtime))

  test('returns the server metadata for GET /', async () => {
    const answer = await fetch(runtime.url)
    assert.equal(answer.status, 200)
    assert.deepEqual(Object.keys((await answer.json()) as object), [
      'name',
      'version',
      'extensions',
    ])
  })

  test('serves an inference request without an event at /', async () => {
    const answer = await post(runtime.url, JSON_TYPE, JSON.stringify({ id: 'r', ...IRIS }))
    assert.equal(answer.status, 200, answer.text)
    const { id, model_name, outputs } = JSON.parse(answer.text)
    assert.deepEqual([id, model_name, outputs[1].data], ['r', 'iris-classifier', ['setosa']])
  })

  test('answers a binary request with a binary response', async () => {
    const tensor = Buffer.from(Float32Array.of(5.1, 3.5, 1.4, 0.2).buffer)
    const json = JSON.stringify({
      inputs: [
        {
          name: 'input',
          shape: [1, 4],
          datatype: 'FP32',
          parameters: { binary_data_size: tensor.byteLength },
        },
      ],
      outputs: [{ name: 'probabilities', parameters: { binary_data: true } }],
    })
    const headers = {
      'content-type': 'application/octet-stream',
      'inference-header-content-length': String(json.length),
    }
    const answer = await post(runtime.url, headers, Buffer.concat([Buffer.from(json), tensor]))
    assert.deepEqual(
      [answer.status, answer.headers['content-type']],
      [200, 'application/octet-stream'],
    )
    const length = Number(answer.headers['inference-header-content-length'])
    assert.equal(answer.bytes.length - length, 3 * 4)
    assert.ok(answer.bytes.readFloatLE(length) > 0.9)

    const event = await post(
      runtime.url,
      { ...CE, ...headers },
      Buffer.concat([Buffer.from(json), tensor]),
    )
    assert.deepEqual(event.bytes, answer.bytes)
    assert.equal(sdkEvents(event)[0]?.type, 'x.response')
  })

  for (const mode of ['binary', 'structured'] as const) {
    test(`replies to an event in ${mode} mode with the same event as npm start`, async () => {
      const host = await startServer()
      try {
        const event = {
          ...EVENT,
          id: 'Größe "1" %41',
          correlationid: 'ü',
          traceparent: '00-1-2-01',
        }
        assert.deepEqual(
          reply(mode, await SEND[mode](runtime.url, event)),
          replyIn(mode, await SEND[mode](host.url, event)),
        )
      } finally {
        await host.stop()
      }
    })
  }

  test('replies to an event whose data is Base64', async () => {
    const base64 = Buffer.from(JSON.stringify(IRIS)).toString('base64')
    assert.equal(
      reply(
        'structured',
        await SEND.structured(runtime.url, { ...without('data'), data_base64: base64 }),
      ).subject,
      'flower-1',
    )
  })

  test('acknowledges its own events and the events of KServe’s logger', async () => {
    for (const own of [
      { source: '/onnx-function/iris-classifier' },
      { type: 'org.kubeflow.serving.inference.request' },
    ]) {
      for (const mode of ['binary', 'structured'] as const) {
        const answer = await SEND[mode](runtime.url, { ...EVENT, ...own })
        const { 'content-type': _, ...headers } = answer.headers
        assertAcknowledged({ ...answer, headers })
      }
    }
  })

  const MISTAKES: readonly [
    what: string,
    status: number,
    headers: Record<string, string>,
    body: string,
  ][] = [
    ['an invalid request', 400, JSON_TYPE, '{"instances":[]}'],
    ['a number', 400, JSON_TYPE, '42'],
    ['null', 400, JSON_TYPE, 'null'],
    ['no body', 400, {}, ''],
    ['an unknown media type', 415, { 'content-type': 'text/plain' }, JSON.stringify(IRIS)],
    ['a form', 415, { 'content-type': 'application/x-www-form-urlencoded' }, 'inputs=1'],
    ['an event without data', 400, CE, ''],
    ['an event whose data is not a request', 400, { ...CE, ...JSON_TYPE }, '{"inputs":5}'],
    ['an event without an id', 400, { ...CE, ...JSON_TYPE, 'ce-id': '' }, JSON.stringify(IRIS)],
    [
      'an event with specversion 0.3',
      400,
      { ...CE, ...JSON_TYPE, 'ce-specversion': '0.3' },
      JSON.stringify(IRIS),
    ],
    [
      'an event with an invalid time',
      400,
      { ...CE, ...JSON_TYPE, 'ce-time': 'yesterday' },
      JSON.stringify(IRIS),
    ],
    [
      'an event with an id that would break a header',
      400,
      { ...CE, ...JSON_TYPE, 'ce-id': '%0D%0Aa:b' },
      JSON.stringify(IRIS),
    ],
    [
      'a structured event that is cut off',
      400,
      { 'content-type': STRUCTURED },
      JSON.stringify(EVENT).slice(1),
    ],
    [
      'a structured event without an id',
      400,
      { 'content-type': STRUCTURED },
      JSON.stringify(without('id')),
    ],
    [
      'a structured event with specversion 2.0',
      400,
      { 'content-type': STRUCTURED },
      JSON.stringify({ ...EVENT, specversion: '2.0' }),
    ],
    [
      'a structured event with false as data',
      400,
      { 'content-type': STRUCTURED },
      JSON.stringify({ ...EVENT, data: false }),
    ],
    [
      'a structured event with an invalid time',
      400,
      { 'content-type': STRUCTURED },
      JSON.stringify({ ...EVENT, time: 'yesterday' }),
    ],
    [
      'an event format that is not supported',
      415,
      { 'content-type': 'application/cloudevents+avro' },
      'x',
    ],
  ]
  for (const [mistake, status, headers, body] of MISTAKES) {
    test(`refuses ${mistake} with ${status}`, async () => {
      refused(status, await post(runtime.url, headers, body))
    })
  }

  test('ignores query parameters, which the runtime copies into its context', async () => {
    for (const query of ['cloudevent=1', 'cloudevent=1&cloudevent=2', 'headers=1', 'log=1']) {
      const { status, text } = await post(
        `${runtime.url}/?${query}`,
        JSON_TYPE,
        JSON.stringify(IRIS),
      )
      assert.deepEqual([query, status], [query, 200], text)
    }
    refused(400, await post(`${runtime.url}/?body=1`, JSON_TYPE, JSON.stringify(IRIS)))
  })

  test('returns x-request-id, and forbids browsers to guess the media type', async () => {
    const { headers } = await fetch(runtime.url, { headers: { 'x-request-id': '7' } })
    const names = ['x-request-id', 'x-content-type-options']
    assert.deepEqual(
      names.map(name => headers.get(name)),
      ['7', 'nosniff'],
    )
  })

  test('reports at the health paths that it is live and ready', async () => {
    assert.deepEqual(await (await fetch(`${runtime.url}/health/liveness`)).json(), { live: true })
    assert.deepEqual(await (await fetch(`${runtime.url}/health/readiness`)).json(), {
      live: true,
      ready: true,
    })
  })

  test('returns an error for a batch, on which the runtime fails, so that the batch does not count as delivered', async () => {
    const { status } = await post(runtime.url, { 'content-type': BATCHED }, JSON.stringify([EVENT]))
    assert.ok(status >= 400, String(status))
  })
})

describe('an INT64 model under faas-js-runtime with a func.yaml', () => {
  const FUNC_YAML = `specVersion: 0.36.0
name: iris
runtime: typescript
created: 2030-01-01T00:00:00Z
build:
  builder: pack
run:
  envs:
  - name: LOG_LEVEL
    value: info
deploy:
  healthEndpoints:
    liveness: /health/liveness
    readiness: /health/readiness
`
  let folder: string
  let runtime: Runtime
  before(async () => {
    folder = mkdtempSync(join(tmpdir(), 'function-'))
    writeFileSync(join(folder, 'func.yaml'), FUNC_YAML)
    runtime = await startRuntime({ MODEL_DIR: testModel('identity-int64') }, folder)
  })
  after(async () => {
    await stopRuntime(runtime)
    rmSync(folder, { recursive: true })
  })

  const request = (number: string) =>
    `{"inputs":[{"name":"x","datatype":"INT64","shape":[1],"data":[${number}]}]}`
  const ATTRIBUTES = JSON.stringify(without('data')).slice(0, -1)
  const BIG = '9007199254740993'
  const base64 = Buffer.from(request(BIG)).toString('base64')

  test('refuses an integer that the runtime’s parser has rounded, instead of using the rounded value', async () => {
    for (const headers of [JSON_TYPE, { ...CE, ...JSON_TYPE }]) {
      assert.match(refused(400, await post(runtime.url, headers, request(BIG))), /9007199254740992/)
      assert.match(
        (await post(runtime.url, headers, request('9007199254740991'))).text,
        /"data":\[9007199254740991\]/,
      )
    }
  })

  const EXACT: readonly [way: string, headers: Record<string, string>, body: string][] = [
    ['a structured event', { 'content-type': STRUCTURED }, `${ATTRIBUTES},"data":${request(BIG)}}`],
    ['Base64', { 'content-type': STRUCTURED }, `${ATTRIBUTES},"data_base64":"${base64}"}`],
    [
      'a binary event with a JSON media type other than application/json',
      { ...CE, 'content-type': 'application/vnd.example+json' },
      request(BIG),
    ],
    [
      'a binary body',
      {
        'content-type': 'application/octet-stream',
        'inference-header-content-length': String(request(BIG).length),
      },
      request(BIG),
    ],
  ]
  for (const [way, headers, body] of EXACT) {
    test(`receives the exact integer from ${way}`, async () => {
      assert.match((await post(runtime.url, headers, body)).text, /"data":\[9007199254740993\]/)
    })
  }
})

describe('a model that fails, under faas-js-runtime’s start()', () => {
  test('returns status 422 for an event and 500 for a request, as JSON', async () => {
    process.env.MODEL_DIR = testModel('failing')
    process.env.LOG_LEVEL = 'silent'
    // The port is a string, because the runtime replaces the number 0 with its default. The
    // runtime's types allow neither a string nor the method code() of its replies.
    const func = knativeFunction as unknown as RuntimeFunction
    const server = await faas.start(func, {
      port: '0' as unknown as number,
      logLevel: 'silent' as never,
    })
    try {
      const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
      const data = { inputs: [{ name: 'index', datatype: 'INT64', shape: [1], data: [99] }] }
      for (const mode of ['binary', 'structured'] as const)
        refused(422, await SEND[mode](url, { ...EVENT, data }))
      refused(500, await post(url, JSON_TYPE, JSON.stringify(data)))
      await knativeFunction.shutdown()
      const { status, text } = await fetch(`${url}/health/readiness`).then(async answer => ({
        status: answer.status,
        text: await answer.text(),
      }))
      assert.deepEqual(
        [status, JSON.parse(text)],
        [503, { live: true, ready: false, error: 'the process is shutting down' }],
      )
      assert.equal((await fetch(`${url}/health/liveness`)).status, 200)
    } finally {
      server.closeAllConnections()
      server.close()
    }
  })
})

describe('the function contract', () => {
  /** Calls a handler as the runtime does. @returns the status and the body */
  const health = (handler: (request: unknown, reply: Reply) => unknown) => {
    let answer: unknown
    const reply: Reply = { code: status => ({ send: body => (answer = [status, body]) }) }
    handler({}, reply)
    return answer
  }
  type Reply = Parameters<typeof knativeFunction.liveness>[1]

  /** A new copy of the module, on which init has not been called. */
  const fresh = (): Promise<typeof knativeFunction> => import(`../function/index.ts?${++instances}`)
  let instances = 0

  function withEnv(env: Record<string, string>): void {
    process.env.LOG_LEVEL = 'silent'
    delete process.env.MODEL_DIR
    Object.assign(process.env, env)
  }

  test('before init, the function is live but not ready, and handle rejects with the reason', async () => {
    const { handle, liveness, readiness, shutdown } = await fresh()
    assert.deepEqual(health(liveness), [200, { live: true }])
    assert.deepEqual(health(readiness), [
      503,
      { live: true, ready: false, error: 'init has not been called' },
    ])
    await assert.rejects(handle({ method: 'GET', headers: {} }), /init has not been called/)
    await shutdown()
  })

  const FAILING: readonly [why: string, env: Record<string, string>, says: RegExp][] = [
    [
      'there is no model',
      { MODEL_DIR: '/nowhere' },
      /^no model: MODEL_DIR \/nowhere cannot be read \(ENOENT\)$/,
    ],
    ['the model is broken', { MODEL_DIR: testModel('broken') }, /^.+$/],
    [
      'authentication is configured',
      { AUTH_SECRET: 'sixteen-and-more' },
      /^variables that begin with AUTH_ have no effect in this runtime/,
    ],
    [
      'TLS is configured',
      { TLS_CERT_FILE: '/a', TLS_KEY_FILE: '/b' },
      /^variables that begin with TLS_ have no effect in this runtime/,
    ],
    [
      'a variable is invalid',
      { PORT: 'x' },
      /^PORT is "x"; it must be an integer from 0 to 65535$/,
    ],
  ]
  for (const [why, env, says] of FAILING) {
    test(`init rejects with a one-line message if ${why}, and the function is not ready`, async () => {
      const { init, readiness } = await fresh()
      withEnv(env)
      await assert.rejects(init(), { message: says })
      assert.equal((health(readiness) as [number])[0], 503)
      for (const name of Object.keys(env)) delete process.env[name]
    })
  }

  test('from init to shutdown, the function is ready and serves requests; then it is not ready', async () => {
    const { handle, init, readiness, shutdown } = await fresh()
    withEnv({})
    await init()
    assert.deepEqual(health(readiness), [200, { live: true, ready: true }])

    assert.equal(
      JSON.parse(String((await handle({ method: 'GET', headers: {} })).body)).name,
      'onnx-function',
    )
    const bodies = [IRIS, JSON.stringify(IRIS), Buffer.from(JSON.stringify(IRIS))]
    for (const body of bodies) {
      const answer = await handle({ method: 'POST', headers: JSON_TYPE, body })
      assert.equal(answer.statusCode, 200)
      assert.match(String(answer.body), /setosa/)
    }
    for (const body of bodies) {
      const answer = await handle({ method: 'POST', headers: { ...CE, ...JSON_TYPE }, body })
      assert.deepEqual([answer.statusCode, answer.headers['ce-type']], [200, 'x.response'])
    }
    for (const body of [undefined, null, '', true, []]) {
      const answer = await handle({ method: 'POST', headers: JSON_TYPE, body })
      assert.deepEqual(
        [answer.statusCode, Object.keys(JSON.parse(String(answer.body)))],
        [400, ['error']],
      )
    }

    await shutdown()
    assert.deepEqual(health(readiness), [
      503,
      { live: true, ready: false, error: 'the process is shutting down' },
    ])
  })

  test('shutdown waits for the calls in progress', async () => {
    const { handle, init, shutdown } = await fresh()
    withEnv({})
    await init()
    const calls = [1, 2, 3].map(() => handle({ method: 'POST', headers: JSON_TYPE, body: IRIS }))
    await shutdown()
    for (const call of calls) assert.equal((await call).statusCode, 200)
  })

  test('if an endpoint is set, shutdown sends the last metrics and spans', async () => {
    const receiver = await startReceiver()
    const { handle, init, shutdown } = await fresh()
    withEnv({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url })
    await init()
    await handle({ method: 'POST', headers: JSON_TYPE, body: IRIS })
    await handle({ method: 'POST', headers: { ...CE, ...JSON_TYPE }, body: IRIS })
    await shutdown()
    delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT
    await receiver.close()
    const counted = receiver.metrics
      .at(-1)
      ?.filter(({ name, value }) => name === 'inference_requests_total' && value === 1)
    assert.deepEqual(
      counted?.map(({ labels }) => labels.protocol),
      ['http', 'cloudevent'],
    )
    assert.deepEqual(
      receiver.spans.filter(({ kind }) => kind !== 'internal').map(({ name }) => name),
      ['POST /', 'POST /', 'process x.request'],
    )
  })

  test('handles concurrent calls', async () => {
    const { handle, init, shutdown } = await fresh()
    withEnv({})
    await init()
    const answers = await Promise.all(
      Array.from({ length: 50 }, () => handle({ method: 'POST', headers: JSON_TYPE, body: IRIS })),
    )
    assert.deepEqual(new Set(answers.map(({ statusCode }) => statusCode)), new Set([200]))
    await shutdown()
  })
})
