import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { type Fault, writesTo } from './api-server.ts'
import { runCanary } from './command.ts'
import { canaryAt, FINE, KSERVE, prometheus, until, unusedAddress, WATCH } from './harness.ts'

/*
 * The command reports each fault of the API server and of Prometheus, and changes nothing while
 * either is unavailable.
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
  'breaks the connection': { fault: 'reset', says: /the API server does not respond/ },
  'never responds': { fault: 'hang', says: /the API server does not respond: .*timeout/ },
}

describe('an API server that', () => {
  for (const [what, { fault, of, says }] of Object.entries(FAULTS)) {
    test(`${what}: the command exits with 4, prints the reason, and changes nothing`, async t => {
      const { api, run, percent } = await canaryAt(10, t)
      api.fault = method => (of === undefined || method === of ? fault : undefined)
      const { code, err } = await run(['--apply'])
      assert.match(err, says)
      assert.deepEqual([code, percent()], [4, 10])
    })
  }

  test('does not have the object: the command exits with 4, even with --watch', async t => {
    const { api } = await canaryAt(10, t)
    const { code, err } = await runCanary(api.kubeconfig, ['iris', ...WATCH])
    assert.equal(code, 4)
    assert.match(
      err,
      /reading InferenceService iris\/iris: 404 inferenceservices.serving.kserve.io "iris" not found/,
    )
  })

  test('rejects Events: the command keeps the change and prints the rejection', async t => {
    const { api, run, percent } = await canaryAt(10, t)
    api.fault = method => (method === 'POST' ? { status: 403, message: 'no' } : undefined)
    const { code, err } = await run(['--apply'])
    assert.deepEqual([code, percent()], [0, 25])
    assert.match(
      err,
      /creating an Event about InferenceService iris\/iris-classifier: 403 no; the change itself was applied/,
    )
  })

  test('is temporarily unavailable: with --watch, the command tries again', async t => {
    const { api, start, percent } = await canaryAt(25, t)
    await api.stop()
    const { exit, err } = start(WATCH)
    await until('the command has tried', () =>
      /does not respond: .*nothing was changed; next attempt at/.test(err()),
    )
    await api.start()
    assert.equal(await exit, 0, err())
    assert.equal(percent(), undefined)
  })

  test('rejects watches: the command polls the object instead', async t => {
    const { api, run, percent } = await canaryAt(25, t)
    api.fault = (_, path) => (path.includes('watch=true') ? { status: 403 } : undefined)
    assert.deepEqual([(await run(WATCH)).code, percent()], [0, undefined])
  })
})

describe('a watch', () => {
  test('that the API server closes is resumed from the same version', async t => {
    const { api, start } = await canaryAt(10, t)
    const { exit } = start(['--apply', '--watch', '--every', '1h'])
    await until('the command watches', () => api.watches === 1)
    assert.equal(api.endWatches(), 1)
    const watches = () => api.asked.filter(line => line.includes('watch=true'))
    await until('the command watches again', () => watches().length === 2 && api.watches === 1)
    assert.equal(watches()[0], watches()[1])
    api.change('kubectl-patch', KSERVE.at(100))
    assert.equal(await exit, 0)
  })

  test('from a version that is Gone (410) reads the object again', async t => {
    const { api, run } = await canaryAt(10, t)
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
  test('responds with 503: the command exits with 3 and changes nothing', async t => {
    const { api, run } = await canaryAt(10, t)
    prometheus.counts = undefined
    const { code, err } = await run(['--apply'])
    assert.match(err, /responded with status 503: starting/)
    assert.deepEqual([code, writesTo(api)], [3, []])
  })

  test('refuses connections: the command exits with 3 and changes nothing', async t => {
    const { api } = await canaryAt(10, t)
    const args = ['iris-classifier', '--apply', '--prometheus', await unusedAddress()]
    const { code, err } = await runCanary(api.kubeconfig, args)
    assert.match(err, /does not respond: connect ECONNREFUSED/)
    assert.deepEqual([code, writesTo(api)], [3, []])
  })

  test('recovers: with --watch, the command tries again', async t => {
    const { start } = await canaryAt(50, t)
    prometheus.counts = undefined
    const { exit, err } = start(WATCH)
    await until('the command has tried', () => err().includes('with status 503'))
    prometheus.counts = FINE
    assert.equal(await exit, 0)
  })
})
