import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'
import { projectFolder } from '../../server.ts'
import type { Recorded } from './series.ts'

export const PROMETHEUS = join(projectFolder, 'monitoring/prometheus')

export interface Alert {
  readonly alert: string
  readonly expr: string
  readonly for?: string
  readonly labels: Readonly<Record<string, string>>
  readonly annotations: Readonly<Record<string, string>>
}

export interface UnitTest {
  readonly name: string
  readonly alert_rule_test?: readonly {
    readonly alertname: string
    readonly eval_time: string
    readonly exp_alerts?: readonly unknown[]
  }[]
  readonly promql_expr_test?: readonly {
    readonly expr: string
    readonly eval_time: string
    readonly exp_samples?: readonly { labels: string }[]
  }[]
}

/** @returns paths relative to the project */
export const find = (pattern: string): string[] => globSync(pattern, { cwd: projectFolder }).sort()

export const read = (path: string): string => readFileSync(join(projectFolder, path), 'utf8')

export const readYaml = (path: string) => parse(read(path))

const rules: readonly (Alert | Recorded)[] = find('monitoring/prometheus/rules/*.yml').flatMap(
  path =>
    readYaml(path).groups.flatMap(({ rules }: { rules: readonly (Alert | Recorded)[] }) => rules),
)

export const recorded = rules.filter(rule => 'record' in rule)

export const alerts = rules.filter(rule => 'alert' in rule)

export const unitTests = new Map<string, readonly UnitTest[]>(
  find('monitoring/prometheus/tests/*.yml').map(path => [path, readYaml(path).tests]),
)

export function queriesOf(dashboard: unknown): { expr: string; legend: readonly string[] }[] {
  if (Array.isArray(dashboard)) return dashboard.flatMap(queriesOf)
  if (typeof dashboard !== 'object' || dashboard === null) return []
  const { expr, legendFormat, query, ...rest } = dashboard as Record<string, unknown>
  const own =
    typeof expr === 'string' ? [{ expr, legend: labelsIn(String(legendFormat ?? '')) }] : []
  // A variable's query has the form label_values(series{…}, label).
  const [, series, label] =
    /^label_values\((.*), *(\w+)\)$/.exec(typeof query === 'string' ? query : '') ?? []
  const variable =
    series === undefined || label === undefined
      ? []
      : [{ expr: `sum by (${label}) (${series})`, legend: [] }]
  return [...own, ...variable, ...queriesOf(query), ...queriesOf(Object.values(rest))]
}

const labelsIn = (legend: string) =>
  [...legend.matchAll(/\{\{ *(\w+) *\}\}/g)].map(([, label]) => label as string)
