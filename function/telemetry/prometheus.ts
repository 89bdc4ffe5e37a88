import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'
import type { Family } from './family.ts'

export type Prometheus = Registry

/** The families and the Node.js process' own metrics, as prom-client writes them; of the process from now on. */
export function createPrometheus(families: readonly Family[]): Prometheus {
  const registry = new Registry()
  for (const { samples, ...family } of families) {
    // All that a registry asks of a metric.
    const metric = {
      ...family,
      get: async () => ({ ...family, values: samples(), aggregator: 'sum' }),
    }
    registry.registerMetric(metric as unknown as Metric)
  }
  collectDefaultMetrics({ register: registry })
  return registry
}
