import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { readDashboards } from '../demo/dashboards.ts'
import { knativeSeries, minor, type Since, sinceAll } from '../knative-series.ts'

/* Rules and panels name the first Knative release that has their data; the pinned one is not older. */

const read = (path: string) => readFileSync(join(import.meta.dirname, '../..', path), 'utf8')
const pins = Object.fromEntries(
  [...read('scripts/cluster/versions.sh').matchAll(/^([A-Z_]+)=(\S+)$/gm)].map(
    ([, name, value]) => [name, value],
  ),
)

/** Fails where the pinned Knative does not have it yet. */
function assertPinned(series: readonly Since[], what: string): void {
  for (const { part, version } of series) {
    const pin = String(pins[part.toUpperCase()])
    assert.ok(
      minor({ part, version }) <= Number(pin.split('.')[1]),
      `${what}: ${part} ${version}, ${pin}`,
    )
  }
}

interface Rule {
  readonly name: string
  readonly says: string
  readonly text: string
}

/** Each rule of knative.yml, with the comment before it on one line. */
const rules = [
  ...read('monitoring/prometheus/rules/knative.yml').matchAll(
    /((?: {2}# .*\n)+) {2}- (?:record|alert): (\S+)\n((?: {4}.*\n)+)/g,
  ),
].map(([, comment = '', name = '', body = '']): Rule => {
  const [, text = ''] = /^ {4}expr: (?:\|\n)?((?:.|\n {6})*)/m.exec(body) ?? []
  return { name, says: comment.replaceAll(/\s*# /g, ' ').trim(), text }
})

/** Knative's series in an expression, and in the recorded ones that it names. */
const seriesOf = (text: string): Since[] => [
  ...knativeSeries(text),
  ...rules.filter(({ name }) => text.includes(name)).flatMap(rule => seriesOf(rule.text)),
]

test('every rule of knative.yml is read here', () => {
  const all = read('monitoring/prometheus/rules/knative.yml').match(/^ {2}- (record|alert): /gm)
  assert.equal(rules.length, all?.length)
})

describe('the first Knative that has its series is named by', () => {
  for (const { name, says, text } of rules)
    test(`${name}, and the pinned one has them`, () => {
      const series = seriesOf(text)
      assert.ok(series.length > 0)
      assert.ok(says.endsWith(`${sinceAll(series)}.`), `${says}: ${sinceAll(series)}`)
      assertPinned(series, name)
    })

  for (const { title, panels } of readDashboards())
    for (const panel of panels) {
      const series = (panel.targets ?? []).flatMap(({ expr }) => knativeSeries(expr))
      if (series.length === 0) continue
      test(`${title}, ${panel.title}, and the pinned one has them`, () => {
        assert.ok(panel.description?.endsWith(` ${sinceAll(series)}.`), panel.description)
        assertPinned(series, panel.title)
      })
    }
})

test('a series that nobody looked up is no guess', () => {
  assert.throws(() => knativeSeries('sum(kn_revision_dreams)'), /kn_revision_dreams: monitoring/)
})
