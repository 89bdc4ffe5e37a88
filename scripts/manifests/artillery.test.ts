import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exists, parse, read } from './sources.ts'

/* Every name in artillery.yml exists, and its phases and limits are as documented. */

const [script] = parse(read('artillery.yml'), 'artillery.yml')
const { config, scenarios, 'x-load': own } = script
const processor: Record<string, unknown> = await import(
  new URL('../load/processor.mjs', import.meta.url).href
)
const names = scenarios.map(({ name }: { name: string }) => name)

function found(value: unknown, field: string): unknown[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, inner]) => [
    ...(name === field ? [inner].flat() : []),
    ...found(inner, field),
  ])
}

test('artillery.yml has the environments and scenarios that docs/performance.md explains', () => {
  const page = read('docs/performance.md')
  assert.deepEqual(Object.keys(config.environments), ['local', 'knative', 'kserve'])
  assert.deepEqual(names.toSorted(), ['canary', 'cold', 'mixed', 'ramp', 'spike', 'steady'])
  for (const name of [...names, ...Object.keys(config.environments)])
    assert.ok(page.includes(`\`${name}\``), name)
  for (const { target } of Object.values<{ target: string }>(config.environments))
    assert.ok(URL.canParse(target), target)
})

test('by default, artillery.yml runs only the ramp to 200 requests per second, held for 60 s', () => {
  assert.deepEqual(
    scenarios
      .filter(({ weight }: { weight: number }) => weight > 0)
      .map(({ name }: { name: string }) => name),
    ['ramp'],
  )
  assert.ok(config.phases.some(({ rampTo }: { rampTo: number }) => rampTo === 200))
  assert.ok(
    config.phases.some(
      (phase: { duration: number; arrivalRate: number }) =>
        phase.duration === 60 && phase.arrivalRate === 200,
    ),
  )
})

test('every other scenario has its own phases and limits', () => {
  assert.deepEqual(
    Object.keys(own).toSorted(),
    names.filter((name: string) => name !== 'ramp').toSorted(),
  )
  for (const { phases, ensure } of Object.values<{
    phases: unknown[]
    ensure: { maxErrorRate: number; thresholds: unknown[] }
  }>(own)) {
    assert.ok(phases.length > 0 && ensure.maxErrorRate === 0 && ensure.thresholds.length > 0)
  }
})

test('every request has an expectation, so that a wrong response counts as an error', () => {
  const requests = found(scenarios, 'post') as { expect?: { statusCode?: number }[] }[]
  assert.ok(requests.length >= names.length)
  for (const { expect } of requests) assert.ok(expect?.some(({ statusCode }) => statusCode === 200))
  assert.equal(config.plugins.expect.reportFailuresAsErrors, true)
})

test('the processor has every function that artillery.yml calls, and the payload has the columns that artillery.yml names', () => {
  const called = [
    'beforeRequest',
    'afterResponse',
    'beforeScenario',
    'function',
    'whileTrue',
  ].flatMap(field => found(scenarios, field))
  assert.deepEqual(
    called.filter(name => typeof processor[String(name)] !== 'function'),
    [],
  )
  assert.ok(exists(config.processor))
  assert.equal(read(config.payload.path).split('\n')[0], config.payload.fields.join(','))
})

test('every limit uses a metric that is always measured', () => {
  const always = ['http.response_time', 'cold.total_ms', 'cold.ours_ms']
  const metrics = [config, own]
    .flatMap(part => found(part, 'thresholds'))
    .flatMap(threshold => Object.keys(threshold as object))
  assert.ok(metrics.length >= names.length)
  for (const metric of metrics)
    assert.ok(
      always.some(name => metric.startsWith(`${name}.p9`)),
      metric,
    )
})
