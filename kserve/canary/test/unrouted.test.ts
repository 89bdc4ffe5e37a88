import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { writesTo } from './api-server.ts'
import { canaryAt, FINE, prometheus } from './harness.ts'
import { ROLLOUTS } from './objects.ts'

/*
 * Faults that keep traffic from a canary: it exits with a specific code instead of waiting for
 * ever.
 */

/** How each mode reports that the route does not carry the percent. */
const UNROUTED: Readonly<Record<keyof typeof ROLLOUTS, RegExp>> = {
  'KServe in Knative mode':
    /unrouted: status.components.predictor.traffic gives iris-classifier-predictor-00002 nothing/,
  'KServe in Standard mode':
    /unrouted: the HTTPRoute "iris-classifier" does not name the Service iris-classifier-v2-0-0-predictor. KServe up to 0.20 sets no weights/,
  'Knative alone': /unrouted: status.traffic of the Service gives iris-classifier-v2-0-0 nothing/,
  'an HTTPRoute':
    /unrouted: the Gateway "public" says Accepted False, NotAllowedByListeners: no listener takes/,
}

for (const [mode, rollout] of Object.entries(ROLLOUTS)) {
  describe(mode, () => {
    test('a route that does not carry the percent ends it, with the reason and code 7', async t => {
      const { api, run } = await canaryAt(10, t, { rollout })
      rollout.unroute(api)
      const { code, out } = await run(['--apply', '--watch'])
      assert.match(out, UNROUTED[mode as keyof typeof ROLLOUTS])
      assert.deepEqual([code, writesTo(api)], [7, []])
    })

    test('within two minutes of a change, no route has to carry it yet', async t => {
      const since = new Date(Date.now() - 90_000)
      const { api, run } = await canaryAt(10, t, { rollout, since })
      rollout.unroute(api)
      const { code, out } = await run(['--apply'])
      assert.match(out, /\nwait: /)
      assert.deepEqual([code, writesTo(api)], [0, []])
    })

    test('a revision that never gets ready ends it after --patience with code 8', async t => {
      const { api, run } = await canaryAt(0, t, { rollout })
      rollout.makeUnready(api)
      const { code, out } = await run(['--apply', '--start', '--watch', '--patience', '30m'])
      assert.match(out, /stalled: .* ready, \d+ s after the last change/)
      assert.deepEqual([code, writesTo(api)], [8, []])
    })
  })
}

test('requests that do not go where the percent sends them end it with code 7', async t => {
  const { api, run } = await canaryAt(10, t)
  prometheus.counts = { old: FINE.old, new: { errors: 0, requests: 3 } }
  const { code, out } = await run(['--apply', '--watch'])
  assert.match(out, /unrouted: \S+ got 3 of 9003 requests, not 10 %: likely the route/)
  assert.deepEqual([code, writesTo(api)], [7, []])
})

test('too few requests for longer than --patience end it with the likely reasons and code 8', async t => {
  const { api, run } = await canaryAt(10, t)
  prometheus.counts = { old: { errors: 0, requests: 900 }, new: { errors: 0, requests: 100 } }
  assert.equal((await run(['--apply'])).code, 0)
  const { code, out } = await run(['--apply', '--watch', '--patience', '30m'])
  assert.match(out, /stalled: too little is known of errors, .* s after .*: likely there is too/)
  assert.deepEqual([code, writesTo(api)], [8, []])
})
