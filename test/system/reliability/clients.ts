import assert from 'node:assert/strict'
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { connect as connectHttp2 } from 'node:http2'
import { constants, setPriority } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'
import { connect as connectTls } from 'node:tls'
import { fileURLToPath } from 'node:url'
import { closedLoop, exchange, openLoop } from '../../../bench/load.ts'
import { ratio } from '../../../bench/statistics.ts'
import { readMetrics, request, until } from '../../http/client.ts'
import { type ServerProcess, startProcess, testModel } from '../../server.ts'
import type { Kind } from './clients/bad.ts'
import type { Claim, Fault, Row, Run } from './fault.ts'

const MIB = 2 ** 20
const PATH = '/v2/models/identity-fp32/infer'
const MAX_BODY_BYTES = 8 * MIB
const REQUEST_TIMEOUT_MS = 4_000
/** Node checks for expired requests this often. */
const CHECKED_EVERY_MS = 4_000

const CERTIFICATES = fileURLToPath(new URL('../../security/certificates/', import.meta.url))
const TLS = {
  TLS_CERT_FILE: `${CERTIFICATES}first.crt`,
  TLS_KEY_FILE: `${CERTIFICATES}first.key`,
}

interface Bad {
  readonly kind: Kind
  readonly connections: (long: boolean) => number
  /** The results that must occur; `|` separates alternatives. */
  readonly gets: readonly string[]
  readonly says: string
  readonly overTls?: true
}

const BAD: readonly Bad[] = [
  {
    kind: 'slow headers',
    connections: () => 300,
    gets: ['408'],
    says: '408 after REQUEST_TIMEOUT_MS',
  },
  {
    kind: 'slow bodies',
    connections: () => 300,
    gets: ['408'],
    says: '408 after REQUEST_TIMEOUT_MS',
  },
  {
    kind: 'slow readers',
    connections: () => 300,
    gets: ['cut'],
    says: 'a closed connection after REQUEST_TIMEOUT_MS',
  },
  {
    kind: 'idle connections',
    connections: long => (long ? 10_000 : 2_000),
    gets: ['200', '408'],
    says: 'an open connection after a response; 408 without a request',
  },
  {
    kind: 'TLS handshakes',
    connections: () => 300,
    gets: ['cut'],
    says: 'a closed connection after 10 s',
    overTls: true,
  },
  {
    kind: 'HTTP/2 streams without windows',
    connections: () => 300,
    gets: ['cut'],
    says: 'closed streams after REQUEST_TIMEOUT_MS, or when other clients need the memory',
  },
  {
    kind: 'gzip bombs',
    connections: () => 20,
    gets: ['413|503'],
    says: '413, or 503 while the memory for bodies is full',
  },
  { kind: 'resets half-way', connections: () => 50, gets: [], says: 'no particular response' },
  {
    kind: 'pipelined floods',
    connections: () => 20,
    gets: ['floods with responses', 'cut'],
    says: 'responses to up to 128 pipelined requests; a closed connection beyond that',
  },
]

const fault: Fault = {
  how: 'a well-behaved client sends requests at a steady rate, alternately alone and together with bad clients in another process',
  needs: {},
  async *rows(run) {
    for (const bad of BAD) yield await beside(bad, run)
  },
}
export default fault

async function beside(
  { kind, connections: connectionsOf, gets, says, overTls }: Bad,
  { long, seed, progress }: Run,
): Promise<Row> {
  const [rounds, seconds] = long ? [3, 5] : [1, 2]
  const connections = connectionsOf(long)
  const env = {
    MODEL_DIR: testModel('identity-fp32'),
    MAX_BODY_BYTES: `${MAX_BODY_BYTES}`,
    REQUEST_TIMEOUT_MS: `${REQUEST_TIMEOUT_MS}`,
    METRICS_PORT: '0',
    // As `npm start`, with the heap of a container of 512 MiB: with more memory, V8 rarely collects
    // garbage.
    NODE_OPTIONS: '--max-semi-space-size=16 --max-old-space-size=256',
    ...(overTls && TLS),
  }
  const server = await startProcess(env, [], 10 * 60_000, 'build/main.js')
  const memory = watchMemory(server)
  const sockets = socketsOf(server)
  try {
    const port = Number(new URL(server.url).port)
    const to = { port, overTls }
    const totals = { right: 0, sent: 0, wrong: [] as string[] }
    const ask = async () => {
      const { ms, right, sent, wrong } = await behave(to, seconds)
      totals.right += right
      totals.sent += sent
      totals.wrong.push(...wrong)
      return percentile99(ms)
    }
    await behave(to, 1)
    if (!overTls) await loadCode(port)
    await until('all connections of the warm-up are closed', () => socketsOf(server) === sockets)
    const before = memory.now()
    memory.forget()
    const [alone, disturbed, arrivals]: [number[], number[], number[]] = [[], [], []]
    const seen: Record<string, number> = {}
    let longestMs = 0
    for (let round = 0; round < rounds; round++) {
      alone.push(await ask())
      const bad = await startBad(kind, port, connections, seed + round)
      try {
        arrivals.push(await untilAccepted(to))
        disturbed.push(await ask())
        const report = await untilSeen(bad, gets)
        for (const [what, n] of Object.entries(report.seen)) seen[what] = (seen[what] ?? 0) + n
        longestMs = Math.max(longestMs, report.longestMs)
      } finally {
        bad.kill('SIGKILL')
        await once(bad, 'exit')
      }
      await until(
        'all connections of the bad clients are closed',
        () => socketsOf(server) === sockets,
      )
      progress(
        `${kind}: p99 ${alone.at(-1)?.toFixed(2)} ms alone, ${disturbed.at(-1)?.toFixed(2)} ms with bad clients; at most ${memory.most()} MiB`,
      )
    }
    const { median, min, max } = ratio(disturbed, alone)
    const bound = memoryBound(connections)
    const grown = memory.most() - before
    const left = {
      connections: socketsOf(server) - sockets,
      requests: await requestsInFlight(metricsPortOf(server)),
    }
    const claims: Claim[] = [
      {
        what: 'well-behaved clients always get the correct response',
        measured:
          totals.wrong.length === 0
            ? `${totals.right} of ${totals.sent}`
            : `${totals.wrong.length} wrong: ${totals.wrong[0]}`,
        holds: totals.right === totals.sent && totals.wrong.length === 0,
      },
      {
        what: 'p99 ≤ 2 × the p99 without bad clients',
        measured: `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`,
        holds: median <= 2,
        measurement: true,
      },
      {
        what: `a connection that arrives after all ${connections.toLocaleString('en')} gets its response within 1 s`,
        measured: `${Math.max(...arrivals).toFixed(0)} ms`,
        holds: Math.max(...arrivals) < 1_000,
        measurement: true,
      },
      {
        what: `memory grows by less than ${bound} MiB`,
        measured: `${grown} MiB`,
        holds: grown < bound,
        measurement: true,
      },
      {
        what: `bad clients get: ${says}`,
        measured: Object.entries(seen)
          .map(([what, n]) => `${n} ${/^\d/.test(what) ? '× ' : ''}${what}`)
          .join(', '),
        holds:
          gets.every(isIn(seen)) &&
          Object.keys(seen).every(what => !/^5/.test(what) || what === '503'),
      },
      {
        what: 'no connection and no request remains afterwards',
        measured: `${left.connections} connections, ${left.requests} requests`,
        holds: left.connections === 0 && left.requests === 0,
      },
      {
        what: 'the log has no warnings or errors',
        measured: `${errorsOf(server).length} lines`,
        holds: errorsOf(server).length === 0,
      },
    ]
    if (gets.includes('408') || kind === 'slow readers') {
      const bound = REQUEST_TIMEOUT_MS + CHECKED_EVERY_MS + 2_000
      claims.splice(4, 0, {
        what: `within ${bound / 1_000} s`,
        measured: `${(longestMs / 1_000).toFixed(1)} s`,
        holds: longestMs < bound,
        measurement: true,
      })
    }
    return {
      fault: `${connections.toLocaleString('en')} ${kind}`,
      counts: { requests: totals.sent, rounds, ...seen },
      claims,
    }
  } finally {
    memory.stop()
    server.process.kill('SIGKILL')
    await server.exited
  }
}

/** Five large bodies, 16 MiB of small bodies, 16 KiB per connection, and 64 MiB of garbage. */
const memoryBound = (connections: number) =>
  Math.round((5 * MAX_BODY_BYTES + 16 * MIB) / MIB + (connections * 16) / 1024 + 64)

interface Target {
  readonly port: number
  readonly overTls: true | undefined
}

/** Sends 100 requests per second, and checks each response. */
async function behave({ port, overTls }: Target, seconds: number) {
  const result = { ms: [] as number[], right: 0, sent: 0, wrong: [] as string[] }
  const valuesOf = (index: number) => [index, -index, index / 4]
  const ask = (index: number) => {
    const input = { name: 'x', shape: [3], datatype: 'FP32', data: valuesOf(index) }
    return Buffer.from(
      request('POST', PATH, {}, JSON.stringify({ id: `${index}`, inputs: [input] })),
    )
  }
  const { sent, givenUp } = await openLoop(
    port,
    100,
    seconds,
    index => ask(index + 1),
    ({ status, body, ms }, index) => {
      try {
        assert.equal(status, 200, body.toString())
        const { id, outputs } = JSON.parse(body.toString())
        assert.deepEqual([id, outputs[0].data], [`${index + 1}`, valuesOf(index + 1)])
        result.right++
        result.ms.push(ms)
      } catch (error) {
        result.wrong.push((error as Error).message)
      }
    },
    {
      dial: overTls && (to => connectTls({ ...to, rejectUnauthorized: false })),
      onFailure: error => void result.wrong.push(error.message),
    },
  )
  result.sent = sent + givenUp
  return result
}

/**
 * Sends a request on a new connection. The accept queue keeps the order of arrival, so when the
 * response arrives, the server has accepted all connections of the bad clients.
 * @returns the time until the response, in milliseconds
 */
async function untilAccepted({ port, overTls }: Target): Promise<number> {
  const began = performance.now()
  const { sent } = await openLoop(
    port,
    1_000,
    0.001,
    () => Buffer.from(request('GET', '/v2/health/live')),
    ({ status }) => assert.equal(status, 200),
    {
      dial: overTls && (to => connectTls({ ...to, rejectUnauthorized: false })),
      onFailure: error => {
        throw error
      },
    },
  )
  assert.equal(sent, 1)
  return performance.now() - began
}

interface Report {
  readonly seen: Readonly<Record<string, number>>
  readonly longestMs: number
}

async function startBad(
  kind: Kind,
  port: number,
  connections: number,
  seed: number,
): Promise<ChildProcess> {
  const child = fork(fileURLToPath(new URL('clients/bad.ts', import.meta.url)), [
    kind,
    `${port}`,
    `${connections}`,
    `${seed}`,
  ])
  // On two cores, the bad clients would otherwise take the well-behaved client's time.
  setPriority(child.pid as number, constants.priority.PRIORITY_LOW)
  await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => {
      throw new Error('the process of the bad clients exited during startup')
    }),
  ])
  return child
}

const isIn = (seen: Report['seen']) => (what: string) =>
  what.split('|').some(one => (seen[one] ?? 0) > 0)

/** Waits until the results in `gets` have occurred. After the deadline, the claim fails. */
async function untilSeen(bad: ChildProcess, gets: readonly string[]): Promise<Report> {
  const deadline = performance.now() + 2 * (REQUEST_TIMEOUT_MS + CHECKED_EVERY_MS)
  for (;;) {
    const answer = once(bad, 'message')
    bad.send('report')
    const report = (await answer)[0] as Report
    if (gets.every(isIn(report.seen)) || performance.now() > deadline) return report
    await wait(100)
  }
}

function watchMemory(server: ServerProcess) {
  const now = () =>
    Math.round(
      Number(
        /VmRSS:\s*(\d+)/.exec(readFileSync(`/proc/${server.process.pid}/status`, 'utf8'))?.[1],
      ) / 1024,
    )
  let most = now()
  const timer = setInterval(() => {
    most = Math.max(most, now())
  }, 50)
  return {
    now,
    most: () => most,
    forget() {
      most = now()
    },
    stop: () => clearInterval(timer),
  }
}

/** The server's other file descriptors belong to Node and its threads. */
function socketsOf(server: ServerProcess): number {
  const folder = `/proc/${server.process.pid}/fd`
  const isSocket = (descriptor: string) => {
    try {
      return readlinkSync(`${folder}/${descriptor}`).startsWith('socket:')
    } catch {
      return false
    }
  }
  return readdirSync(folder).filter(isSocket).length
}

const errorsOf = ({ log }: ServerProcess) => log.filter(line => JSON.parse(line).level > 30)

const metricsPortOf = ({ log }: ServerProcess): number =>
  log.map(line => JSON.parse(line).metricsPort).find(port => port !== undefined)

async function requestsInFlight(port: number): Promise<number> {
  const { body } = await exchange(port, Buffer.from(request('GET', '/metrics')))
  return readMetrics(body.toString()).get('inference_requests_in_flight') ?? Number.NaN
}

/** Lets the server compile its code, and load the code and the thread that bad clients use. */
async function loadCode(port: number): Promise<void> {
  const small = { name: 'x', shape: [1], datatype: 'FP32', data: [1] }
  const ask = Buffer.from(request('POST', PATH, {}, JSON.stringify({ inputs: [small] })))
  await closedLoop(port, { request: ask, verify: () => {} }, 64, { requests: 20_000 })
  await exchange(port, Buffer.from(request('GET', '/openapi.json')))
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  await once(session.request({ ':path': '/openapi.json' }).resume(), 'close')
  session.close()
  const input = { name: 'x', shape: [60_000], datatype: 'FP32', data: Array(60_000).fill(1.5) }
  const { status } = await exchange(
    port,
    Buffer.from(request('POST', PATH, {}, JSON.stringify({ inputs: [input] }))),
  )
  assert.equal(status, 200)
}

const percentile99 = (values: readonly number[]) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length * 0.99)] ?? Number.NaN
