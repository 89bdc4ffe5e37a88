import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'
import type { Family } from './family.ts'

export type Prometheus = Registry

/** The families, and the metrics that prom-client collects of the Node.js process from now on. */
export function createPrometheus(families: readonly Family[]): Prometheus {
  const registry = new Registry()
  for (const { samples, ...family } of families) {
    // A registry asks a metric for nothing else.
    const metric = {
      ...family,
      get: async () => ({ ...family, values: samples(), aggregator: 'sum' }),
    }
    registry.registerMetric(metric as unknown as Metric)
  }
  collectDefaultMetrics({ register: registry })
  return registry
}
