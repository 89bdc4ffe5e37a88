import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readdirSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { type Exchange, exchange, paced, verified } from '../../../bench/load.ts'
import {
  BINARY_EVENT,
  binaryRows,
  jsonRows,
  OTHER_REQUEST,
  PROBE,
  STRUCTURED_EVENT,
  V2_REQUEST,
} from '../../../bench/requests.ts'
import { growth, spread } from '../../../bench/statistics.ts'
import { ours, type Running, start } from '../../../bench/subjects.ts'
import { IRIS, irisBody, readMetrics, request, until } from '../../http/client.ts'
import { freePort } from '../../server.ts'
import type { Claim, Fault } from './fault.ts'

/** Durations of the growth test (without its first fifth) and of the comparisons. */
const FORMS = {
  long: { totalMs: 20 * 60_000, windowMs: 15_000, pairs: 40, pairMs: 2_000 },
  short: { totalMs: 10_000, windowMs: 1_000, pairs: 4, pairMs: 500 },
} as const

/** Measurements after a window of load, when all connections are closed. */
interface Window {
  readonly descriptors: number
  readonly threads: number
  readonly residentMiB: number
}

/** The old process's values, divided by a fresh process's at the same time. */
interface Aged {
  readonly p50: number
  readonly p99: number
  readonly cpu: number
  readonly loopDelay: number
}

/** The interval between exchanges. */
type Kind = readonly [exchange: Exchange, everyMs: number]

const KINDS: Readonly<Record<string, Kind>> = {
  rows: [V2_REQUEST.at(IRIS), 10],
  'other rows': [OTHER_REQUEST.at(IRIS), 20],
  binary: [binaryRows(3).at(IRIS), 20],
  events: [BINARY_EVENT.at('/'), 20],
  'structured events': [STRUCTURED_EVENT.at('/'), 40],
  probes: [PROBE, 50],
}

const MISTAKES: readonly (readonly [request: string, status: number, says: RegExp])[] = [
  [request('POST', IRIS, {}, irisBody('bad').replace('[1,4]', '[2,4]')), 400, /shape \[2,4\]/],
  [request('POST', IRIS, {}, '{"inputs":['), 400, /JSON/],
  [
    request('POST', IRIS.replace('iris-classifier', 'nobody'), {}, irisBody()),
    404,
    /"nobody" is unknown/,
  ],
  [request('POST', IRIS, { 'content-type': 'text/plain' }, irisBody()), 415, /text\/plain/],
  [request('DELETE', IRIS), 405, /DELETE is not allowed on/],
  ['no HTTP\r\n\r\n', 400, /not valid HTTP/],
  [
    request('POST', '/', { 'ce-specversion': '1.0', 'ce-id': '1' }, irisBody()),
    400,
    /ce-(?:source|type)|source|type/,
  ],
]

/** The server processes this in a separate thread. */
const LARGE = jsonRows(10_000).at(IRIS)

const soak: Fault = {
  how: 'inference in JSON, binary and events, probes, scrapes, large bodies and invalid requests at a steady rate; then a comparison with a fresh process',
  needs: {},
  async *rows({ long, progress }) {
    const { totalMs, windowMs, pairs, pairMs } = FORMS[long ? 'long' : 'short']
    const counts: Record<string, number> = {}
    const add = (kind: string, requests: number) => {
      counts[kind] = (counts[kind] ?? 0) + requests
    }
    const seen: Window[] = []
    const aged: Aged[] = []
    const heaps: number[] = []
    let wrong: string | undefined
    const old = await startWatched()
    let young: Watched | undefined
    try {
      // Memory for modules that are loaded at first use is not growth.
      await oneWindow(old.port, 1_000, add)
      // Wait, because the server closes a rejected connection after a second if the client does not
      // close it.
      await wait(2_000)
      const usual = descriptorsOf(old.pid)
      const end = performance.now() + totalMs
      for (let told = 0.1; performance.now() < end; ) {
        await oneWindow(old.port, windowMs, add)
        await until('all connections are closed', () => descriptorsOf(old.pid) <= usual).catch(
          () => {},
        )
        const threads = readdirSync(`/proc/${old.pid}/task`).length
        seen.push({ descriptors: descriptorsOf(old.pid), threads, residentMiB: old.residentMiB() })
        const done = 1 - (end - performance.now()) / totalMs
        if (done < told) continue
        progress(`${(100 * done).toFixed(0)} %: ${JSON.stringify(seen.at(-1))}`)
        told = done + 0.1
      }
      young = await startWatched()
      await oneWindow(young.port, windowMs, () => {})
      for (let pair = 0; pair < pairs; pair++) aged.push(await compare(old, young, pairMs))
      for (const { pid, inspectPort } of [old, young]) heaps.push(await heapMiB(pid, inspectPort))
    } catch (error) {
      wrong = (error as Error).message
    } finally {
      await Promise.all([old.stop(), young?.stop()])
    }
    const counted = seen.slice(Math.ceil(seen.length / 5))
    const of = (what: keyof Window) => counted.map(window => window[what])
    const than = (what: keyof Aged) => aged.map(pair => pair[what])
    const [heap = Number.NaN, heapOfYoung = Number.NaN] = heaps
    yield {
      fault: `${Math.round(totalMs / 1_000)} s of mixed load`,
      counts,
      claims: [
        {
          what: 'every response is correct',
          measured: wrong ?? 'all correct',
          holds: wrong === undefined,
        },
        same('file descriptors without connections', of('descriptors')),
        same('threads', of('threads')),
        steady('resident memory', 'MiB', of('residentMiB'), 0.1),
        {
          what: 'heap in use after a full collection: at most 2 MiB more than in a fresh process',
          measured: `${heap.toFixed(1)} MiB; fresh process: ${heapOfYoung.toFixed(1)} MiB`,
          holds: heap <= heapOfYoung + 2,
          measurement: true,
        },
        asYoung('p50 of requests with one row', than('p50'), 1.1),
        asYoung('p99 of requests with one row', than('p99'), 1.2),
        asYoung('CPU time of requests with one row', than('cpu'), 1.1),
        asYoung('event loop delay p99', than('loopDelay'), 1.2),
      ],
    }
  },
}
export default soak

interface Watched extends Running {
  readonly inspectPort: number
}

async function startWatched(): Promise<Watched> {
  const inspectPort = await freePort()
  return {
    ...(await start(ours({ NODE_OPTIONS: `--inspect-port=127.0.0.1:${inspectPort}` }), undefined)),
    inspectPort,
  }
}

/** @throws {Error} at a wrong response */
async function oneWindow(
  port: number,
  windowMs: number,
  add: (kind: string, requests: number) => void,
): Promise<void> {
  const loads = Object.entries(KINDS).map(([kind, kinds]) => ({
    kind,
    load: paced(port, ...kinds, 1),
  }))
  const beside = besides(port, windowMs, add)
  await beside.catch(() => {})
  for (const { kind, requests } of await Promise.all(
    loads.map(async ({ kind, load }) => ({ kind, ...(await load.stop()) })),
  ))
    add(kind, requests)
  await beside
}

/**
 * Sends requests to both processes at the same time, so that other programs affect both equally.
 */
async function compare(old: Running, young: Running, ms: number): Promise<Aged> {
  const [a, b] = await Promise.all(
    [old, young].map(async server => {
      await scrape(server.port)
      const before = server.cpuMs()
      const load = paced(server.port, V2_REQUEST.at(IRIS), 2, 1)
      await wait(ms)
      const { p50, p99, requests } = await load.stop()
      const cpu = (server.cpuMs() - before) / requests
      return {
        p50,
        p99,
        cpu,
        loopDelay: (await scrape(server.port)).get('nodejs_eventloop_lag_p99_seconds') as number,
      }
    }),
  )
  const over = (what: keyof Aged) => (a as Aged)[what] / (b as Aged)[what]
  return { p50: over('p50'), p99: over('p99'), cpu: over('cpu'), loopDelay: over('loopDelay') }
}

async function heapMiB(pid: number, inspectPort: number): Promise<number> {
  process.kill(pid, 'SIGUSR1')
  let url = ''
  await until('the debugger listens', async () => {
    const targets = await fetch(`http://127.0.0.1:${inspectPort}/json/list`).then(
      answer => answer.json() as Promise<{ webSocketDebuggerUrl: string }[]>,
      () => [],
    )
    url = targets[0]?.webSocketDebuggerUrl ?? ''
    return url !== ''
  })
  const socket = new WebSocket(url)
  await once(socket, 'open')
  const ask = async (id: number, method: string) => {
    socket.send(JSON.stringify({ id, method }))
    const [message] = await once(socket, 'message')
    return JSON.parse(message.data).result
  }
  await ask(1, 'HeapProfiler.collectGarbage')
  const { usedSize } = await ask(2, 'Runtime.getHeapUsage')
  socket.close()
  return usedSize / 2 ** 20
}

/** Rarer requests: invalid ones, large bodies and scrapes. */
async function besides(
  port: number,
  windowMs: number,
  add: (kind: string, requests: number) => void,
) {
  const end = performance.now() + windowMs
  do {
    for (const [request, status, says] of MISTAKES) {
      const answer = await exchange(port, Buffer.from(request))
      assert.equal(answer.status, status, request)
      assert.match(JSON.parse(answer.body.toString()).error, says)
      await wait(900 / MISTAKES.length)
    }
    await verified(port, LARGE)
    await scrape(port)
    add('invalid requests', MISTAKES.length)
    add('large bodies', 1)
    add('scrapes', 1)
  } while (performance.now() < end)
}

async function scrape(port: number): Promise<ReadonlyMap<string, number>> {
  const { status, body } = await exchange(port, Buffer.from(request('GET', '/metrics')))
  assert.equal(status, 200)
  const metrics = readMetrics(body.toString())
  assert.equal(metrics.get('inference_worker_deaths_total'), 0)
  return metrics
}

const descriptorsOf = (pid: number) => readdirSync(`/proc/${pid}/fd`).length

function same(what: string, values: readonly number[]): Claim {
  const { min, max } = spread(values)
  return {
    what: `${what}: never more than at the beginning`,
    measured: min === max ? `${min}` : `${min} to ${max}`,
    holds: max <= (values[0] as number),
  }
}

/**
 * The growth of a line through the windows must be less than `share`, even at the upper bound of
 * its confidence interval.
 */
function steady(what: string, unit: string, values: readonly number[], share: number): Claim {
  const { median } = spread(values)
  const { median: likely, min, max } = growth(values)
  const percent = (grown: number) => `${((100 * grown) / median).toFixed(1)} %`
  return {
    what: `${what} grows by less than ${100 * share} %`,
    measured: `${median.toFixed(2)} ${unit}, growth ${percent(likely)} (${percent(min)} to ${percent(max)})`,
    holds: max < share * median,
    measurement: true,
  }
}

/**
 * The median over all pairs must be at most `most`, at the upper bound of its 95 % confidence
 * interval.
 */
function asYoung(what: string, ratios: readonly number[], most: number): Claim {
  const sorted = ratios.toSorted((a, b) => a - b)
  const off = (1.96 * Math.sqrt(sorted.length)) / 2
  const at = (index: number) =>
    sorted[Math.min(Math.max(Math.round(index), 0), sorted.length - 1)] ?? Number.NaN
  const [least, upper] = [at(sorted.length / 2 - off - 1), at(sorted.length / 2 + off)]
  return {
    what: `${what}: at most ${most} × that of a fresh process`,
    measured: `${spread(ratios).median.toFixed(2)} × (${least.toFixed(2)} to ${upper.toFixed(2)})`,
    holds: upper <= most,
    measurement: true,
  }
}
