import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { writesTo } from './api-server.ts'
import { canaryAt, until } from './harness.ts'
import { deploymentOf, deployments, ROLLOUTS } from './objects.ts'

const rollout = ROLLOUTS['an HTTPRoute']
const at = (percent: number, t: TestContext) => canaryAt(percent, t, { rollout })
const NEW = 'iris-classifier-v2-0-0'
const refs = (old: number, fresh: number, more: readonly object[] = []) => [
  { name: 'iris-classifier', port: 80, weight: old },
  { name: NEW, port: 80, weight: fresh },
  ...more,
]

describe('a Deployment whose pod template changed', () => {
  const changed = deployments(deploymentOf(NEW, {}, new Date().toISOString()))

  test('restarts the step, because earlier counts belong to another version', async t => {
    const { api, run } = await at(10, t)
    api.beside = changed
    assert.match((await run(['--apply'])).out, /wait: the first look is 60 s after/)
    assert.deepEqual(writesTo(api), [])
  })

  test('after a rollback counts as a new version, which --start starts', async t => {
    const { api, run, percent } = await canaryAt(0, t, { rollout, by: 'onnx-function-canary' })
    assert.equal((await run(['--apply', '--start'])).code, 6)
    api.beside = changed
    assert.match((await run(['--apply', '--start'])).out, /start, 0 % → 10 %/)
    assert.equal(percent(), 10)
  })

  test('makes the command wait until its pods are replaced', async t => {
    const { api, run } = await at(10, t)
    api.beside = deployments(deploymentOf(NEW, { updatedReplicas: 1 }))
    assert.match((await run(['--apply'])).out, /wait: the pods of iris-classifier-v2-0-0 are being/)
  })
})

test('rolls back a new version that has traffic but no ready pod', async t => {
  const { api, run, percent } = await at(10, t)
  rollout.makeUnready(api)
  const { code, out } = await run(['--apply'])
  assert.match(out, /roll back, 10 % → 0 %: no pod of iris-classifier-v2-0-0 is ready, but it has/)
  assert.deepEqual([code, percent()], [6, 0])
})

test('waits for a missing Deployment and names it', async t => {
  const { api, run } = await at(0, t)
  api.beside = () => ({})
  const { code, out } = await run(['--apply', '--start'])
  assert.match(
    out,
    /wait: there is no Deployment "iris-classifier-v2-0-0"; it must have the Service's name/,
  )
  assert.equal(code, 0)
})

for (const [what, rules, says, code] of [
  [
    'a rule with one backend has no canary',
    [{ backendRefs: refs(1, 1).slice(0, 1) }],
    /idle: no canary/,
    0,
  ],
  [
    'a rollout is over when the new version has all traffic',
    [{ backendRefs: refs(0, 7) }],
    /has all traffic/,
    0,
  ],
  [
    'a third backend leaves the decision to a person',
    [{ backendRefs: refs(40, 30, [{ name: 'other', port: 80, weight: 30 }]) }],
    /stand: a rule has three or more backendRefs/,
    5,
  ],
  [
    'rules that differ leave the decision to a person',
    [{ backendRefs: refs(90, 10) }, { backendRefs: refs(50, 50) }],
    /stand: the rules split the traffic differently/,
    5,
  ],
  [
    'two weights of 0 leave the decision to a person',
    [{ backendRefs: refs(0, 0) }],
    /stand: both weights/,
    5,
  ],
  [
    'a Service in another namespace leaves the decision to a person',
    [{ backendRefs: refs(90, 10).map(ref => ({ ...ref, namespace: 'other' })) }],
    /stand: the backendRef "iris-classifier" is not a Service in/,
    5,
  ],
] as const) {
  test(what, async t => {
    const { api, run } = await at(10, t)
    api.change('kubectl-edit', { spec: { rules } }, new Date(Date.now() - 3_600_000))
    const result = await run(['--apply'])
    assert.match(result.out, says)
    assert.deepEqual([result.code, writesTo(api)], [code, []])
  })
}

test('weights are relative to their sum; a rule with one backend is not changed', async t => {
  const { api, run } = await at(10, t)
  const preview = {
    backendRefs: [{ name: NEW, port: 80, weight: 1 }],
    matches: [{ method: 'GET' }],
  }
  const filters = [{ type: 'RequestHeaderModifier', requestHeaderModifier: { remove: ['x'] } }]
  const rules = [{ backendRefs: refs(6, 2), filters }, preview]
  api.change('kubectl-edit', { spec: { rules } }, new Date(Date.now() - 3_600_000))
  assert.match((await run(['--apply'])).out, /promote, 25 % → 50 %/)
  assert.deepEqual(api.object.spec.rules, [{ backendRefs: refs(50, 50), filters }, preview])
})

for (const [what, parents, says] of [
  [
    'has no status from its Gateway',
    [],
    /no controller has reported the route's status for the Gateway "public"/,
  ],
  [
    'was last observed before its last change',
    [
      {
        parentRef: { name: 'public', namespace: 'gateways' },
        conditions: [{ type: 'Accepted', status: 'True', observedGeneration: 1 }],
      },
    ],
    /the Gateway "public" has not observed the last change/,
  ],
] as const) {
  test(`a route that ${what} does not apply the percentage`, async t => {
    const { api, run } = await at(10, t)
    api.setStatus({ parents })
    const { code, out } = await run(['--apply'])
    assert.match(out, says)
    assert.deepEqual([code, writesTo(api)], [7, []])
  })
}

test('after kill -9 during a rollout, the command resumes at the same step', async t => {
  const { start, run, percent } = await at(0, t)
  const args = ['--apply', '--watch', '--start', '--every', '1s', '--hold', '0s']
  const first = start(args)
  await until('the canary is at 25 %', () => percent() === 25)
  first.process.kill('SIGKILL')
  await first.exit
  const stoodAt = percent()
  const { code, out } = await run(args)
  assert.equal(/^promote, (\d+) %/m.exec(out)?.[1], String(stoodAt))
  assert.deepEqual([code, percent()], [0, 100])
})

test('does not overwrite a person’s change between reading and writing', async t => {
  const { api, run, percent } = await at(10, t)
  api.beforePatch = () => {
    api.beforePatch = () => {}
    api.change('kubectl-edit', rollout.at(35))
  }
  const { code, out } = await run(['--apply'])
  assert.match(out, /at 35 % beside iris-classifier, set by kubectl-edit\n\nwait: the first look/)
  assert.deepEqual([code, percent()], [0, 35])
})
