import { setTimeout as wait } from 'node:timers/promises'
import {
  cpuSeconds,
  MEMORY_LIMIT,
  PODS,
  type Pod,
  type PodName,
  residentBytes,
  startPod,
} from './pods.ts'
import { now, type Prometheus } from './prometheus.ts'
import { type RevisionState, StandIn } from './stand-in.ts'
import { field, iris, labelsOf, MISTAKE, type Observation, SLOW, Traffic } from './traffic.ts'

/* The scenario: services go through the situations that an operator is asked about. */

/** Queries are asked at these moments. */
export type Moment =
  | ('asleep' | 'waking' | 'awake' | 'load' | 'errors' | 'died')
  | ('canary' | 'blocked' | 'overload' | 'overloaded' | 'draining' | 'stopped' | 'again')

/** What happened, for the expectations. */
export interface Recorded {
  readonly chapterSeconds: number
  readonly began: number
  /** Seconds since 1970. */
  readonly moments: Readonly<Record<Moment, number>>
  readonly observations: readonly Observation[]
}

/** A rate looks back this far: within one chapter. */
export const windowOf = ({ chapterSeconds }: Pick<Recorded, 'chapterSeconds'>) => chapterSeconds / 2

const REQUEST_TYPE = 'com.example.iris.classify.request'
const PING_TYPE = 'dev.knative.sources.ping'
/** The slow process gets no CPU for a part of each period, which is shorter than a scrape interval. */
const STOPS = { everyMs: 700, forMs: 300 }

/** @param log called with a line for each chapter */
export async function runScenario(
  prometheus: Prometheus,
  chapterSeconds: number,
  log: (line: string) => void,
): Promise<Recorded> {
  const standIn = new StandIn()
  prometheus.scrape(await standIn.start(), {})
  const scenario = new Scenario(prometheus, standIn, chapterSeconds)
  for (const [line, chapter] of Object.entries(CHAPTERS)) {
    log(line)
    await chapter(scenario)
  }
  standIn.stop()
  return { ...scenario, chapterSeconds, observations: scenario.traffic.observations }
}

/** In order; the key is what it logs. */
const CHAPTERS: Readonly<Record<string, (scenario: Scenario) => Promise<void>>> = {
  'asleep: iris-classifier is at zero, the dead letter sink waits': s => s.sleep(),
  'three requests wake it': s => s.wake(),
  'load: requests and events, all of them good': s => s.load(),
  'errors: a quarter of the requests are mistakes; events of a Trigger die': s => s.fail(),
  'a canary answers some requests with errors, and some slowly': s => s.canary(),
  'overload: a slow model gets more than it can do, and at times no CPU': s => s.overload(),
  'a pod gets TERM, and drains': s => s.drain(),
  'all stop: at zero again': s => s.stopAll(),
  'and start again': s => s.startAgain(),
}

class Scenario {
  readonly began = now()
  readonly moments = {} as Record<Moment, number>
  readonly pods = {} as Record<PodName, Pod>
  readonly traffic: Traffic
  readonly chapterSeconds: number
  readonly #prometheus: Prometheus
  readonly #standIn: StandIn
  #period = { since: this.began, count: 0 }
  readonly #there = new Set<PodName>()
  #events = 0
  #running: (() => Promise<void>)[] = []

  constructor(prometheus: Prometheus, standIn: StandIn, chapterSeconds: number) {
    this.#prometheus = prometheus
    this.#standIn = standIn
    this.traffic = new Traffic(standIn)
    this.chapterSeconds = chapterSeconds
  }

  async sleep(): Promise<void> {
    this.#scale({})
    await this.#start('sink')
    await this.#settle('asleep')
  }

  async wake(): Promise<void> {
    this.#scale({ stable: { desired: 1, waiting: true } })
    await this.#settle('waking')
    const stable = await this.#start('stable')
    this.#scale({ stable: { pods: 1 } })
    await this.#start('garden')
    // A rate needs the count before.
    await this.#prometheus.settled()
    await Promise.all([0, 1, 2].map(i => this.traffic.post(stable, iris(i))))
    await this.#settle('awake')
  }

  async load(): Promise<void> {
    const { stable, garden } = this.pods
    const { traffic } = this
    this.#scale({ stable: { pods: 1, busy: true } })
    this.#running = [
      traffic.every(25, i => traffic.post(stable, iris(i))),
      traffic.every(100, i => traffic.post(garden, iris(i))),
      traffic.every(250, i => this.#deliver('iris-classify', REQUEST_TYPE, [iris(i), stable])),
    ]
    await wait((this.chapterSeconds - windowOf(this)) * 1000)
    const before = [stable, garden].map(pod => ({ pod, at: now(), cpu: cpuSeconds(pod) }))
    await wait(windowOf(this) * 1000)
    for (const { pod, at, cpu } of before)
      traffic.record('cores', labelsOf(pod), { count: (cpuSeconds(pod) - cpu) / (now() - at) })
    this.#recordMemory([stable, garden])
    await this.#end('load')
  }

  async fail(): Promise<void> {
    const { stable } = this.pods
    const { traffic } = this
    this.#scale({ stable: { pods: 1 } })
    this.#running = [
      traffic.every(50, i => traffic.post(stable, i % 4 === 0 ? MISTAKE : iris(i))),
      traffic.every((this.chapterSeconds * 1000) / 6, i =>
        this.#deliver('iris-ping', PING_TYPE, [i % 2 === 0 ? MISTAKE : iris(i), stable]),
      ),
    ]
    await this.#chapter()
    await this.#end('errors')
    await this.#settle('died')
  }

  async canary(): Promise<void> {
    const { stable } = this.pods
    const { traffic } = this
    const canary = await this.#start('canary')
    this.#scale({ stable: { pods: 1 }, canary: { pods: 1 } })
    await this.#prometheus.settled()
    const bodies = (i: number) => (i % 10 === 9 ? field(20_000) : iris(i))
    this.#running = [
      traffic.every(25, i => traffic.post(stable, iris(i))),
      traffic.every((this.chapterSeconds * 1000) / 160, i =>
        traffic.post(canary, i % 10 < 4 ? MISTAKE : bodies(i)),
      ),
    ]
    await this.#chapter()
    this.#recordMemory([stable, canary])
    await this.#end('canary')
  }

  async overload(): Promise<void> {
    const { traffic } = this
    const slow = await this.#start('slow')
    const stops = setInterval(() => {
      slow.process.kill('SIGSTOP')
      setTimeout(() => slow.process.kill('SIGCONT'), STOPS.forMs)
    }, STOPS.everyMs)
    await this.#prometheus.settled()
    // Twelve events at once, twice: Knative's series begin with the count of the first twelve.
    const events = () => this.#deliver('slow-classify', REQUEST_TYPE, [SLOW, slow])
    this.#running = [
      traffic.every(40, () => traffic.post(slow, SLOW)),
      traffic.every((this.chapterSeconds * 1000) / 4, async i => {
        if (i < 2) await Promise.all(Array.from({ length: 12 }, events))
      }),
    ]
    await this.#chapter()
    await this.#prometheus.until(`up{instance="${slow.address}"} == 1`)
    this.moments.blocked = now()
    clearInterval(stops)
    // A rate needs a window in which the process answered each scrape.
    const window = `[${windowOf(this)}s]`
    await wait(windowOf(this) * 1000)
    await this.#prometheus.until(`min_over_time(up{instance="${slow.address}"}${window}) == 1`)
    await this.#end('overload')
    await this.#settle('overloaded')
  }

  async drain(): Promise<void> {
    this.#scale({ stable: { pods: 1, desired: 0 }, canary: { pods: 1, desired: 0 } })
    const stopped = this.#stop('garden')
    await wait(2_000)
    this.moments.draining = now()
    await stopped
  }

  async stopAll(): Promise<void> {
    await Promise.all((['stable', 'canary', 'slow'] as const).map(name => this.#stop(name)))
    this.#scale({})
    await this.#settle('stopped')
    await this.#chapter()
  }

  async startAgain(): Promise<void> {
    this.#scale({ stable: { desired: 1, waiting: true } })
    const again = await this.#start('again')
    this.#scale({ stable: { pods: 1 } })
    await this.#prometheus.settled()
    this.#running = [this.traffic.every(50, i => this.traffic.post(again, iris(i)))]
    await this.#chapter()
    this.#scale({ stable: { pods: 1 } })
    await this.#end('again')
    await Promise.all((['again', 'sink'] as const).map(name => this.#stop(name)))
  }

  async #start(name: PodName): Promise<Pod> {
    const pod = await startPod(this.#prometheus, name)
    this.pods[name] = pod
    this.#standIn.setPods([...this.#there.add(name)])
    if (name === 'sink') return pod
    const { startedIn: seconds, spec } = pod
    this.traffic.record('starts', labelsOf(pod), { seconds, least: spec.stallSeconds ?? 0.001 })
    for (const phase of ['process', 'listen', 'session', 'warm-up'])
      this.traffic.record('phases', { phase }, { seconds })
    // A stalled process stands still before its first module.
    this.traffic.record('phases', { phase: 'import' }, { seconds, least: spec.stallSeconds ?? 0 })
    return pod
  }

  async #stop(name: PodName): Promise<void> {
    await this.pods[name].stop()
    this.#there.delete(name)
    this.#standIn.setPods([...this.#there])
  }

  /** Sets the autoscaler's view of both revisions; as many pods are desired as there are. */
  #scale(states: Readonly<Partial<Record<'stable' | 'canary', Partial<RevisionState>>>>): void {
    let count = 0
    for (const name of ['stable', 'canary'] as const) {
      const { pods = 0, desired = pods, waiting = false, busy = false } = states[name] ?? {}
      this.#standIn.setRevision(PODS[name], { pods, desired, waiting, busy })
      count += pods
    }
    const { since, count: before } = this.#period
    this.traffic.record('pod periods', {}, { count: before, seconds: now() - since })
    this.#period = { since: now(), count }
  }

  #deliver(trigger: string, type: string, [data, pod]: readonly [string, Pod]): Promise<void> {
    const id = String(++this.#events)
    return this.traffic.deliver({ id, trigger, type, data }, pod, this.pods.sink)
  }

  #recordMemory(pods: readonly Pod[]): void {
    for (const pod of pods) {
      const [labels, bytes] = [labelsOf(pod), residentBytes(pod)]
      this.traffic.record('memory', labels, { count: bytes })
      this.traffic.record('memory share', labels, { count: bytes / (MEMORY_LIMIT ?? Number.NaN) })
    }
  }

  #chapter = () => wait(this.chapterSeconds * 1000)

  async #settle(moment: Moment): Promise<void> {
    this.moments[moment] = await this.#prometheus.settled()
  }

  /** Ends the traffic; the moment is the last one with it. */
  async #end(moment?: Moment): Promise<void> {
    if (moment !== undefined) this.moments[moment] = now()
    await Promise.all(this.#running.map(stop => stop()))
    this.#running = []
  }
}
