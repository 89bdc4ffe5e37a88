import { readRows, type Source } from './variable.ts'
import { PUSHING, type SamplerName } from './variables.ts'

/**
 * What is pushed by OTLP. OpenTelemetry's own code reads from the environment where to push, with
 * which headers and under which names.
 */
export interface PushConfig {
  readonly traces: boolean
  readonly metrics: boolean
  readonly sampler: SamplerName
  /** Of the sampler, if it takes a share. */
  readonly samplerShare: number
  readonly metricIntervalMs: number
}

/** @returns undefined where nothing is pushed */
export function readPush(source: Source): PushConfig | undefined {
  const values = readRows(PUSHING, source)
  const { endpoint, tracesEndpoint, metricsEndpoint, disabled } = values
  const { sampler, samplerShare, metricIntervalMs } = values
  const traces = (tracesEndpoint ?? endpoint) !== undefined
  const metrics = (metricsEndpoint ?? endpoint) !== undefined
  if (disabled || !(traces || metrics)) return undefined
  return { traces, metrics, sampler, samplerShare, metricIntervalMs }
}
