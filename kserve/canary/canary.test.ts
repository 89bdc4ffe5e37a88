import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, beforeEach, describe, test } from 'node:test'
import type { ApiServer } from '../../test/canary/api-server.ts'
import { runCanary, startCanary } from '../../test/canary/command.ts'
import { ROLLOUTS, type Rollout, startCanaryObject } from '../../test/canary/objects.ts'
import { until } from '../../test/http/client.ts'

/*
 * The command as a process, beside an API server that answers as it is documented, on a port. What Prometheus says is given here; a real
 * one is asked in test/system/canary.test.ts.
 */

/** What each revision has answered, whenever it is asked; undefined stands for a Prometheus that is broken. */
interface Counted {
  readonly errors: number
  readonly requests: number
}
let counted: { old: Counted; new: Counted } | undefined
let prometheus: Server
let prometheusUrl: string
const FINE = { old: { errors: 90, requests: 9000 }, new: { errors: 10, requests: 1000 } }
const FAILS = { ...FINE, new: { errors: 200, requests: 1000 } }

before(async () => {
  prometheus = createServer((request, response) => {
    const query = new URL(String(request.url), 'http://prometheus').searchParams.get('query') ?? ''
    response.setHeader('Content-Type', 'application/json')
    if (counted === undefined)
      return response.writeHead(503).end('{"status":"error","error":"starting"}')
    const { errors, requests } = /00002|v2-0-0/.test(query) ? counted.new : counted.old
    const series = (label: string, values: Readonly<Record<string, number>>) =>
      Object.entries(values).map(([value, count]) => ({
        metric: { [label]: value },
        value: [0, String(count)],
      }))
    const result = query.includes('requests_total')
      ? series('status', { success: requests - errors, error: errors })
      : query.includes('_bucket')
        ? series('le', { '0.005': requests, '+Inf': requests })
        : query.includes('predictions_total')
          ? series('label', { setosa: requests / 2, virginica: requests / 2 })
          : [{ metric: {}, value: [0, '0.01'] }]
    response.end(JSON.stringify({ status: 'success', data: { resultType: 'vector', result } }))
  }).listen(0, '127.0.0.1')
  await once(prometheus, 'listening')
  prometheusUrl = `http://127.0.0.1:${(prometheus.address() as AddressInfo).port}`
})
after(() => prometheus.close())
beforeEach(() => {
  counted = FINE
})

const KSERVE = ROLLOUTS['KServe in Knative mode']
const HOUR_AGO = new Date(Date.now() - 3_600_000)

/** A canary at so many percent, set by somebody an hour ago. */
const canaryAt = (percent: number, rollout: Rollout, by?: string) =>
  startCanaryObject(rollout, percent, HOUR_AGO, by)

const start = (api: ApiServer, args: readonly string[], { args: own }: Rollout = KSERVE) =>
  startCanary(api.kubeconfig, [...own, '--prometheus', prometheusUrl, ...args])

/** Runs it to its end. */
const run = (api: ApiServer, args: readonly string[], { args: own }: Rollout = KSERVE) =>
  runCanary(api.kubeconfig, [...own, '--prometheus', prometheusUrl, ...args])

const WATCH = ['--apply', '--watch', '--every', '1s', '--hold', '0s']
const writes = (api: ApiServer) => api.asked.filter(line => !line.startsWith('GET'))

for (const [mode, rollout] of Object.entries(ROLLOUTS)) {
  describe(mode, () => {
    test('a dry run says what would be done, and does nothing', async t => {
      const api = await canaryAt(10, rollout)
      t.after(() => api.close())
      const { code, out } = await run(api, [], rollout)
      assert.match(
        out,
        /promote, 10 % → 25 %: nothing is worse at 10 % \(dry run: nothing was changed\)/,
      )
      assert.equal(code, 0)
      assert.deepEqual(writes(api), [])
    })

    test('--apply promotes by one step', async t => {
      const api = await canaryAt(10, rollout)
      t.after(() => api.close())
      const { code } = await run(api, ['--apply'], rollout)
      assert.equal(code, 0)
      assert.equal(rollout.percent(api.object), 25)
    })

    test('a version that fails is rolled back to 0, with a warning, and stays there', async t => {
      const api = await canaryAt(50, rollout)
      t.after(() => api.close())
      counted = FAILS
      const { code } = await run(api, ['--apply'], rollout)
      assert.equal(code, 6)
      assert.equal(rollout.percent(api.object), 0)
      assert.deepEqual([api.events[0].type, api.events[0].reason], ['Warning', 'CanaryRolledBack'])
      counted = FINE
      const again = await run(api, ['--apply', '--start'], rollout)
      assert.equal(again.code, 6)
      assert.match(again.out, /rolled back/)
      assert.equal(rollout.percent(api.object), 0)
    })

    test('--watch goes from 0 to the end by steps, says each, and writes an event for each', async t => {
      const api = await canaryAt(0, rollout)
      t.after(() => api.close())
      const { code, out } = await run(api, [...WATCH, '--start'], rollout)
      assert.equal(code, 0, out)
      assert.deepEqual(
        Array.from(
          out.matchAll(/^(\w+), (\d+ % → \d+ %)/gm),
          ([, action, way]) => `${action} ${way}`,
        ),
        ['start 0 % → 10 %', 'promote 10 % → 25 %', 'promote 25 % → 50 %', 'promote 50 % → 100 %'],
      )
      assert.deepEqual(
        api.events.map(({ reason }) => reason),
        ['CanaryStarted', 'CanaryPromoted', 'CanaryPromoted', 'CanaryPromoted'],
      )
    })

    test('a revision that is not ready is waited for', async t => {
      const api = await canaryAt(10, rollout)
      t.after(() => api.close())
      api.setStatus({
        latestReadyRevisionName: 'iris-classifier-v1-0-0',
        components: { predictor: { latestReadyRevision: 'iris-classifier-predictor-00001' } },
        canaryStatuses: [{ name: 'v2-0-0', ready: false, trafficPercent: 10 }],
      })
      const { code, out } = await run(api, ['--apply'], rollout)
      assert.match(out, /wait: .*(not ready|no pod of v2-0-0 is ready)/)
      assert.equal(code, 0)
      assert.deepEqual(writes(api), [])
    })
  })
}

describe('all traffic', () => {
  const promoted = async (rollout: Rollout) => {
    const api = await canaryAt(50, rollout)
    try {
      assert.equal((await run(api, ['--apply'], rollout)).code, 0)
      const after = await run(api, ['--apply'], rollout)
      assert.deepEqual(
        [after.code, writes(api).filter(line => line.startsWith('PATCH')).length],
        [0, 1],
      )
      return api.object.spec
    } finally {
      await api.close()
    }
  }

  test('in Knative mode is KServe’s when the percent is gone', async () => {
    assert.deepEqual((await promoted(KSERVE)).predictor, KSERVE.object.spec.predictor)
  })

  test('in Standard mode is the predictor’s that has the canary’s name and model, and its own number of pods', async () => {
    const rollout = ROLLOUTS['KServe in Standard mode']
    const { model } = rollout.object.spec.predictor
    assert.deepEqual(await promoted(rollout), {
      predictor: {
        name: 'v2-0-0',
        minReplicas: 2,
        terminationGracePeriodSeconds: 50,
        model: { ...model, storageUri: 'pvc://iris-models/v2.0.0' },
      },
    })
  })

  test('of Knative alone is the new revision’s; the old one and the tags stay', async () => {
    assert.deepEqual((await promoted(ROLLOUTS['Knative alone'])).traffic, [
      { revisionName: 'iris-classifier-v1-0-0', percent: 0, tag: 'stable' },
      { revisionName: 'iris-classifier-v2-0-0', percent: 100, tag: 'preview' },
    ])
  })
})

describe('beside a person', () => {
  test('who changes the object between reading and writing, nothing is written over, and it is decided anew', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    api.beforePatch = () => {
      api.beforePatch = () => {}
      api.change('kubectl-edit', KSERVE.at(35))
    }
    const { code, out, err } = await run(api, ['--apply'])
    assert.match(err, /somebody has changed the object meanwhile/)
    assert.match(
      out,
      /at 35 % beside .*, set by kubectl-edit\n\nwait: the first look is 60 s after the last change/,
    )
    assert.deepEqual([code, KSERVE.percent(api.object)], [0, 35])
  })

  test('the percent that a person set is where it goes on from', async t => {
    const api = await canaryAt(35, KSERVE, 'kubectl-edit')
    t.after(() => api.close())
    const { out } = await run(api, ['--apply'])
    assert.match(out, /promote, 35 % → 50 %/)
  })

  test('a change of anything else begins the step again: what was counted before may be another version’s', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    api.change('kubectl-client-side-apply', { spec: { predictor: { timeout: 75 } } })
    const { out } = await run(api, ['--apply'])
    assert.match(out, /wait: the first look/)
    assert.deepEqual(writes(api), [])
  })

  test('who sets 0 by hand, it stops, and says who did', async t => {
    const api = await canaryAt(0, KSERVE, 'kubectl-patch')
    t.after(() => api.close())
    const { code, out } = await run(api, WATCH)
    assert.equal(code, 5)
    assert.match(out, /stand: .* at 0 %, set by kubectl-patch; --start begins/)
  })

  test('who promotes by hand while it watches, it ends at once', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    const { exit, out } = start(api, ['--apply', '--watch', '--every', '1h'])
    await until('it watches', async () => api.watches() === 1)
    api.change('kubectl-patch', { spec: { predictor: { canaryTrafficPercent: null } } })
    assert.equal(await exit, 0)
    assert.match(out(), /idle: no canary/)
  })

  test('with a third revision in the traffic, it leaves the choice to the person', async t => {
    const rollout = ROLLOUTS['Knative alone']
    const api = await canaryAt(10, rollout)
    t.after(() => api.close())
    api.change('kubectl-edit', {
      spec: {
        traffic: [
          ...api.object.spec.traffic.map((target: object) => ({ ...target, percent: 30 })),
          { revisionName: 'other', percent: 40 },
        ],
      },
    })
    const { code, out } = await run(api, ['--apply'], rollout)
    assert.equal(code, 5)
    assert.match(out, /three revisions or more/)
  })

  test('two of this do not promote twice', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    const both = await Promise.all([run(api, ['--apply']), run(api, ['--apply'])])
    assert.deepEqual(
      both.map(({ code }) => code),
      [0, 0],
    )
    assert.equal(KSERVE.percent(api.object), 25)
  })
})

describe('the API server', () => {
  for (const [what, fault, says] of [
    [
      'that forbids a change',
      (method: string) =>
        method === 'PATCH' ? { status: 403, message: 'User "x" cannot patch' } : undefined,
      /changing InferenceService iris\/iris-classifier: 403 User "x" cannot patch/,
    ],
    [
      'that does not know who asks',
      () => ({ status: 401, message: 'Unauthorized' }),
      /reading InferenceService iris\/iris-classifier: 401 Unauthorized/,
    ],
    ['that fails', () => ({ status: 500, message: 'etcd' }), /500 etcd/],
    ['that breaks the connection', () => 'reset' as const, /the API server does not answer/],
    ['that never answers', () => 'hang' as const, /the API server does not answer: .*timeout/],
  ] as const) {
    test(`${what} ends it with 4, which says so, and nothing is written`, async t => {
      const api = await canaryAt(10, KSERVE)
      t.after(() => api.close())
      api.fault = fault
      const { code, err } = await run(api, ['--apply'])
      assert.equal(code, 4)
      assert.match(err, says)
      assert.equal(KSERVE.percent(api.object), 10)
    })
  }

  test('that has no such object ends it with 4, also where it was to watch', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    const { code, err } = await run(api, WATCH, { ...KSERVE, args: ['iris'] })
    assert.equal(code, 4)
    assert.match(
      err,
      /reading InferenceService iris\/iris: 404 inferenceservices.serving.kserve.io "iris" not found/,
    )
  })

  test('that takes no events is told of on the way; what was done stays done', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    api.fault = method => (method === 'POST' ? { status: 403, message: 'no' } : undefined)
    const { code, err } = await run(api, ['--apply'])
    assert.deepEqual([code, KSERVE.percent(api.object)], [0, 25])
    assert.match(
      err,
      /an event about InferenceService iris\/iris-classifier: 403 no; what it says was done all the same/,
    )
  })

  test('that is away for a while is asked again by who watches', async t => {
    const api = await canaryAt(25, KSERVE)
    t.after(() => api.close())
    await api.stop()
    const watching = start(api, WATCH)
    await until('it has tried', async () =>
      /does not answer: .*nothing is done without it, it is tried again/.test(watching.err()),
    )
    await api.start()
    assert.equal(await watching.exit, 0, watching.err())
    assert.equal(KSERVE.percent(api.object), undefined)
  })

  test('that ends a watch is asked to go on with it from where it was', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    const { exit } = start(api, ['--apply', '--watch', '--every', '1h'])
    await until('it watches', async () => api.watches() === 1)
    assert.equal(api.endWatches(), 1)
    const watches = () => api.asked.filter(line => line.includes('watch=true'))
    await until('it watches again', async () => watches().length === 2 && api.watches() === 1)
    assert.equal(watches()[0], watches()[1])
    api.change('kubectl-patch', KSERVE.at(100))
    assert.equal(await exit, 0)
  })

  test('that has lost the version watched from (410 Gone) is asked for the object again', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    // Between the reading and the watch.
    api.fault = (_, path) => {
      if (path.includes('watch=true')) {
        api.fault = () => undefined
        api.compact()
        api.change('kubectl-patch', KSERVE.at(100))
      }
      return undefined
    }
    assert.equal((await run(api, ['--apply', '--watch', '--every', '1h'])).code, 0)
  })

  test('that allows no watch is asked at each look', async t => {
    const api = await canaryAt(25, KSERVE)
    t.after(() => api.close())
    api.fault = (_, path) => (path.includes('watch=true') ? { status: 403 } : undefined)
    assert.equal((await run(api, WATCH)).code, 0)
    assert.equal(KSERVE.percent(api.object), undefined)
  })
})

describe('Prometheus', () => {
  test('that is broken ends it with 3; nothing is done without it', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    counted = undefined
    const { code, err } = await run(api, ['--apply'])
    assert.equal(code, 3)
    assert.match(err, /answers 503: starting/)
    assert.deepEqual(writes(api), [])
  })

  test('that comes back is asked again by who watches', async t => {
    const api = await canaryAt(50, KSERVE)
    t.after(() => api.close())
    counted = undefined
    const watching = start(api, WATCH)
    await until('it has tried', async () => watching.err().includes('answers 503'))
    counted = FINE
    assert.equal(await watching.exit, 0)
  })
})

describe('stopped by kill -9', () => {
  test('between two steps, it goes on where it was', async t => {
    const api = await canaryAt(0, KSERVE)
    t.after(() => api.close())
    const first = start(api, [...WATCH, '--start'])
    await until('it stands at 25 %', async () => KSERVE.percent(api.object) === 25)
    first.process.kill('SIGKILL')
    await first.exit
    const stoodAt = KSERVE.percent(api.object)
    const { code, out } = await run(api, [...WATCH, '--start'])
    assert.equal(code, 0)
    assert.equal(/^promote, (\d+) %/m.exec(out)?.[1], String(stoodAt))
    assert.equal(KSERVE.percent(api.object), undefined)
  })

  test('after a change, and before anybody was told, it does not do it twice', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    api.fault = method => (method === 'POST' ? 'hang' : undefined)
    const first = start(api, ['--apply'])
    await until('it tells of it', async () => api.asked.some(line => line.startsWith('POST')))
    first.process.kill('SIGKILL')
    await first.exit
    api.fault = () => undefined
    const { out } = await run(api, ['--apply'])
    assert.match(out, /at 25 % .*, set by onnx-function-canary\n\nwait/)
    assert.equal(KSERVE.percent(api.object), 25)
  })
})

describe('what it says', () => {
  test('is the same table on the terminal, as JSON and in the event, which is about the object', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    const { out } = await run(api, ['--apply', '--json'])
    const report = JSON.parse(out)
    assert.deepEqual(
      report.checks.map(({ check, verdict }: { check: string; verdict: string }) => [
        check,
        verdict,
      ]),
      [
        ['errors', 'same'],
        ['latency', 'same'],
        ['predictions', 'same'],
        ['saturation', 'same'],
      ],
    )
    assert.deepEqual(
      [report.decision.action, report.decision.to, report.applied],
      ['promote', 25, true],
    )
    const [event] = api.events
    assert.deepEqual(
      [event.regarding.kind, event.regarding.name, event.regarding.uid],
      ['InferenceService', 'iris-classifier', '8f0c-1'],
    )
    assert.match(
      event.note,
      /^promote, 10 % → 25 %: nothing is worse at 10 %\nerrors same: 1.00 % of 9000 \| 1.00 % of 1000; \+0.00 points; p /,
    )
  })

  test('to who called it wrongly names the option, its value and what is allowed, and ends with 2', async t => {
    const api = await canaryAt(10, KSERVE)
    t.after(() => api.close())
    for (const [args, says] of [
      [['--steps', '50,10'], /--steps is "50,10"; it is whole percents that rise, from 1 to 99/],
      [['--hold', '10'], /--hold is "10"; it is seconds, minutes or hours/],
      [['--alpha', '2'], /--alpha is "2"; it is a number from/],
      [['--kind', 'pod'], /--kind is "pod"; it is one of inferenceservice, service/],
      [['--prometheus', 'prometheus:'], /--prometheus is "prometheus:"; it is a URL/],
      [['--step', '1'], /--step/],
      [['more'], /one name is wanted, not 2/],
    ] as const) {
      const { code, err } = await run(api, args)
      assert.equal(code, 2, err)
      assert.match(err, says)
    }
    assert.deepEqual(api.asked, [])
  })

  test('asks Prometheus for the series of the revision that the rules know it by', async t => {
    for (const rollout of Object.values(ROLLOUTS)) {
      const api = await canaryAt(10, rollout)
      t.after(() => api.close())
      assert.equal(
        JSON.parse((await run(api, ['--json'], rollout)).out).canary.new.series,
        rollout.newSeries,
      )
    }
  })
})
