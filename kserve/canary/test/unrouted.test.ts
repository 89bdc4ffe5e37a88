import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { writesTo } from './api-server.ts'
import { canaryAt, FINE, prometheus } from './harness.ts'
import { ROLLOUTS } from './objects.ts'

/*
 * Faults that keep traffic from a canary. The command exits with a code for each instead of waiting
 * for ever.
 */

const UNROUTED: Readonly<Record<keyof typeof ROLLOUTS, RegExp>> = {
  'KServe in Knative mode':
    /unrouted: status.components.predictor.traffic gives iris-classifier-predictor-00002 no traffic/,
  'KServe in Standard mode':
    /unrouted: the HTTPRoute "iris-classifier" does not name the Service iris-classifier-v2-0-0-predictor. KServe up to 0.20 sets no weights/,
  'Knative alone':
    /unrouted: status.traffic of the Service gives iris-classifier-v2-0-0 no traffic/,
  'an HTTPRoute':
    /unrouted: the Gateway "public" reports Accepted False, NotAllowedByListeners: no listener accepts/,
}

for (const [mode, rollout] of Object.entries(ROLLOUTS)) {
  describe(mode, () => {
    test('exits with 7 and the reason if the route does not apply the percentage', async t => {
      const { api, run } = await canaryAt(10, t, { rollout })
      rollout.unroute(api)
      const { code, out } = await run(['--apply', '--watch'])
      assert.match(out, UNROUTED[mode as keyof typeof ROLLOUTS])
      assert.deepEqual([code, writesTo(api)], [7, []])
    })

    test('waits two minutes for the route to apply a change', async t => {
      const since = new Date(Date.now() - 90_000)
      const { api, run } = await canaryAt(10, t, { rollout, since })
      rollout.unroute(api)
      const { code, out } = await run(['--apply'])
      assert.match(out, /\nwait: /)
      assert.deepEqual([code, writesTo(api)], [0, []])
    })

    test('exits with 8 if a revision is not ready within --patience', async t => {
      const { api, run } = await canaryAt(0, t, { rollout })
      rollout.makeUnready(api)
      const { code, out } = await run(['--apply', '--start', '--watch', '--patience', '30m'])
      assert.match(out, /stalled: .* ready, \d+ s after the last change/)
      assert.deepEqual([code, writesTo(api)], [8, []])
    })
  })
}

test('exits with 7 if the requests do not follow the percentage', async t => {
  const { api, run } = await canaryAt(10, t)
  prometheus.counts = { old: FINE.old, new: { errors: 0, requests: 3 } }
  const { code, out } = await run(['--apply', '--watch'])
  assert.match(out, /unrouted: \S+ got 3 of 9003 requests, not 10 %: likely the route/)
  assert.deepEqual([code, writesTo(api)], [7, []])
})

test('exits with 8 and prints the likely causes if there are too few requests for longer than --patience', async t => {
  const { api, run } = await canaryAt(10, t)
  prometheus.counts = { old: { errors: 0, requests: 900 }, new: { errors: 0, requests: 100 } }
  assert.equal((await run(['--apply'])).code, 0)
  const { code, out } = await run(['--apply', '--watch', '--patience', '30m'])
  assert.match(
    out,
    /stalled: too few requests to judge errors, .* s after .*: likely the traffic is too low/,
  )
  assert.deepEqual([code, writesTo(api)], [8, []])
})
