import { setTimeout as wait } from 'node:timers/promises'
import {
  type Contender,
  CPU,
  LAG,
  P50,
  P99,
  PEAK,
  PER_SECOND,
  PROBE_P99,
  ROWS,
  RUNS,
  SINGLE_P99,
  START,
  underLoad,
  type Workload,
} from './contender.ts'
import { closedLoop, exchange, paced, verified, watchLag } from './load.ts'
import { createWeights } from './models/weights.ts'
import { OTHER_MODELS_WITH_NATIVE, OTHER_MODELS_WITH_PEERS } from './other-models.ts'
import {
  ANY_OUTPUT_REQUEST,
  BINARY_EVENT,
  binaryRows,
  jsonOfSize,
  jsonRows,
  PROBABILITIES_REQUEST,
  PROBE,
  SLOW_REQUEST,
  STRUCTURED_EVENT,
  type Target,
  V2_REQUEST,
} from './requests.ts'
import { SINK } from './sink.ts'
import * as subjects from './subjects.ts'
import { IRIS, ours, PEERS, type Running, runFloor, type Subject, start } from './subjects.ts'

const FLOORS = [
  subjects.STATIC,
  subjects.NODE_HTTP,
  subjects.EXPRESS,
  subjects.FAAS_STATIC,
  subjects.FAAS,
]

const connections = (count: number, others = FLOORS, prefix = '', subject = ours()): Workload => ({
  name: `${prefix}connections-${count}`,
  title: `One row as JSON, ${count} connection${count === 1 ? '' : 's'}`,
  metrics: [PER_SECOND, P50, P99, CPU],
  contenders: [
    subjects.STATIC,
    subject,
    ...others.filter(subject => subject !== subjects.STATIC),
  ].map(subject => underLoad(subject, V2_REQUEST, count)),
})

/**
 * The native limit, which uses the same ONNX Runtime library, and a bare server that joins requests
 * without checks.
 */
const withNative = (count: number): Workload =>
  connections(count, [subjects.HTTP_JOIN, subjects.NODE_HTTP, subjects.LIMIT], 'native-')

/** Requests without labels, which furnace-server does not support. */
const probabilities = (count: number): Workload => ({
  name: `native-probabilities-${count}`,
  title: `One row as JSON, the probabilities alone, ${count} connection${count === 1 ? '' : 's'}`,
  metrics: [PER_SECOND, P50, P99, CPU],
  contenders: [
    underLoad(ours(), PROBABILITIES_REQUEST, count),
    ...subjects.FURNACE.map(subject => ({
      ...underLoad(subject, ANY_OUTPUT_REQUEST, count),
      first: ANY_OUTPUT_REQUEST,
    })),
  ],
})

/** The cost of spans and metrics, which OpenTelemetry's variables turn on. */
const pushing: Workload = {
  name: 'pushing',
  title: 'One row as JSON, 64 connections, with spans and metrics pushed',
  metrics: [PER_SECOND, P50, P99, CPU],
  contenders: [
    underLoad(ours(), V2_REQUEST, 64, 'nothing pushed'),
    ...[
      [
        'metrics',
        { OTEL_EXPORTER_OTLP_METRICS_ENDPOINT: SINK, OTEL_METRIC_EXPORT_INTERVAL: '1000' },
      ],
      [
        'metrics, spans of 1 request in 100',
        { OTEL_EXPORTER_OTLP_ENDPOINT: SINK, ...sampled('0.01') },
      ],
      ['metrics, spans of every request', { OTEL_EXPORTER_OTLP_ENDPOINT: SINK, ...sampled('1') }],
    ].map(([name, env]) =>
      underLoad(ours(env as Record<string, string>), V2_REQUEST, 64, name as string),
    ),
  ],
}

function sampled(share: string): Record<string, string> {
  return {
    OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
    OTEL_TRACES_SAMPLER_ARG: share,
    OTEL_METRIC_EXPORT_INTERVAL: '1000',
  }
}

const MANY_ROWS = 1_024
/** Few enough that the waiting rows do not exceed the default of MAX_QUEUE_ROWS. */
const ROWS_CONNECTIONS = 4

/**
 * Compares the throughput (`rows/s`) of 1,024 rows per request with a loop of the same runs without
 * a server.
 */
function rows(kind: 'json' | 'binary', others: readonly Subject[], prefix = ''): Workload {
  const target = kind === 'json' ? jsonRows(MANY_ROWS) : binaryRows(MANY_ROWS)
  const served = (subject: Subject): Contender => {
    const { measure, ...contender } = underLoad(subject, target, ROWS_CONNECTIONS)
    return {
      ...contender,
      async measure(context) {
        const { 'requests/s': perSecond = Number.NaN, ...figures } = await measure(context)
        return { ...figures, 'rows/s': perSecond * MANY_ROWS }
      },
    }
  }
  return {
    name: `${prefix}rows-${kind}`,
    title: `1,024 rows as ${kind === 'json' ? 'JSON' : 'binary tensor data'}, ${ROWS_CONNECTIONS} connections`,
    metrics: [ROWS, P50, P99, CPU],
    contenders: [
      loop(
        'session.run in a loop',
        `${IRIS}/model.onnx`,
        'input',
        [MANY_ROWS, 4],
        'rows/s',
        MANY_ROWS,
      ),
      ...[ours(), ...others].map(served),
    ],
  }
}

function loop(
  name: string,
  file: string,
  input: string,
  shape: readonly number[],
  metric: string,
  factor = 1,
  least = 0,
): Contender {
  return {
    name,
    async measure({ seconds }) {
      const floor = runFloor(
        'bench/floors/loop.ts',
        file,
        input,
        shape.join(),
        String(Math.max(seconds, least)),
      )
      const { perSecond } = (await floor) as { perSecond: number }
      return { [metric]: perSecond * factor }
    },
  }
}

/** Single events to `POST /`, and V2 requests with the same rows. */
const events: Workload = {
  name: 'events',
  title: 'Single events, 64 connections',
  metrics: [PER_SECOND, P50, P99, CPU],
  contenders: [
    underLoad(ours(), V2_REQUEST, 64, 'V2 requests'),
    underLoad({ ...ours(), path: '/' }, BINARY_EVENT, 64, 'binary events'),
    underLoad({ ...ours(), path: '/' }, STRUCTURED_EVENT, 64, 'structured events'),
  ],
}

const PROBE_EVERY_MS = 5
const MIB = 2 ** 20
const LARGEST = 64 * MIB

/**
 * One caller sends the largest body in a loop; another sends a probe and a single row every 5 ms.
 * `peak RSS` is the server's peak during the round.
 */
const besideLargeBody = (
  name: string,
  body: (() => Promise<Target> | Target) | undefined,
): Contender => ({
  name,
  subject: ours(),
  alone: true,
  async measure({ server, seconds }) {
    const { path } = ours()
    const large = (await body?.())?.at(path)
    server.resetPeak()
    const lag = watchLag()
    const probes = paced(server.port, PROBE, PROBE_EVERY_MS)
    const singles = paced(server.port, V2_REQUEST.at(path), PROBE_EVERY_MS)
    const end = performance.now() + seconds * 1_000
    let failure: unknown
    try {
      if (large === undefined) await new Promise(resolve => setTimeout(resolve, seconds * 1_000))
      else
        do await verified(server.port, large)
        while (performance.now() < end)
    } catch (error) {
      failure = error
    }
    const [probe, single] = await Promise.all([probes.stop(), singles.stop()])
    if (failure !== undefined) throw failure
    return {
      'probe p99': probe.p99,
      'single row p99': single.p99,
      'peak RSS': server.peakMiB(),
      [LAG.name]: lag(),
    }
  },
})

/**
 * The largest JSON body that the server accepts: the server's error message contains a smaller
 * limit for JSON, if there is one.
 */
let largestJson: Promise<Target> | undefined

async function findLargestJson(): Promise<Target> {
  const server = await start(ours(), undefined)
  try {
    for (let bytes = LARGEST; ; ) {
      const target = jsonOfSize(bytes)
      const { status, body } = await exchange(server.port, target.at(ours().path).request)
      if (status === 200) return target
      const limit = Number(/larger than the (\d+) bytes/.exec(body.toString('utf8', 0, 500))?.[1])
      if (status !== 413 || !(limit < bytes))
        throw new Error(
          `JSON of ${bytes} bytes returned status ${status}: ${body.toString('utf8', 0, 200)}`,
        )
      bytes = limit
    }
  } finally {
    await server.stop()
  }
}

const ROW_BYTES = 16
const largestBinary = () => binaryRows(Math.floor((LARGEST - 1_000) / ROW_BYTES), ['probabilities'])

const largeBodies: Workload = {
  name: 'large-bodies',
  title: 'Probes and single rows beside the largest bodies',
  metrics: [PROBE_P99, SINGLE_P99, PEAK, LAG],
  contenders: [
    besideLargeBody('without large bodies', undefined),
    besideLargeBody('beside 64 MiB binary', largestBinary),
    besideLargeBody('beside the largest JSON', () => (largestJson ??= findLargestJson())),
  ],
}

/**
 * Four callers continuously send requests to a model whose runs take this long, with a liveness
 * probe every 5 ms. The reference for `runs/s` is a loop without workers. MAX_BATCH_ROWS=1 turns
 * joining off.
 */
function slow(ms: 50 | 500): Workload {
  const folder = ms === 50 ? subjects.SLOW_50 : subjects.SLOW_500
  const model = ms === 50 ? 'slow' : 'slow-500'
  const least = (ms * 16) / 1_000
  const subject: Subject = {
    ...ours({ MODEL_DIR: folder, MAX_BATCH_ROWS: '1' }),
    path: `/v2/models/${model}/infer`,
  }
  return {
    name: `slow-${ms}`,
    title: `A model of about ${ms} ms per run, with probes beside it`,
    metrics: [RUNS, PROBE_P99, LAG],
    contenders: [
      loop('session.run in a loop', `${folder}/model.onnx`, 'x', [1, 2], 'runs/s', 1, least),
      {
        name: subject.name,
        subject,
        first: SLOW_REQUEST,
        async measure({ server, seconds }) {
          const lag = watchLag()
          const probes = paced(server.port, PROBE, PROBE_EVERY_MS)
          const { perSecond } = await closedLoop(server.port, SLOW_REQUEST.at(subject.path), 4, {
            seconds: Math.max(seconds, least),
          })
          const probe = await probes.stop()
          return { 'runs/s': perSecond, 'probe p99': probe.p99, [LAG.name]: lag() }
        },
      },
    ],
  }
}

/**
 * The time from before a process is created until its first 200 response to an inference request.
 * Each round starts one process.
 */
const starts = (others: readonly Subject[], prefix = '', usual = 30): Workload => ({
  name: `${prefix}start`,
  title: 'Startup: from process creation to the first 200 response to an inference request',
  metrics: [START],
  rounds: { quick: 5, usual },
  contenders: others.map(subject => ({
    name: subject.name,
    async measure({ answerOfOurs }) {
      const server = await start(subject, answerOfOurs)
      await server.stop()
      return { [START.name]: server.startMs }
    },
  })),
})

/** Enough time for garbage collection and for work deferred at startup. */
const SETTLE_MS = 2_000
const settled = async ({ residentMiB }: Running) => {
  await wait(SETTLE_MS)
  return residentMiB()
}

/** Resident memory. Each round starts one process. */
function memory(
  others: readonly Subject[],
  counts: readonly number[],
  prefix = '',
  full?: true,
): Workload {
  const after = (count: number) =>
    ({ name: `after ${count.toLocaleString('en')}`, unit: 'MiB', better: 'less' }) as const
  return {
    name: `${prefix}memory${full ? '-million' : ''}`,
    title: full
      ? 'Resident memory after millions of requests'
      : 'Resident memory: idle, and after 10,000 requests',
    metrics: [{ name: 'idle', unit: 'MiB', better: 'less' }, ...counts.map(after)],
    rounds: { quick: 2, usual: full ? 1 : 5 },
    ...(full ? { full } : {}),
    contenders: others.map(subject => ({
      name: subject.name,
      async measure({ answerOfOurs }) {
        const server = await start(subject, answerOfOurs)
        try {
          const figures: Record<string, number> = { idle: await settled(server) }
          let sent = 0
          for (const count of counts) {
            await closedLoop(server.port, V2_REQUEST.at(subject.path), 16, {
              requests: count - sent,
            })
            sent = count
            figures[after(count).name] = await settled(server)
          }
          return figures
        } finally {
          await server.stop()
        }
      },
    })),
  }
}

const growthByRows = ([1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536] as const).map(
  (count): Workload => ({
    name: `growth-rows-${count}`,
    title: `Growth by rows: ${count.toLocaleString('en')}, 1 connection`,
    metrics: [P50, P99],
    full: true,
    contenders: [
      underLoad(ours(), V2_REQUEST, 1, 'one row as JSON'),
      underLoad(ours(), jsonRows(count), 1, 'JSON'),
      underLoad(ours(), binaryRows(count), 1, 'binary'),
    ],
  }),
)

const MANY = { MAX_CONNECTIONS: '20000', MAX_QUEUE_ROWS: '20000' }

const growthByConnections = ([1, 4, 32, 128, 512, 1_024, 4_096, 10_000] as const).map(
  (count): Workload => ({
    ...connections(count, [subjects.NODE_HTTP], 'growth-', ours(MANY)),
    full: true,
  }),
)

const growthByBody = [1, 16, 256, 4_096, 65_535].map((kib): Workload => {
  const rows = Math.floor((kib * 1_024 - 500) / ROW_BYTES)
  return {
    name: `growth-body-${kib}`,
    title: `Growth by body: ${kib.toLocaleString('en')} KiB of binary tensor data, 1 connection`,
    metrics: [PER_SECOND, P50, P99, CPU],
    full: true,
    contenders: [underLoad(ours(), binaryRows(rows, ['probabilities']), 1)],
  }
})

const growthByModel: Workload = {
  name: 'growth-model',
  title: 'Growth by the model’s size: start to first 200',
  metrics: [START, { name: 'idle', unit: 'MiB', better: 'less' }],
  rounds: { quick: 2, usual: 5 },
  full: true,
  contenders: [0, 1, 8, 32, 128, 512].map(mib => ({
    name: `${mib} MiB`,
    async measure({ answerOfOurs }) {
      const folder = createWeights(mib)
      const server = await start(
        { ...ours({ MODEL_DIR: folder.path, MODEL_NAME: 'iris-classifier' }) },
        answerOfOurs,
        folder.request,
      )
      const figures = { [START.name]: server.startMs, idle: await settled(server) }
      await server.stop()
      return figures
    },
  })),
}

export const ALONE: readonly Workload[] = [
  ...[1, 16, 64, 256].map(count => connections(count)),
  rows('json', [subjects.NODE_HTTP, subjects.EXPRESS, subjects.FAAS]),
  rows('binary', []),
  events,
  pushing,
  largeBodies,
  slow(50),
  slow(500),
  starts([subjects.NODE_HTTP, ours(), subjects.STATIC, subjects.EXPRESS, subjects.FAAS]),
  memory([subjects.NODE_HTTP, ours(), subjects.STATIC, subjects.EXPRESS, subjects.FAAS], [10_000]),
  memory([ours()], [10_000, 1_000_000, 10_000_000], '', true),
  ...growthByRows,
  ...growthByConnections,
  ...growthByBody,
  growthByModel,
]

export const WITH_NATIVE: readonly Workload[] = [
  ...[1, 64].flatMap(count => [withNative(count), probabilities(count)]),
  rows('json', [subjects.NODE_HTTP, subjects.HTTP_JOIN, subjects.LIMIT], 'native-'),
  starts([subjects.NODE_HTTP, ours(), subjects.HTTP_JOIN, subjects.LIMIT], 'native-', 10),
  memory([ours(), subjects.HTTP_JOIN, subjects.LIMIT], [10_000], 'native-'),
  ...OTHER_MODELS_WITH_NATIVE,
]

export const WITH_PEERS: readonly Workload[] = [
  ...[1, 64].map(count => connections(count, [...PEERS], 'peers-')),
  rows('json', PEERS, 'peers-'),
  starts([subjects.NODE_HTTP, ours(), ...PEERS], 'peers-', 10),
  memory([subjects.NODE_HTTP, ours(), ...PEERS], [10_000], 'peers-'),
  ...OTHER_MODELS_WITH_PEERS,
]
