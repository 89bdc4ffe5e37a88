import { readDashboards } from './dashboards.ts'
import { DASHBOARDS, VARIABLES } from './expected/dashboards.ts'
import { ALERTS, RECORDS, targetLabels } from './expected/rules.ts'
import * as model from './model.ts'
import { NAMESPACE, PODS } from './pods.ts'
import type { Labels, Prometheus, Series } from './prometheus.ts'
import { type Moment, type Recorded, windowOf } from './scenario.ts'

export interface Result {
  readonly kind: string
  readonly name: string
  readonly query: string
  readonly at: string
  readonly expected: string
  readonly got: string
  readonly right: boolean
}

interface Subject {
  readonly kind: 'panel' | 'recording rule' | 'alert'
  readonly name: string
  readonly query: string
  readonly rows: readonly model.Row[]
  readonly variables?: Labels
}

/** A query without a row fails, and so does a row without a query. */
export async function check(prometheus: Prometheus, recorded: Recorded): Promise<Result[]> {
  const panels = panelSubjects()
  const rules = await ruleSubjects(prometheus)
  const ofPanels = model.modelOf(recorded, labels => labels)
  const ofRules = model.modelOf(recorded, targetLabels)
  const results: Result[] = rowsWithoutQuery([...panels, ...rules])
  for (const subject of panels) results.push(...(await ask(prometheus, subject, ofPanels)))
  for (const subject of rules) results.push(...(await ask(prometheus, subject, ofRules)))
  return [...results, ...(await checkVariables(prometheus, recorded))]
}

const panelSubjects = (): Subject[] =>
  readDashboards().flatMap(({ title, panels }) => {
    const { panels: table = {}, variables = {} } = DASHBOARDS[title] ?? {}
    return panels.flatMap(panel =>
      (panel.targets ?? []).map(({ expr }, i) => ({
        kind: 'panel' as const,
        name: `${title} › ${panel.title}`,
        query: expr,
        rows: [table[panel.title]?.[i] ?? []].flat(),
        variables,
      })),
    )
  })

async function ruleSubjects(prometheus: Prometheus): Promise<Subject[]> {
  const rules = await prometheus.rules()
  return rules.map(({ type, name, query, health, lastError }) => {
    if (health !== 'ok') throw new Error(`rule ${name}: ${health}: ${lastError}`)
    const isAlert = type === 'alerting'
    const row = (isAlert ? ALERTS : RECORDS)[name]
    const rows = row === undefined ? [] : [row]
    return { kind: isAlert ? 'alert' : 'recording rule', name, query: isAlert ? query : name, rows }
  })
}

function rowsWithoutQuery(subjects: readonly Subject[]): Result[] {
  const there = new Set(subjects.map(({ name }) => name))
  const panels = Object.entries(DASHBOARDS).flatMap(([title, { panels }]) =>
    Object.keys(panels).map(panel => `${title} › ${panel}`),
  )
  return [...panels, ...Object.keys({ ...RECORDS, ...ALERTS })]
    .filter(name => !there.has(name))
    .map(name => missing({ kind: 'row', name, query: '' }, 'a panel or a rule'))
}

const missing = (subject: Pick<Result, 'kind' | 'name' | 'query'>, expected: string): Result => {
  const { kind, name, query } = subject
  return { kind, name, query, at: '–', expected, got: 'none', right: false }
}
const NO_ROW = 'a row in monitoring/demo/expected'

async function ask(prometheus: Prometheus, subject: Subject, of: model.Model): Promise<Result[]> {
  const { kind, name, query, rows, variables: always } = subject
  if (rows.length === 0) return [missing(subject, NO_ROW)]
  const results: Result[] = []
  for (const { variables, ...cells } of rows) {
    for (const [at, cell] of Object.entries(cells) as [Moment, model.Cell][]) {
      const expected = model.resolve(cell, of, at)
      const filled = fillIn(query, of.recorded, { at, variables: { ...always, ...variables } })
      const answer = await prometheus.query(filled, of.recorded.moments[at]).then(
        found => compare(found, expected, { zerosCount: kind === 'alert' }),
        (error: Error) => ({ right: false, got: error.message }),
      )
      const { is, may, others } = expected
      results.push({ kind, name, query, at, expected: shown({ ...is, may, others }), ...answer })
    }
  }
  return results
}

function compare(
  found: readonly Series[],
  { by, is, may = {}, others = [0, 0] }: model.Expected,
  { zerosCount }: { zerosCount: boolean },
) {
  const got: Record<string, number> = {}
  let right = true
  for (const { labels, value } of found) {
    const key = by.map(label => labels[label] ?? model.NO_LABEL).join(' ')
    const range = is[key] ?? may[key]
    // A count of 0 in the window is the same as a missing series, and the share of zero requests is
    // NaN.
    if (range === undefined && !zerosCount && (value === 0 || Number.isNaN(value))) continue
    const [least, most] = range ?? others
    const isRight = value >= least && value <= most && (range !== undefined || !zerosCount)
    right &&= isRight && !(key in got)
    got[key] = value
  }
  right &&= Object.keys(is).every(key => key in got)
  return { right, got: shown(got) }
}

const shown = (value: object) =>
  JSON.stringify(value, (_, part) => (typeof part === 'number' ? rounded(part) : part))
const rounded = (value: number) => (Number.isInteger(value) ? value : Number(value.toPrecision(3)))

async function checkVariables(prometheus: Prometheus, { began }: Recorded): Promise<Result[]> {
  const results: Result[] = []
  for (const { title, templating } of readDashboards()) {
    for (const { type, name, query: given } of templating.list) {
      if (type !== 'query') continue
      const query = (typeof given === 'string' ? given : given.query).replaceAll('$service', '.*')
      const [, selector = '', label = ''] = /^label_values\((.*), (\w+)\)$/.exec(query) ?? []
      const got = (await prometheus.labelValues(label, selector, began)).join(', ')
      const expected = VARIABLES[query] ?? NO_ROW
      const subject = { kind: 'variable', name: `${title} › $${name}`, query }
      results.push({ ...subject, at: '–', expected, got, right: got === expected })
    }
  }
  return results
}

export function fillIn(
  expression: string,
  recorded: Recorded,
  { at, variables }: { at: Moment; variables: Labels },
): string {
  const range = Math.ceil(recorded.moments[at] - recorded.began)
  const values: Labels = {
    __rate_interval: `${windowOf(recorded) * 1000}ms`,
    __range: `${range}s`,
    __range_s: String(range),
    __from: String(Math.round(recorded.began * 1000)),
    service: '.*',
    revision: '.*',
    model: '.*',
    baseline: PODS.stable.revision,
    namespace: NAMESPACE,
    ...variables,
  }
  return expression.replace(/\$(\w+)/g, (whole, name: string) => values[name] ?? whole)
}
