import assert from 'node:assert/strict'
import { test } from 'node:test'
import { writesTo } from './api-server.ts'
import { canaryAt, KSERVE, until, WATCH } from './harness.ts'
import { ROLLOUTS } from './objects.ts'

/* Restarts, and concurrent changes by people and other processes. */

test('does not overwrite a change between reading and writing, and decides again', async t => {
  const { api, run, percent } = await canaryAt(10, t)
  api.beforePatch = () => {
    api.beforePatch = () => {}
    api.change('kubectl-edit', KSERVE.at(35))
  }
  const { code, out, err } = await run(['--apply'])
  assert.match(err, /changed in the meantime: nothing was written/)
  assert.match(
    out,
    /at 35 % beside .*, set by kubectl-edit\n\nwait: the first look is 60 s after the last change/,
  )
  assert.deepEqual([code, percent()], [0, 35])
})

test('continues from the percentage that a person set', async t => {
  const { run } = await canaryAt(35, t, { by: 'kubectl-edit' })
  assert.match((await run(['--apply'])).out, /promote, 35 % → 50 %/)
})

test('a change to a field other than the percentage restarts the step, because earlier counts may belong to another version', async t => {
  const { api, run } = await canaryAt(10, t)
  api.change('kubectl-client-side-apply', { spec: { predictor: { timeout: 75 } } })
  assert.match((await run(['--apply'])).out, /wait: the first look/)
  assert.deepEqual(writesTo(api), [])
})

test('stops when somebody sets the traffic to 0 %, and names the field manager that set it', async t => {
  const { run } = await canaryAt(0, t, { by: 'kubectl-patch' })
  const { code, out } = await run(WATCH)
  assert.equal(code, 5)
  assert.match(out, /stand: .* at 0 %, set by kubectl-patch; use --start/)
})

test('--watch exits at once when somebody promotes the new revision', async t => {
  const { api, start } = await canaryAt(10, t)
  const { exit, out } = start(['--apply', '--watch', '--every', '1h'])
  await until('the command watches', () => api.watches === 1)
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
  assert.match(out, /three or more revisions/)
})

test('two simultaneous processes promote only once', async t => {
  const { run, percent } = await canaryAt(10, t)
  const both = await Promise.all([run(['--apply']), run(['--apply'])])
  assert.deepEqual([both.map(({ code }) => code), percent()], [[0, 0], 25])
})

test('after kill -9 between two steps, the command resumes at the same step', async t => {
  const { start, run, percent } = await canaryAt(0, t)
  const first = start([...WATCH, '--start'])
  await until('the canary is at 25 %', () => percent() === 25)
  first.process.kill('SIGKILL')
  await first.exit
  const stoodAt = percent()
  const { code, out } = await run([...WATCH, '--start'])
  assert.equal(/^promote, (\d+) %/m.exec(out)?.[1], String(stoodAt))
  assert.deepEqual([code, percent()], [0, undefined])
})

test('after kill -9 between a change and its Event, the command does not repeat the change', async t => {
  const { api, start, run, percent } = await canaryAt(10, t)
  api.fault = method => (method === 'POST' ? 'hang' : undefined)
  const first = start(['--apply'])
  await until('the command writes the Event', () => api.asked.some(line => line.startsWith('POST')))
  first.process.kill('SIGKILL')
  await first.exit
  api.fault = () => undefined
  assert.match((await run(['--apply'])).out, /at 25 % .*, set by onnx-function-canary\n\nwait/)
  assert.equal(percent(), 25)
})
