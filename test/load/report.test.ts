import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { checksOf, page, type Run } from '../../scripts/load/report.ts'
import recorded from './recorded.json' with { type: 'json' }

const RUN: Run = {
  scenario: 'canary',
  environment: 'local',
  target: 'http://localhost:8080/<x>',
  date: '2026-11-25 10:36',
  // As Artillery 2.0.34 wrote it, without its plugins' counters.
  recorded: recorded as unknown as Run['recorded'],
  ensure: { maxErrorRate: 0, thresholds: [{ 'http.response_time.p99': 1_000 }] },
  wakeUps: [],
}

describe('the page about a load', () => {
  test('is whole by itself: nothing is loaded from elsewhere, and names are text', () => {
    const html = page(RUN)
    assert.doesNotMatch(html, /<script|<link|src=|url\(|<x>/)
    assert.match(html, /&lt;x>/)
    assert.match(html, /prefers-color-scheme: dark/)
  })

  test('has percentiles and errors over time, and how often each status came', () => {
    const html = page(RUN)
    for (const name of ['median', 'p95', 'p99', 'requests', 'errors'])
      assert.match(html, new RegExp(`<polyline class="line ${name}" points="[\\d.]+,`))
    assert.match(html, /<td>http\.codes\.200<\/td><td>15<\/td>/)
    assert.doesNotMatch(html, /NaN|undefined|Infinity/)
  })

  test('has each version’s share, and what it answered', () => {
    const { counters } = RUN.recorded.aggregate
    const aggregate = {
      ...RUN.recorded.aggregate,
      counters: { ...counters, 'canary.version.v2': 5, 'canary.answer.v2.setosa': 5 },
    }
    const html = page({ ...RUN, recorded: { ...RUN.recorded, aggregate } })
    assert.match(
      html,
      /v1\.0\.0<\/td><td>15<\/td>.*75 %<\/td><td>versicolor 40 %, setosa 33 %, virginica 27 %/,
    )
    assert.match(html, /v2<\/td><td>5<\/td>.*25 %<\/td><td>setosa 100 %/)
  })

  test('splits every wake-up into the platform’s share and ours', () => {
    const wakeUps = [
      { total: 200, phases: { process: 50, session: 100 } },
      { total: 400, phases: { process: 60, session: 40 } },
    ]
    const html = page({ ...RUN, wakeUps })
    assert.match(
      html,
      /<title>400 ms: 300 ms platform, 100 ms ours<\/title>.*<title>200 ms: 50 ms platform, 150 ms ours<\/title>/s,
    )
    assert.match(
      html,
      /<td>our share<\/td><td>100 ms<\/td><td>100 ms<\/td><td>150 ms<\/td><td>150 ms<\/td>/,
    )
  })

  test('says what did not hold: too slow, never measured, or failed', () => {
    assert.deepEqual(
      checksOf(RUN).map(({ ok }) => ok),
      [true, true],
    )
    assert.match(page(RUN), /class="verdict good">held/)
    const thresholds = [{ 'http.response_time.p99': 1 }, { 'cold.total_ms.p95': 1_000 }]
    const broken = { ...RUN, ensure: { maxErrorRate: -1, thresholds } }
    assert.deepEqual(
      checksOf(broken).map(({ ok }) => ok),
      [false, false, false],
    )
    assert.match(page(broken), /class="verdict bad">not held/)
  })
})
