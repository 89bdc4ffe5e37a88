import { hostname } from 'node:os'
import { DiagLogLevel, diag } from '@opentelemetry/api'
import { type InstrumentationScope, setGlobalErrorHandler } from '@opentelemetry/core'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import {
  defaultResource,
  detectResources,
  envDetector,
  type Resource,
  resourceFromAttributes,
} from '@opentelemetry/resources'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace'
import type { Config } from '../config/config.ts'
import type { PushConfig } from '../config/push.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import { toMetricData } from './points.ts'
import { SpanRecorder } from './spans.ts'
import type { Traces } from './trace.ts'

/*
 * Pushes spans and metrics over OTLP with OpenTelemetry's exporters. Our own code could save 3 MiB,
 * and 8 ms of CPU time at startup, but would have to support retries, TLS, compression and the
 * variables that platforms set.
 */

export interface Push {
  flush(): Promise<void>
  end(): Promise<void>
}

export interface Pushed {
  readonly metrics: Metrics
  readonly traces: Traces | undefined
  readonly log: Log
}

interface Part {
  forceFlush(): Promise<void>
  shutdown(): Promise<void>
}

interface Identity {
  readonly resource: Resource
  readonly scope: InstrumentationScope
}

type Warn = (...what: unknown[]) => void

/** @param version the version of this function */
export function createPush(
  { metrics, traces, log }: Pushed,
  config: Config,
  push: PushConfig,
  version: string,
): Push {
  // Problems with the collector are logged and do not affect requests.
  const warn = atMostOnceAMinute(log)
  sendSdkWarningsTo(warn)
  const scope = { name: 'onnx-function', version }
  const identity = { resource: resourceOf(config, version), scope }
  const parts: Part[] = []
  if (traces !== undefined) {
    const scheme = config.tls === undefined ? 'http' : 'https'
    const processor = new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })
    const recorder = new SpanRecorder({ push, processor, scheme, ...identity })
    traces.sendTo(finished => warnInsteadOfThrowing(() => recorder.record(finished), warn))
    parts.push(processor)
  }
  if (push.metrics) parts.push(createReader(metrics, push, identity))

  async function all(act: (part: Part) => Promise<void>): Promise<void> {
    for (const result of await Promise.allSettled(parts.map(act))) {
      if (result.status === 'rejected') warn(result.reason)
    }
  }
  const pushed = {
    flush: () => all(part => part.forceFlush()),
    end: () => all(part => part.shutdown()),
  }
  // Push once while all counters are near 0: a counter that the collector first sees at 7 shows no
  // increase.
  void pushed.flush()
  return pushed
}

function createReader(metrics: Metrics, push: PushConfig, { resource, scope }: Identity): Part {
  const reader = new PeriodicExportingMetricReader({
    exporter: new OTLPMetricExporter(),
    exportIntervalMillis: push.metricIntervalMs,
  })
  reader.setMetricProducer({
    collect: async () => ({
      resourceMetrics: {
        resource,
        scopeMetrics: [{ scope, metrics: (await metrics.read()).map(toMetricData) }],
      },
      errors: [],
    }),
  })
  return reader
}

const resourceOf = ({ service, revision, inCluster }: Config, version: string): Resource =>
  defaultResource()
    .merge(
      resourceFromAttributes({
        'service.name': service ?? 'onnx-function',
        'service.version': version,
        // A pod's host name is unique. Prometheus distinguishes processes by this attribute.
        'service.instance.id': inCluster ? hostname() : crypto.randomUUID(),
        ...(inCluster && { 'k8s.pod.name': hostname() }),
        // The names in Knative's own metrics.
        ...(revision && { 'kn.revision.name': revision }),
        ...(revision && service && { 'kn.service.name': service }),
      }),
    )
    .merge(detectResources({ detectors: [envDetector] }))

function sendSdkWarningsTo(warn: Warn): void {
  const ignore = () => {}
  setGlobalErrorHandler(warn)
  diag.setLogger(
    { error: warn, warn, info: ignore, debug: ignore, verbose: ignore },
    DiagLogLevel.WARN,
  )
}

function warnInsteadOfThrowing(act: () => void, warn: Warn): void {
  try {
    act()
  } catch (error) {
    warn(error)
  }
}

/** Logs at most one warning per minute: an unreachable collector would fill the log. */
function atMostOnceAMinute(log: Log): Warn {
  let until = 0
  return (...what) => {
    if (performance.now() < until) return
    until = performance.now() + 60_000
    const words = what
      .map(part => (part instanceof Error ? part.message : part))
      .filter(part => typeof part === 'string')
    log.warn(`some spans or metrics may not have been pushed: ${words.join(': ')}`)
  }
}
