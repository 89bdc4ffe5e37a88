import assert from 'node:assert/strict'
import { test } from 'node:test'
import { writesTo } from './api-server.ts'
import { canaryAt, KSERVE, until, WATCH } from './harness.ts'
import { ROLLOUTS } from './objects.ts'

/* People and second processes that change the same object, and restarts. */

test('a change between reading and writing is not overwritten; the decision is made anew', async t => {
  const { api, run, percent } = await canaryAt(10, t)
  api.beforePatch = () => {
    api.beforePatch = () => {}
    api.change('kubectl-edit', KSERVE.at(35))
  }
  const { code, out, err } = await run(['--apply'])
  assert.match(err, /somebody has changed the object meanwhile/)
  assert.match(
    out,
    /at 35 % beside .*, set by kubectl-edit\n\nwait: the first look is 60 s after the last change/,
  )
  assert.deepEqual([code, percent()], [0, 35])
})

test('it goes on from the percent that a person set', async t => {
  const { run } = await canaryAt(35, t, { by: 'kubectl-edit' })
  assert.match((await run(['--apply'])).out, /promote, 35 % → 50 %/)
})

test('any other change restarts the step: earlier counts may be another version’s', async t => {
  const { api, run } = await canaryAt(10, t)
  api.change('kubectl-client-side-apply', { spec: { predictor: { timeout: 75 } } })
  assert.match((await run(['--apply'])).out, /wait: the first look/)
  assert.deepEqual(writesTo(api), [])
})

test('0 set by hand stops it; it names the manager that set it', async t => {
  const { run } = await canaryAt(0, t, { by: 'kubectl-patch' })
  const { code, out } = await run(WATCH)
  assert.equal(code, 5)
  assert.match(out, /stand: .* at 0 %, set by kubectl-patch; --start begins/)
})

test('a promotion by hand ends a watch at once', async t => {
  const { api, start } = await canaryAt(10, t)
  const { exit, out } = start(['--apply', '--watch', '--every', '1h'])
  await until('it watches', () => api.watches === 1)
  api.change('kubectl-patch', { spec: { predictor: { canaryTrafficPercent: null } } })
  assert.equal(await exit, 0)
  assert.match(out(), /idle: no canary/)
})

test('a third revision in the traffic leaves the decision to a person', async t => {
  const { api, run } = await canaryAt(10, t, { rollout: ROLLOUTS['Knative alone'] })
  const targets = api.object.spec.traffic.map((target: object) => ({ ...target, percent: 30 }))
  api.change('kubectl-edit', {
    spec: { traffic: [...targets, { revisionName: 'other', percent: 40 }] },
  })
  const { code, out } = await run(['--apply'])
  assert.equal(code, 5)
  assert.match(out, /three revisions or more/)
})

test('two processes do not promote twice', async t => {
  const { run, percent } = await canaryAt(10, t)
  const both = await Promise.all([run(['--apply']), run(['--apply'])])
  assert.deepEqual([both.map(({ code }) => code), percent()], [[0, 0], 25])
})

test('after kill -9 between two steps it goes on from the step', async t => {
  const { start, run, percent } = await canaryAt(0, t)
  const first = start([...WATCH, '--start'])
  await until('it stands at 25 %', () => percent() === 25)
  first.process.kill('SIGKILL')
  await first.exit
  const stoodAt = percent()
  const { code, out } = await run([...WATCH, '--start'])
  assert.equal(/^promote, (\d+) %/m.exec(out)?.[1], String(stoodAt))
  assert.deepEqual([code, percent()], [0, undefined])
})

test('after kill -9 between a change and its Event it does not repeat the change', async t => {
  const { api, start, run, percent } = await canaryAt(10, t)
  api.fault = method => (method === 'POST' ? 'hang' : undefined)
  const first = start(['--apply'])
  await until('it writes the Event', () => api.asked.some(line => line.startsWith('POST')))
  first.process.kill('SIGKILL')
  await first.exit
  api.fault = () => undefined
  assert.match((await run(['--apply'])).out, /at 25 % .*, set by onnx-function-canary\n\nwait/)
  assert.equal(percent(), 25)
})
