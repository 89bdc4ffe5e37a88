/*
 * Writes what monitoring says twice: docs/metrics.md's tables, from the metrics' declarations, and the Prometheus operator's rule
 * objects, from Prometheus' own rule files.
 *
 *   npm run monitoring:write
 */
import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import {
  createMetrics,
  DEAD_LETTER_METRICS,
  type Declaration,
  METRICS,
} from '../function/telemetry/metrics.ts'

const pathOf = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url))
const read = (path: string) => readFileSync(pathOf(path), 'utf8')

const PAGE = 'docs/metrics.md'
const RULES = 'monitoring/prometheus/rules'

/** Of the Node.js process' own metrics, those that rules and dashboards ask for. There are more, which prom-client's page lists. */
const OF_THE_PROCESS = [
  'process_cpu_seconds_total',
  'process_resident_memory_bytes',
  'process_start_time_seconds',
  'nodejs_eventloop_lag_p99_seconds',
  'nodejs_heap_size_used_bytes',
]

/** Every generated file, as it should be. */
export async function generated(): Promise<ReadonlyMap<string, string>> {
  const tables: Readonly<Record<string, string>> = {
    function: table(METRICS),
    'dead-letters': table(DEAD_LETTER_METRICS),
    process: await processTable(),
  }
  const page = Object.entries(tables).reduce(
    (text, [name, rows]) => fill(text, name, rows),
    read(PAGE),
  )
  const rules = readdirSync(pathOf(RULES)).map(file => [
    `monitoring/prometheus/operator/rules-${file.replace('.yml', '.yaml')}`,
    ruleObject(file.replace('.yml', ''), read(`${RULES}/${file}`)),
  ])
  return new Map([[PAGE, page], ...(rules as [string, string][])])
}

function fill(page: string, name: string, rows: string): string {
  const between = new RegExp(`(<!-- ${name} -->\n)[\\s\\S]*?(<!-- /${name} -->)`)
  if (!between.test(page)) throw new Error(`${PAGE} has no <!-- ${name} --> with an end`)
  return page.replace(between, (_, begin, end) => `${begin}${rows}\n${end}`)
}

const table = (metrics: Readonly<Record<string, Declaration>>) =>
  [
    '| metric | type | unit | labels | what it says |',
    '|---|---|---|---|---|',
    ...Object.entries(metrics).map(
      ([name, { type, unit, labels, help, buckets }]) =>
        `| \`${name}\` | ${type} | ${unit} | ${showLabels(labels)} | ${help}${buckets === undefined ? '' : ` Buckets: ${buckets.join(', ')}.`} |`,
    ),
  ].join('\n')

const showLabels = (labels: Declaration['labels']) =>
  Object.entries(labels)
    .map(
      ([label, values]) =>
        `\`${label}\`: ${typeof values === 'string' ? values : values.map(value => `\`${value}\``).join(', ')}`,
    )
    .join('<br>') || '–'

async function processTable(): Promise<string> {
  const source = {
    model: '',
    version: '',
    labels: [],
    service: '',
    revision: '',
    functionVersion: '',
  }
  const text = await createMetrics(source, () => ({
    queuedRows: 0,
    ready: true,
    batching: { joins: true, reason: 'proven' },
  })).text()
  const rows = OF_THE_PROCESS.map(name => {
    const [, help] = new RegExp(`^# HELP ${name} (.*)$`, 'm').exec(text) ?? []
    const [, type] = new RegExp(`^# TYPE ${name} (.*)$`, 'm').exec(text) ?? []
    if (help === undefined || type === undefined)
      throw new Error(`prom-client has no metric ${name}`)
    return `| \`${name}\` | ${type} | ${help} |`
  })
  return ['| metric | type | what it says |', '|---|---|---|', ...rows].join('\n')
}

/** @param text of Prometheus' own rule file, which the object holds as it is, comments and all */
function ruleObject(name: string, text: string): string {
  const indented = text.replace(/^(?=.)/gm, '  ')
  return `# Made of ../rules/${name}.yml by npm run monitoring:write.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: onnx-function-${name}
spec:
${indented}`
}

if (import.meta.main)
  for (const [path, text] of await generated()) writeFileSync(pathOf(path), text)
