import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Fault, writesTo } from './api-server.ts'
import { runCanary } from './command.ts'
import { canaryAt, FINE, KSERVE, prometheus, until, unusedAddress, WATCH } from './harness.ts'

/*
 * Faults of the API server and of Prometheus: each is reported, and nothing changes while either is
 * missing.
 */

const FAULTS: Readonly<Record<string, { fault: Fault; of?: string; says: RegExp }>> = {
  'forbids a change': {
    fault: { status: 403, message: 'User "x" cannot patch' },
    of: 'PATCH',
    says: /changing InferenceService iris\/iris-classifier: 403 User "x" cannot patch/,
  },
  'refuses the credentials': {
    fault: { status: 401, message: 'Unauthorized' },
    says: /reading InferenceService iris\/iris-classifier: 401 Unauthorized/,
  },
  fails: { fault: { status: 500, message: 'etcd' }, says: /500 etcd/ },
  'breaks the connection': { fault: 'reset', says: /the API server does not answer/ },
  'never answers': { fault: 'hang', says: /the API server does not answer: .*timeout/ },
}

describe('an API server that', () => {
  for (const [what, { fault, of, says }] of Object.entries(FAULTS)) {
    test(`${what}: exit code 4, the reason, no change`, async t => {
      const { api, run, percent } = await canaryAt(10, t)
      api.fault = method => (of === undefined || method === of ? fault : undefined)
      const { code, err } = await run(['--apply'])
      assert.match(err, says)
      assert.deepEqual([code, percent()], [4, 10])
    })
  }

  test('has no such object: exit code 4, also with --watch', async t => {
    const { api } = await canaryAt(10, t)
    const { code, err } = await runCanary(api.kubeconfig, ['iris', ...WATCH])
    assert.equal(code, 4)
    assert.match(
      err,
      /reading InferenceService iris\/iris: 404 inferenceservices.serving.kserve.io "iris" not found/,
    )
  })

  test('refuses Events: the change stays, and the refusal is printed', async t => {
    const { api, run, percent } = await canaryAt(10, t)
    api.fault = method => (method === 'POST' ? { status: 403, message: 'no' } : undefined)
    const { code, err } = await run(['--apply'])
    assert.deepEqual([code, percent()], [0, 25])
    assert.match(
      err,
      /an event about InferenceService iris\/iris-classifier: 403 no; the step itself was made/,
    )
  })

  test('is away for a while: --watch tries again', async t => {
    const { api, start, percent } = await canaryAt(25, t)
    await api.stop()
    const { exit, err } = start(WATCH)
    await until('it has tried', () =>
      /does not answer: .*nothing is done without it, it is tried again/.test(err()),
    )
    await api.start()
    assert.equal(await exit, 0, err())
    assert.equal(percent(), undefined)
  })

  test('allows no watch: it is asked at each look', async t => {
    const { api, run, percent } = await canaryAt(25, t)
    api.fault = (_, path) => (path.includes('watch=true') ? { status: 403 } : undefined)
    assert.deepEqual([(await run(WATCH)).code, percent()], [0, undefined])
  })
})

describe('a watch', () => {
  test('that the API server ends is resumed from the same version', async t => {
    const { api, start } = await canaryAt(10, t)
    const { exit } = start(['--apply', '--watch', '--every', '1h'])
    await until('it watches', () => api.watches === 1)
    assert.equal(api.endWatches(), 1)
    const watches = () => api.asked.filter(line => line.includes('watch=true'))
    await until('it watches again', () => watches().length === 2 && api.watches === 1)
    assert.equal(watches()[0], watches()[1])
    api.change('kubectl-patch', KSERVE.at(100))
    assert.equal(await exit, 0)
  })

  test('from a version that is Gone (410) reads the object again', async t => {
    const { api, run } = await canaryAt(10, t)
    // Between the read and the watch.
    api.fault = (_, path) => {
      if (path.includes('watch=true')) {
        api.fault = () => undefined
        api.compact()
        api.change('kubectl-patch', KSERVE.at(100))
      }
      return undefined
    }
    assert.equal((await run(['--apply', '--watch', '--every', '1h'])).code, 0)
  })
})

describe('Prometheus', () => {
  test('that is broken: exit code 3, no change', async t => {
    const { api, run } = await canaryAt(10, t)
    prometheus.counts = undefined
    const { code, err } = await run(['--apply'])
    assert.match(err, /answers 503: starting/)
    assert.deepEqual([code, writesTo(api)], [3, []])
  })

  test('that is not there: exit code 3, no change', async t => {
    const { api } = await canaryAt(10, t)
    const args = ['iris-classifier', '--apply', '--prometheus', await unusedAddress()]
    const { code, err } = await runCanary(api.kubeconfig, args)
    assert.match(err, /does not answer: connect ECONNREFUSED/)
    assert.deepEqual([code, writesTo(api)], [3, []])
  })

  test('that comes back: --watch tries again', async t => {
    const { start } = await canaryAt(50, t)
    prometheus.counts = undefined
    const { exit, err } = start(WATCH)
    await until('it has tried', () => err().includes('answers 503'))
    prometheus.counts = FINE
    assert.equal(await exit, 0)
  })
})
