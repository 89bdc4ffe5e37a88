import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { writesTo } from './api-server.ts'
import { canaryAt, until } from './harness.ts'
import { deploymentOf, deployments, ROLLOUTS } from './objects.ts'

/*
 * Cases specific to an HTTPRoute: Deployments that the route does not contain, weights, Gateways.
 */

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

  test('restarts the step: earlier counts are of another version', async t => {
    const { api, run } = await at(10, t)
    api.beside = changed
    assert.match((await run(['--apply'])).out, /wait: the first look is 60 s after/)
    assert.deepEqual(writesTo(api), [])
  })

  test('after a rollback is a new version, which --start begins with', async t => {
    const { api, run, percent } = await canaryAt(0, t, { rollout, by: 'onnx-function-canary' })
    assert.equal((await run(['--apply', '--start'])).code, 6)
    api.beside = changed
    assert.match((await run(['--apply', '--start'])).out, /start, 0 % → 10 %/)
    assert.equal(percent(), 10)
  })

  test('is waited for while its pods are being replaced', async t => {
    const { api, run } = await at(10, t)
    api.beside = deployments(deploymentOf(NEW, { updatedReplicas: 1 }))
    assert.match((await run(['--apply'])).out, /wait: the pods of iris-classifier-v2-0-0 are being/)
  })
})

test('a new version that has traffic and no pod is rolled back: the Gateway answers errors', async t => {
  const { api, run, percent } = await at(10, t)
  rollout.makeUnready(api)
  const { code, out } = await run(['--apply'])
  assert.match(out, /roll back, 10 % → 0 %: no pod of iris-classifier-v2-0-0 is ready, and it has/)
  assert.deepEqual([code, percent()], [6, 0])
})

test('a Deployment that is not there is waited for, by its name', async t => {
  const { api, run } = await at(0, t)
  api.beside = () => ({})
  const { code, out } = await run(['--apply', '--start'])
  assert.match(
    out,
    /wait: there is no Deployment "iris-classifier-v2-0-0", as the Service is named/,
  )
  assert.equal(code, 0)
})

for (const [what, rules, says, code] of [
  ['one backend is no canary', [{ backendRefs: refs(1, 1).slice(0, 1) }], /idle: no canary/, 0],
  ['all traffic at the new one is the end', [{ backendRefs: refs(0, 7) }], /has all traffic/, 0],
  [
    'a third backend leaves the decision to a person',
    [{ backendRefs: refs(40, 30, [{ name: 'other', port: 80, weight: 30 }]) }],
    /stand: a rule has three backendRefs or more/,
    5,
  ],
  [
    'rules that differ leave the decision to a person',
    [{ backendRefs: refs(90, 10) }, { backendRefs: refs(50, 50) }],
    /stand: its rules split the traffic differently/,
    5,
  ],
  [
    'two weights of 0 leave it to a person',
    [{ backendRefs: refs(0, 0) }],
    /stand: both weights/,
    5,
  ],
  [
    'a Service of another namespace leaves it to a person',
    [{ backendRefs: refs(90, 10).map(ref => ({ ...ref, namespace: 'other' })) }],
    /stand: the backendRef "iris-classifier" is no Service of/,
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

test('weights are shares of their sum, in every rule with two; other rules stay', async t => {
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
  ['nobody has taken', [], /no controller has taken it for the Gateway "public"/],
  [
    'was seen before its last change',
    [
      {
        parentRef: { name: 'public', namespace: 'gateways' },
        conditions: [{ type: 'Accepted', status: 'True', observedGeneration: 1 }],
      },
    ],
    /the Gateway "public" has not seen the last change/,
  ],
] as const) {
  test(`a route that ${what} does not carry the percent`, async t => {
    const { api, run } = await at(10, t)
    api.setStatus({ parents })
    const { code, out } = await run(['--apply'])
    assert.match(out, says)
    assert.deepEqual([code, writesTo(api)], [7, []])
  })
}

test('after kill -9 half-way it goes on from the step', async t => {
  const { start, run, percent } = await at(0, t)
  const args = ['--apply', '--watch', '--start', '--every', '1s', '--hold', '0s']
  const first = start(args)
  await until('it stands at 25 %', () => percent() === 25)
  first.process.kill('SIGKILL')
  await first.exit
  const stoodAt = percent()
  const { code, out } = await run(args)
  assert.equal(/^promote, (\d+) %/m.exec(out)?.[1], String(stoodAt))
  assert.deepEqual([code, percent()], [0, 100])
})

test('a change by a person between reading and writing is not overwritten', async t => {
  const { api, run, percent } = await at(10, t)
  api.beforePatch = () => {
    api.beforePatch = () => {}
    api.change('kubectl-edit', rollout.at(35))
  }
  const { code, out } = await run(['--apply'])
  assert.match(out, /at 35 % beside iris-classifier, set by kubectl-edit\n\nwait: the first look/)
  assert.deepEqual([code, percent()], [0, 35])
})
