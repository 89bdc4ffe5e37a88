import { readRows, type Source } from './variable.ts'
import { PUSHING, type SamplerName } from './variables.ts'

/**
 * The telemetry to push over OTLP. OpenTelemetry's code reads the destination, headers and names from the
 * environment.
 */
export interface PushConfig {
  readonly traces: boolean
  readonly metrics: boolean
  readonly sampler: SamplerName
  readonly samplerShare: number
  readonly metricIntervalMs: number
}

export function readPush(source: Source): PushConfig | undefined {
  const values = readRows(PUSHING, source)
  const { endpoint, tracesEndpoint, metricsEndpoint, disabled } = values
  const { sampler, samplerShare, metricIntervalMs } = values
  const traces = (tracesEndpoint ?? endpoint) !== undefined
  const metrics = (metricsEndpoint ?? endpoint) !== undefined
  if (disabled || !(traces || metrics)) return undefined
  return { traces, metrics, sampler, samplerShare, metricIntervalMs }
}
