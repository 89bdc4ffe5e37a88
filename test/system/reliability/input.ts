import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import {
  type Counts,
  ENVIRONMENT,
  type Failure,
  fuzz,
  MODES,
  type ModeName,
} from '../../fuzz/fuzz.ts'
import { exchange, request, until } from '../../http/client.ts'
import { freePort, projectFolder } from '../../server.ts'
import { callers } from './callers.ts'
import type { Fault, Row, Run } from './fault.ts'

const FORMS = {
  long: { requests: 110_000, portion: 5_500, restarts: 20, modes: ['auto', 'worker'] },
  short: { requests: 1_000, portion: 500, restarts: 1, modes: ['auto', 'worker'] },
} as const

const EVENTS = 0.15
const MOST_BETWEEN_MS = 1_500

const input: Fault = {
  how: 'the fuzzer of test/fuzz and well-behaved clients send requests to a socket of systemd-socket-activate while processes restart',
  needs: { 'systemd-socket-activate': 'apt-get install systemd' },
  async *rows(run) {
    for (const mode of FORMS[run.long ? 'long' : 'short'].modes) yield await bentRequests(mode, run)
  },
}
export default input

async function bentRequests(mode: ModeName, { long, seed, random, progress }: Run): Promise<Row> {
  const { requests, portion, restarts } = FORMS[long ? 'long' : 'short']
  await using socket = await activate({ ...ENVIRONMENT, ...MODES[mode], DRAIN_TIMEOUT_MS: '30000' })
  const statuses: Counts = new Map()
  const failures: Failure[] = []
  const load = callers(socket.port, 2, 5)
  let stopping = false
  const restarting = (async () => {
    while (!stopping) {
      await wait(random() * MOST_BETWEEN_MS)
      await socket.restart()
    }
  })()
  let sent = 0
  let sentAgain = 0
  try {
    for (
      let turn = 0;
      (sent < requests || socket.ends() < restarts) && failures.length === 0;
      turn++
    ) {
      const events = Math.round(portion * EVENTS)
      const report = await fuzz({
        requests: portion - events,
        events,
        seed: seed + turn,
        connections: 16,
        pairs: [{ model: 'iris', mode }],
        url: `http://127.0.0.1:${socket.port}`,
        restarts: true,
        restMs: 0,
      })
      for (const [status, n] of report.byMode[mode])
        statuses.set(status, (statuses.get(status) ?? 0) + n)
      failures.push(...report.failures)
      sent += portion
      sentAgain += report.sentAgain
      if (turn % 4 === 3)
        progress(`${mode}: ${sent} sent, ${socket.ends()} restarts, ${failures.length} failures`)
    }
  } finally {
    stopping = true
    await restarting
  }
  const calls = await load.stop()
  const of = (from: number) =>
    [...statuses].reduce(
      (sum, [status, n]) => (Math.floor(Number(status) / 100) === from ? sum + n : sum),
      0,
    )
  const [failure] = failures
  return {
    fault: `malformed requests and events, EXECUTION=${mode}`,
    counts: {
      sent,
      restarts: socket.ends(),
      'responses with 2xx': of(2),
      '4xx': of(4),
      '503 with Retry-After': statuses.get(503) ?? 0,
      '504 after the request’s own timeout': statuses.get(504) ?? 0,
      resent: sentAgain,
      'concurrent valid requests': calls.answered,
      'retried valid requests': calls.unanswered + calls.refused,
    },
    claims: [
      {
        what: 'every response has the expected status; no client’s mistake gets a 5xx',
        measured:
          failure === undefined
            ? '0 failures'
            : `${failure.problem}: ${failure.request}`.slice(0, 1_000),
        holds: failure === undefined,
      },
      { what: '0 crashes', measured: socket.crash() ?? '0', holds: socket.crash() === undefined },
      {
        what: 'every process drained and exited with code 0',
        measured: `${socket.drained()} of ${socket.ends()}`,
        holds: socket.drained() === socket.ends(),
      },
      {
        what: '0 errors in the log',
        measured: socket.errors()[0] ?? '0',
        holds: socket.errors().length === 0,
      },
      {
        what: 'concurrent clients always get the correct response',
        measured: calls.wrong[0] ?? 'all correct',
        holds: calls.wrong.length === 0 && calls.answered > 0,
      },
    ],
  }
}

/** A socket that stays open, and starts the server at a connection if no server is running. */
interface Activated extends AsyncDisposable {
  readonly port: number
  /** Sends TERM, and waits for the exit. */
  restart(): Promise<void>
  ends(): number
  /** Servers that had responded to all requests before they exited. */
  drained(): number
  errors(): string[]
  /** The final error of systemd-socket-activate, which exits when a server has failed. */
  crash(): string | undefined
}

async function activate(env: Record<string, string>): Promise<Activated> {
  const port = await freePort()
  const script = fileURLToPath(new URL('../../../scripts/systemd/activate.sh', import.meta.url))
  const child = spawn(script, [`127.0.0.1:${port}`, process.execPath, 'build/main.js'], {
    cwd: projectFolder,
    env: { PATH: process.env.PATH, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const kill = () => {
    if (child.exitCode === null && child.signalCode === null)
      process.kill(-(child.pid as number), 'SIGKILL')
  }
  process.once('exit', kill)
  const exited = once(child, 'exit')
  const log: { level: number; msg: string }[] = []
  let stderr = ''
  createInterface({ input: child.stdout }).on('line', line => log.push(JSON.parse(line)))
  child.stderr.on('data', text => {
    stderr = (stderr + text).slice(-2_000)
  })
  const told = (what: RegExp) => log.filter(({ msg }) => what.test(msg)).length
  const served = () => told(/^serving/)
  let ends = 0
  await until('the socket accepts connections', () =>
    exchange(port, request('GET', '/v2')).then(
      () => true,
      () => false,
    ),
  )
  return {
    port,
    async restart() {
      // TERM would kill a server that has not yet logged "serving".
      const [pid] = served() > ends ? serversBelow(child.pid as number) : []
      if (pid === undefined) return
      process.kill(pid, 'SIGTERM')
      while (isServer(pid)) await wait(5)
      ends++
      // The last log lines arrive a moment after the exit.
      await until(
        'the server has logged its exit',
        () => told(/^drained$|were aborted$/) === ends,
        120_000,
      )
    },
    ends: () => ends,
    drained: () => told(/^drained$/),
    errors: () =>
      log.filter(({ level }) => level >= 50).map(line => JSON.stringify(line).slice(0, 500)),
    crash: () =>
      child.exitCode === null && child.signalCode === null
        ? undefined
        : `${child.exitCode ?? child.signalCode}: ${stderr}`,
    async [Symbol.asyncDispose]() {
      kill()
      await exited
      process.removeListener('exit', kill)
    },
  }
}

const serversBelow = (pid: number): number[] =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter(Boolean)
    .map(Number)
    .filter(isServer)

const isServer = (pid: number): boolean => {
  try {
    return (
      readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[1] === 'build/main.js' &&
      readdirSync(`/proc/${pid}/task`).length > 0
    )
  } catch {
    return false
  }
}
