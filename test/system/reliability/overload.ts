import assert from 'node:assert/strict'
import {
  closedLoop,
  type Exchange,
  exchange,
  type OpenAnswer,
  openLoop,
  paced,
} from '../../../bench/load.ts'
import { IRIS, readMetrics, request, SLOW } from '../../http/client.ts'
import { startProcess, testModel } from '../../server.ts'
import type { Claim, Fault, Row, Run } from './fault.ts'

const PATIENCE_MS = 1_000

interface Case {
  readonly fault: string
  readonly env: Readonly<Record<string, string>>
  readonly connections: number
  readonly times: number
  ask(index: number): Buffer
  check(answer: OpenAnswer['body'], index: number): void
}

const inferenceOf = (path: string, index: number, input: object) =>
  Buffer.from(request('POST', path, {}, JSON.stringify({ id: `${index}`, inputs: [input] })))

const SETOSA = [5.1, 3.5, 1.4, 0.2]
const VIRGINICA = [6.7, 3.0, 5.2, 2.3]

/** Built beforehand, so that the load generator only has to send them. */
const FLOWERS = Array.from({ length: 1_000 }, (_, index) =>
  inferenceOf(IRIS, index, {
    name: 'input',
    shape: [1, 4],
    datatype: 'FP32',
    data: index % 2 ? VIRGINICA : SETOSA,
  }),
)

/**
 * A model that takes at least 50 ms per run, for any number of rows. The peak is a few hundred
 * requests per second, so that one process can send ten times that rate.
 */
const HEAVY: Case = {
  fault: 'ten times the peak of a model that takes 50 ms per run',
  // Room for four runs, so that no request waits longer than its client waits for the response.
  env: { MODEL_DIR: testModel('slow'), MAX_BATCH_ROWS: '16', MAX_QUEUE_ROWS: '64' },
  connections: 48,
  times: 10,
  ask: index =>
    inferenceOf(SLOW, index, { name: 'x', shape: [1, 2], datatype: 'FP32', data: valuesOf(index) }),
  check(body, index) {
    const { id, outputs } = JSON.parse(body.toString())
    assert.deepEqual([id, outputs[0].data], [`${index}`, valuesOf(index)])
  },
}

/**
 * The shipped configuration, whose peak is so high that one process cannot send ten times that
 * rate.
 */
const LIGHT: Case = {
  fault: 'the highest load that one process can send to the shipped model',
  env: {},
  connections: 64,
  times: 1,
  ask: index => FLOWERS[index % FLOWERS.length] as Buffer,
  check(body, index) {
    const text = body.toString('latin1')
    const is = index % 2 ? '["virginica"]' : '["setosa"]'
    assert.ok(text.includes(is) && text.includes(`"id":"${index % FLOWERS.length}"`), text)
  },
}

const valuesOf = (index: number) => [index, index / 2]

const fault: Fault = {
  how: 'a closed loop finds the peak; an open loop then sends at a fixed rate',
  needs: {},
  async *rows(run) {
    for (const one of [HEAVY, LIGHT]) yield await overload(one, run)
  },
}
export default fault

interface Tally {
  sent: number
  right: number
  inTime: number
  /** Responses with 503 and Retry-After. */
  refused: number
  wrong: string[]
  /** Requests that were not sent, because no connection became free in time. */
  givenUp: number
  readonly refusalMs: number[]
  readonly answers: { readonly due: number; readonly ms: number; readonly refused: boolean }[]
  lag: number
}

async function offer(
  { ask, check }: Case,
  port: number,
  perSecond: number,
  seconds: number,
): Promise<Tally> {
  const tally: Tally = {
    sent: 0,
    right: 0,
    inTime: 0,
    refused: 0,
    wrong: [],
    givenUp: 0,
    refusalMs: [],
    answers: [],
    lag: 0,
  }
  const onAnswer = ({ status, headers, body, due, ms }: OpenAnswer, index: number) => {
    try {
      if (status === 503) {
        assert.equal(headers['retry-after'], '1')
        assert.match(JSON.parse(body.toString()).error, /try again later/)
        tally.refused++
        tally.refusalMs.push(ms)
      } else {
        assert.equal(status, 200, body.toString())
        check(body, index)
        tally.right++
        if (ms <= PATIENCE_MS) tally.inTime++
      }
      tally.answers.push({ due, ms, refused: status !== 200 })
    } catch (error) {
      tally.wrong.push((error as Error).message)
    }
  }
  const onFailure = (error: Error) => void tally.wrong.push(error.message)
  const { sent, givenUp, lag } = await openLoop(port, perSecond, seconds, ask, onAnswer, {
    patienceMs: 100,
    onFailure,
  })
  return Object.assign(tally, { sent, givenUp, lag })
}

async function overload(one: Case, { long, progress }: Run): Promise<Row> {
  const [rounds, peakSeconds, seconds, calmSeconds] = long ? [3, 6, 10, 5] : [1, 2, 4, 2.5]
  const server = await startProcess(one.env, [], 10 * 60_000, 'build/main.js')
  try {
    const port = Number(new URL(server.url).port)
    const target: Exchange = { request: one.ask(1), verify: ({ body }) => one.check(body, 1) }
    const seen = {
      peaks: [] as number[],
      goodput: [] as number[],
      offered: [] as number[],
      probes: 0,
      probeP99: 0,
    }
    const all: Tally[] = []
    const overloads: Tally[] = []
    const calm = { before: [] as number[], after: [] as number[], refusedLate: 0 }
    const offerTo = async (perSecond: number, forSeconds: number) => {
      const tally = await offer(one, port, perSecond, forSeconds)
      all.push(tally)
      return tally
    }
    const counted = await countsOf(port)
    let closedRequests = 0
    for (let round = 0; round < rounds; round++) {
      const peakLoad = await closedLoop(port, target, one.connections, { seconds: peakSeconds })
      closedRequests += peakLoad.allRequests
      const peak = peakLoad.perSecond
      const before = await offerTo(peak / 5, calmSeconds)
      const probes = paced(port, READY, 20)
      const during = await offerTo(one.times * peak, seconds)
      const probed = await probes.stop()
      const after = await offerTo(peak / 5, calmSeconds)
      overloads.push(during)
      seen.peaks.push(peak)
      seen.goodput.push(during.inTime / seconds / Math.min(peak, during.sent / seconds))
      seen.offered.push(during.sent / seconds / peak)
      seen.probes += probed.requests
      seen.probeP99 = Math.max(seen.probeP99, probed.p99)
      // In the first second, requests wait for new connections.
      const late = after.answers.filter(({ due }) => due >= 1_000)
      calm.before.push(
        percentile(
          before.answers.filter(({ due }) => due >= 1_000).map(({ ms }) => ms),
          99,
        ),
      )
      calm.after.push(
        percentile(
          late.map(({ ms }) => ms),
          99,
        ),
      )
      calm.refusedLate += late.filter(({ refused }) => refused).length
      progress(
        `peak ${peak.toFixed(0)}/s; ${(during.sent / seconds).toFixed(0)}/s offered, ${(during.inTime / seconds).toFixed(0)}/s in time, ` +
          `${during.refused} rejected, p99 ${percentile(during.refusalMs, 99).toFixed(1)} ms; load ${during.lag.toFixed(1)} ms late`,
      )
    }
    const counts = await countsOf(port)
    const sum = (of: (tally: Tally) => number, tallies = all) =>
      tallies.reduce((total, tally) => total + of(tally), 0)
    const wrong = all.flatMap(tally => tally.wrong)
    const right = sum(tally => tally.right)
    const refused = sum(tally => tally.refused)
    const refusalMs = overloads.flatMap(tally => tally.refusalMs)
    const claims: Claim[] = [
      {
        what: 'every request gets the correct response, or 503 with Retry-After',
        measured:
          wrong.length === 0
            ? `${right + refused} of ${sum(({ sent }) => sent)}`
            : `${wrong.length} wrong: ${[...new Set(wrong)].slice(0, 3).join('; ')}`,
        holds: wrong.length === 0 && right + refused === sum(({ sent }) => sent),
      },
      {
        what: 'the server’s metrics have the same counts as the client',
        measured: `${counts.answered - counted.answered - closedRequests} successful, ${counts.rejected - counted.rejected} rejected`,
        holds:
          counts.answered - counted.answered - closedRequests === right &&
          counts.rejected - counted.rejected === refused,
      },
      {
        what: 'goodput ≥ 0.9 × the peak, or × the sent load if that is lower',
        measured: ratio(seen.goodput),
        holds: median(seen.goodput) >= 0.9,
        measurement: true,
      },
      {
        what: 'no request is rejected more than 1 s after the overload',
        measured: `${calm.refusedLate}`,
        holds: calm.refusedLate === 0,
      },
      {
        what: 'p99 ≤ 1.5 × the p99 before the overload, from 1 s after the overload',
        measured: `${median(calm.after).toFixed(1)} ms; before: ${median(calm.before).toFixed(1)} ms`,
        holds: median(calm.after) <= 1.5 * median(calm.before),
        measurement: true,
      },
      {
        what: 'readiness is always 200',
        measured: `${seen.probes} probes, p99 ${seen.probeP99.toFixed(1)} ms`,
        holds: seen.probes > 0,
      },
    ]
    if (refusalMs.length > 0) {
      const p99 = percentile(refusalMs, 99)
      claims.splice(3, 0, {
        what: 'p99 of rejections < 10 ms',
        measured: `${p99.toFixed(1)} ms`,
        holds: p99 < 10,
        measurement: true,
      })
    }
    return {
      fault: one.fault,
      counts: {
        'requests per second at the peak': Math.round(median(seen.peaks)),
        'tenths of the peak offered': Math.round(10 * median(seen.offered)),
        sent: sum(({ sent }) => sent, overloads),
        'responses within 1 s': sum(({ inTime }) => inTime, overloads),
        'later responses': sum(({ right, inTime }) => right - inTime, overloads),
        rejected: sum(tally => tally.refused, overloads),
        'not sent (no free connection)': sum(({ givenUp }) => givenUp, overloads),
      },
      claims,
    }
  } finally {
    server.process.kill('SIGKILL')
    await server.exited
  }
}

const READY: Exchange = {
  request: Buffer.from(request('GET', '/v2/health/ready')),
  verify: ({ body }) => assert.deepEqual(JSON.parse(body.toString()), { live: true, ready: true }),
}

async function countsOf(port: number): Promise<{ answered: number; rejected: number }> {
  const { status, body } = await exchange(port, Buffer.from(request('GET', '/metrics')))
  assert.equal(status, 200)
  const series = [...readMetrics(body.toString())]
  const total = (start: RegExp) =>
    series.filter(([name]) => start.test(name)).reduce((sum, [, value]) => sum + value, 0)
  return {
    answered: total(/^inference_requests_total\{.*status="success"/),
    rejected: total(/^inference_rejected_total\{.*reason="overloaded"/),
  }
}

function percentile(values: readonly number[], percent: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  return (
    sorted[Math.min(sorted.length - 1, Math.floor((sorted.length * percent) / 100))] ?? Number.NaN
  )
}

const median = (values: readonly number[]) => percentile(values, 50)

const ratio = (values: readonly number[]) =>
  `${median(values).toFixed(2)} (${Math.min(...values).toFixed(2)}–${Math.max(...values).toFixed(2)})`
