import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { request as requestHttps } from 'node:https'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { endPush, startPush } from '../../function/service.ts'
import { BATCHED, EVENT, type EventJson, MODES, post, replyIn, SEND } from '../events/events.ts'
import { connectGrpc } from '../grpc/client.ts'
import { rawRequest } from '../grpc/messages.ts'
import {
  type Connection,
  connect,
  exchange,
  IRIS,
  irisBody,
  readMetrics,
  request,
  SLOW,
  slowBody,
  until,
} from '../http/client.ts'
import { type ServerProcess, startProcess, startServer, testModel } from '../server.ts'
import type { Point, Span } from '../telemetry/otlp.ts'
import { type Receiver, startReceiver } from '../telemetry/receiver.ts'
import { author } from '../transform/table.ts'

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const ORIGIN = 'b7ad6b7169203331'
const TRACEPARENT = `00-${TRACE}-${ORIGIN}-01`

const certificate = (name: string) =>
  fileURLToPath(new URL(`../security/certificates/${name}`, import.meta.url))

const portOf = ({ url }: Listening) => Number(new URL(url).port)

async function end(server: ServerProcess): Promise<void> {
  server.process.kill('SIGTERM')
  assert.deepEqual(await server.exited, [0, null])
}

interface Listening {
  readonly url: string
}

/**
 * The data that a server pushes while it answers the requests of `ask` and shuts down.
 * @param env the variables, or a function that creates them from the receiver's address
 */
async function pushedBy(
  env: Record<string, string> | ((url: string) => Record<string, string>),
  ask: (server: Listening) => Promise<unknown>,
): Promise<Receiver> {
  const receiver = await startReceiver()
  const all =
    typeof env === 'function'
      ? env(receiver.url)
      : { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, ...env }
  const server = await startServer(all)
  // The exporters read the environment directly.
  Object.assign(process.env, all)
  try {
    const pushing = startPush(server.service, server.config)
    await pushing
    await ask(server)
    await server.close(5_000)
    await endPush(pushing, 10_000)
  } finally {
    for (const name of Object.keys(all)) delete process.env[name]
    await server.stop()
    await receiver.close()
  }
  return receiver
}

const infer =
  (headers: Record<string, string> = {}, body = irisBody(), path = IRIS) =>
  (server: Listening) =>
    exchange(portOf(server), request('POST', path, headers, body))

/** @returns the connection of an in-flight request to test/models/slow */
async function inFlight(server: Listening): Promise<Connection> {
  const connection = await connect(portOf(server))
  connection.send(request('POST', SLOW, {}, slowBody()))
  await until('the request is in flight', async () => {
    const { body } = await exchange(portOf(server), request('GET', '/metrics'))
    return readMetrics(body).get('inference_requests_in_flight') === 1
  })
  return connection
}

const outline = (spans: readonly Span[]) => spans.map(({ name, kind }) => [name, kind])
const PARTS = ['decode', 'queue', 'run', 'encode']
const isPart = ({ kind }: Span) => kind === 'internal'

/**
 * Each part must begin when the previous part ends, and all parts must be within the parent span.
 */
function assertInOrder(parts: readonly Span[], whole: Span): void {
  for (const [i, part] of parts.entries()) {
    assert.deepEqual([part.traceId, part.parentSpanId], [whole.traceId, whole.spanId])
    assert.ok(part.began <= part.ended)
    assert.ok(part.began >= whole.began && part.ended <= whole.ended)
    if (i > 0) assert.equal(part.began, parts[i - 1]?.ended)
  }
}

describe('spans of requests', () => {
  test('a request has a server span that contains decode, queue, run and encode, one after the other', async () => {
    const { spans } = await pushedBy(
      {},
      infer({ 'user-agent': 'a test', host: 'iris.example:8080' }),
    )
    assert.deepEqual(outline(spans), [
      ['POST /v2/models/{model}/infer', 'server'],
      ...PARTS.map(name => [name, 'internal']),
    ])
    const [server, ...parts] = spans as [Span, ...Span[]]
    assertInOrder(parts, server)
    assert.equal(server.parentSpanId, '')
    assert.equal(server.failed, false)
    assert.deepEqual(server.attributes, {
      'http.request.method': 'POST',
      'http.route': '/v2/models/{model}/infer',
      'http.response.status_code': 200,
      'network.protocol.version': '1.1',
      'server.address': 'iris.example',
      'server.port': 8080,
      'url.path': IRIS,
      'url.scheme': 'http',
      'user_agent.original': 'a test',
    })
    assert.deepEqual(parts[2]?.attributes, { 'inference.run.requests': 1 })
  })

  test('spans continue the trace of traceparent and tracestate, and log lines name this trace', async () => {
    const receiver = await startReceiver()
    after(receiver.close)
    const process = await startProcess({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      LOG_LEVEL: 'debug',
    })
    await infer({ traceparent: TRACEPARENT, tracestate: 'a=1,b=2' })(process)
    await end(process)
    const [server] = receiver.spans as [Span]
    assert.deepEqual(
      [server.traceId, server.parentSpanId, server.traceState],
      [TRACE, ORIGIN, 'a=1,b=2'],
    )
    const line = process.log.map(text => JSON.parse(text)).find(({ msg }) => msg === 'answered')
    assert.deepEqual(
      [line.traceparent, line.trace_id, line.span_id],
      [TRACEPARENT, TRACE, server.spanId],
    )
  })

  test('spans have the scheme https with TLS', async () => {
    const tls = {
      TLS_CERT_FILE: certificate('first.crt'),
      TLS_KEY_FILE: certificate('first.key'),
    }
    const { spans } = await pushedBy(tls, async ({ url }) => {
      const request = requestHttps(url + IRIS, { method: 'POST', rejectUnauthorized: false })
      const [response] = (await once(request.end(irisBody()), 'response')) as [IncomingMessage]
      await response.toArray()
    })
    assert.deepEqual(
      [spans[0]?.attributes['url.scheme'], spans[0]?.attributes['http.response.status_code']],
      ['https', 200],
    )
  })

  for (const [what, traceparent] of [
    ['not hexadecimal', '00-zz'],
    ['all zeros', `00-${'0'.repeat(32)}-${ORIGIN}-01`],
    ['too long for its version', `${TRACEPARENT}-1`],
    ['of the invalid version', `ff-${TRACE}-${ORIGIN}-01`],
  ] as const) {
    test(`spans begin a new trace if traceparent is ${what}`, async () => {
      const { spans } = await pushedBy({}, infer({ traceparent }))
      assert.equal(spans[0]?.parentSpanId, '')
      assert.match(spans[0]?.traceId as string, /^(?!0af7|0{32})[\da-f]{32}$/)
    })
  }

  test('spans show a refused request and the part that refused it, but not as a failure of the server', async () => {
    const { spans } = await pushedBy({}, infer({}, '{"inputs":[]}'))
    assert.deepEqual(outline(spans), [
      ['POST /v2/models/{model}/infer', 'server'],
      ['decode', 'internal'],
    ])
    const [server, decode] = spans as [Span, Span]
    assert.deepEqual(
      [
        server.failed,
        server.attributes['http.response.status_code'],
        server.attributes['error.type'],
      ],
      [false, 400, undefined],
    )
    assert.deepEqual([decode.failed, decode.attributes['error.type']], [true, 'BAD_REQUEST'])
    assert.match(decode.message, /^input "input" is missing/)
  })

  test('spans show a failure of the model as a failure of the run and of the server', async () => {
    const body = JSON.stringify({
      inputs: [{ name: 'index', shape: [1], datatype: 'INT64', data: [99] }],
    })
    const { spans } = await pushedBy(
      { MODEL_DIR: testModel('failing') },
      infer({}, body, '/v2/models/failing/infer'),
    )
    assert.deepEqual(
      spans
        .filter(({ failed }) => failed)
        .map(({ name, attributes }) => [name, attributes['error.type']]),
      [
        ['POST /v2/models/{model}/infer', '500'],
        ['run', 'MODEL_FAILED'],
      ],
    )
  })

  test('spans do not contain the path of an unknown route in their names', async () => {
    const ask = async (server: Listening) => {
      await infer({}, irisBody(), '/v2/models/other/infer')(server)
      await infer({}, irisBody(), '/v2/health/live')(server)
      await infer({}, irisBody(), '/v2/models/%/infer')(server)
    }
    const { spans } = await pushedBy({}, ask)
    const refused = await pushedBy({ AUTH_SECRET: 'a-secret-of-this-test' }, ask)
    assert.deepEqual(
      [...spans, ...refused.spans].map(({ name, attributes }) => [
        name,
        attributes['http.route'],
        attributes['http.response.status_code'],
      ]),
      [
        ['POST', undefined, 404],
        ['POST', undefined, 405],
        ['POST', undefined, 400],
        ['POST', undefined, 401],
        ['POST', undefined, 405],
        ['POST', undefined, 401],
      ],
    )
  })

  test('spans are not created for probes, metadata, metrics and pages', async () => {
    const { spans } = await pushedBy({}, async server => {
      for (const path of [
        '/',
        '/v2',
        '/v2/health/ready',
        '/health/liveness',
        '/v2/models/iris-classifier',
        '/metrics',
        '/docs',
      ])
        await exchange(portOf(server), request('GET', path))
    })
    assert.deepEqual(spans, [])
  })

  test('spans report how many requests shared the run', async () => {
    const { spans } = await pushedBy({}, async server => {
      const connection = await connect(portOf(server))
      connection.send(request('POST', IRIS, {}, irisBody()))
      await connection.answer()
      // Now that the rows are known to be independent, concurrent requests share runs.
      const connections = await Promise.all(
        Array.from({ length: 8 }, () => connect(portOf(server))),
      )
      for (const one of connections) one.send(request('POST', IRIS, {}, irisBody()))
      await Promise.all(connections.map(one => one.answer()))
    })
    const runs = spans
      .filter(({ name }) => name === 'run')
      .map(({ attributes }) => Number(attributes['inference.run.requests']))
    assert.equal(runs.length, 9)
    // Each of the n requests in a run reports n, so the sum of 1/n counts the runs.
    const counted = runs.reduce((sum, n) => sum + 1 / n, 0)
    assert.ok(Math.abs(counted - Math.round(counted)) < 1e-9, `${runs}`)
  })

  test('spans of a large request have the same parts as those of a small request, although another thread answers it', async () => {
    const rows = 20_000
    const body = JSON.stringify({
      inputs: [
        { name: 'input', shape: [rows, 4], datatype: 'FP32', data: new Array(rows * 4).fill(1.5) },
      ],
    })
    const { spans } = await pushedBy({}, infer({}, body))
    const [server, ...parts] = spans as [Span, ...Span[]]
    assert.deepEqual(
      parts.map(({ name }) => name),
      ['queue', 'decode', 'run', 'encode'],
    )
    assertInOrder(parts, server)
    assert.ok((parts[2]?.attributes['inference.request.runs'] as number) > 1)
  })

  test('the error of a large request is at the part that failed, and the runs before it are counted', async () => {
    const rows = 200_000
    const failing = (data: unknown[]) =>
      JSON.stringify({ inputs: [{ name: 'index', shape: [rows], datatype: 'INT64', data }] })
    let counted = Number.NaN
    const { spans } = await pushedBy({ MODEL_DIR: testModel('failing') }, async server => {
      const path = '/v2/models/failing/infer'
      for (const last of ['x', 99]) {
        const body = failing([...new Array(rows - 1).fill(2), last])
        await infer({}, body, path)(server)
      }
      const { body } = await exchange(portOf(server), request('GET', '/metrics'))
      counted = readMetrics(body).get('inference_batch_rows_count') ?? 0
    })
    assert.deepEqual(
      spans
        .filter(isPart)
        .map(({ name, failed, attributes }) => [
          name,
          failed ? attributes['error.type'] : undefined,
        ]),
      [
        ['queue', undefined],
        ['decode', 'BAD_REQUEST'],
        ['queue', undefined],
        ['decode', undefined],
        ['run', 'MODEL_FAILED'],
      ],
    )
    assert.ok(counted > 0)
  })

  test('spans show how long a request waited for the model to load, even if the exporter was loaded later', async t => {
    const receiver = await startReceiver()
    const env = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${receiver.url}/v1/traces` }
    const server = await startServer(env, { load: false })
    t.after(() => Promise.all([server.stop(), receiver.close()]))
    const answer = exchange(server.port, request('POST', IRIS, {}, irisBody()))
    await until('it waits', () => server.service.model.queuedRows === 1)
    await server.service.model.load()
    assert.equal((await answer).status, 200)
    // The exporters read the environment directly.
    Object.assign(process.env, env)
    await endPush(startPush(server.service, server.config), 10_000)
    delete process.env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT
    const [whole, ...parts] = receiver.spans as [Span, ...Span[]]
    assert.deepEqual(
      parts.map(({ name }) => name),
      ['load', ...PARTS],
    )
    assertInOrder(parts, whole)
  })

  test('spans exist for each gRPC call, and for each request of a gRPC stream', async () => {
    const flower = { name: 'input', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }
    const { spans } = await pushedBy({}, async server => {
      const client = connectGrpc(portOf(server))
      const good = rawRequest('iris-classifier', [flower])
      const bad = { ...good, model_name: 'other' }
      await client.call('ModelInfer', good, { traceparent: TRACEPARENT })
      await client.call('ModelStreamInfer', [good, bad])
      await client.close()
    })
    const calls = spans.filter(({ kind }) => kind === 'server')
    assert.deepEqual(
      calls.map(({ name, attributes, failed }) => [
        name,
        attributes['rpc.method'],
        attributes['rpc.grpc.status_code'],
        failed,
      ]),
      [
        ['inference.GRPCInferenceService/ModelInfer', 'ModelInfer', 0, false],
        ['inference.GRPCInferenceService/ModelStreamInfer', 'ModelStreamInfer', 5, false],
        ['inference.GRPCInferenceService/ModelStreamInfer', 'ModelStreamInfer', 0, false],
      ],
    )
    assert.deepEqual([calls[0]?.traceId, calls[0]?.parentSpanId], [TRACE, ORIGIN])
    const parts = spans.filter(({ parentSpanId }) => parentSpanId === calls[0]?.spanId)
    assert.deepEqual(
      parts.map(({ name }) => name),
      PARTS,
    )
  })

  test('the span of a gRPC call has the status of the call, and no status if the client cancelled the call', async () => {
    const receiver = await startReceiver()
    after(receiver.close)
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url }
    const server = await startServer(env, { load: false })
    after(server.stop)
    const client = connectGrpc(server.port)
    after(client.close)
    const flower = { name: 'input', datatype: 'FP32', shape: [1, 4], data: [5.1, 3.5, 1.4, 0.2] }
    const flowers = rawRequest('iris-classifier', [flower])
    const { service } = server
    const waiting = (count: number) =>
      until('a call waits', () => service.model.queuedRows === count)
    const late = await client.call('ModelInfer', flowers, { 'grpc-timeout': '50m' })
    assert.equal(late.status, 4)
    await waiting(0)
    const cancelled = client.open('ModelInfer')
    cancelled.write(flowers)
    await waiting(1)
    cancelled.stream.close()
    await waiting(0)
    const text = await service.metrics.text()
    assert.match(text, /^inference_rejected_total\{reason="deadline"\} 1$/m)
    assert.match(text, /^inference_failures_total\{cause="deadline"\} 1$/m)
    // The exporters read the environment directly.
    Object.assign(process.env, env)
    await endPush(startPush(service, server.config), 10_000)
    delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT
    const calls = receiver.spans.filter(({ kind }) => kind === 'server')
    assert.deepEqual(
      calls.map(({ attributes, failed }) => [attributes['rpc.grpc.status_code'], failed]),
      [
        [4, true],
        [undefined, true],
      ],
    )
  })

  test('a span ends when the client hangs up', async () => {
    const { spans } = await pushedBy({ MODEL_DIR: testModel('slow') }, async server => {
      const connection = await inFlight(server)
      connection.socket.destroy()
      await connection.closed
    })
    assert.deepEqual([spans[0]?.attributes['error.type'], spans[0]?.failed], ['aborted', true])
  })
})

describe('spans of events', () => {
  test('a log line about an event names the span of the event', async () => {
    const receiver = await startReceiver()
    after(receiver.close)
    const process = await startProcess({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      TRANSFORM: author('any.ts'),
    })
    assert.equal(
      (await SEND.binary(process.url, { ...EVENT, data: { throws: 'error' } })).status,
      422,
    )
    await end(process)
    const line = process.log.map(text => JSON.parse(text)).find(({ level }) => level === 50)
    const event = receiver.spans.find(({ kind }) => kind === 'consumer')
    assert.deepEqual([line.trace_id, line.span_id], [event?.traceId, event?.spanId])
    assert.equal(event?.attributes['error.type'], 'TRANSFORM_FAILED')
  })

  for (const mode of MODES) {
    test(`in ${mode} mode, the request’s span contains the event’s processing span, which contains the parts, and the reply belongs to the event’s trace`, async () => {
      const event = { ...EVENT, subject: 'iris', traceparent: TRACEPARENT, tracestate: 'a=1' }
      let reply: EventJson = {}
      const { spans } = await pushedBy({}, async ({ url }) => {
        reply = replyIn(mode, await SEND[mode](url, event))
      })
      assert.deepEqual(outline(spans), [
        ['POST /', 'server'],
        ['process com.example.iris.request', 'consumer'],
        ...PARTS.map(name => [name, 'internal']),
      ])
      const [server, process, ...parts] = spans as [Span, Span, ...Span[]]
      // A batch may contain events of several traces, so its request belongs to a separate trace.
      assert.equal(server.traceId === TRACE, mode !== 'batched')
      assert.equal(server.parentSpanId, mode === 'batched' ? '' : ORIGIN)
      assert.deepEqual([process.traceId, process.parentSpanId], [server.traceId, server.spanId])
      assert.deepEqual(process.links, [{ traceId: TRACE, spanId: ORIGIN }])
      assertInOrder(parts, process)
      assert.deepEqual(process.attributes, {
        'cloudevents.event_id': 'flower-1',
        'cloudevents.event_source': '/garden',
        'cloudevents.event_spec_version': '1.0',
        'cloudevents.event_subject': 'iris',
        'cloudevents.event_type': 'com.example.iris.request',
        'messaging.operation.name': 'process',
        'messaging.operation.type': 'process',
        'messaging.system': 'cloudevents',
      })
      assert.deepEqual([reply.traceparent, reply.tracestate], [TRACEPARENT, 'a=1'])
    })
  }

  test('spans continue the trace of the request that delivers the event, and are linked to the event’s own trace', async () => {
    const hop = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`
    const headers = { 'content-type': 'application/cloudevents+json', traceparent: hop }
    const { spans } = await pushedBy({}, ({ url }) =>
      post(url, headers, JSON.stringify({ ...EVENT, traceparent: TRACEPARENT })),
    )
    const [server, process] = spans as [Span, Span]
    assert.deepEqual(
      [server.traceId, server.parentSpanId, process.traceId],
      ['1'.repeat(32), '2'.repeat(16), '1'.repeat(32)],
    )
    assert.deepEqual(process.links, [{ traceId: TRACE, spanId: ORIGIN }])
  })

  test('spans exist for each event of a batch, and show each event’s failure', async () => {
    const events = ['a', 'b', 'c'].map((id, i) => ({
      ...EVENT,
      id,
      traceparent: `00-${TRACE}-${'1'.repeat(15)}${i}-01`,
    }))
    const batch = [events[0], { ...events[1], data: {} }, events[2]]
    const { spans } = await pushedBy({}, ({ url }) =>
      post(url, { 'content-type': BATCHED }, JSON.stringify(batch)),
    )
    const processes = spans.filter(({ kind }) => kind === 'consumer')
    assert.deepEqual(
      processes.map(({ attributes, links, failed }) => [
        attributes['cloudevents.event_id'],
        links[0]?.spanId,
        failed,
      ]),
      [
        ['a', `${'1'.repeat(15)}0`, false],
        ['b', `${'1'.repeat(15)}1`, true],
        ['c', `${'1'.repeat(15)}2`, false],
      ],
    )
    for (const process of processes) {
      const parts = spans.filter(span => isPart(span) && span.parentSpanId === process.spanId)
      assert.deepEqual(
        parts.map(({ name }) => name),
        process.failed ? ['decode'] : PARTS,
      )
      assertInOrder(parts, process)
    }
  })
})

test('a batch larger than the queue is accepted with spans, too, while no other request waits', async () => {
  const batch = ['a', 'b', 'c', 'd', 'e'].map(id => ({ ...EVENT, id }))
  const { spans } = await pushedBy({ MAX_QUEUE_ROWS: '2' }, async ({ url }) => {
    assert.equal((await post(url, { 'content-type': BATCHED }, JSON.stringify(batch))).status, 200)
  })
  assert.equal(spans.filter(({ name }) => name === 'run').length, 5)
})

test('the log names an event’s trace in binary and structured mode, also without spans', async () => {
  const server = await startProcess({ LOG_LEVEL: 'debug' })
  for (const mode of MODES) await SEND[mode](server.url, { ...EVENT, traceparent: TRACEPARENT })
  await end(server)
  const lines = server.log.map(line => JSON.parse(line)).filter(({ msg }) => msg === 'answered')
  assert.deepEqual(
    lines.map(({ traceparent, trace_id }) => [traceparent, trace_id]),
    [
      [TRACEPARENT, undefined],
      [TRACEPARENT, undefined],
      [undefined, undefined],
    ],
  )
})

describe('sampling', () => {
  const NOT_SAMPLED = `00-${TRACE}-${ORIGIN}-00`
  for (const [sampler, share, of] of [
    [undefined, undefined, { none: true, sampled: true, 'not sampled': false }],
    ['always_on', undefined, { none: true, sampled: true, 'not sampled': true }],
    ['always_off', undefined, { none: false, sampled: false, 'not sampled': false }],
    ['traceidratio', '0', { none: false, sampled: false, 'not sampled': false }],
    ['parentbased_always_off', undefined, { none: false, sampled: true, 'not sampled': false }],
    ['parentbased_traceidratio', '1', { none: true, sampled: true, 'not sampled': false }],
    ['parentbased_traceidratio', '0', { none: false, sampled: true, 'not sampled': false }],
  ] as const) {
    const yes = Object.entries(of).flatMap(([parent, is]) => (is ? parent : []))
    test(`by ${sampler ?? 'the default sampler'} ${share ?? ''} selects requests whose parent is: ${yes.join(', ') || 'never selected'}`, async () => {
      const env = {
        ...(sampler && { OTEL_TRACES_SAMPLER: sampler }),
        ...(share && { OTEL_TRACES_SAMPLER_ARG: share }),
      }
      const { spans } = await pushedBy(env, async server => {
        await infer({ 'user-agent': 'none' })(server)
        await infer({ 'user-agent': 'sampled', traceparent: TRACEPARENT })(server)
        await infer({ 'user-agent': 'not sampled', traceparent: NOT_SAMPLED })(server)
      })
      const servers = spans.filter(({ kind }) => kind === 'server')
      assert.deepEqual(
        servers.map(({ attributes }) => attributes['user_agent.original']),
        yes,
      )
    })
  }
})

describe('pushed metrics', () => {
  const labelled = ({ name, labels }: Point) => `${name}${JSON.stringify(labels)}`
  const valueIn = (
    points: readonly Point[] | undefined,
    name: string,
    labels: Record<string, string> = {},
  ) =>
    points?.find(
      point =>
        point.name === name &&
        Object.entries(labels).every(([label, value]) => point.labels[label] === value),
    )?.value

  test('pushed metrics have the same names, labels, values and buckets as /metrics', async () => {
    let text = ''
    const { metrics } = await pushedBy({}, async server => {
      for (let i = 0; i < 3; i++) await infer()(server)
      await infer({}, '{}')(server)
      text = (await exchange(portOf(server), request('GET', '/metrics'))).body
    })
    const isSteady = (family: string) => !/^nodejs_(?:gc|active)_/.test(family)
    const shown = readMetrics(text)
    const pushed = metrics.at(-1) as readonly Point[]
    assert.deepEqual(
      // Some metrics have series only at certain times.
      [...new Set(pushed.map(({ name, type }) => `${name} ${type}`))].filter(isSteady).sort(),
      // A metric without series is not pushed.
      [...text.matchAll(/^# TYPE (.*)\n[^#\n]/gm)]
        .map(([, family]) => family as string)
        .filter(isSteady)
        .sort(),
    )
    // A process's own metrics change all the time, and model_ready changes at shutdown.
    const counted = pushed.filter(({ name }) => /^(?:inference|cold_start|function)_/.test(name))
    const prometheus = counted.flatMap(({ name, labels, value, histogram }) => {
      const write = (suffix: string, more: Record<string, string | number> = {}) => {
        const all = Object.entries({ ...more, ...labels }).map(
          ([label, text]) => `${label}="${text}"`,
        )
        return `${name}${suffix}${all.length === 0 ? '' : `{${all.join(',')}}`}`
      }
      if (histogram === undefined) return [[write(''), value] as const]
      let below = 0
      const buckets = histogram.counts.map((count, i) => {
        below += count
        return [write('_bucket', { le: histogram.bounds[i] ?? '+Inf' }), below] as const
      })
      return [
        ...buckets,
        [write('_sum'), histogram.sum] as const,
        [write('_count'), value] as const,
      ]
    })
    const expected = [...shown].filter(([name]) => /^(?:inference|cold_start|function)_/.test(name))
    assert.deepEqual(Object.fromEntries(prometheus), Object.fromEntries(expected))
    assert.equal(new Set(pushed.map(labelled)).size, pushed.length)
  })

  test('metrics are pushed at shutdown, and include requests that were in flight at SIGTERM', async () => {
    const receiver = await startReceiver()
    after(receiver.close)
    const server = await startProcess({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      MODEL_DIR: testModel('slow'),
    })
    const connection = await inFlight(server)
    server.process.kill('SIGTERM')
    assert.equal((await connection.answer()).status, 200)
    assert.deepEqual(await server.exited, [0, null])
    const last = receiver.metrics.at(-1)
    assert.equal(
      valueIn(last, 'inference_requests_total', { protocol: 'http', status: 'success' }),
      1,
    )
    assert.equal(
      valueIn(last, 'inference_request_duration_seconds', { protocol: 'http', status: 'success' }),
      1,
    )
    assert.equal(valueIn(last, 'inference_requests_in_flight'), 0)
  })

  test('metrics are pushed at startup with the value 0, so that the first requests are an increase', async () => {
    const { metrics } = await pushedBy({}, infer())
    const labels = { protocol: 'http', status: 'success' }
    assert.equal(valueIn(metrics[0], 'inference_requests_total', labels), 0)
    assert.equal(valueIn(metrics.at(-1), 'inference_requests_total', labels), 1)
    const [first, last] = [metrics[0]?.[0], metrics.at(-1)?.[0]] as [Point, Point]
    assert.equal(first.began, last.began)
    assert.ok(first.at < last.at)
  })

  test('metrics are pushed repeatedly while the process runs', async () => {
    const receiver = await startReceiver()
    after(receiver.close)
    const server = await startProcess({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_METRIC_EXPORT_INTERVAL: '50',
    })
    await until('metrics were pushed five times', () => receiver.metrics.length >= 5)
    await end(server)
  })

  test('pushed metrics have the units in their names, in OTLP’s notation', async () => {
    const { metrics } = await pushedBy({}, infer())
    const units = new Map(metrics.at(-1)?.map(({ name, unit }) => [name, unit]))
    assert.deepEqual(
      [
        'inference_request_duration_seconds',
        'process_cpu_seconds_total',
        'process_resident_memory_bytes',
        'inference_requests_total',
      ].map(name => units.get(name)),
      ['s', 's', 'By', ''],
    )
  })
})

describe('the resource of pushed data', () => {
  test('the resource contains the service and revision of Knative, the version and the process', async () => {
    const { spans, metrics } = await pushedBy(
      { K_SERVICE: 'flowers', K_REVISION: 'flowers-00007' },
      infer(),
    )
    const {
      'service.instance.id': instance,
      'service.version': version,
      ...rest
    } = (spans[0] as Span).resource
    assert.match(String(instance), /^[\da-f-]{36}$/)
    assert.match(String(version), /^\d+\.\d+\.\d+/)
    assert.deepEqual(
      Object.fromEntries(
        Object.entries(rest).filter(([name]) => !name.startsWith('telemetry.sdk.')),
      ),
      {
        'kn.revision.name': 'flowers-00007',
        'kn.service.name': 'flowers',
        'service.name': 'flowers',
      },
    )
    assert.deepEqual(metrics[0]?.[0]?.resource, spans[0]?.resource)
  })

  test('the resource prefers OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES to other sources', async () => {
    const { spans } = await pushedBy(
      {
        K_SERVICE: 'flowers',
        OTEL_SERVICE_NAME: 'mine',
        OTEL_RESOURCE_ATTRIBUTES: 'service.name=other,k8s.namespace.name=a%20b,service.version=9',
      },
      infer(),
    )
    const { resource } = spans[0] as Span
    assert.deepEqual(
      [resource['service.name'], resource['k8s.namespace.name'], resource['service.version']],
      ['mine', 'a b', '9'],
    )
  })
})

describe('the address of pushes', () => {
  test('the address of pushes is based on OTEL_EXPORTER_OTLP_ENDPOINT, with the configured headers and compression', async () => {
    const receiver = await pushedBy(
      url => ({
        OTEL_EXPORTER_OTLP_ENDPOINT: `${url}/otlp`,
        OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Bearer%20abc,x-tenant=flowers',
        OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
      }),
      infer(),
    )
    assert.deepEqual([...new Set(receiver.requests.map(({ path }) => path))].sort(), [
      '/otlp/v1/metrics',
      '/otlp/v1/traces',
    ])
    for (const { headers } of receiver.requests)
      assert.deepEqual(
        [
          headers.authorization,
          headers['x-tenant'],
          headers['content-encoding'],
          headers['content-type'],
        ],
        ['Bearer abc', 'flowers', 'gzip', 'application/x-protobuf'],
      )
    assert.ok(receiver.spans.length > 0)
  })

  for (const [signal, path] of [
    ['TRACES', '/mine/traces'],
    ['METRICS', '/mine/metrics'],
  ] as const) {
    test(`the address of pushes is OTEL_EXPORTER_OTLP_${signal}_ENDPOINT unchanged, and no other signal is pushed`, async () => {
      const { requests } = await pushedBy(
        url => ({ [`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`]: `${url}${path}` }),
        infer(),
      )
      assert.deepEqual([...new Set(requests.map(request => request.path))], [path])
    })
  }

  test('nothing is pushed if no endpoint is set', async () => {
    const { requests } = await pushedBy({ OTEL_EXPORTER_OTLP_ENDPOINT: '' }, infer())
    assert.deepEqual(requests, [])
  })

  test('nothing is pushed with OTEL_SDK_DISABLED', async () => {
    const { requests } = await pushedBy({ OTEL_SDK_DISABLED: 'true' }, infer())
    assert.deepEqual(requests, [])
  })
})

describe('requests are answered and the process exits with 0, with a collector that', {
  concurrency: 2,
}, () => {
  const refused = async () => {
    const receiver = await startReceiver()
    await receiver.close()
    return receiver
  }
  for (const [does, receive, timeout, said] of [
    ['refuses connections', refused, '300', /ECONNREFUSED/],
    [
      'responds with 400',
      () => startReceiver(response => response.writeHead(400).end('no')),
      '300',
      /Bad Request/,
    ],
    [
      'sends a response that is not protobuf',
      () => startReceiver(response => response.end('nonsense')),
      '300',
      /deserialize/,
    ],
    ['hangs up', () => startReceiver(response => response.destroy()), '300', /socket hang up/],
    ['responds too late', () => startReceiver(() => {}), '300', /[Tt]imed? ?out/],
    // Longer than the process lives in this test.
    ['never responds', () => startReceiver(() => {}), '600000', undefined],
  ] as const) {
    test(does, async t => {
      const receiver = await receive()
      if (receive !== refused) t.after(receiver.close)
      const server = await startProcess({
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
        OTEL_EXPORTER_OTLP_TIMEOUT: timeout,
        DRAIN_TIMEOUT_MS: '1000',
      })
      for (let i = 0; i < 50; i++) assert.equal((await infer()(server)).status, 200)
      const warnings = () =>
        server.log.map(line => JSON.parse(line)).filter(({ level }) => level > 30)
      if (said !== undefined)
        await until('the warning is logged', () => warnings().some(({ msg }) => said.test(msg)))
      await end(server)
      assert.equal(warnings().length, said === undefined ? 0 : 1)
    })
  }
})

for (const [how, env] of [
  ['TERM', {}],
  ['IDLE_EXIT_SECONDS', { IDLE_EXIT_SECONDS: '1' }],
] as const) {
  test(`a collector that never responds delays shutdown after ${how} for a few seconds, not for DRAIN_TIMEOUT_MS`, async t => {
    const receiver = await startReceiver(() => {})
    t.after(receiver.close)
    const server = await startProcess({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_EXPORTER_OTLP_TIMEOUT: '600000',
      // Longer than the process lives in this test.
      DRAIN_TIMEOUT_MS: '60000',
      ...env,
    })
    if (how === 'TERM') server.process.kill('SIGTERM')
    assert.deepEqual(await server.exited, [0, null])
  })
}
