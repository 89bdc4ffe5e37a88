import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { readDashboards } from '../demo/dashboards.ts'
import { knativeSeries, minor, type Since, sinceAll } from '../knative-series.ts'

/*
 * Rules and panels must name the first Knative release that has their series, and the pinned
 * release must not be older.
 */

const read = (path: string) => readFileSync(join(import.meta.dirname, '../..', path), 'utf8')
const pins = Object.fromEntries(
  [...read('scripts/cluster/versions.sh').matchAll(/^([A-Z_]+)=(\S+)$/gm)].map(
    ([, name, value]) => [name, value],
  ),
)

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

/** `says` is the comment before a rule, joined into one line. */
const rules = [
  ...read('monitoring/prometheus/rules/knative.yml').matchAll(
    /((?: {2}# .*\n)+) {2}- (?:record|alert): (\S+)\n((?: {4}.*\n)+)/g,
  ),
].map(([, comment = '', name = '', body = '']): Rule => {
  const [, text = ''] = /^ {4}expr: (?:\|\n)?((?:.|\n {6})*)/m.exec(body) ?? []
  return { name, says: comment.replaceAll(/\s*# /g, ' ').trim(), text }
})

const seriesOf = (text: string): Since[] => [
  ...knativeSeries(text),
  ...rules.filter(({ name }) => text.includes(name)).flatMap(rule => seriesOf(rule.text)),
]

test('this test reads every rule in knative.yml', () => {
  const all = read('monitoring/prometheus/rules/knative.yml').match(/^ {2}- (record|alert): /gm)
  assert.equal(rules.length, all?.length)
})

describe('names the first Knative release with its series, and this release is not newer than the pinned release:', () => {
  for (const { name, says, text } of rules)
    test(`rule ${name}`, () => {
      const series = seriesOf(text)
      assert.ok(series.length > 0)
      assert.ok(says.endsWith(`${sinceAll(series)}.`), `${says}: ${sinceAll(series)}`)
      assertPinned(series, name)
    })

  for (const { title, panels } of readDashboards())
    for (const panel of panels) {
      const series = (panel.targets ?? []).flatMap(({ expr }) => knativeSeries(expr))
      if (series.length === 0) continue
      test(`panel ${title} › ${panel.title}`, () => {
        assert.ok(panel.description?.endsWith(` ${sinceAll(series)}.`), panel.description)
        assertPinned(series, panel.title)
      })
    }
})

test('a Knative series without a known version is an error', () => {
  assert.throws(
    () => knativeSeries('sum(kn_revision_dreams)'),
    /^Error: kn_revision_dreams: add the first Knative version/,
  )
})
