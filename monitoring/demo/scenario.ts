import { setTimeout as wait } from 'node:timers/promises'
import type { Pod, PodName } from './pods.ts'
import { cpuSeconds, MEMORY_LIMIT, PODS, residentBytes, startPod } from './pods.ts'
import { now, type Prometheus } from './prometheus.ts'
import { type RevisionState, StandIn } from './stand-in.ts'
import { field, iris, labelsOf, MISTAKE, type Observation, SLOW, Traffic } from './traffic.ts'

export type Moment =
  | ('asleep' | 'waking' | 'awake' | 'load' | 'errors' | 'died')
  | ('canary' | 'blocked' | 'overload' | 'overloaded' | 'draining' | 'stopped' | 'again')

export interface Recorded {
  readonly chapterSeconds: number
  readonly began: number
  /** Times in seconds since 1970. */
  readonly moments: Readonly<Record<Moment, number>>
  readonly observations: readonly Observation[]
}

/** The window of rates in seconds. It fits into one chapter. */
export const windowOf = ({ chapterSeconds }: Pick<Recorded, 'chapterSeconds'>) => chapterSeconds / 2

/** Stops the slow process for a part of each period. A period is shorter than a scrape interval. */
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
  const { began, moments, traffic } = scenario
  return { chapterSeconds, began, moments, observations: traffic.observations }
}

/** The chapters in order. Each key is the line that the chapter logs. */
const CHAPTERS: Readonly<Record<string, (scenario: Scenario) => Promise<void>>> = {
  'zero: iris-classifier has no pod; the dead letter sink is running': s => s.sleep(),
  'wake-up: three requests start a pod of iris-classifier': s => s.wake(),
  'load: valid requests and events': s => s.load(),
  'errors: a quarter of the requests are invalid; events of a Trigger are lost': s => s.fail(),
  'canary: a new revision returns errors, and responds slowly at times': s => s.canary(),
  'overload: a slow model gets too many requests, and at times no CPU': s => s.overload(),
  'stop: a pod gets SIGTERM and drains; then all pods stop': s => s.stop(),
  'restart: a pod of iris-classifier starts again': s => s.startAgain(),
}

type Send = (i: number) => Promise<unknown>

class Scenario {
  readonly began = now()
  readonly moments = {} as Record<Moment, number>
  readonly traffic: Traffic
  readonly #chapterSeconds: number
  readonly #prometheus: Prometheus
  readonly #standIn: StandIn
  readonly #pods = new Map<PodName, Pod>()
  #period = { since: this.began, count: 0 }
  #events = 0

  constructor(prometheus: Prometheus, standIn: StandIn, chapterSeconds: number) {
    this.#prometheus = prometheus
    this.#standIn = standIn
    this.traffic = new Traffic(standIn)
    this.#chapterSeconds = chapterSeconds
  }

  async sleep(): Promise<void> {
    this.#scale({})
    await this.#start('sink')
    await this.#settle('asleep')
  }

  async wake(): Promise<void> {
    this.#scale({ stable: { desired: 1, waiting: true } })
    await this.#settle('waking')
    await this.#start('stable')
    this.#scale({ stable: { pods: 1 } })
    await this.#start('garden')
    // A rate needs the count before the requests.
    await this.#prometheus.settled()
    await Promise.all([0, 1, 2].map(i => this.#post('stable', iris(i))))
    await this.#settle('awake')
  }

  async load(): Promise<void> {
    this.#scale({ stable: { pods: 1, busy: true } })
    await this.#during('load', [
      [25, i => this.#post('stable', iris(i))],
      [100, i => this.#post('garden', iris(i))],
      [250, i => this.#deliver('iris-classify', iris(i), 'stable')],
    ])
  }

  async fail(): Promise<void> {
    this.#scale({ stable: { pods: 1 } })
    await this.#during('errors', [
      [50, i => this.#post('stable', i % 4 === 0 ? MISTAKE : iris(i))],
      [
        this.#chapterSeconds * 167,
        i => this.#deliver('iris-ping', i % 2 === 0 ? MISTAKE : iris(i), 'stable'),
      ],
    ])
    await this.#settle('died')
  }

  async canary(): Promise<void> {
    await this.#start('canary')
    this.#scale({ stable: { pods: 1 }, canary: { pods: 1 } })
    await this.#prometheus.settled()
    const bodyOf = (i: number) => (i % 10 === 9 ? field(20_000) : iris(i))
    await this.#during('canary', [
      [25, i => this.#post('stable', iris(i))],
      [this.#chapterSeconds * 6, i => this.#post('canary', i % 10 < 4 ? MISTAKE : bodyOf(i))],
    ])
  }

  async overload(): Promise<void> {
    const { process, address } = await this.#start('slow')
    const stops = setInterval(() => {
      process.kill('SIGSTOP')
      setTimeout(() => process.kill('SIGCONT'), STOPS.forMs)
    }, STOPS.everyMs)
    await this.#prometheus.settled()
    // Knative's series begin with the count of the first twelve deliveries, so a rate needs twelve more.
    const twelve = () =>
      Promise.all(Array.from({ length: 12 }, () => this.#deliver('slow-classify', SLOW, 'slow')))
    const sends: [number, Send][] = [
      [40, () => this.#post('slow', SLOW)],
      [this.#chapterSeconds * 250, async i => (i < 2 ? twelve() : undefined)],
    ]
    const window = this.#chapterSeconds / 2
    await this.#during('blocked', sends, async () => {
      clearInterval(stops)
      // A rate needs a window in which the process responded to each scrape.
      await wait(window * 1000)
      await this.#prometheus.until(`min_over_time(up{instance="${address}"}[${window}s]) == 1`)
      this.moments.overload = now()
    })
    await this.#settle('overloaded')
  }

  async stop(): Promise<void> {
    this.#scale({ stable: { pods: 1, desired: 0 }, canary: { pods: 1, desired: 0 } })
    const stopped = this.#stop('garden')
    await wait(2_000)
    this.moments.draining = now()
    await stopped
    await this.#stop('stable', 'canary', 'slow')
    this.#scale({})
    await this.#settle('stopped')
    await wait(this.#chapterSeconds * 1000)
  }

  async startAgain(): Promise<void> {
    this.#scale({ stable: { desired: 1, waiting: true } })
    await this.#start('again')
    this.#scale({ stable: { pods: 1 } })
    await this.#prometheus.settled()
    await this.#during('again', [[50, i => this.#post('again', iris(i))]], async () => {
      this.#scale({ stable: { pods: 1 } })
      this.moments.again = now()
    })
    await this.#stop('again', 'sink')
  }

  async #during(moment: Moment, sends: [number, Send][], then = async () => {}): Promise<void> {
    const running = sends.map(([everyMs, send]) => this.traffic.every(everyMs, send))
    const window = this.#chapterSeconds / 2
    await wait(window * 1000)
    const pods = [...this.#pods].flatMap(([name, pod]) => (name === 'sink' ? [] : [pod]))
    const before = pods.map(pod => cpuSeconds(pod))
    await wait(window * 1000)
    for (const [i, pod] of pods.entries()) {
      const [labels, bytes] = [labelsOf(pod), residentBytes(pod)]
      const cores = (cpuSeconds(pod) - (before[i] ?? 0)) / window
      this.traffic.record('cores', labels, { count: cores })
      this.traffic.record('memory', labels, { count: bytes })
      this.traffic.record('memory share', labels, { count: bytes / (MEMORY_LIMIT ?? Number.NaN) })
    }
    this.moments[moment] = now()
    await then()
    await Promise.all(running.map(stop => stop()))
  }

  async #start(name: PodName): Promise<Pod> {
    const pod = await startPod(this.#prometheus, name)
    this.#standIn.setPods([...this.#pods.set(name, pod).keys()])
    if (name === 'sink') return pod
    const { startedIn: seconds, spec } = pod
    this.traffic.record('starts', labelsOf(pod), { seconds, least: spec.stallSeconds ?? 0.001 })
    for (const phase of ['process', 'listen', 'session', 'warm-up'])
      this.traffic.record('phases', { phase }, { seconds })
    // A stalled process sleeps before it loads its first module, which is in the phase `import`.
    this.traffic.record('phases', { phase: 'import' }, { seconds, least: spec.stallSeconds ?? 0 })
    return pod
  }

  async #stop(...names: PodName[]): Promise<void> {
    await Promise.all(names.map(name => this.#pods.get(name)?.stop()))
    for (const name of names) this.#pods.delete(name)
    this.#standIn.setPods([...this.#pods.keys()])
  }

  /** Sets the state of the simulated autoscaler. By default, it desires as many pods as exist. */
  #scale(states: Readonly<Partial<Record<'stable' | 'canary', Partial<RevisionState>>>>): void {
    let sum = 0
    for (const name of ['stable', 'canary'] as const) {
      const { pods = 0, desired = pods, waiting = false, busy = false } = states[name] ?? {}
      this.#standIn.setRevision(PODS[name], { pods, desired, waiting, busy })
      sum += pods
    }
    const { since, count } = this.#period
    this.traffic.record('pod periods', {}, { count, seconds: now() - since })
    this.#period = { since: now(), count: sum }
  }

  #pod = (name: PodName) => this.#pods.get(name) as Pod
  #post = (name: PodName, body: string) => this.traffic.post(this.#pod(name), body)
  #deliver = (trigger: string, data: string, name: PodName) => {
    const id = String(++this.#events)
    return this.traffic.deliver({ id, trigger, data }, this.#pod(name), this.#pod('sink'))
  }

  async #settle(moment: Moment): Promise<void> {
    this.moments[moment] = await this.#prometheus.settled()
  }
}
