import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { type Exchange, exchange, paced, verified } from '../../../bench/load.ts'
import { BINARY_EVENT, binaryRows, jsonRows, OTHER_REQUEST, PROBE, STRUCTURED_EVENT, V2_REQUEST } from '../../../bench/requests.ts'
import { growth, spread } from '../../../bench/statistics.ts'
import { buildFloors, NODE_HTTP, ours, start } from '../../../bench/subjects.ts'
import { IRIS, irisBody, readMetrics, request, until } from '../../http/client.ts'
import type { Claim, Fault } from './fault.ts'

/** How long it lasts, in windows; the first fifth of them is not counted. */
const FORMS = { long: { windows: 90, windowMs: 15_000 }, short: { windows: 16, windowMs: 1_000 } } as const

/** Looked at between windows, when nobody is connected, and within. */
interface Window {
  readonly descriptors: number
  readonly threads: number
  readonly residentMiB: number
  /** The least within the window: what is in use just after the garbage collector was there. */
  readonly heapMiB: number
  readonly loopDelayMs: number
  /** Of a single row, over that of the same from bare node:http beside it. */
  readonly p50Ratio: number
  readonly p99Ratio: number
}

/** What comes all the time, one each so many milliseconds. */
type Kind = readonly [exchange: Exchange, everyMs: number]

const ROWS: Kind = [V2_REQUEST.at(IRIS), 10]

const KINDS: Readonly<Record<string, Kind>> = {
  rows: ROWS,
  'other rows': [OTHER_REQUEST.at(IRIS), 20],
  binary: [binaryRows(3).at(IRIS), 20],
  events: [BINARY_EVENT.at('/'), 20],
  'structured events': [STRUCTURED_EVENT.at('/'), 40],
  probes: [PROBE, 50],
}

/** Mistakes, and what each is told. */
const MISTAKES: readonly (readonly [request: string, status: number, says: RegExp])[] = [
  [request('POST', IRIS, {}, irisBody('bad').replace('[1,4]', '[2,4]')), 400, /shape \[2,4\]/],
  [request('POST', IRIS, {}, '{"inputs":['), 400, /JSON/],
  [request('POST', IRIS.replace('iris-classifier', 'nobody'), {}, irisBody()), 404, /"nobody" is unknown/],
  [request('POST', IRIS, { 'content-type': 'text/plain' }, irisBody()), 415, /text\/plain/],
  [request('DELETE', IRIS), 405, /DELETE is not for/],
  ['no HTTP\r\n\r\n', 400, /not valid HTTP/],
  [request('POST', '/', { 'ce-specversion': '1.0', 'ce-id': '1' }, irisBody()), 400, /ce-(?:source|type)|source|type/],
]

/** Goes to a thread of its own. */
const LARGE = jsonRows(10_000).at(IRIS)

const soak: Fault = {
  how: 'inference as JSON, binary and events, probes, scrapes, large bodies and mistakes at once, at a steady rate',
  needs: {},
  async *rows({ long, progress }) {
    const { windows, windowMs } = FORMS[long ? 'long' : 'short']
    await buildFloors()
    const server = await start(ours(), undefined)
    const floor = await start(NODE_HTTP, undefined)
    const counts: Record<string, number> = {}
    const add = (kind: string, requests: number) => {
      counts[kind] = (counts[kind] ?? 0) + requests
    }
    const seen: Window[] = []
    let wrong: string | undefined
    try {
      // Whatever is loaded at first use is not what grows.
      await oneWindow(server.port, floor.port, 1_000, add)
      // A connection that was refused is closed a second later, if its client does not.
      await wait(2_000)
      const usual = descriptorsOf(server.pid)
      for (let number = 1; number <= windows; number++) {
        const measured = await oneWindow(server.port, floor.port, windowMs, add)
        await until('all connections are closed', () => descriptorsOf(server.pid) <= usual).catch(() => {})
        const descriptors = descriptorsOf(server.pid)
        const threads = readdirSync(`/proc/${server.pid}/task`).length
        const window = { descriptors, threads, residentMiB: server.residentMiB(), ...measured }
        seen.push(window)
        if (number % Math.ceil(windows / 10) === 0) progress(`window ${number} of ${windows}: ${show(window)}`)
      }
    } catch (error) {
      wrong = (error as Error).message
    } finally {
      await Promise.all([server.stop(), floor.stop()])
    }
    const counted = seen.slice(Math.ceil(windows / 5))
    const of = (what: keyof Window) => counted.map(window => window[what])
    yield {
      fault: `${((windows * windowMs) / 60_000).toFixed(1)} minutes of mixed load`,
      counts,
      claims: [
        { what: 'every answer is the right one', measured: wrong ?? 'each was looked at', holds: wrong === undefined },
        same('descriptors, whenever nobody is connected', of('descriptors')),
        same('threads', of('threads')),
        steady('resident memory', 'MiB', of('residentMiB'), 0.1),
        steady('heap in use', 'MiB', of('heapMiB'), 0.1),
        steady('p50 of a row, over the floor’s', '×', of('p50Ratio'), 0.1),
        steady('p99 of a row, over the floor’s', '×', of('p99Ratio'), 0.2),
        steady('event loop delay p99', 'ms', of('loopDelayMs'), 0.2),
      ],
    }
  },
}
export default soak

const show = (window: Window) =>
  Object.entries(window)
    .map(([what, value]) => `${what} ${Number(value.toFixed(2))}`)
    .join(', ')

/** @throws {Error} at an answer that is not the right one */
async function oneWindow(port: number, floorPort: number, windowMs: number, add: (kind: string, requests: number) => void) {
  const floor = paced(floorPort, ...ROWS, 1)
  const loads = Object.entries(KINDS).map(([kind, kinds]) => ({ kind, load: paced(port, ...kinds, 1) }))
  const beside = besides(port, windowMs, add)
  await beside.catch(() => {})
  const paces = await Promise.all(loads.map(async ({ kind, load }) => ({ kind, ...(await load.stop()) })))
  const [rows, bare] = [paces[0] as (typeof paces)[number], await floor.stop()]
  for (const { kind, requests } of paces) add(kind, requests)
  return { ...(await beside), p50Ratio: rows.p50 / bare.p50, p99Ratio: rows.p99 / bare.p99 }
}

/** What does not come as often: mistakes, large bodies, and scrapes, which tell of the process itself. */
async function besides(port: number, windowMs: number, add: (kind: string, requests: number) => void) {
  const end = performance.now() + windowMs
  const heaps: number[] = []
  const delays: number[] = []
  do {
    for (const [request, status, says] of MISTAKES) {
      const answer = await exchange(port, Buffer.from(request))
      assert.equal(answer.status, status, request)
      assert.match(JSON.parse(answer.body.toString()).error, says)
      await wait(900 / MISTAKES.length)
    }
    await verified(port, LARGE)
    const metrics = await scrape(port)
    heaps.push((metrics.get('nodejs_heap_size_used_bytes') as number) / 2 ** 20)
    delays.push((metrics.get('nodejs_eventloop_lag_p99_seconds') as number) * 1_000)
    add('mistakes', MISTAKES.length)
    add('large bodies', 1)
    add('scrapes', 1)
  } while (performance.now() < end)
  return { heapMiB: Math.min(...heaps), loopDelayMs: spread(delays).median }
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
  return { what: `${what}: never more`, measured: min === max ? `${min}` : `${min} to ${max}`, holds: max <= (values[0] as number) }
}

/** Growth over all of it, by a line through the windows: even the most that it may be is less than that share. */
function steady(what: string, unit: string, values: readonly number[], share: number): Claim {
  const { median } = spread(values)
  const { median: likely, min, max } = growth(values)
  const percent = (grown: number) => `${((100 * grown) / median).toFixed(1)} %`
  return {
    what: `${what} grows by less than ${100 * share} %`,
    measured: `${median.toFixed(2)} ${unit}, ${percent(likely)} (${percent(min)} to ${percent(max)})`,
    holds: max < share * median,
    measurement: true,
  }
}
