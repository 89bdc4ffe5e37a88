import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { connect, exchange, IRIS, irisBody, request, until } from '../http/client.ts'
import { freePort, startProcess } from '../server.ts'
import { need } from './clients/run.ts'

/*
 * A real OpenTelemetry Collector, built from its Go modules, must receive the last data from a
 * process that has exited.
 */

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const TRACE = '0af7651916cd43dd8448eb211c80319c'

suite('from a process that has exited, an OpenTelemetry Collector has received', () => {
  let folder: string
  let collector: ChildProcess
  let written: Written[]

  before(async () => {
    await need('go', 'install Go 1.26 or later, https://go.dev/dl')
    const program = here('.build/collector')
    await promisify(execFile)('go', ['build', '-o', program, '.'], {
      cwd: here('collector'),
      timeout: 15 * 60_000,
    })
    folder = mkdtempSync(join(tmpdir(), 'collector-'))
    const port = await freePort()
    const pipeline = { receivers: ['otlp'], exporters: ['file'] }
    const config = {
      receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
      exporters: { file: { path: join(folder, 'taken.jsonl') } },
      service: { pipelines: { traces: pipeline, metrics: pipeline } },
    }
    collector = spawn(program, ['--config', `yaml:${JSON.stringify(config)}`], {
      stdio: ['ignore', 'inherit', 'inherit'],
    })
    await until('the collector listens', () =>
      connect(port).then(
        ({ socket }) => Boolean(socket.destroy()),
        () => false,
      ),
    )

    const server = await startProcess({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
      K_SERVICE: 'flowers',
      K_REVISION: 'flowers-00007',
    })
    const ask = (headers: Record<string, string>, body: string) =>
      exchange(Number(new URL(server.url).port), request('POST', IRIS, headers, body))
    for (let i = 0; i < 7; i++)
      assert.equal(
        (await ask({ traceparent: `00-${TRACE}-b7ad6b7169203331-01` }, irisBody())).status,
        200,
      )
    for (let i = 0; i < 3; i++)
      assert.equal(
        (await ask({ traceparent: `00-${TRACE}-b7ad6b7169203331-00` }, '{}')).status,
        400,
      )
    server.process.kill('SIGTERM')
    assert.deepEqual(await server.exited, [0, null])
    collector.kill('SIGTERM')
    await once(collector, 'exit')
    written = readFileSync(join(folder, 'taken.jsonl'), 'utf8')
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line))
  })
  after(() => {
    collector?.kill('SIGKILL')
    rmSync(folder, { recursive: true, force: true })
  })

  test('the initial zeros and the last counts', () => {
    const pushes = written.flatMap(({ resourceMetrics = [] }) =>
      resourceMetrics.map(({ scopeMetrics }) => scopeMetrics[0]?.metrics ?? []),
    )
    const counts = pushes.map(metrics => {
      const points =
        metrics.find(({ name }) => name === 'inference_requests_total')?.sum?.dataPoints ?? []
      return points.map(({ asDouble, attributes }) => [
        ...attributes.map(({ value }) => value.stringValue),
        asDouble ?? 0,
      ])
    })
    const labels = (protocol: string, status: string) => [
      'iris-classifier',
      'v1.0.0',
      protocol,
      status,
    ]
    const all = (success: number, error: number) => [
      [...labels('http', 'success'), success],
      [...labels('http', 'error'), error],
      [...labels('cloudevent', 'success'), 0],
      [...labels('cloudevent', 'error'), 0],
      [...labels('grpc', 'success'), 0],
      [...labels('grpc', 'error'), 0],
    ]
    assert.deepEqual([counts[0], counts.at(-1)], [all(0, 0), all(7, 3)])
    const durations =
      pushes.at(-1)?.find(({ name }) => name === 'inference_request_duration_seconds')?.histogram
        ?.dataPoints ?? []
    assert.deepEqual(
      durations.map(({ count = 0 }) => Number(count)),
      [7, 3, 0, 0, 0, 0],
    )
  })

  test('the spans of sampled requests, in the right trace', () => {
    const spans = written.flatMap(({ resourceSpans = [] }) =>
      resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans)),
    )
    assert.deepEqual(new Set(spans.map(({ traceId }) => traceId)), new Set([TRACE]))
    const names = ['POST /v2/models/{model}/infer', 'decode', 'queue', 'run', 'encode']
    assert.deepEqual(
      spans.map(({ name }) => name),
      new Array(7).fill(names).flat(),
    )
    const [server, ...parts] = spans as [Span, ...Span[]]
    assert.equal(server.parentSpanId, 'b7ad6b7169203331')
    for (const part of parts.slice(0, 4)) assert.equal(part.parentSpanId, server.spanId)
  })

  test('metrics and spans contain the service and the revision', () => {
    const resources = written.flatMap(({ resourceMetrics = [], resourceSpans = [] }) =>
      [...resourceMetrics, ...resourceSpans].map(({ resource }) => resource),
    )
    for (const { attributes } of resources) {
      const { 'service.name': service, 'kn.revision.name': revision } = Object.fromEntries(
        attributes.map(({ key, value }) => [key, value.stringValue]),
      )
      assert.deepEqual([service, revision], ['flowers', 'flowers-00007'])
    }
  })
})

/** One line of the collector's output in OTLP's JSON, which omits zeros. */
interface Written {
  readonly resourceSpans?: readonly {
    readonly resource: Attributed
    readonly scopeSpans: readonly { readonly spans: readonly Span[] }[]
  }[]
  readonly resourceMetrics?: readonly {
    readonly resource: Attributed
    readonly scopeMetrics: readonly { readonly metrics: readonly Metric[] }[]
  }[]
}

interface Attributed {
  readonly attributes: readonly {
    readonly key: string
    readonly value: { readonly stringValue?: string }
  }[]
}

interface Span {
  readonly name: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string
}

interface Metric {
  readonly name: string
  readonly sum?: { readonly dataPoints: readonly ({ readonly asDouble?: number } & Attributed)[] }
  readonly histogram?: { readonly dataPoints: readonly { readonly count?: string }[] }
}
