import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Declaration, METRICS } from '../../function/telemetry/metrics.ts'
import { type Server, startProcess, startServer, testModel } from '../server.ts'
import { connect, exchange, IRIS, irisBody, readMetrics, request, until } from './client.ts'

const scrape = async (port: number) =>
  readMetrics((await exchange(port, request('GET', '/metrics'))).body)
const portOf = ({ url }: { url: string }) => Number(new URL(url).port)

const CAUSES = ['overloaded', 'deadline', 'not_ready', 'model', 'transform', 'dependency', 'server']
const EVENT = {
  'ce-specversion': '1.0',
  'ce-id': '1',
  'ce-source': '/test',
  'ce-type': 'a.request',
  'content-type': 'application/json',
}
const FLOWERS = [
  [5.1, 3.5, 1.4, 0.2],
  [5.0, 3.4, 1.5, 0.2],
  [6.7, 3.0, 5.2, 2.3],
]
const flowers = JSON.stringify({
  inputs: [{ name: 'input', shape: [3, 4], datatype: 'FP32', data: FLOWERS }],
})

async function post(
  server: Server,
  status: number,
  headers: Record<string, string>,
  body: string,
  path = headers === EVENT ? '/' : IRIS,
) {
  assert.equal((await exchange(server.port, request('POST', path, headers, body))).status, status)
}

test('counts and times requests and events by protocol and status, and counts their rows and predictions', async t => {
  const server = await startServer({ K_SERVICE: 'flowers', K_REVISION: 'flowers-00007' })
  t.after(server.stop)
  for (let i = 0; i < 5; i++) await post(server, 200, {}, flowers)
  for (let i = 0; i < 3; i++) await post(server, 400, {}, '{}')
  for (let i = 0; i < 2; i++) await post(server, 200, EVENT, flowers)
  await post(server, 400, EVENT, '{}')
  const { headers, body } = await exchange(server.port, request('GET', '/metrics'))
  assert.match(headers['content-type'] ?? '', /^text\/plain; version=0\.0\.4/)
  const metrics = readMetrics(body)
  const labels = (protocol: string, status: string) =>
    `model="iris-classifier",version="v1.0.0",protocol="${protocol}",status="${status}"`
  for (const [protocol, status, count] of [
    ['http', 'success', 5],
    ['http', 'error', 3],
    ['cloudevent', 'success', 2],
    ['cloudevent', 'error', 1],
  ] as const) {
    assert.equal(metrics.get(`inference_requests_total{${labels(protocol, status)}}`), count)
    assert.equal(
      metrics.get(`inference_request_duration_seconds_count{${labels(protocol, status)}}`),
      count,
    )
    assert.equal(
      metrics.get(
        `inference_request_duration_seconds_bucket{le="+Inf",${labels(protocol, status)}}`,
      ),
      count,
    )
  }
  assert.equal(metrics.get('inference_predictions_total{label="setosa",version="v1.0.0"}'), 14)
  assert.equal(metrics.get('inference_predictions_total{label="virginica",version="v1.0.0"}'), 7)
  assert.equal(metrics.get('inference_batch_rows_count'), 7)
  assert.equal(metrics.get('inference_batch_rows_sum'), 21)
  for (const gauge of ['inference_queue_rows', 'inference_requests_in_flight'])
    assert.equal(metrics.get(gauge), 0)
  assert.equal(metrics.get('model_ready'), 1)
  for (const cause of CAUSES)
    assert.equal(metrics.get(`inference_failures_total{cause="${cause}"}`), 0, cause)
  assert.ok(
    [...metrics.keys()].some(name =>
      /^function_info\{revision="flowers-00007",service="flowers",version="\d+\.\d+\.\d+"\}$/.test(
        name,
      ),
    ),
  )
  assert.ok((metrics.get('process_resident_memory_bytes') ?? 0) > 0)
})

test('counts a rejected request by its reason', async t => {
  const server = await startServer(
    { MAX_BODY_BYTES: '1000', MAX_QUEUE_ROWS: '1', REQUEST_TIMEOUT_MS: '300' },
    { load: false },
  )
  t.after(server.stop)
  const waiting = exchange(server.port, request('POST', IRIS, {}, irisBody()))
  await until('one request waits', () => server.service.model.queuedRows === 1)
  assert.equal((await scrape(server.port)).get('inference_requests_in_flight'), 1)
  await post(server, 503, {}, irisBody())
  assert.equal((await waiting).status, 504)
  await server.service.model.load()
  await post(server, 413, {}, ' '.repeat(1001))
  const metrics = await scrape(server.port)
  for (const reason of ['overloaded', 'deadline', 'too_large'])
    assert.equal(metrics.get(`inference_rejected_total{reason="${reason}"}`), 1, reason)
  // A body that is too large is the caller's mistake, not a failure.
  assert.deepEqual(
    CAUSES.map(cause => metrics.get(`inference_failures_total{cause="${cause}"}`)),
    [1, 1, 0, 0, 0, 0, 0],
  )

  const broken = await startServer({ MODEL_DIR: testModel('broken') }, { load: false })
  t.after(broken.stop)
  await assert.rejects(broken.service.model.load())
  await post(broken, 503, {}, irisBody(), '/v2/models/broken/infer')
  assert.equal((await scrape(broken.port)).get('inference_rejected_total{reason="not_ready"}'), 1)
})

test('counts a request or event on which the model fails as a failure, but not a caller’s mistake', async t => {
  const server = await startServer({ MODEL_DIR: testModel('failing') })
  t.after(server.stop)
  const infer = '/v2/models/failing/infer'
  const fails = JSON.stringify({
    inputs: [{ name: 'index', shape: [1], datatype: 'INT64', data: [99] }],
  })
  await post(server, 500, {}, fails, infer)
  await post(server, 422, EVENT, fails)
  await post(server, 400, {}, '{}', infer)
  const metrics = await scrape(server.port)
  assert.deepEqual(
    CAUSES.map(cause => metrics.get(`inference_failures_total{cause="${cause}"}`)),
    [0, 0, 0, 2, 0, 0, 0],
  )
})

test('returns every declared metric with its type', async t => {
  const server = await startServer()
  t.after(server.stop)
  const { body } = await exchange(server.port, request('GET', '/metrics'))
  const shown = [...body.toString().matchAll(/^# TYPE (\w+) (\w+)$/gm)].map(([, name, type]) => [
    name,
    type,
  ])
  const types = new Map(shown as [string, string][])
  for (const [name, { type }] of Object.entries<Declaration>(METRICS))
    assert.equal(types.get(name), type, name)
})

test('returns every possible series of each counter at 0 before the first request', async t => {
  const server = await startServer()
  t.after(server.stop)
  const metrics = await scrape(server.port)
  for (const [name, { type, labels }] of Object.entries<Declaration>(METRICS)) {
    if (type !== 'counter') continue
    const series = [...metrics].filter(([key]) => key.replace(/\{.*/, '') === name)
    const values = Object.entries(labels).map(([label, known]) =>
      Array.isArray(known) ? known.length : label === 'label' ? 3 : 1,
    )
    assert.equal(
      series.length,
      values.reduce((product, count) => product * count, 1),
      name,
    )
    assert.ok(
      series.every(([, value]) => value === 0),
      name,
    )
  }
})

test('model_ready is 0 while the model loads and while the process drains', async t => {
  const server = await startServer({}, { load: false })
  t.after(server.stop)
  assert.equal((await scrape(server.port)).get('model_ready'), 0)
  await server.service.model.load()
  assert.equal((await scrape(server.port)).get('model_ready'), 1)
  server.service.model.retire()
  assert.equal((await scrape(server.port)).get('model_ready'), 0)
})

test('cold_start_seconds reports each phase of startup, and the sum is at most the age of the process', async () => {
  const server = await startProcess()
  await exchange(portOf(server), request('POST', IRIS, {}, irisBody()))
  const metrics = await scrape(portOf(server))
  const age = Date.now() / 1000 - (metrics.get('process_start_time_seconds') as number)
  const phases = [...metrics].filter(([name]) => name.startsWith('cold_start_seconds{'))
  assert.deepEqual(
    phases.map(([name]) => name),
    ['process', 'import', 'listen', 'session', 'warm-up', 'first-answer'].map(
      phase => `cold_start_seconds{phase="${phase}"}`,
    ),
  )
  for (const [name, seconds] of phases) assert.ok(seconds >= 0, `${name} is ${seconds}`)
  // process_start_time_seconds is rounded to seconds.
  assert.ok(phases.reduce((sum, [, seconds]) => sum + seconds, 0) <= age + 1)
  server.process.kill('SIGTERM')
  await server.exited
})

test('thousands of unusual requests add no series', async t => {
  const server = await startServer({ MAX_BODY_BYTES: '1000' })
  t.after(server.stop)
  // Only the first response adds a series, for its duration.
  await post(server, 200, {}, irisBody())
  const series = async () =>
    [...(await scrape(server.port)).keys()].filter(name => !name.startsWith('nodejs_')).sort()
  const before = await series()
  const oddEvent = (i: number) => ({
    specversion: '1.0',
    id: `${i}`,
    source: `/odd-${i}`,
    type: `odd.${i}`,
    [`odd${i}`]: i,
    data: { id: i },
  })
  const odd = (i: number) => [
    request('GET', `/odd-${i}`),
    request('POST', `/v2/models/model-${i}/infer`, {}, irisBody(`${i}`)),
    request(
      'POST',
      `/v2/models/iris-classifier/versions/v${i}/infer`,
      { 'x-request-id': `odd-${i}` },
      irisBody(),
    ),
    request(
      'POST',
      '/',
      { ...EVENT, 'ce-id': `${i}`, 'ce-source': `/odd-${i}`, 'ce-type': `odd.${i}` },
      irisBody(`${i}`),
    ),
    request(
      'POST',
      '/',
      { 'content-type': 'application/cloudevents+json' },
      JSON.stringify(oddEvent(i)),
    ),
    request(
      'POST',
      '/',
      { 'content-type': 'application/cloudevents-batch+json' },
      JSON.stringify([oddEvent(i)]),
    ),
    request('POST', IRIS, { 'content-type': `odd/${i}` }, irisBody(`${i}`)),
    request(
      'POST',
      IRIS,
      { traceparent: `odd-${i}`, 'user-agent': `odd-${i}` },
      `{"id":"${i}"${' '.repeat(50 * (i % 12))}}`,
    ),
    request(['PUT', 'DELETE', 'PATCH'][i % 3] as string, `/?odd=${i}`),
  ]
  const connection = await connect(server.port)
  for (let i = 0; i < 500; i++) {
    connection.send(odd(i).join(''))
    for (let answers = 0; answers < 9; answers++) await connection.answer()
  }
  connection.socket.destroy()
  await post(server, 413, {}, ' '.repeat(1001))
  assert.deepEqual(await series(), before)
})
