import { hostname } from 'node:os'
import { DiagLogLevel, diag } from '@opentelemetry/api'
import { setGlobalErrorHandler } from '@opentelemetry/core'
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import {
  defaultResource,
  detectResources,
  envDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources'
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics'
import { BatchSpanProcessor } from '@opentelemetry/sdk-trace'
import type { Config, PushConfig } from '../config.ts'
import type { Log } from './log.ts'
import type { Metrics } from './metrics.ts'
import { toMetricData } from './points.ts'
import { createSpans } from './spans.ts'
import type { Traces } from './trace.ts'

/*
 * Spans and metrics pushed by OTLP, by OpenTelemetry's own exporters. Loaded after the start, and only where an endpoint is set.
 *
 * Not an exporter of our own: all it could save is 90 kB of the build, 14 ms once and 9 MiB (docs/tracing.md), for retries, TLS,
 * compression, and the variables that platforms set.
 */

/** What pushes, until the process ends. */
export interface Push {
  /** Sends what there is now. */
  flush(): Promise<void>
  /** Sends what there is now, and no more. */
  end(): Promise<void>
}

export interface Pushed {
  readonly metrics: Metrics
  readonly traces: Traces | undefined
  readonly log: Log
}

/** @param version of this function */
export function createPush(
  { metrics, traces, log }: Pushed,
  { service, revision, inCluster }: Config,
  config: PushConfig,
  version: string,
): Push {
  // Whatever is wrong with the collector is for the log, and not for requests.
  const tell = atMostOnceAMinute(log)
  const ignore = () => {}
  setGlobalErrorHandler(tell)
  diag.setLogger(
    { error: tell, warn: tell, info: ignore, debug: ignore, verbose: ignore },
    DiagLogLevel.WARN,
  )

  const scope = { name: 'onnx-function', version }
  const resource = defaultResource()
    .merge(
      resourceFromAttributes({
        'service.name': service ?? 'onnx-function',
        'service.version': version,
        // A pod's host name is its own; Prometheus tells processes apart by it.
        'service.instance.id': inCluster ? hostname() : crypto.randomUUID(),
        ...(inCluster && { 'k8s.pod.name': hostname() }),
        // As Knative calls them in its own metrics.
        ...(revision && { 'kn.revision.name': revision }),
        ...(revision && service && { 'kn.service.name': service }),
      }),
    )
    .merge(detectResources({ detectors: [envDetector] }))

  const parts: { forceFlush(): Promise<void>; shutdown(): Promise<void> }[] = []
  if (traces !== undefined) {
    const spans = new BatchSpanProcessor({ exporter: new OTLPTraceExporter() })
    const spansOf = createSpans(config, resource, scope)
    traces.sendTo(finished => {
      try {
        for (const span of spansOf(finished)) spans.onEnd(span)
      } catch (error) {
        tell(error)
      }
    })
    parts.push(spans)
  }
  if (config.metrics) {
    const reader = new PeriodicExportingMetricReader({
      exporter: new OTLPMetricExporter(),
      exportIntervalMillis: config.metricIntervalMs,
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
    parts.push(reader)
  }

  async function all(act: (part: (typeof parts)[number]) => Promise<void>): Promise<void> {
    for (const result of await Promise.allSettled(parts.map(act))) {
      if (result.status === 'rejected') tell(result.reason)
    }
  }
  const push: Push = {
    flush: () => all(part => part.forceFlush()),
    end: () => all(part => part.shutdown()),
  }
  // Counts that begin when they are first seen have no increase: they are shown at the start as well.
  void push.flush()
  return push
}

/** A collector that is away would otherwise fill the log. @returns what is told of a trouble, by errors and sentences */
function atMostOnceAMinute(log: Log): (...what: unknown[]) => void {
  let until = 0
  return (...what) => {
    if (performance.now() < until) return
    until = performance.now() + 60_000
    const words = what
      .map(part => (part instanceof Error ? part.message : part))
      .filter(part => typeof part === 'string')
    log.warn(`spans or metrics may not have been pushed: ${words.join(': ')}`)
  }
}
