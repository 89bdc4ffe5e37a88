import assert from 'node:assert/strict'
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { stringify } from 'yaml'
import type { ApiServer } from '../../kserve/canary/test/api-server.ts'
import { runCanary, startCanary } from '../../kserve/canary/test/command.ts'
import { ROLLOUTS, type Rollout, startCanaryObject } from '../../kserve/canary/test/objects.ts'
import expected from '../../models/iris/expected.json' with { type: 'json' }
import { until } from '../http/client.ts'
import { freePort, PROGRAMS, startProcess, testModel } from '../server.ts'

/*
 * Tests the canary with a real Prometheus and the metrics of two real versions of the function. The
 * scrapes are written into Prometheus' database as if they were 145 seconds apart, so that no test
 * waits. The last test scrapes two running processes.
 */

interface Request {
  readonly body: string
}
const infer = (name: string, shape: readonly number[], data: readonly number[]): Request => ({
  body: JSON.stringify({ inputs: [{ name, shape, datatype: 'FP32', data }] }),
})
/** All of Fisher's flowers, in an order that mixes the three species. */
const IRISES = (expected.input as number[][]).map(
  (_, i, all) => all[(i * 53) % all.length] as number[],
)

/** Requests with the training data of both models; one request in twenty has forty rows. */
const irises = (count: number) =>
  Array.from({ length: count }, (_, i) => {
    const rows = Array.from(
      { length: i % 20 === 7 ? 40 : 1 },
      (_, j) => IRISES[(i + j) % IRISES.length] as number[],
    )
    return infer('input', [rows.length, 4], rows.flat())
  })
const IRIS_REQUESTS = irises(600)
const withMistakes = (requests: readonly Request[]) =>
  requests.map((good, i) => (i % 20 === 0 ? infer('input', [1, 3], [5.1, 3.5, 1.4]) : good))
/** Short, wide petals, unlike the training data: the two models' predictions differ. */
const strangers = (count: number) =>
  Array.from({ length: count }, (_, i) =>
    infer('input', [1, 4], [4 + (i % 4), 2 + (i % 5) / 2, 2.5 + (i % 5) / 2, 1.9 + (i % 3) * 0.3]),
  )
const pairs = (count: number) =>
  Array.from({ length: count }, (_, i) => infer('x', [1, 2], [i, -i]))

interface Version {
  readonly env: Readonly<Record<string, string>>
  readonly requests: readonly Request[]
  readonly callers: number
}
const iris = (version: string, requests: readonly Request[]): Version => ({
  env: { MODEL_DIR: join('models/iris', version) },
  requests,
  callers: 2,
})
const SLOW: Version = { env: { MODEL_DIR: testModel('slow') }, requests: pairs(600), callers: 32 }
const FAST: Version = { env: { MODEL_DIR: testModel('zipmap') }, requests: pairs(1200), callers: 2 }

const CASES: Readonly<Record<string, { readonly old: Version; readonly new: Version }>> = {
  like: { old: iris('v1.0.0', irises(1200)), new: iris('v2.0.0', irises(1200)) },
  // The new version must reject one request in twenty, like a version with another signature.
  'more-errors': {
    old: iris('v2.0.0', irises(1200)),
    new: iris('v2.0.0', withMistakes(irises(1200))),
  },
  slower: { old: FAST, new: SLOW },
  better: { old: SLOW, new: FAST },
  drifted: { old: iris('v1.0.0', strangers(1200)), new: iris('v2.0.0', strangers(1200)) },
  'too-few': { old: iris('v1.0.0', irises(1200)), new: iris('v2.0.0', irises(120)) },
}

interface Recorded {
  /** Scrapes before the first request and after each quarter of the requests. */
  readonly scrapes: readonly string[]
}

async function record({ env, requests, callers }: Version): Promise<Recorded> {
  const { url, process } = await startProcess(
    { ...env, MODEL_NAME: 'model' },
    [],
    60_000,
    PROGRAMS.function,
  )
  try {
    const scrape = async () => (await fetch(`${url}/metrics`)).text()
    const scrapes = [await scrape()]
    for (const quarter of [0, 1, 2, 3]) {
      const waiting = requests.filter((_, i) => i % 4 === quarter)
      const caller = async () => {
        for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) {
          const answer = await fetch(`${url}/v2/models/model/infer`, {
            method: 'POST',
            body: one.body,
            headers: { 'Content-Type': 'application/json' },
          })
          await answer.arrayBuffer()
        }
      }
      await Promise.all(Array.from({ length: callers }, caller))
      scrapes.push(await scrape())
    }
    return { scrapes }
  } finally {
    process.kill('SIGKILL')
    await once(process, 'exit')
  }
}

type Target = Readonly<Record<string, string>>
const targets = (namespace: string, { newSeries }: Rollout): { old: Target; new: Target } => {
  // The canary finds a Deployment's pods by their names.
  const [, deployment] = /pod=~"(\S+?)-\[/.exec(newSeries) ?? []
  const service = newSeries.includes('-predictor",')
    ? 'iris-classifier-predictor'
    : 'iris-classifier'
  const target = (revision: string, pod: string) => ({
    namespace,
    service,
    revision,
    pod,
    job: 'pods',
    instance: `${pod}:8080`,
  })
  if (deployment !== undefined) {
    return {
      old: target('5c6b7d8f9', `${deployment.replace('-v2-0-0', '')}-5c6b7d8f9-x2x4z`),
      new: target('7d9f64bc5', `${deployment}-7d9f64bc5-b8k2m`),
    }
  }
  const [before, after] = newSeries.includes('00002') ? ['00001', '00002'] : ['v1-0-0', 'v2-0-0']
  const of = (revision: string) =>
    target(`${service}-${revision}`, `${service}-${revision}-deployment-7f6-abcde`)
  return { old: of(before as string), new: of(after as string) }
}

/**
 * Converts Prometheus' text to OpenMetrics with a target's labels and timestamps. Omits the event
 * loop's lag, which depends on this machine. Adds a memory limit, because the process may have
 * none.
 */
const dated = ({ scrapes }: Recorded, target: Target, begin: number, limit: number) =>
  scrapes.flatMap((text, i) =>
    [
      ...text.split('\n').filter(line => /^(inference_|process_resident)/.test(line)),
      `function_memory_limit_bytes ${limit}`,
    ].map(line => {
      const [, name, labels = '', value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? []
      const all = [
        ...(labels === '' ? [] : [labels]),
        ...Object.entries(target).map(([key, value]) => `${key}="${value}"`),
      ]
      return `${name}{${all.join(',')}} ${value} ${begin + 10 + i * 145}`
    }),
  )

const folder = mkdtempSync(join(tmpdir(), 'canary-'))
/** About ten minutes ago: the canary schedules its checks from this time. */
const SINCE = new Date(Math.floor(Date.now() / 1000 - 601) * 1000)
let prometheus: ChildProcess
let url: string

async function startPrometheus(
  config: string,
  data: string,
): Promise<{ process: ChildProcess; url: string }> {
  const port = await freePort()
  const file = join(folder, `${port}.yml`)
  writeFileSync(file, config)
  const args = [
    `--config.file=${file}`,
    `--storage.tsdb.path=${data}`,
    `--web.listen-address=127.0.0.1:${port}`,
  ]
  const process = spawn('prometheus', args, {
    stdio: 'ignore',
    timeout: 240_000,
    killSignal: 'SIGKILL',
  })
  await once(process, 'spawn').catch(() => {
    throw new Error('Prometheus is missing: apt-get install prometheus')
  })
  const address = `http://127.0.0.1:${port}`
  await until('Prometheus is ready', () =>
    fetch(`${address}/-/ready`).then(
      ({ ok }) => ok,
      () => false,
    ),
  )
  return { process, url: address }
}

async function stop(process: ChildProcess | undefined): Promise<void> {
  if (process?.pid === undefined || process.exitCode !== null) return
  process.kill('SIGKILL')
  await once(process, 'exit')
}

const KSERVE = ROLLOUTS['KServe in Knative mode']
const inNamespace = (namespace: string, rollout: Rollout = KSERVE): Rollout => ({
  ...rollout,
  object: { ...rollout.object, metadata: { ...rollout.object.metadata, namespace } },
})
const HTTP_ROUTE = ROLLOUTS['an HTTPRoute']
/** All cases run in these modes, each with the prefix of its namespaces. */
const IN_ALL_CASES = { '': KSERVE, 'route-': HTTP_ROUTE } as const
const NAMESPACES: readonly {
  readonly namespace: string
  readonly of: string
  readonly rollout: Rollout
}[] = [
  ...Object.entries(IN_ALL_CASES).flatMap(([prefix, rollout]) =>
    [...Object.keys(CASES), 'saturated'].map(name => ({
      namespace: `${prefix}${name}`,
      of: name === 'saturated' ? 'like' : name,
      rollout: inNamespace(`${prefix}${name}`, rollout),
    })),
  ),
  ...Object.values(ROLLOUTS).map((rollout, i) => ({
    namespace: `mode-${i}`,
    of: 'more-errors',
    rollout: inNamespace(`mode-${i}`, rollout),
  })),
]

/** 5 % above the last recorded memory use. */
const tightFor = ({ scrapes }: Recorded) =>
  1.05 * Number(/^process_resident_memory_bytes (\S+)$/m.exec(scrapes.at(-1) ?? '')?.[1])

before(async () => {
  execFileSync('promtool', ['--version'], { stdio: 'ignore' })
  const recorded: Record<string, { old: Recorded; new: Recorded }> = {}
  for (const [name, { old, new: fresh }] of Object.entries(CASES)) {
    const [before, after] = await Promise.all([record(old), record(fresh)])
    recorded[name] = { old: before, new: after }
  }
  const lines = NAMESPACES.flatMap(({ namespace, of, rollout }) => {
    const { old, new: fresh } = recorded[of] as { old: Recorded; new: Recorded }
    const target = targets(namespace, rollout)
    const begin = SINCE.getTime() / 1000
    return [
      ...dated(old, target.old, begin, 1e9),
      ...dated(fresh, target.new, begin, namespace.endsWith('saturated') ? tightFor(fresh) : 1e9),
    ]
  })
  const [text, data] = [join(folder, 'samples.txt'), join(folder, 'data')]
  mkdirSync(data)
  writeFileSync(text, [...lines.sort(), '# EOF', ''].join('\n'))
  execFileSync('promtool', ['tsdb', 'create-blocks-from', 'openmetrics', text, data], {
    stdio: 'ignore',
  })
  const started = await startPrometheus('', data)
  prometheus = started.process
  url = started.url
})
after(async () => {
  await stop(prometheus)
  rmSync(folder, { recursive: true })
})

/** @returns its output and exit code, and the final percentage */
async function judged(
  namespace: string,
  rollout: Rollout,
  args: readonly string[] = [],
  prepare: (api: ApiServer) => void = () => {},
) {
  const api = await startCanaryObject(rollout, 10, SINCE)
  try {
    prepare(api)
    const result = await runCanary(api.kubeconfig, [
      ...rollout.args,
      '--apply',
      '--prometheus',
      url,
      ...args,
    ])
    // To compare with the table in kserve/canary/README.md: SHOW=1 npm test --prefix test/system.
    if (process.env.SHOW !== undefined)
      process.stdout.write(`\n${namespace}\n${result.out}${result.err}`)
    return { ...result, percent: rollout.percent(api.object) }
  } finally {
    await api.close()
  }
}

const verdictsIn = (out: string) =>
  Object.fromEntries(
    Array.from(
      out.matchAll(/^(errors|latency|predictions|saturation) .* {2}([a-z ]+)$/gm),
      ([, check, verdict]) => [check, verdict],
    ),
  )

for (const [prefix, rollout] of Object.entries(IN_ALL_CASES)) {
  describe(`the canary with a real Prometheus, on ${rollout.plural}`, () => {
    for (const [namespace, expected, code, percent] of [
      ['like', { errors: 'same', latency: 'same', predictions: 'same' }, 0, 25],
      ['better', { errors: 'same', latency: 'better', predictions: 'not counted' }, 0, 25],
      ['more-errors', { errors: 'worse', latency: 'same', predictions: 'same' }, 6, 0],
      ['slower', { errors: 'same', latency: 'worse', predictions: 'not counted' }, 6, 0],
      ['drifted', { errors: 'same', latency: 'same', predictions: 'worse' }, 6, 0],
      [
        'saturated',
        { errors: 'same', latency: 'same', predictions: 'same', saturation: 'worse' },
        0,
        10,
      ],
      ['too-few', { errors: 'too few', latency: 'too few', predictions: 'too few' }, 0, 10],
    ] as const) {
      test(`sets ${percent} % for a new version in the case "${namespace}"`, async () => {
        const { out, err, ...result } = await judged(
          `${prefix}${namespace}`,
          inNamespace(`${prefix}${namespace}`, rollout),
        )
        assert.deepEqual(verdictsIn(out), { saturation: 'same', ...expected }, out + err)
        assert.deepEqual([result.code, result.percent], [code, percent])
      })
    }

    test('changes nothing if Prometheus has no data', async () => {
      const { out, code, percent } = await judged(
        `${prefix}no-data`,
        inNamespace('nowhere', rollout),
      )
      assert.match(out, /wait: Prometheus has no requests of either revision/)
      assert.deepEqual([code, percent], [0, 10])
    })

    test('changes nothing, and exits with 7, if the route does not match the percentage', async () => {
      const { out, code, percent } = await judged(
        `${prefix}like`,
        inNamespace(`${prefix}like`, rollout),
        [],
        rollout.unroute,
      )
      assert.match(out, /\nunrouted: /)
      assert.deepEqual([code, percent], [7, 10])
    })
  })
}

for (const [i, [mode, rollout]] of Object.entries(ROLLOUTS).entries()) {
  test(`${mode}: the canary finds the series of both revisions by target labels`, async () => {
    const { out, percent } = await judged(mode, inNamespace(`mode-${i}`, rollout))
    assert.equal(verdictsIn(out).errors, 'worse', out)
    assert.equal(percent, 0)
  })
}

test('under load, the canary completes the rollout from 0 %, even after SIGKILL half-way', async t => {
  const old = await startProcess(
    { MODEL_DIR: 'models/iris/v1.0.0', MODEL_NAME: 'model' },
    [],
    120_000,
    PROGRAMS.function,
  )
  const fresh = await startProcess(
    { MODEL_DIR: 'models/iris/v2.0.0', MODEL_NAME: 'model' },
    [],
    120_000,
    PROGRAMS.function,
  )
  const target = targets('live', KSERVE)
  // Prometheus itself sets the labels job and instance.
  const scraped = (url: string, { job: _, instance: __, ...labels }: Target) => ({
    targets: [new URL(url).host],
    labels,
  })
  const jobs = [scraped(old.url, target.old), scraped(fresh.url, target.new)]
  const config = {
    global: { scrape_interval: '1s' },
    scrape_configs: [{ job_name: 'pods', static_configs: jobs }],
  }
  const live = await startPrometheus(stringify(config), join(folder, 'live'))
  // Prometheus starts to scrape up to five seconds after it is ready, and a count needs two
  // scrapes. If the canary started earlier, it would report a wrong route.
  const scrapedTwice = encodeURIComponent('count_over_time(up[1m]) > 1')
  await until(
    'Prometheus has scraped both versions twice',
    async () => {
      const answer = await fetch(`${live.url}/api/v1/query?query=${scrapedTwice}`)
      const { data } = (await answer.json()) as { data: { result: unknown[] } }
      return data.result.length === jobs.length
    },
    30_000,
  )
  const api = await startCanaryObject(inNamespace('live'), 0, new Date())
  let over = false
  // Like the route, sends the current percentage of requests to the new version.
  const callers = Array.from({ length: 4 }, async (_, caller) => {
    for (let i = caller; !over; i += 4) {
      const percent = KSERVE.percent(api.object) ?? 100
      const { url } = (i * 37) % 100 < percent ? fresh : old
      const { body } = IRIS_REQUESTS[i % IRIS_REQUESTS.length] as Request
      await fetch(`${url}/v2/models/model/infer`, {
        method: 'POST',
        body,
        headers: { 'Content-Type': 'application/json' },
      }).then(answer => answer.arrayBuffer())
    }
  })
  t.after(async () => {
    over = true
    await Promise.all(callers)
    await stop(live.process)
    for (const { process } of [old, fresh]) process.kill('SIGKILL')
    await api.close()
  })
  const args = [
    'iris-classifier',
    '--apply',
    '--watch',
    '--start',
    '--every',
    '3s',
    '--hold',
    '3s',
    '--requests',
    '50',
    '--prometheus',
    live.url,
  ]
  const first = startCanary(api.kubeconfig, args)
  await until(
    'the canary is at 25 %',
    () => first.process.exitCode !== null || KSERVE.percent(api.object) === 25,
    60_000,
  )
  first.process.kill('SIGKILL')
  await first.exit
  assert.equal(KSERVE.percent(api.object), 25, first.out() + first.err())
  const { code, out } = await runCanary(api.kubeconfig, args)
  if (process.env.SHOW !== undefined) process.stdout.write(`\n${first.out()}\nkill -9\n${out}`)
  assert.equal(code, 0, out)
  assert.match(out, /promote, 25 % → 50 %[\s\S]*promote, 50 % → 100 %/)
  assert.equal(KSERVE.percent(api.object), undefined)
})
