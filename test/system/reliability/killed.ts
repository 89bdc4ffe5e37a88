import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { type ConfirmChannel, type ConsumeMessage, connect as connectTo } from 'amqplib'
import { isListening, until } from '../../http/client.ts'
import { freePort, spawnFunction } from '../../server.ts'
import {
  type Bridge,
  numberOf,
  publish,
  QUEUES,
  queued,
  readDelivery,
  startBridge,
  type Watch,
} from './bridge.ts'
import type { Claim, Fault, Row, Run } from './fault.ts'
import {
  binaryEvent,
  checkReply,
  flowerOf,
  largeEvent,
  type Message,
  structuredEvent,
} from './flowers.ts'
import { startRabbitMQ } from './rabbitmq.ts'

const LONGEST_MS = 30 * 60_000
const TRIGGER = fileURLToPath(
  new URL('../../../knative/components/classify/classify.yaml', import.meta.url),
)

const WORKERS = 32
/** The response to an event with this many rows is larger than the socket buffers. */
const MANY_ROWS = 60_000
/** The longest time without progress: longer than any pause between two delivery attempts. */
const PATIENCE_MS = 120_000

const fault: Fault = {
  how: 'RabbitMQ and a bridge that follows Knative’s rules deliver events; the function is killed and restarts immediately',
  needs: {
    'rabbitmq-server': 'apt-get install rabbitmq-server',
    epmd: 'apt-get install rabbitmq-server',
  },
  async *rows(run) {
    yield killed(run)
  },
}
export default fault

async function killed(run: Run): Promise<Row> {
  const plan = makePlan(run)
  const rabbitmq = await startRabbitMQ(LONGEST_MS)
  let server: Supervised | undefined
  try {
    server = await superviseServer()
    const seen = await deliverAll(plan, rabbitmq.url, server, run)
    return {
      fault: 'SIGKILL during event delivery',
      counts: {
        events: plan.total,
        'poison messages among the events': plan.poison.size,
        kills: server.kills,
        'truncated responses': seen.brokenOff,
        'deliveries without a response': seen.unanswered,
        'bridge crashes': seen.bridgeDeaths,
        replies: seen.replies,
      },
      claims: claimsOf(plan, seen, server),
    }
  } finally {
    await server?.stop()
    await rabbitmq.stop()
  }
}

interface Plan {
  readonly total: number
  readonly poison: ReadonlySet<number>
  readonly kills: readonly Kill[]
  /** Events at which the bridge crashes, after the reply. */
  readonly bridgeDeaths: ReadonlySet<number>
}

/** A kill after `at` finished events, or during the long response to event number `at`. */
interface Kill {
  readonly moment: 'done' | 'answering'
  readonly at: number
  /** How many times the replacement is killed as soon as it listens. */
  again: number
}

function makePlan({ long, random }: Run): Plan {
  const [total, times, deaths] = long ? [100_000, 200, 20] : [2_000, 5, 2]
  const within = (count: number, i: number) => Math.floor(((i + random()) * total) / count)
  const kills: Kill[] = []
  for (let i = 0; i < times; i++) {
    const [share, before] = [random(), kills.at(-1)]
    if (share < 0.2 && before !== undefined) before.again++
    else kills.push({ moment: share < 0.6 ? 'answering' : 'done', at: within(times, i), again: 0 })
  }
  const large = new Set(kills.filter(({ moment }) => moment === 'answering').map(({ at }) => at))
  const poison = new Set<number>()
  while (poison.size < total / 100) {
    const n = Math.floor(random() * total)
    if (!large.has(n)) poison.add(n)
  }
  return {
    total,
    poison,
    kills,
    bridgeDeaths: new Set(Array.from({ length: deaths }, (_, i) => within(deaths, i))),
  }
}

/** Permanent mistakes, which a retry does not fix. */
const POISONS: readonly ((n: number) => Message)[] = [
  n => binaryEvent(n, '{"inputs":['),
  n =>
    binaryEvent(
      n,
      JSON.stringify({
        inputs: [{ name: 'input', shape: [1, 5], datatype: 'FP32', data: [1, 2, 3, 4, 5] }],
      }),
    ),
  n =>
    binaryEvent(
      n,
      JSON.stringify({
        inputs: [{ name: 'petals', shape: [1, 4], datatype: 'FP32', data: flowerOf(n).values }],
      }),
    ),
  n => ({ ...binaryEvent(n), headers: { ...binaryEvent(n).headers, 'content-type': 'text/xml' } }),
]

function eventOf(n: number, { poison, kills }: Plan): Message {
  if (poison.has(n)) return (POISONS[n % POISONS.length] as (typeof POISONS)[number])(n)
  if (isLarge(n, kills)) return largeEvent(n, MANY_ROWS)
  return n % 4 === 0 ? structuredEvent(n) : binaryEvent(n)
}

const isLarge = (n: number, kills: readonly Kill[]) =>
  kills.some(({ moment, at }) => moment === 'answering' && at === n)

interface Supervised {
  readonly port: number
  readonly kills: number
  /** The codes or signals of exits that `kill` did not cause. */
  readonly otherEnds: readonly string[]
  /** Resolves when the replacement has started. */
  kill(): Promise<void>
  listens(): Promise<void>
  stop(): Promise<void>
}

/** Restarts the function immediately after each exit, as a kubelet does after the first exit. */
async function superviseServer(): Promise<Supervised> {
  const port = await freePort()
  const otherEnds: string[] = []
  let kills = 0
  let stopped = false
  let child = start()
  function start() {
    const child = spawnFunction({ PORT: `${port}` }, [], LONGEST_MS, 'build/main.js')
    child.stdout?.resume()
    child.stderr?.resume()
    child.once('exit', (code, signal) => {
      if (stopped) return
      if (signal !== 'SIGKILL') otherEnds.push(`${signal ?? code}`)
      restart()
    })
    return child
  }
  function restart(): void {
    child = start()
  }
  async function kill(): Promise<void> {
    const ended = once(child, 'exit')
    child.kill('SIGKILL')
    await ended
  }
  return {
    port,
    get kills() {
      return kills
    },
    otherEnds,
    kill() {
      kills++
      return kill()
    },
    listens: () => until('the function listens', () => isListening(port)),
    stop() {
      stopped = true
      return kill()
    },
  }
}

interface Seen {
  readonly done: Set<number>
  /** Ids of replies, from response heads and from RabbitMQ. */
  readonly inAnswers: Map<number, string>
  readonly inReplies: Map<number, string>
  /** Events with repeated replies, and events whose replies have different ids. */
  readonly again: Set<number>
  readonly differing: Set<number>
  readonly wrong: Map<number, string>
  replies: number
  brokenOff: number
  unanswered: number
  readonly refusals: Map<number, number>
  readonly deadLetters: Map<number, number>
  bridgeDeaths: number
}

async function deliverAll(
  plan: Plan,
  url: string,
  server: Supervised,
  { progress }: Run,
): Promise<Seen> {
  const seen: Seen = {
    done: new Set(),
    inAnswers: new Map(),
    inReplies: new Map(),
    again: new Set(),
    differing: new Set(),
    wrong: new Map(),
    replies: 0,
    brokenOff: 0,
    unanswered: 0,
    refusals: new Map(),
    deadLetters: new Map(),
    bridgeDeaths: 0,
  }
  const connection = await connectTo(url)
  const channel = await connection.createConfirmChannel()
  for (const queue of Object.values(QUEUES)) await channel.assertQueue(queue, { durable: true })
  const readsReplies = await readAll(channel, QUEUES.replies, message =>
    onReply(message, plan, seen),
  )
  const readsDeadLetters = await readAll(channel, QUEUES.deadLetters, message =>
    onDeadLetter(message, plan, seen),
  )

  const allDone = Promise.withResolvers<void>()
  const bridgeDeaths = new Set(plan.bridgeDeaths)
  const kills = plan.kills.filter(({ moment }) => moment === 'done')
  const killsByAnswer = new Map(
    plan.kills.filter(({ moment }) => moment === 'answering').map(kill => [kill.at, kill]),
  )
  const striking: Promise<void>[] = []
  let doneAt = performance.now()

  /** Resolves after the first kill. */
  function strike({ again }: Kill): Promise<void> {
    const first = server.kill()
    striking.push(
      first.then(async () => {
        for (let i = 0; i < again; i++) {
          await server.listens()
          await server.kill()
        }
      }),
    )
    return first
  }

  const watch: Watch = {
    async answers(n, headers) {
      const id = headers['ce-id']
      if (id !== undefined) note(n, `${id}`, seen.inAnswers, seen)
      const kill = killsByAnswer.get(n)
      if (kill === undefined) return
      killsByAnswer.delete(n)
      await strike(kill)
    },
    delivered(n, outcome) {
      if (outcome === 'broken off') seen.brokenOff++
      else if (outcome === 'none') seen.unanswered++
      else if (outcome >= 300) seen.refusals.set(n, (seen.refusals.get(n) ?? 0) + 1)
    },
    replied: n => bridgeDeaths.delete([...bridgeDeaths].find(at => at <= n) ?? -1),
    done(n) {
      seen.done.add(n)
      doneAt = performance.now()
      if (seen.done.size % (plan.total / 10) === 0)
        progress(`${seen.done.size} of ${plan.total} events, ${server.kills} kills`)
      if (kills[0] !== undefined && seen.done.size >= kills[0].at) strike(kills.shift() as Kill)
      if (seen.done.size === plan.total) allDone.resolve()
    },
  }
  const patience = setInterval(() => {
    if (performance.now() - doneAt > PATIENCE_MS) allDone.resolve()
  }, 1_000)
  let bridge: Bridge | undefined
  try {
    const producing = produce(channel, plan)
    let isOver = false
    const over = allDone.promise.then(() => {
      isOver = true
    })
    while (!isOver) {
      bridge = await startBridge(url, server.port, readDelivery(TRIGGER), WORKERS, watch)
      await Promise.race([
        bridge.died.then(() => seen.bridgeDeaths++),
        over,
        producing.then(() => over),
      ])
    }
    await Promise.all(striking)
    await bridge?.close()
    await Promise.all([readsReplies(), readsDeadLetters()])
    return seen
  } finally {
    clearInterval(patience)
    await connection.close()
  }
}

/** @returns a function that waits until all current messages are read */
async function readAll(
  channel: ConfirmChannel,
  queue: string,
  read: (message: ConsumeMessage) => void,
): Promise<() => Promise<void>> {
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  const take = (message: ConsumeMessage | null) => {
    if (message === null) return
    if (numberOf(message) === END) resolve()
    else read(message)
  }
  await channel.consume(queue, take, { noAck: true })
  return async () => {
    await publish(channel, queue, { headers: {}, body: Buffer.alloc(0) }, END)
    await ended
  }
}

/** Marks the end; no event has this number. */
const END = -1

async function produce(channel: ConfirmChannel, plan: Plan): Promise<void> {
  for (let n = 0; n < plan.total; n++) {
    channel.sendToQueue(QUEUES.events, ...queued(eventOf(n, plan), n))
    if (n % 500 === 499) await channel.waitForConfirms()
  }
  await channel.waitForConfirms()
}

function note(n: number, id: string, ids: Map<number, string>, seen: Seen): void {
  if (ids.has(n)) seen.again.add(n)
  const others = [seen.inAnswers.get(n), seen.inReplies.get(n)].filter(other => other !== undefined)
  if (others.some(other => other !== id)) seen.differing.add(n)
  ids.set(n, id)
}

function onReply(message: ConsumeMessage, plan: Plan, seen: Seen): void {
  const n = numberOf(message)
  seen.replies++
  try {
    const { id } = checkReply(
      { headers: message.properties.headers ?? {}, body: message.content },
      n,
      isLarge(n, plan.kills) ? MANY_ROWS : 1,
    )
    note(n, id, seen.inReplies, seen)
  } catch (error) {
    seen.wrong.set(n, (error as Error).message)
  }
}

function onDeadLetter({ properties, content }: ConsumeMessage, plan: Plan, seen: Seen): void {
  const n = Number(properties.messageId)
  seen.deadLetters.set(n, (seen.deadLetters.get(n) ?? 0) + 1)
  const {
    'ce-id': id,
    'ce-knativeerrorcode': code,
    'ce-knativeerrordata': data,
  } = properties.headers ?? {}
  const says = Buffer.from(`${data}`, 'base64').toString()
  if (!plan.poison.has(n))
    seen.wrong.set(n, `a valid event became a dead letter: ${code} ${says || content}`)
  else if (id !== `${n}` || code !== '400' || !/^\{"error":".+"\}$/.test(says))
    seen.wrong.set(
      n,
      `a dead letter has the id ${id}, the error code ${code} and the error data ${says}`,
    )
}

function claimsOf(
  { total, poison, kills }: Plan,
  seen: Seen,
  { kills: killed, otherEnds }: Supervised,
): Claim[] {
  const good = total - poison.size
  const once = [...poison].filter(
    n => seen.deadLetters.get(n) === 1 && seen.refusals.get(n) === 1,
  ).length
  const planned = kills.reduce((sum, { again }) => sum + 1 + again, 0)
  const show = (n: number) => n.toLocaleString('en')
  return [
    {
      what: 'no event is lost: each valid event gets its own reply',
      measured: `${show(seen.inReplies.size)} of ${show(good)}${seen.wrong.size === 0 ? '' : `; wrong: ${[...seen.wrong].slice(0, 3).join('; ')}`}`,
      holds: seen.inReplies.size === good && seen.wrong.size === 0,
    },
    {
      what: 'repeated replies to an event have the same id',
      measured: `${seen.differing.size} of ${show(seen.again.size)} events have different ids`,
      holds: seen.differing.size === 0 && seen.again.size > 0,
    },
    {
      what: 'each poison message is rejected once and becomes one dead letter; no other event becomes a dead letter',
      measured: `${show(once)} of ${show(poison.size)}, ${show(seen.deadLetters.size - once)} others`,
      holds: once === poison.size && seen.deadLetters.size === once,
    },
    {
      what: 'the process exits only when it is killed',
      measured: `${killed} of ${planned} kills, ${otherEnds.length} other exits${otherEnds.length === 0 ? '' : `: ${otherEnds.slice(0, 3)}`}`,
      holds: killed === planned && otherEnds.length === 0,
    },
  ]
}
