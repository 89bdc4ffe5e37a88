import assert from 'node:assert/strict'
import { after, before, suite, test } from 'node:test'
import { exchange, IRIS, irisBody, readMetrics, request } from '../http/client.ts'
import { ask, openSession } from '../http/http2-client.ts'
import { type Server, spawnFunction, startProcess, startServer } from '../server.ts'

const SECRET = 'correct-horse-battery-staple'

suite('with METRICS_PORT', () => {
  let server: Server
  before(async () => {
    server = await startServer({ METRICS_PORT: '0', AUTH_SECRET: SECRET })
  })
  after(() => server.stop())
  const onMetricsPort = (method: string, target: string) =>
    exchange(server.metricsPort as number, request(method, target))

  test('serves metrics without a secret, and includes the requests to PORT in them', async () => {
    await exchange(
      server.port,
      request('POST', IRIS, { authorization: `Bearer ${SECRET}` }, irisBody()),
    )
    const { status, body } = await onMetricsPort('GET', '/metrics')
    assert.equal(status, 200)
    assert.equal(
      readMetrics(body).get(
        'inference_requests_total{model="iris-classifier",version="v1.0.0",protocol="http",status="success"}',
      ),
      1,
    )
  })

  test('serves no metrics on PORT', async () => {
    for (const target of ['/metrics', '/metrics/', 'http://a/metrics', '/metrics?a']) {
      assert.equal(
        (await exchange(server.port, request('GET', target, { authorization: `Bearer ${SECRET}` })))
          .status,
        404,
        target,
      )
    }
  })

  test('serves health on both ports', async () => {
    for (const target of [
      '/health/liveness',
      '/health/readiness',
      '/v2/health/ready',
      '/v2/health/live',
      '/health',
      '/ready',
    ]) {
      assert.equal((await onMetricsPort('GET', target)).status, 200, target)
      assert.equal((await exchange(server.port, request('GET', target))).status, 200, target)
    }
  })

  test('serves only metrics and health on the metrics port', async () => {
    for (const target of [
      '/',
      '/v2',
      '/docs',
      '/openapi.json',
      '/v2/models/iris-classifier',
      '/v2/models/nobody',
      '/v1/models',
      '*',
    ]) {
      assert.equal((await onMetricsPort('GET', target)).status, 404, target)
    }
    for (const target of ['/', IRIS, '/v1/models/iris-classifier:predict']) {
      assert.equal(
        (await exchange(server.metricsPort as number, request('POST', target, {}, irisBody())))
          .status,
        404,
        target,
      )
    }
    assert.equal((await onMetricsPort('POST', '/metrics')).status, 405)
  })

  test('answers no gRPC call on the metrics port', async () => {
    const session = await openSession(`http://127.0.0.1:${server.metricsPort}`)
    const headers = { 'content-type': 'application/grpc' }
    for (const method of ['ModelInfer', 'ModelStreamInfer', 'ServerMetadata', 'ServerLive']) {
      const path = `/inference.GRPCInferenceService/${method}`
      const { status } = await ask(session, path, { method: 'POST', headers, body: '' })
      assert.equal(status, 404, method)
    }
    assert.equal((await ask(session, '/metrics')).status, 200)
    session.destroy()
  })
})

suite('a process with METRICS_PORT', () => {
  test('logs the port, and stops like a process without METRICS_PORT', async () => {
    const server = await startProcess({ METRICS_PORT: '0' })
    const { metricsPort } = JSON.parse(server.log.find(line => line.includes('"url"')) as string)
    assert.equal((await exchange(metricsPort, request('GET', '/metrics'))).status, 200)
    server.process.kill('SIGTERM')
    assert.deepEqual(await server.exited, [0, null])
  })

  test('fails with a one-line error if the port is already in use', async () => {
    const server = await startServer()
    const child = spawnFunction({ METRICS_PORT: String(server.port) })
    const output = (await child.stdout?.setEncoding('utf8').toArray()) as string[]
    assert.match(
      JSON.parse(output.join('')).msg,
      new RegExp(`cannot listen on 127\\.0\\.0\\.1:${server.port}: it is already in use`),
    )
    await server.stop()
  })
})
