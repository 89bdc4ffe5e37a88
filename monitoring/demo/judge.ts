import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Expectation, Expectations, Range } from './expected.ts'
import { IRIS, type Life, windowOf } from './life.ts'
import { NAMESPACE } from './pods.ts'
import type { Prometheus, Series } from './prometheus.ts'

/*
 * Asks Prometheus everything that dashboards, rules and alerts ask, and compares.
 */

/** One comparison. */
export interface Verdict {
  readonly kind: 'panel' | 'variable' | 'recording rule' | 'alert'
  /** The panel's dashboard. */
  readonly dashboard?: string
  /** The panel's title, or the rule's name. */
  readonly name: string
  readonly query: string
  readonly at: string
  readonly expected: string
  readonly got: string
  readonly right: boolean
}

export interface Target {
  readonly refId: string
  readonly expr: string
  readonly legendFormat?: string
  readonly instant?: boolean
  readonly format?: string
}

/** What is read here of a panel of Grafana's. */
export interface Panel {
  readonly type: string
  readonly title: string
  readonly description?: string
  readonly gridPos: {
    readonly x: number
    readonly y: number
    readonly w: number
    readonly h: number
  }
  readonly targets?: readonly Target[]
  // biome-ignore lint/suspicious/noExplicitAny: Grafana's own, read where it is drawn
  readonly [more: string]: any
}

export interface Dashboard {
  readonly uid: string
  readonly title: string
  readonly templating: {
    readonly list: readonly {
      readonly type: string
      readonly name: string
      readonly query: string | { query: string }
    }[]
  }
  readonly panels: readonly Panel[]
}

const FOLDER = join(import.meta.dirname, '../grafana/dashboards')

export const readDashboards = (): Dashboard[] =>
  readdirSync(FOLDER)
    .filter(name => name.endsWith('.json'))
    .map(name => JSON.parse(readFileSync(join(FOLDER, name), 'utf8')))

/** All verdicts: what nothing is expected of, or what is expected and not there, is wrong as well. */
export async function judge(
  prometheus: Prometheus,
  life: Life,
  expectations: Expectations,
): Promise<Verdict[]> {
  return [
    ...(await judgeDashboards(prometheus, life, expectations)),
    ...(await judgeRules(prometheus, life, expectations)),
  ]
}

async function judgeDashboards(
  prometheus: Prometheus,
  life: Life,
  expectations: Expectations,
): Promise<Verdict[]> {
  const verdicts: Verdict[] = []
  for (const { title, panels, templating } of readDashboards()) {
    const expected = { ...expectations.panels[title] }
    for (const panel of panels) {
      for (const [i, { expr, refId }] of (panel.targets ?? []).entries()) {
        const query = panel.targets?.length === 1 ? expr : `${refId}: ${expr}`
        const about = { kind: 'panel' as const, dashboard: title, name: panel.title }
        const list = expected[panel.title]?.[i] ?? []
        if (list.length === 0)
          verdicts.push({ ...about, query, ...missing('a line for it in expected.ts') })
        for (const expectation of list) {
          const asked = fillIn(expr, life, expectation)
          verdicts.push({ ...about, query, ...(await ask(prometheus, life, asked, expectation)) })
        }
      }
      delete expected[panel.title]
    }
    for (const name of Object.keys(expected)) {
      verdicts.push({
        kind: 'panel',
        dashboard: title,
        name,
        query: '',
        ...missing('a panel of that title'),
      })
    }
    for (const { type, name, query } of templating.list) {
      if (type === 'query')
        verdicts.push(
          await judgeVariable(
            prometheus,
            life,
            expectations,
            title,
            name,
            typeof query === 'string' ? query : query.query,
          ),
        )
    }
  }
  return verdicts
}

const missing = (expected: string) => ({ at: '–', expected, got: 'none', right: false })

async function judgeVariable(
  prometheus: Prometheus,
  { began, ended }: Life,
  { variables }: Expectations,
  dashboard: string,
  name: string,
  query: string,
): Promise<Verdict> {
  const filled = query.replaceAll('$service', '.*')
  const [, selector = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(filled) ?? []
  const got = (await prometheus.labelValues(label, selector, began, ended)).join(', ')
  const expected = variables[filled]?.join(', ') ?? 'a line for it in expected.ts'
  return {
    kind: 'variable',
    dashboard,
    name: `$${name}`,
    query,
    at: '–',
    expected,
    got,
    right: got === expected,
  }
}

async function judgeRules(
  prometheus: Prometheus,
  life: Life,
  { records, alerts }: Expectations,
): Promise<Verdict[]> {
  const rules = await prometheus.rules()
  const verdicts: Verdict[] = []
  for (const { type, name, query, health, lastError } of rules) {
    const about = {
      kind: type === 'alerting' ? ('alert' as const) : ('recording rule' as const),
      name,
      query,
    }
    if (health !== 'ok')
      verdicts.push({
        ...about,
        at: '–',
        expected: 'health ok',
        got: `${health}: ${lastError}`,
        right: false,
      })
    const list = (type === 'alerting' ? alerts : records)[name] ?? []
    if (list.length === 0) verdicts.push({ ...about, ...missing('a line for it in expected.ts') })
    for (const expectation of list) {
      // Of an alert the expression, of which each series is one that fires; of a recording rule what was recorded.
      const asked = type === 'alerting' ? query : name
      verdicts.push({
        ...about,
        ...(await ask(prometheus, life, asked, expectation, type === 'alerting')),
      })
    }
  }
  const there = new Set(rules.map(({ name }) => name))
  for (const name of Object.keys({ ...records, ...alerts }).filter(name => !there.has(name))) {
    verdicts.push({
      kind: name in alerts ? 'alert' : 'recording rule',
      name,
      query: '',
      ...missing('a rule of that name'),
    })
  }
  return verdicts
}

async function ask(
  prometheus: Prometheus,
  life: Life,
  query: string,
  expectation: Expectation,
  zerosCount = false,
) {
  const { at, is, may = {} } = expectation
  const expected =
    Object.keys(is).length + Object.keys(may).length === 0
      ? 'nothing'
      : show({ ...is, ...mapKeys(may, key => `${key}?`) }, showRange)
  try {
    const series = await prometheus.query(query, life.moments[at])
    const { right, got } = compare(series, expectation, zerosCount)
    return { at, expected, got, right }
  } catch (error) {
    return { at, expected, got: (error as Error).message, right: false }
  }
}

function compare(
  series: readonly Series[],
  { by = [], is, may = {}, others = [0, 0] }: Expectation,
  zerosCount: boolean,
) {
  const got: Record<string, number> = {}
  let right = true
  for (const { labels, value } of series) {
    const key = by.map(label => labels[label] ?? '–').join(' ')
    const isThere = key in is || key in may
    // A series without a count in the time asked for is as good as none; a share of nothing is not a number.
    if (!isThere && !zerosCount && (value === 0 || Number.isNaN(value))) continue
    if (key in got) right = false
    got[key] = value
    const [least, most] = is[key] ?? may[key] ?? others
    if (!(value >= least && value <= most) || (!isThere && zerosCount)) right = false
  }
  if (Object.keys(is).some(key => !(key in got))) right = false
  return { right, got: Object.keys(got).length === 0 ? 'nothing' : show(got, figure) }
}

const mapKeys = <T>(values: Readonly<Record<string, T>>, f: (key: string) => string) =>
  Object.fromEntries(Object.entries(values).map(([key, value]) => [f(key), value]))

const show = <T>(values: Readonly<Record<string, T>>, text: (value: T) => string) =>
  Object.entries(values)
    .sort(([a], [b]) => a.localeCompare(b))
    .map(([key, value]) => (key === '' ? text(value) : `${key}: ${text(value)}`))
    .join('; ')

function showRange([least, most]: Range): string {
  const middle = (least + most) / 2
  return most - least <= Math.abs(middle) * 1e-4 + 1e-8
    ? figure(middle)
    : `${figure(least)} to ${figure(most)}`
}

function figure(value: number): string {
  if (Number.isInteger(value)) return String(value)
  if (Math.abs(value) < 1e-8) return '0'
  return String(Number(value.toPrecision(3)))
}

/** As Grafana does before it asks. */
export function fillIn(
  expression: string,
  life: Life,
  { at, variables = {} }: Pick<Expectation, 'at' | 'variables'>,
): string {
  const range = Math.ceil(life.moments[at] - life.began)
  const values: Readonly<Record<string, string>> = {
    __rate_interval: `${windowOf(life) * 1000}ms`,
    __range: `${range}s`,
    __range_s: String(range),
    __from: String(Math.round(life.began * 1000)),
    service: '.*',
    revision: '.*',
    model: '.*',
    baseline: IRIS.stable,
    namespace: NAMESPACE,
    ...variables,
  }
  return expression.replace(/\$(\w+)/g, (whole, name: string) => values[name] ?? whole)
}
