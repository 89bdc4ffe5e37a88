import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { describe, test } from 'node:test'
import fc from 'fast-check'
import { random } from '../../../test/random.ts'
import {
  CHECKS_WITH_P,
  type Check,
  compare,
  type Limits,
  MATTERS,
  type Sample,
} from '../compare.ts'
import { beforeLooking, decide, type Look, lookAt, misrouted, type Plan, spend } from '../decide.ts'
import { type Canary, FIELD_MANAGER } from '../rollout/state.ts'
import './seed.ts'

const PLAN: Plan = { steps: [10, 25, 50], hold: 600, every: 60, patience: 7200, start: false }
const LIMITS: Limits = { requests: 500, alpha: 1e-4, drift: 0.1 }
const LOOK: Look = { number: 10, at: new Date('2026-01-01T03:10:00Z'), seconds: 600 }
const CANARY: Canary = {
  percent: 25,
  since: new Date('2026-01-01T03:00:00Z'),
  setBy: FIELD_MANAGER,
  untouched: true,
  old: { name: 'iris-00001', series: '' },
  new: { name: 'iris-00002', series: '' },
}

/** 1 % errors, 96 % of the requests within 5 ms, and two labels. */
const GOOD: Sample = of(9000)
function of(requests: number, { errors = 0.01, slow = 0.04, setosa = 0.5 } = {}): Sample {
  return {
    requests,
    errors: Math.round(errors * requests),
    durations: [
      [0.005, Math.round((1 - slow) * requests)],
      [0.01, Math.round((1 - slow) * requests)],
      [0.025, Math.round((1 - slow) * requests)],
      [0.05, requests],
      [Number.POSITIVE_INFINITY, requests],
    ],
    predictions: new Map([
      ['setosa', Math.round(setosa * requests)],
      ['virginica', Math.round((1 - setosa) * requests)],
    ]),
    memory: 0.4,
    lag: 0.011,
  }
}

const verdicts = (fresh: Sample, old = GOOD) =>
  compare(old, fresh, LIMITS).map(({ verdict }) => verdict)
const decided = (fresh: Sample, old = GOOD, look = LOOK) =>
  decide(CANARY, compare(old, fresh, LIMITS), PLAN, look)

/** The verdicts on errors, latency, predictions and saturation, and the decision. */
const CASES: readonly (readonly [what: string, fresh: Sample, old: Sample, ...is: string[]])[] = [
  ['is like the old version', of(1000), GOOD, 'same same same same', 'promote 50'],
  ['has fewer errors', of(1000), of(9000, { errors: 0.2 }), 'better same same same', 'promote 50'],
  ['is faster', of(1000), of(9000, { slow: 0.5 }), 'same better same same', 'promote 50'],
  ['has more errors', of(1000, { errors: 0.06 }), GOOD, 'worse same same same', 'roll back 0'],
  [
    'has half a percentage point more errors, which is certain but too small to matter',
    of(1e6, { errors: 0.015 }),
    of(1e6),
    'same same same same',
    'promote 50',
  ],
  ['has 10 % slow requests', of(1000, { slow: 0.1 }), GOOD, 'same worse same same', 'roll back 0'],
  ['predicts other labels', of(1000, { setosa: 0.3 }), GOOD, 'same same worse same', 'roll back 0'],
  [
    'predicts slightly different labels, which is certain but too small to matter',
    of(1e6, { setosa: 0.45 }),
    of(1e6),
    'same same same same',
    'promote 50',
  ],
  [
    'is worse in errors, latency and predictions',
    of(900, { errors: 0.2, slow: 0.4, setosa: 0.2 }),
    GOOD,
    'worse worse worse same',
    'roll back 0',
  ],
  ['has too few requests', of(499, { errors: 1 }), GOOD, 'too few too few too few same', 'wait'],
  [
    'has enough requests, unlike the old version',
    of(9000),
    of(80),
    'too few too few too few same',
    'wait',
  ],
  ['fills its memory', { ...of(1000), memory: 0.95 }, GOOD, 'same same same worse', 'wait'],
  [
    'fills its memory, like the old version',
    { ...of(1000), memory: 0.95 },
    { ...GOOD, memory: 0.92 },
    'same same same same',
    'promote 50',
  ],
  [
    'blocks its event loop and fails',
    { ...of(1000, { errors: 0.1 }), lag: 0.3 },
    GOOD,
    'worse same same worse',
    'roll back 0',
  ],
]

describe('a new version that', () => {
  for (const [what, fresh, old, expected, decision] of CASES) {
    test(`${what}: ${decision}`, () => {
      assert.equal(verdicts(fresh, old).join(' '), expected)
      const { action, to } = decided(fresh, old)
      assert.equal(to === undefined ? action : `${action} ${to}`, decision)
    })
  }

  test('has no series: wait', () => {
    const none: Sample = {
      requests: 0,
      errors: 0,
      durations: [],
      predictions: undefined,
      memory: undefined,
      lag: undefined,
    }
    assert.deepEqual(verdicts(none, none), ['no data', 'no data', 'no data', 'no data'])
    assert.match(decided(none, none).reason, /Prometheus has no requests/)
  })

  test('predicts no labels is judged by the other checks', () => {
    const regression = (sample: Sample) => ({ ...sample, predictions: undefined })
    assert.deepEqual(verdicts(regression(of(1000)), regression(GOOD)), [
      'same',
      'same',
      'not counted',
      'same',
    ])
    assert.equal(decided(regression(of(1000)), regression(GOOD)).action, 'promote')
  })

  test('often predicts a label that the old version does not have is rolled back', () => {
    const fresh = {
      ...of(1000),
      predictions: new Map([
        ['setosa', 500],
        ['virginica', 350],
        ['other', 150],
      ]),
    }
    assert.equal(decided(fresh).action, 'roll back')
  })

  test('gets ten rows per request has the same p as a version that gets one row per request', () => {
    const rows = (sample: Sample, times: number) => ({
      ...sample,
      predictions: new Map(
        Array.from(sample.predictions ?? [], ([label, count]) => [label, count * times]),
      ),
    })
    const p = (times: number) =>
      compare(rows(GOOD, times), rows(of(1000, { setosa: 0.4 }), times), LIMITS)[2]?.p as number
    assert.ok(Math.abs(p(10) - p(1)) < 1e-12)
  })

  test('is worse is rolled back before the step is over; an equal version waits for the end of the step', () => {
    const early: Look = { ...LOOK, number: 2, seconds: 120 }
    assert.equal(decided(of(1000, { errors: 0.1 }), GOOD, early).action, 'roll back')
    assert.equal(decided(of(1000), GOOD, early).action, 'wait')
  })
})

test('too little data for longer than --patience is an error with likely reasons', () => {
  const late: Look = { ...LOOK, number: 120, seconds: 7200 }
  for (const [fresh, reason] of [
    [of(100), /too few requests to judge errors, .*7200 s after .*: likely the traffic is too low/],
    [{ ...of(0), memory: undefined, lag: undefined }, /too few requests to judge/],
  ] as const) {
    const { action, reason: said } = decided(fresh, GOOD, late)
    assert.equal(action, 'stalled')
    assert.match(said, reason)
  }
  assert.match(
    decided(of(0), of(0), late).reason,
    /Prometheus has no requests .*: likely there are no/,
  )
  // Even after --patience, a worse revision is rolled back.
  assert.equal(decided(of(1000, { errors: 0.1 }), GOOD, late).action, 'roll back')
})

const sampled = fc
  .record({
    requests: fc.integer({ min: 0, max: 20_000 }),
    errors: fc.double({ min: 0, max: 1, noNaN: true }),
    slow: fc.double({ min: 0, max: 1, noNaN: true }),
    setosa: fc.double({ min: 0, max: 1, noNaN: true }),
  })
  .map(({ requests, ...shares }) => of(requests, shares))
const looks = fc
  .integer({ min: 1, max: 1000 })
  .map((number): Look => ({ number, at: new Date(0), seconds: 60 * number }))
const percents = fc.integer({ min: 1, max: 99 })
const anyChecks = fc.array(
  fc
    .record({
      check: fc.constantFrom<Check['check'][]>('errors', 'latency', 'predictions', 'saturation'),
      verdict: fc.constantFrom<Check['verdict'][]>(
        'better',
        'same',
        'worse',
        'too few',
        'no data',
        'not counted',
      ),
    })
    .map(one => ({ old: '', new: '', test: '', effect: '', p: undefined, ...one })),
)

describe('the decision', () => {
  test('promotes by exactly one step above the current percentage', () => {
    fc.assert(
      fc.property(sampled, sampled, looks, percents, (old, fresh, look, percent) => {
        const { action, to } = decide(
          { ...CANARY, percent },
          compare(old, fresh, LIMITS),
          PLAN,
          look,
        )
        if (action === 'promote')
          assert.equal(
            to,
            [...PLAN.steps, 100].find(step => step > percent),
          )
        else assert.equal(to, action === 'roll back' ? 0 : undefined)
      }),
    )
  })

  test('waits or stalls without enough requests of both revisions', () => {
    fc.assert(
      fc.property(sampled, sampled, looks, (old, fresh, look) => {
        if (Math.min(old.requests, fresh.requests) < LIMITS.requests)
          assert.equal(
            decide(CANARY, compare(old, fresh, LIMITS), PLAN, look).action,
            look.seconds < PLAN.patience ? 'wait' : 'stalled',
          )
      }),
    )
  })

  test('never rolls back a version that has the same counts', () => {
    fc.assert(
      fc.property(sampled, looks, (sample, look) => {
        assert.notEqual(
          decide(CANARY, compare(sample, sample, LIMITS), PLAN, look).action,
          'roll back',
        )
      }),
    )
  })

  test('never promotes when a check is worse or has too little data', () => {
    fc.assert(
      fc.property(anyChecks, looks, (checks, look) => {
        const bad = checks.some(({ verdict }) => ['worse', 'too few', 'no data'].includes(verdict))
        if (bad) assert.notEqual(decide(CANARY, checks, PLAN, look).action, 'promote')
      }),
    )
  })
})

describe('before the first comparison', () => {
  const early = (canary: Partial<Canary>, plan: Partial<Plan> = {}, number = 3) => {
    const { action, to } =
      beforeLooking({ ...CANARY, ...canary }, { ...PLAN, ...plan }, { ...LOOK, number }) ?? {}
    return [action, to]
  }

  test('a new revision at 0 % starts only with --start', () => {
    assert.deepEqual(early({ percent: 0, setBy: 'kubectl-patch', untouched: false }), [
      'stand',
      undefined,
    ])
    assert.deepEqual(
      early({ percent: 0, setBy: 'kubectl-patch', untouched: false }, { start: true }),
      ['start', 10],
    )
  })

  test('a revision that was rolled back stays at 0 %, even with --start', () => {
    assert.deepEqual(early({ percent: 0 }), ['rolled back', undefined])
    assert.deepEqual(early({ percent: 0 }, { start: true }), ['rolled back', undefined])
  })

  test('a rolled-back revision starts again after a person has changed the object', () => {
    assert.deepEqual(early({ percent: 0, untouched: false }, { start: true }), ['start', 10])
  })

  test('the command waits for a revision that is not ready', () => {
    assert.deepEqual(early({ percent: 0, setBy: 'helm', notReady: 'why' }, { start: true }), [
      'wait',
      undefined,
    ])
    assert.deepEqual(early({ notReady: 'why' }), ['wait', undefined])
  })

  test('the command waits until the first planned look', () => {
    assert.deepEqual(early({}, {}, 0), ['wait', undefined])
    assert.deepEqual(early({}, {}, 1), [undefined, undefined])
  })
})

describe('a revision that got less than a tenth of its percentage', () => {
  for (const [old, fresh, said] of [
    [18_000, 0, 'iris-00002 got 0 of 18000 requests, not 25 %'],
    [18_000, 449, 'iris-00002 got 449 of 18449 requests, not 25 %'],
    [0, 700, 'iris-00001 got 0 of 700 requests, not 75 %'],
    // These got too few requests to judge, more than a tenth of their share, or enough requests.
    [1400, 0, undefined],
    [3000, 100, undefined],
    [1e6, 500, undefined],
  ] as const)
    test(`${fresh} new and ${old} old requests: ${said === undefined ? 'not misrouted' : 'misrouted'}`, () => {
      const decision = misrouted(CANARY, { old, new: fresh }, LIMITS.requests)
      assert.equal(decision?.action, said && 'unrouted')
      if (said !== undefined) assert.ok(decision?.reason.startsWith(said), decision?.reason)
    })
})

describe('looks', () => {
  test('have fixed times: two runs between two looks get the same look', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1e6 }),
        fc.integer({ min: 1, max: 3600 }),
        fc.integer({ min: 0, max: 999 }),
        (seconds, every, ms) => {
          const plan = { ...PLAN, every }
          const look = lookAt(CANARY, plan, new Date(CANARY.since.getTime() + 1000 * seconds))
          assert.equal(look.number, Math.floor(seconds / every))
          assert.equal(look.at.getTime(), CANARY.since.getTime() + 1000 * every * look.number)
          assert.deepEqual(
            lookAt(CANARY, plan, new Date(look.at.getTime() + ((ms * every) % (1000 * every)))),
            look,
          )
        },
      ),
    )
  })

  test('together spend no more than alpha, for any number of looks', () => {
    let spent = 0
    for (let look = 1; look <= 1e5; look++)
      spent += PLAN.steps.length * CHECKS_WITH_P * spend(0.01, PLAN, CHECKS_WITH_P, look)
    assert.ok(spent < 0.01 && spent > 0.00999, `${spent}`)
  })
})

/**
 * Simulates a rollout with growing counts. `shares` are the new revision's.
 * @returns the first look with a significant p
 */
function firstAlarm(
  random: () => number,
  { looks, perLook, shares, plan, alpha }: Simulation,
): number | undefined {
  const counts = { old: [0, 0, 0, 0], new: [0, 0, 0, 0] }
  for (let look = 1; look <= looks; look++) {
    draw(random, counts.old, 3 * perLook, {})
    draw(random, counts.new, perLook, shares)
    const spent = spend(alpha, plan, CHECKS_WITH_P, look)
    const limits = { requests: 100, drift: 0, alpha: spent }
    const checks = compare(sampleOf(counts.old), sampleOf(counts.new), limits)
    // Checks only p, not the size of the difference.
    if (checks.some(({ p, test }) => p !== undefined && test !== '–' && p < spent)) return look
  }
  return undefined
}

interface Simulation {
  readonly looks: number
  readonly perLook: number
  readonly shares: { readonly errors?: number; readonly slow?: number; readonly setosa?: number }
  readonly plan: Plan
  readonly alpha: number
}

function draw(
  random: () => number,
  counts: number[],
  requests: number,
  { errors = 0.01, slow = 0.04, setosa = 0.5 }: Simulation['shares'],
): void {
  for (const [i, share] of [1, errors, slow, setosa].entries()) {
    for (let n = 0; n < requests; n++) if (random() < share) counts[i] = (counts[i] ?? 0) + 1
  }
}

const sampleOf = ([requests = 0, errors = 0, slow = 0, setosa = 0]: readonly number[]) =>
  of(requests, { errors: errors / requests, slow: slow / requests, setosa: setosa / requests })

describe('in a complete rollout', () => {
  const alarms = (runs: number, seed: number, simulation: Simulation) => {
    const generator = random(seed)
    return Array.from({ length: runs }, () => firstAlarm(generator, simulation)).filter(
      look => look !== undefined,
    ).length
  }

  test('an equal version has a significant p at any of 30 looks less often than alpha', () => {
    // One step gets all of alpha, which is large, so few runs suffice.
    const plan = { ...PLAN, steps: [50] }
    const found = alarms(200, 9, { looks: 30, perLook: 120, shares: {}, plan, alpha: 0.3 })
    assert.ok(found > 0 && found < 60, `${found} of 200`)
  })

  test('5 % errors instead of 1 % are found in nine of ten runs, within 30 looks', () => {
    const shares = { errors: 0.05 }
    const found = alarms(50, 10, { looks: 30, perLook: 40, shares, plan: PLAN, alpha: 0.01 })
    assert.ok(found >= 45, `${found} of 50`)
  })
})

test('the alerts CanaryFails and CanarySlow fire only above the limits of the checks', () => {
  const alerts = readFileSync(
    new URL('../../../monitoring/prometheus/rules/alerts.yml', import.meta.url),
    'utf8',
  )
  const [, times, more] =
    /errors:ratio_rate15m > (\S+) \* revision:\w+_of_others:ratio_rate15m \+ (\S+)/.exec(alerts) ??
    []
  assert.ok(Number(times) >= 1 && Number(more) >= MATTERS.errors, `${times} times and ${more}`)
  const slow =
    /> on \(namespace, service\) group_left \(\)\s+(\S+) \* min by[\s\S]*?\) \+ (\S+)/.exec(alerts)
  assert.deepEqual(slow?.slice(1).map(Number), [MATTERS.slower.times, MATTERS.slower.seconds])
  assert.match(alerts, new RegExp(`pod:process_resident_memory:ratio > ${MATTERS.memory}\\b`))
  assert.match(alerts, new RegExp(`pod:nodejs_eventloop_lag_p99_seconds:avg5m > ${MATTERS.lag}\\b`))
})
