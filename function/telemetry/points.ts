import { ValueType } from '@opentelemetry/api'
import { hrTime } from '@opentelemetry/core'
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricData,
} from '@opentelemetry/sdk-metrics'
import type { Sample } from './family.ts'
import type { Reading } from './metrics.ts'

/*
 * Converts the metrics of /metrics to OTLP data points with the same names. Prometheus adds
 * `_total`, `_seconds` and `_bytes` only to names without these endings.
 */

/** Counters and histograms count from the start of the process. */
export function toMetricData({ name, help, type, values }: Reading): MetricData {
  const descriptor = { name, description: help, unit: unitOf(name), valueType: ValueType.DOUBLE }
  const times = { startTime: hrTime(0), endTime: hrTime() }
  const base = { descriptor, aggregationTemporality: AggregationTemporality.CUMULATIVE }
  const points = () =>
    values.map(({ labels, value }): DataPoint<number> => ({ ...times, attributes: labels, value }))
  if (type === 'counter')
    return { ...base, dataPointType: DataPointType.SUM, isMonotonic: true, dataPoints: points() }
  if (type === 'gauge') return { ...base, dataPointType: DataPointType.GAUGE, dataPoints: points() }
  const dataPoints = toHistograms(values).map(({ labels, histogram }) => ({
    ...times,
    attributes: labels,
    value: histogram,
  }))
  return { ...base, dataPointType: DataPointType.HISTOGRAM, dataPoints }
}

/** Returns the unit of a metric in UCUM, as OTLP requires. */
function unitOf(name: string): string {
  if (/_seconds(?:_total)?$/.test(name)) return 's'
  return /_bytes(?:_total)?$/.test(name) ? 'By' : ''
}

/** @param samples in Prometheus' order: cumulative buckets, then the sum, then the count */
function toHistograms(
  samples: readonly Sample[],
): { labels: Sample['labels']; histogram: Histogram }[] {
  const histograms: { labels: Sample['labels']; histogram: Histogram }[] = []
  let boundaries: number[] = []
  let counts: number[] = []
  let below = 0
  let sum = 0
  for (const { metricName, labels, value } of samples) {
    if (metricName?.endsWith('_bucket')) {
      if (labels.le !== '+Inf') boundaries.push(Number(labels.le))
      counts.push(value - below)
      below = value
    } else if (metricName?.endsWith('_sum')) sum = value
    else {
      histograms.push({ labels, histogram: { buckets: { boundaries, counts }, sum, count: value } })
      boundaries = []
      counts = []
      below = 0
    }
  }
  return histograms
}
