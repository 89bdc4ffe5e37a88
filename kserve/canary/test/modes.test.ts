import assert from 'node:assert/strict'
import { describe, type TestContext, test } from 'node:test'
import { writesTo } from './api-server.ts'
import { canaryAt, FAILS, FINE, KSERVE, prometheus, WATCH } from './harness.ts'
import { ROLLOUTS, type Rollout } from './objects.ts'

for (const [mode, rollout] of Object.entries(ROLLOUTS)) {
  describe(mode, () => {
    test('a dry run prints its decision and changes nothing', async t => {
      const { api, run } = await canaryAt(10, t, { rollout })
      const { code, out } = await run([])
      assert.match(
        out,
        /promote, 10 % → 25 %: no check is worse at 10 % \(dry run: nothing was changed\)/,
      )
      assert.deepEqual([code, writesTo(api)], [0, []])
    })

    test('--apply promotes by one step', async t => {
      const { run, percent } = await canaryAt(10, t, { rollout })
      assert.equal((await run(['--apply'])).code, 0)
      assert.equal(percent(), 25)
    })

    test('a version that fails is rolled back to 0 % with a warning, and stays at 0 %', async t => {
      const { api, run, percent } = await canaryAt(50, t, { rollout })
      prometheus.counts = FAILS
      assert.deepEqual([(await run(['--apply'])).code, percent()], [6, 0])
      assert.deepEqual([api.events[0].type, api.events[0].reason], ['Warning', 'CanaryRolledBack'])
      prometheus.counts = FINE
      const again = await run(['--apply', '--start'])
      assert.match(again.out, /rolled back/)
      assert.deepEqual([again.code, percent()], [6, 0])
    })

    test('--watch promotes from 0 to 100 % in steps, and prints and records each step', async t => {
      const { api, run } = await canaryAt(0, t, { rollout })
      const { code, out } = await run([...WATCH, '--start'])
      assert.equal(code, 0, out)
      assert.deepEqual(
        Array.from(out.matchAll(/^(\w+), (\d+ % → \d+ %)/gm), ([step]) => step),
        [
          'start, 0 % → 10 %',
          'promote, 10 % → 25 %',
          'promote, 25 % → 50 %',
          'promote, 50 % → 100 %',
        ],
      )
      assert.deepEqual(
        api.events.map(({ reason }) => reason),
        ['CanaryStarted', 'CanaryPromoted', 'CanaryPromoted', 'CanaryPromoted'],
      )
    })

    test('the command waits for a revision that is not ready', async t => {
      const { api, run } = await canaryAt(0, t, { rollout })
      rollout.makeUnready(api)
      const { code, out } = await run(['--apply', '--start'])
      assert.match(out, /wait: .*(not ready|no pod of \S+ is ready)/)
      assert.deepEqual([code, writesTo(api)], [0, []])
    })
  })
}

describe('the promotion to 100 %', () => {
  async function promoted(t: TestContext, rollout: Rollout) {
    const { api, run } = await canaryAt(50, t, { rollout })
    assert.equal((await run(['--apply'])).code, 0)
    assert.equal((await run(['--apply'])).code, 0)
    assert.equal(writesTo(api).filter(line => line.startsWith('PATCH')).length, 1)
    return api.object.spec
  }

  test('in KServe’s Knative mode removes the percentage', async t => {
    assert.deepEqual((await promoted(t, KSERVE)).predictor, KSERVE.object.spec.predictor)
  })

  test('in KServe’s Standard mode gives the predictor the canary’s name and model, and keeps its number of pods', async t => {
    const rollout = ROLLOUTS['KServe in Standard mode']
    const { model } = rollout.object.spec.predictor
    assert.deepEqual(await promoted(t, rollout), {
      predictor: {
        name: 'v2-0-0',
        minReplicas: 2,
        terminationGracePeriodSeconds: 50,
        model: { ...model, storageUri: 'pvc://iris-models/v2.0.0' },
      },
    })
  })

  test('of an HTTPRoute sets the first backend’s weight to 0 and keeps both backends', async t => {
    assert.deepEqual((await promoted(t, ROLLOUTS['an HTTPRoute'])).rules, [
      {
        backendRefs: [
          { name: 'iris-classifier', port: 80, weight: 0 },
          { name: 'iris-classifier-v2-0-0', port: 80, weight: 100 },
        ],
      },
    ])
  })

  test('of a Knative Service keeps the old revision at 0 %, and both tags', async t => {
    assert.deepEqual((await promoted(t, ROLLOUTS['Knative alone'])).traffic, [
      { revisionName: 'iris-classifier-v1-0-0', percent: 0, tag: 'stable' },
      { revisionName: 'iris-classifier-v2-0-0', percent: 100, tag: 'preview' },
    ])
  })
})
