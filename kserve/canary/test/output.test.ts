import assert from 'node:assert/strict'
import { test } from 'node:test'
import { canaryAt } from './harness.ts'
import { ROLLOUTS } from './objects.ts'

test('the JSON and the Event about the object hold the same checks', async t => {
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
    /^promote, 10 % → 25 %: nothing is worse at 10 %\nerrors same: 1.00 % of 9000 \| 1.00 % of 1000; \+0.00 points; p /,
  )
})

test('a wrong argument is named with its value and what is allowed; exit code 2', async t => {
  const { api, run } = await canaryAt(10, t)
  for (const [args, says] of [
    [['--steps', '50,10'], /--steps is "50,10"; it is whole percents that rise, from 1 to 99/],
    [['--hold', '10'], /--hold is "10"; it is seconds, minutes or hours/],
    [['--alpha', '2'], /--alpha is "2"; it is a number from/],
    [['--kind', 'pod'], /--kind is "pod"; it is one of inferenceservice, service/],
    [['--prometheus', 'prometheus:'], /--prometheus is "prometheus:"; it is a URL/],
    [['--step', '1'], /--step/],
    [['more'], /one name is wanted, not 2/],
  ] as const) {
    const { code, err } = await run(args)
    assert.match(err, says)
    assert.equal(code, 2, err)
  }
  assert.deepEqual(api.asked, [])
})

for (const [mode, rollout] of Object.entries(ROLLOUTS)) {
  test(`${mode}: the queries use the series that the recording rules know the revision by`, async t => {
    const { run } = await canaryAt(10, t, { rollout })
    assert.equal(JSON.parse((await run(['--json'])).out).canary.new.series, rollout.newSeries)
  })
}
