import { collectDefaultMetrics, type Metric, Registry } from 'prom-client'
import type { Family } from './family.ts'

export type Prometheus = Registry

/**
 * Gauges named like counters, which promtool's lint rejects. Other series have the same figures.
 */
const MISNAMED = [
  'nodejs_active_handles_total',
  'nodejs_active_requests_total',
  'nodejs_active_resources_total',
]

/**
 * Creates a registry of the families and of the Node.js process's metrics, which prom-client
 * collects from now on.
 */
export function createPrometheus(families: readonly Family[]): Prometheus {
  const registry = new Registry()
  for (const { samples, ...family } of families) {
    // A registry uses only these properties of a metric.
    const metric = {
      ...family,
      get: async () => ({ ...family, values: samples(), aggregator: 'sum' }),
    }
    registry.registerMetric(metric as unknown as Metric)
  }
  collectDefaultMetrics({ register: registry })
  for (const name of MISNAMED) registry.removeSingleMetric(name)
  return registry
}
