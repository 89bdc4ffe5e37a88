import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Period, page, shares } from '../../scripts/load/report.ts'
// Artillery 2.0.34's output, without the counters of its plugins.
import recorded from './recorded.json' with { type: 'json' }

const { aggregate, intermediate } = recorded as unknown as {
  aggregate: Period
  intermediate: readonly Period[]
}

test('the page needs no external resources, and escapes names', () => {
  const html = page('steady on http://localhost:8080/<x>', intermediate)
  assert.doesNotMatch(html, /<script|<link|src=|url\(|<x>/)
  assert.match(html, /&lt;x>/)
})

test('the page charts percentiles and rates over time', () => {
  const html = page('steady', intermediate)
  for (const name of ['median', 'p95', 'p99', 'requests', 'errors'])
    assert.match(html, new RegExp(`d="M\\d+,\\d+(L\\d+,\\d+)+"><title>${name}</title>`))
  assert.doesNotMatch(html, /NaN|undefined|Infinity/)
})

test('the page of a run without responses contains no NaN or undefined', () => {
  const silent = intermediate.map(period => ({ ...period, counters: {}, summaries: {} }))
  assert.doesNotMatch(page('silent', silent), /NaN|undefined|Infinity/)
})

test('prints the share of each version in the responses, and the share of each label in its predictions', () => {
  const { counters } = aggregate
  assert.deepEqual(shares({ ...counters, 'canary.version.v2': 5, 'canary.answer.v2.setosa': 5 }), [
    'v1.0.0 sent 75 % of the responses: versicolor 40 %, setosa 33 %, virginica 27 %',
    'v2 sent 25 % of the responses: setosa 100 %',
  ])
  assert.deepEqual(shares({}), [])
})
