/*
 * Writes the tables in docs/metrics.md and docs/configuration.md, docs/inference.proto, and the
 * rule objects for the Prometheus operator.
 *
 * npm run docs:write
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Variable } from '../function/config/variable.ts'
import {
  AUTH,
  LIMITS,
  ORIGINS,
  PLATFORM_VARIABLES,
  PUSHING,
  SERVING,
  TLS,
} from '../function/config/variables.ts'
import { INFERENCE_PROTO } from '../function/protocol/inference-proto.ts'
import { DEAD_LETTER_METRICS, type Declaration, METRICS } from '../function/telemetry/metrics.ts'

const pathOf = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const read = (path: string) => readFileSync(pathOf(path), 'utf8')

const METRICS_PAGE = 'docs/metrics.md'
const CONFIGURATION_PAGE = 'docs/configuration.md'
const RULES = 'monitoring/prometheus/rules'

export function generated(): ReadonlyMap<string, string> {
  return new Map([
    filled(METRICS_PAGE, {
      function: table(METRICS),
      'dead-letters': table(DEAD_LETTER_METRICS),
    }),
    filled(CONFIGURATION_PAGE, {
      serving: variableTable(SERVING),
      limits: variableTable(LIMITS),
      pushing: variableTable(PUSHING),
      access: variableTable({ ...AUTH, ...TLS, ...ORIGINS }),
      platform: platformTable(),
    }),
    ['docs/inference.proto', INFERENCE_PROTO],
    ...readdirSync(pathOf(RULES)).map(operatorRules),
  ])
}

type Generated = [path: string, text: string]

/** A page in which each table stands between its markers, <!-- name --> and <!-- /name -->. */
const filled = (path: string, tables: Readonly<Record<string, string>>): Generated => [
  path,
  Object.entries(tables).reduce((text, [name, rows]) => {
    const between = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`)
    if (!between.test(text))
      throw new Error(`${path} lacks the marker <!-- ${name} --> or <!-- /${name} -->`)
    return text.replace(between, (_, begin, end) => `${begin}${rows}\n${end}`)
  }, read(path)),
]

const operatorRules = (file: string): Generated => [
  `monitoring/prometheus/operator/rules-${file.replace('.yml', '.yaml')}`,
  ruleObject(file.replace('.yml', ''), read(`${RULES}/${file}`)),
]

const variableTable = (rows: Readonly<Record<string, Variable>>) =>
  [
    '| variable | default | allowed | meaning |',
    '|---|---|---|---|',
    ...Object.values(rows).map(
      ({ name, default: standard, allowed, meaning }) =>
        `| \`${name}\` | ${standard} | ${allowed} | ${meaning} |`,
    ),
  ].join('\n')

const platformTable = () =>
  [
    '| variable | set by | meaning |',
    '|---|---|---|',
    ...PLATFORM_VARIABLES.map(
      ({ names, by, meaning }) =>
        `| ${names.map(name => `\`${name}\``).join(', ')} | ${by} | ${meaning} |`,
    ),
  ].join('\n')

const table = (metrics: Readonly<Record<string, Declaration>>) =>
  [
    '| metric | type | labels | meaning |',
    '|---|---|---|---|',
    ...Object.entries(metrics).map(([name, { type, labels, help, buckets }]) => {
      const meaning = buckets === undefined ? help : `${help} Buckets: ${range(buckets)}.`
      return `| ${code(name)} | ${type} | ${showLabels(labels)} | ${meaning} |`
    }),
  ].join('\n')

const range = (buckets: readonly number[]) => `${buckets[0]} to ${buckets.at(-1)}`

const code = (text: string) => `\`${text}\``

const showLabels = (labels: Declaration['labels']) =>
  Object.entries(labels)
    .map(([label, values]) => {
      const shown = typeof values === 'string' ? values : values.map(code).join(', ')
      return `${code(label)}: ${shown}`
    })
    .join('<br>') || '–'

/** @param text a rule file of Prometheus, which the object includes unchanged, with comments */
function ruleObject(name: string, text: string): string {
  const indented = text.replace(/^(?=.)/gm, '  ')
  return `# Generated from ../rules/${name}.yml by npm run docs:write.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: onnx-function-${name}
spec:
${indented}`
}

if (import.meta.main) for (const [path, text] of generated()) writeFileSync(pathOf(path), text)
