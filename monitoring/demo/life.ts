import { readFileSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { NAMESPACE, type Pod, startPod } from './pods.ts'
import type { Prometheus } from './prometheus.ts'
import { startStandIn } from './stand-in.ts'
import {
  createTraffic,
  field,
  iris,
  MISTAKE,
  revisionLabels,
  SLOW,
  type Traffic,
} from './traffic.ts'

/*
 * The script: some services live through what an operator is asked about. What it causes is told by its record; expected.ts makes of
 * that what each query must say.
 */

/** At each of these moments queries are asked. */
export type Moment =
  | 'asleep'
  | 'waking'
  | 'awake'
  | 'load'
  | 'errors'
  | 'died'
  | 'canary'
  | 'overload'
  | 'overloaded'
  | 'draining'
  | 'stopped'
  | 'again'

export type PodName = 'sink' | 'stable' | 'garden' | 'canary' | 'slow' | 'again'

export interface Life {
  /** Seconds since 1970. */
  readonly moments: Readonly<Record<Moment, number>>
  readonly began: number
  readonly ended: number
  readonly traffic: Traffic
  readonly pods: Readonly<Record<PodName, Pod>>
  /** Pods of iris-classifier as the stand-in told it: from when on how many. */
  readonly podsFrom: readonly { readonly at: number; readonly count: number }[]
  /** What the kernel says of the processes, over the last {@link windowOf} before the moment, and then. */
  readonly coresAtLoad: ReadonlyMap<Pod, number>
  readonly residentBytes: Readonly<Record<'load' | 'canary', ReadonlyMap<Pod, number>>>
  readonly chapterSeconds: number
}

/** How far back a rate looks: within one chapter. */
export const windowOf = ({ chapterSeconds }: Pick<Life, 'chapterSeconds'>) => chapterSeconds / 2

/** What the autoscaler is said to see while there is load. */
export const CONCURRENCY = { stable: 12, panic: 20, target: 22.4 } as const
export const QUEUED = 3
export const AT_QUEUE_PROXY = 2
export const SLOW_START_SECONDS = 2.5
export const IRIS = {
  service: 'iris-classifier',
  stable: 'iris-classifier-00001',
  canary: 'iris-classifier-00002',
} as const

const REQUEST_TYPE = 'com.example.iris.classify.request'
const PING_TYPE = 'dev.knative.sources.ping'

/** @param tell called with what happens next */
export async function live(
  prometheus: Prometheus,
  chapterSeconds: number,
  tell: (what: string) => void,
): Promise<Life> {
  const standIn = await startStandIn()
  const traffic = createTraffic(standIn)
  const moments: Partial<Record<Moment, number>> = {}
  const podsFrom: { at: number; count: number }[] = []
  const began = Date.now() / 1000
  const now = () => Date.now() / 1000
  const chapter = () => wait(chapterSeconds * 1000)

  const start = async (spec: Parameters<typeof startPod>[1]) => {
    const pod = await startPod(prometheus, spec)
    standIn.set('kube_pod_info', podLabels(pod), 1)
    return pod
  }
  const stop = async (pod: Pod) => {
    await pod.stop()
    standIn.remove('kube_pod_info', podLabels(pod))
  }
  /** What Knative would say of the two revisions. */
  const scaled = (
    counts: Readonly<Record<string, number>>,
    { waiting = 0, desired = counts, busy = false } = {},
  ) => {
    for (const revision of [IRIS.stable, IRIS.canary]) {
      const labels = revisionLabels({ service: IRIS.service, revision })
      const count = counts[revision] ?? 0
      const wanted = desired[revision] ?? 0
      standIn.set('kn_revision_pods_count', labels, count)
      standIn.set('kn_revision_pods_desired', labels, wanted)
      standIn.set('kn_revision_pods_requested', labels, wanted)
      standIn.set('kn_revision_pods_pending_count', labels, Math.max(0, wanted - count))
      standIn.set('kn_revision_pods_not_ready_count', labels, 0)
      standIn.set('kn_revision_pods_terminating_count', labels, Math.max(0, count - wanted))
      const loaded = busy && revision === IRIS.stable
      standIn.set('kn_revision_concurrency_stable', labels, loaded ? CONCURRENCY.stable : 0)
      standIn.set('kn_revision_concurrency_panic', labels, loaded ? CONCURRENCY.panic : 0)
      standIn.set('kn_revision_concurrency_target', labels, CONCURRENCY.target)
      standIn.set('kn_revision_panic_mode', labels, waiting > 0 && revision === IRIS.stable ? 1 : 0)
      standIn.set(
        'kn_revision_capacity_excess',
        labels,
        count * CONCURRENCY.target - (loaded ? CONCURRENCY.stable : 0),
      )
      standIn.set('kn_serving_queue_depth', labels, loaded ? AT_QUEUE_PROXY : 0)
      standIn.set(
        'kn_revision_request_queued',
        { kn_revision_name: revision, k8s_namespace_name: NAMESPACE },
        revision === IRIS.stable ? waiting : 0,
      )
    }
    podsFrom.push({
      at: now(),
      count: Object.values(counts).reduce((sum, count) => sum + count, 0),
    })
  }

  tell('nobody is there: iris-classifier is at zero, the dead letter sink waits')
  scaled({})
  prometheus.scrape(standIn.address, {})
  const sink = await start({
    name: 'iris-dead-letter-00001-a',
    service: 'iris-dead-letter',
    revision: 'iris-dead-letter-00001',
    program: 'knative/consumer.ts',
    labelled: true,
  })
  moments.asleep = await prometheus.settled()

  tell(`${QUEUED} requests wake it`)
  scaled({}, { waiting: QUEUED, desired: { [IRIS.stable]: 1 } })
  moments.waking = await prometheus.settled()
  const iris1 = { service: IRIS.service, revision: IRIS.stable, labelled: true }
  const stable = await start({ ...iris1, name: 'iris-classifier-00001-a' })
  scaled({ [IRIS.stable]: 1 })
  // Beside it a service whose target has no labels, as beside compose.yaml.
  const garden = await start({
    name: 'garden-00001-a',
    service: 'garden',
    revision: 'garden-00001',
    labelled: false,
    env: { DRAIN_DELAY_MS: '8000' },
  })
  // A rate needs the count before.
  await prometheus.settled()
  await Promise.all(Array.from({ length: QUEUED }, (_, i) => traffic.post(stable, iris(i))))
  moments.awake = await prometheus.settled()

  tell('load: requests and events, all of them good')
  scaled({ [IRIS.stable]: 1 }, { busy: true })
  let ids = 0
  const event = (trigger: string, type: string, data: string) => ({
    id: String(++ids),
    trigger,
    type,
    data,
  })
  let running = [
    traffic.every(25, i => traffic.post(stable, iris(i))),
    traffic.every(100, i => traffic.post(garden, iris(i))),
    traffic.every(250, i =>
      traffic.deliver(event('iris-classify', REQUEST_TYPE, iris(i)), stable, sink),
    ),
  ]
  const ended = async () => {
    await Promise.all(running.map(stopped => stopped()))
    running = []
  }
  await wait((chapterSeconds - windowOf({ chapterSeconds })) * 1000)
  const before = new Map([stable, garden].map(pod => [pod, { at: now(), cpu: cpuSeconds(pod) }]))
  await wait(windowOf({ chapterSeconds }) * 1000)
  const coresAtLoad = new Map(
    [...before].map(([pod, { at, cpu }]) => [pod, (cpuSeconds(pod) - cpu) / (now() - at)]),
  )
  const residentAtLoad = residentBytes([stable, garden])
  moments.load = now()
  await ended()

  tell('errors: a quarter of the requests are mistakes; events of a Trigger die')
  scaled({ [IRIS.stable]: 1 })
  running = [
    traffic.every(50, i => traffic.post(stable, i % 4 === 0 ? MISTAKE : iris(i))),
    traffic.every((chapterSeconds * 1000) / 6, i =>
      traffic.deliver(event('iris-ping', PING_TYPE, i % 2 === 0 ? MISTAKE : iris(i)), stable, sink),
    ),
  ]
  await chapter()
  moments.errors = now()
  await ended()
  moments.died = await prometheus.settled()

  tell('a canary: it answers some of its requests with errors, and some slowly')
  const canary = await start({
    service: IRIS.service,
    revision: IRIS.canary,
    name: 'iris-classifier-00002-a',
    labelled: true,
    env: { MODEL_DIR: 'models/iris/v2.0.0' },
  })
  scaled({ [IRIS.stable]: 1, [IRIS.canary]: 1 })
  await prometheus.settled()
  running = [
    traffic.every(25, i => traffic.post(stable, iris(i))),
    traffic.every((chapterSeconds * 1000) / 160, i => {
      if (i % 10 < 4) return traffic.post(canary, MISTAKE)
      return traffic.post(canary, i % 10 === 9 ? field(20_000) : iris(i))
    }),
  ]
  await chapter()
  moments.canary = now()
  const residentAtCanary = residentBytes([stable, canary])
  await ended()

  tell(
    'overload: a slow model that started slowly is asked for more than it can do, and gets no CPU at times',
  )
  const slow = await start({
    service: 'slow',
    revision: 'slow-00001',
    name: 'slow-00001-a',
    labelled: true,
    stallSeconds: SLOW_START_SECONDS,
    env: {
      MODEL_DIR: 'test/models/slow',
      EXECUTION: 'inline',
      MAX_QUEUE_ROWS: '4',
      MAX_BATCH_ROWS: '1',
    },
  })
  const pulses = setInterval(() => {
    slow.process.kill('SIGSTOP')
    setTimeout(() => slow.process.kill('SIGCONT'), 400)
  }, 1_000)
  await prometheus.settled()
  running = [
    traffic.every(40, () => traffic.post(slow, SLOW, 'slow')),
    // Twelve at once, twice: Knative's series begin at what the first brings.
    traffic.every((chapterSeconds * 1000) / 4, async i => {
      if (i < 2)
        await Promise.all(
          Array.from({ length: 12 }, () =>
            traffic.deliver(event('slow-classify', REQUEST_TYPE, SLOW), slow, sink),
          ),
        )
    }),
  ]
  await chapter()
  // It may be too busy to answer a scrape in time: the moment is one at which Prometheus knows it.
  await prometheus.until(`min_over_time(up{instance="${slow.address}"}[4s]) == 1`)
  moments.overload = now()
  clearInterval(pulses)
  slow.process.kill('SIGCONT')
  await ended()
  moments.overloaded = await prometheus.settled()

  tell('a pod is told to end, and drains')
  scaled({ [IRIS.stable]: 1, [IRIS.canary]: 1 }, { desired: {} })
  const gardenGone = stop(garden)
  await wait(2_000)
  moments.draining = now()
  await gardenGone

  tell('all stop: at zero again')
  await Promise.all([stable, canary, slow].map(stop))
  scaled({})
  moments.stopped = await prometheus.settled()
  await chapter()

  tell('and start again')
  scaled({}, { waiting: QUEUED, desired: { [IRIS.stable]: 1 } })
  const again = await start({ ...iris1, name: 'iris-classifier-00001-b' })
  scaled({ [IRIS.stable]: 1 })
  await prometheus.settled()
  running = [traffic.every(50, i => traffic.post(again, iris(i)))]
  await chapter()
  moments.again = now()
  await ended()
  await Promise.all([again, sink].map(stop))
  standIn.stop()

  return {
    moments: moments as Record<Moment, number>,
    began,
    ended: now(),
    traffic,
    pods: { sink, stable, garden, canary, slow, again },
    podsFrom,
    coresAtLoad,
    residentBytes: { load: residentAtLoad, canary: residentAtCanary },
    chapterSeconds,
  }
}

const podLabels = ({ name }: Pod) => ({
  namespace: NAMESPACE,
  pod: name,
  node: 'node-1',
  created_by_kind: 'ReplicaSet',
})

const CLOCK_TICKS_A_SECOND = 100

function cpuSeconds({ process: { pid } }: Pod): number {
  const text = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name of the program, in parentheses, may hold spaces.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / CLOCK_TICKS_A_SECOND
}

const residentBytes = (pods: readonly Pod[]) =>
  new Map(
    pods.map(pod => [
      pod,
      Number(
        /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pod.process.pid}/status`, 'utf8'))?.[1],
      ) * 1024,
    ]),
  )
