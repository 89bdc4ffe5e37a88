import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canaryAt } from './harness.ts'
import { ROLLOUTS } from './objects.ts'

test('the JSON output and the Event contain the same checks', async t => {
  const { api, run } = await canaryAt(10, t)
  const { checks, decision, applied } = JSON.parse((await run(['--apply', '--json'])).out)
  assert.deepEqual(
    checks.map(({ check, verdict }: { check: string; verdict: string }) => `${check} ${verdict}`),
    ['errors same', 'latency same', 'predictions same', 'saturation same'],
  )
  assert.deepEqual([decision.action, decision.to, applied], ['promote', 25, true])
  const [{ regarding, note }] = api.events
  assert.deepEqual(
    [regarding.kind, regarding.name, regarding.uid],
    ['InferenceService', 'iris-classifier', '8f0c-1'],
  )
  assert.match(
    note,
    /^promote, 10 % → 25 %: no check is worse at 10 %\nerrors same: 1.00 % of 9000 \| 1.00 % of 1000; \+0.00 points; p /,
  )
})

test('reports a wrong argument with its value and the allowed values, and exits with 2', async t => {
  const { api, run } = await canaryAt(10, t)
  for (const [args, says] of [
    [['--steps', '50,10'], /--steps is "50,10"; it must be ascending integers from 1 to 99/],
    [['--hold', '10'], /--hold is "10"; it must be a duration of at least 0s/],
    [['--alpha', '2'], /--alpha is "2"; it must be a number from/],
    [['--kind', 'pod'], /--kind is "pod"; it must be one of inferenceservice, service/],
    [
      ['--prometheus', 'prometheus:'],
      /--prometheus is "prometheus:"; it must be an http or https URL/,
    ],
    [['--step', '1'], /--step/],
    [['more'], /2 names are given; exactly one is required/],
  ] as const) {
    const { code, err } = await run(args)
    assert.match(err, says)
    assert.equal(code, 2, err)
  }
  assert.deepEqual(api.asked, [])
})

for (const [mode, rollout] of Object.entries(ROLLOUTS)) {
  test(`${mode}: the queries select the revision by the labels of the recording rules`, async t => {
    const { run } = await canaryAt(10, t, { rollout })
    assert.equal(JSON.parse((await run(['--json'])).out).canary.new.series, rollout.newSeries)
  })
}
