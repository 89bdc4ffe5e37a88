import { readdirSync, readFileSync } from 'node:fs'
import { loadavg } from 'node:os'
import { setTimeout as wait } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { limitCpu } from '../container-memory/cgroup.ts'
import { startIn } from '../container-memory/server.ts'
import { closedLoop, type Exchange, openLoop, paced } from '../load.ts'
import { spread } from '../statistics.ts'
import { callOf, LONG_MS, MODELS, type OverloadedModel, PATIENCE_MS, requestOf } from './cases.ts'
import { closedCalls, openCalls } from './grpc.ts'

const HELP = `node bench/overload/run.ts [--only NAME] [--rounds N] [--tries N] [--seconds N] [--cpus N] [--lag MS]

A closed loop finds the peak rate. An open loop then sends ten times that rate, each request with a deadline of 1 s; probes of
/v2/health/live run at the same time. A round in which the load itself was 5 ms late or more does not count, and is repeated.
--tries  the most attempts per round
--lag    a bound other than 5 ms, to test the program on a busy machine; do not publish its figures
--cpus   CPUs of the server with iris, in a separate cgroup (needs root); the slow models have one CPU
`

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: '' },
    rounds: { type: 'string', default: '3' },
    tries: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '5' },
    cpus: { type: 'string', default: '0.2' },
    lag: { type: 'string', default: '5' },
    help: { type: 'boolean', default: false },
  },
})

const TIMES = 10
/** A server with a slow model gets one CPU, and the load generator gets the other CPU. */
const ONE_CPU = 1
const print = (text: string) => void process.stdout.write(text)

type Kind = 'good' | 'late' | 'refused' | 'broken'

interface Ended {
  readonly kind: Kind
  readonly due: number
  readonly ms: number
}

interface Offered {
  readonly ended: readonly Ended[]
  readonly sent: number
  readonly givenUp: number
  readonly lag: number
}

interface Protocol {
  readonly name: string
  /** @returns responses per second */
  peak(port: number, model: OverloadedModel, seconds: number): Promise<number>
  offer(port: number, model: OverloadedModel, perSecond: number, seconds: number): Promise<Offered>
}

const kindOf = (isAnswered: boolean, ms: number): Kind => {
  if (isAnswered) return ms <= PATIENCE_MS ? 'good' : 'late'
  return 'refused'
}

const HTTP: Protocol = {
  name: 'HTTP/1.1',
  async peak(port, model, seconds) {
    const target: Exchange = { request: requestOf(model, LONG_MS), verify: () => {} }
    return (await closedLoop(port, target, model.underWay, { seconds })).perSecond
  },
  async offer(port, model, perSecond, seconds) {
    const request = requestOf(model)
    const ended: Ended[] = []
    const left = await openLoop(
      port,
      perSecond,
      seconds,
      () => request,
      ({ status, due, ms }) => ended.push({ kind: kindOf(status === 200, ms), due, ms }),
      { patienceMs: 100, onFailure: () => ended.push({ kind: 'broken', due: 0, ms: 0 }) },
    )
    return { ended, ...left }
  },
}

const GRPC: Protocol = {
  name: 'gRPC',
  peak: (port, model, seconds) =>
    closedCalls(port, callOf(model, LONG_MS), model.underWay, seconds),
  async offer(port, model, perSecond, seconds) {
    const ended: Ended[] = []
    const pace = { perSecond, seconds, patienceMs: 100 }
    const left = await openCalls(port, callOf(model), pace, (end, due, ms) => {
      const kind = end === 'broken' ? end : kindOf(end === 'answered', ms)
      ended.push({ kind, due, ms })
    })
    return { ended, ...left }
  },
}

const LIVE: Exchange = {
  request: Buffer.from('GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n'),
  verify: () => {},
}

/** The CPU time of the main thread and of all threads, in milliseconds. */
function cpuOf(pid: number): { main: number; all: number } {
  const of = (task: string) =>
    Number(readFileSync(`/proc/${pid}/task/${task}/schedstat`, 'utf8').split(' ')[0]) / 1e6
  const all = readdirSync(`/proc/${pid}/task`).reduce((sum, task) => sum + of(task), 0)
  return { main: of(String(pid)), all }
}

const timesOf = ({ ended }: Offered, kind: Kind) =>
  ended.filter(one => one.kind === kind).map(({ ms }) => ms)

function p99(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN
}

type Figures = Readonly<Record<string, number>>

/** @returns undefined if the load itself was late */
async function round(
  { peak, offer }: Protocol,
  model: OverloadedModel,
  port: number,
  pid: number,
): Promise<Figures | undefined> {
  const seconds = Number(values.seconds)
  const before = cpuOf(pid)
  const perSecond = await peak(port, model, seconds)
  const calmed = cpuOf(pid)
  // Before the measurement, the loop warms up for a fifth of `seconds`.
  const peakAnswered = perSecond * seconds * 1.2
  const calm = await offer(port, model, perSecond / 5, 3)
  const began = cpuOf(pid)
  const probes = paced(port, LIVE, 20)
  const offered = await offer(port, model, perSecond * TIMES, seconds)
  const live = await probes.stop()
  const ended = cpuOf(pid)
  const after = await offer(port, model, perSecond / 5, 3)
  print(`  peak ${Math.round(perSecond)}/s; the load was ${offered.lag.toFixed(1)} ms late\n`)
  if (!(offered.lag < Number(values.lag))) return undefined
  const good = timesOf(offered, 'good').length
  const refusals = timesOf(offered, 'refused')
  const answered = good + timesOf(offered, 'late').length
  const mainOfAnswer = (calmed.main - before.main) / peakAnswered
  const refusalMs = (ended.main - began.main - answered * mainOfAnswer) / refusals.length
  const late = (all: Offered) => all.ended.filter(({ due }) => due >= 1_000)
  return {
    'peak/s': perSecond,
    'sent / peak': offered.sent / seconds / perSecond,
    'goodput / peak': good / seconds / perSecond,
    'late responses / all responses': (answered - good) / answered,
    'broken requests': timesOf(offered, 'broken').length,
    'CPU of a refusal / of a response': refusalMs / ((calmed.all - before.all) / peakAnswered),
    'p99 of refusals / of live': p99(refusals) / live.p99,
    'live p99, ms': live.p99,
    'failures later than 1 s after overload': late(after).filter(({ kind }) => kind !== 'good')
      .length,
    'p99 later than 1 s after / before it':
      p99(late(after).map(({ ms }) => ms)) / p99(late(calm).map(({ ms }) => ms)),
  }
}

async function overload(protocol: Protocol, model: OverloadedModel): Promise<void> {
  const cpus = model.title === 'iris' ? Number(values.cpus) : ONE_CPU
  await using group = limitCpu(cpus)
  await using server = await startIn(group, 'build/main.js', '', model.env)
  const port = Number(new URL(server.url).port)
  await wait(1_000)
  const rounds: Figures[] = []
  for (let tries = Number(values.rounds) * Number(values.tries); tries > 0; tries--) {
    const figures = await round(protocol, model, port, server.pid)
    if (figures !== undefined) rounds.push(figures)
    if (rounds.length === Number(values.rounds)) break
  }
  print(`\n${model.title}, ${protocol.name}: `)
  if (rounds.length < Number(values.rounds)) {
    print(
      `not measured: the load was on time in only ${rounds.length} of ${values.rounds} rounds; `,
    )
    print(`load average ${loadavg()[0]?.toFixed(1)}\n`)
  } else print('\n')
  for (const name of Object.keys(rounds[0] ?? {})) {
    const { median, min, max } = spread(rounds.map(figures => figures[name] as number))
    print(`  ${name.padEnd(40)} ${shown(median)} (${shown(min)}–${shown(max)})\n`)
  }
}

const shown = (value: number) => (Math.abs(value) < 100 ? value.toFixed(2) : value.toFixed(0))

if (values.help) print(HELP)
else
  for (const model of MODELS)
    for (const protocol of [HTTP, GRPC])
      if (`${model.title}, ${protocol.name}`.includes(values.only)) await overload(protocol, model)
