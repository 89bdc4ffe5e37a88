import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import type { ApiServer } from './api-server.ts'
import { type Running, runCanary, startCanary } from './command.ts'
import { ROLLOUTS, type Rollout, startCanaryObject } from './objects.ts'

/*
 * Runs the command as a process, with a scripted API server and Prometheus on real ports.
 * test/system/canary.test.ts uses a real Prometheus.
 */

interface Counts {
  readonly errors: number
  readonly requests: number
}

export const FINE = { old: { errors: 90, requests: 9000 }, new: { errors: 10, requests: 1000 } }
export const FAILS = { ...FINE, new: { errors: 200, requests: 1000 } }

/** If undefined, Prometheus responds with 503. */
export const prometheus: { counts: { old: Counts; new: Counts } | undefined; url: string } = {
  counts: FINE,
  url: '',
}

const server = createServer((request, response) => {
  const query = new URL(String(request.url), 'http://prometheus').searchParams.get('query') ?? ''
  response.setHeader('Content-Type', 'application/json')
  if (prometheus.counts === undefined)
    return response.writeHead(503).end('{"status":"error","error":"starting"}')
  const isNew = /00002|v2-0-0/.test(query)
  const result = resultOf(query, isNew ? prometheus.counts.new : prometheus.counts.old)
  response.end(JSON.stringify({ status: 'success', data: { resultType: 'vector', result } }))
}).listen(0, '127.0.0.1')
await once(server, 'listening')
server.unref()
prometheus.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

function resultOf(query: string, { errors, requests }: Counts) {
  const half = requests / 2
  const rows: Readonly<Record<string, [string, Record<string, number>]>> = {
    requests_total: ['status', { success: requests - errors, error: errors }],
    _bucket: ['le', { '0.005': requests, '+Inf': requests }],
    predictions_total: ['label', { setosa: half, virginica: half }],
  }
  const [, row] = Object.entries(rows).find(([metric]) => query.includes(metric)) ?? []
  if (row === undefined) return [{ metric: {}, value: [0, '0.01'] }]
  const [label, counts] = row
  return Object.entries(counts).map(([value, count]) => ({
    metric: { [label]: value },
    value: [0, String(count)],
  }))
}

export const KSERVE = ROLLOUTS['KServe in Knative mode']
export const WATCH = ['--apply', '--watch', '--every', '1s', '--hold', '0s']
const HOUR_AGO = new Date(Date.now() - 3_600_000)

export interface Canary {
  readonly api: ApiServer
  readonly percent: () => number | undefined
  readonly start: (args: readonly string[]) => Running
  readonly run: (args: readonly string[]) => ReturnType<typeof runCanary>
}

/**
 * Starts an API server with a canary at this percentage, set an hour ago or at `since`, until the
 * test ends.
 */
export async function canaryAt(
  percent: number,
  t: TestContext,
  { rollout = KSERVE, by, since = HOUR_AGO }: { rollout?: Rollout; by?: string; since?: Date } = {},
): Promise<Canary> {
  prometheus.counts = FINE
  const api = await startCanaryObject(rollout, percent, since, by)
  t.after(() => api.close())
  const all = (args: readonly string[]) => [
    ...rollout.args,
    '--prometheus',
    prometheus.url,
    ...args,
  ]
  return {
    api,
    percent: () => rollout.percent(api.object),
    start: args => startCanary(api.kubeconfig, all(args)),
    run: args => runCanary(api.kubeconfig, all(args)),
  }
}

export async function unusedAddress(): Promise<string> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return `http://127.0.0.1:${port}`
}

const PATIENCE_MS = 10_000

/** @throws {Error} naming a condition that was not met within 10 s */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS
  while (!isSo()) {
    if (performance.now() > deadline) throw new Error(`this did not happen: ${what}`)
    await wait(5)
  }
}
