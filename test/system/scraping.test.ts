import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server as HttpServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { stringify } from 'yaml'
import { until } from '../http/client.ts'
import { freePort, type Server, startServer } from '../server.ts'
import { withFiles } from './monitoring/configuration.ts'
import { readYaml } from './monitoring/sources.ts'

/*
 * Runs a real Prometheus with kubernetes.yml. Debian's build lacks Kubernetes' discovery, so
 * discovery from a file replaces it, with the same labels.
 */

interface Pod {
  readonly name: string
  readonly namespace: string
  readonly phase?: string
  readonly labels?: Readonly<Record<string, string>>
  readonly annotations?: Readonly<Record<string, string>>
  /** The name is empty if the port has none. */
  readonly ports: Readonly<Record<string, number>>
  readonly scraped?: string
}

/**
 * Knative adds these ports to a pod (knative/serving 1.23: pkg/apis/serving/v1/revision_helpers.go,
 * pkg/networking/constants.go).
 */
const KNATIVE_PORTS = {
  'user-port': 8080,
  'queue-port': 8012,
  'https-port': 8112,
  'http-autometric': 9090,
  'http-usermetric': 9091,
}
const knative = (service: string, revision: string) => ({
  'serving.knative.dev/service': service,
  'serving.knative.dev/revision': revision,
})
const ANNOTATED = {
  'prometheus.io/scrape': 'true',
  'prometheus.io/port': '8080',
  'prometheus.io/path': '/metrics',
}

const PODS: readonly Pod[] = [
  {
    name: 'iris-classifier-00002-deployment-a',
    namespace: 'iris',
    labels: knative('iris-classifier', 'iris-classifier-00002'),
    ports: KNATIVE_PORTS,
    scraped: 'user-port',
  },
  {
    // KServe copies its own annotations to the pod.
    name: 'iris-classifier-predictor-00001-deployment-a',
    namespace: 'iris-kserve',
    labels: {
      ...knative('iris-classifier-predictor', 'iris-classifier-predictor-00001'),
      'serving.kserve.io/inferenceservice': 'iris-classifier',
    },
    annotations: ANNOTATED,
    ports: KNATIVE_PORTS,
    scraped: 'user-port',
  },
  {
    name: 'iris-dead-letter-00001-deployment-a',
    namespace: 'iris',
    labels: knative('iris-dead-letter', 'iris-dead-letter-00001'),
    ports: KNATIVE_PORTS,
    scraped: 'user-port',
  },
  {
    name: 'iris-classifier-00001-deployment-gone',
    namespace: 'iris',
    phase: 'Succeeded',
    labels: knative('iris-classifier', 'iris-classifier-00001'),
    ports: KNATIVE_PORTS,
  },
  {
    name: 'shop-00001-deployment-a',
    namespace: 'shop',
    labels: knative('shop', 'shop-00001'),
    ports: KNATIVE_PORTS,
  },
  {
    name: 'iris-classifier-7d9f-a',
    namespace: 'iris',
    labels: { 'app.kubernetes.io/name': 'iris-classifier', 'pod-template-hash': '7d9f' },
    annotations: ANNOTATED,
    ports: { http: 8080 },
    scraped: 'http',
  },
  {
    name: 'iris-classifier-predictor-5c6b-a',
    namespace: 'iris-kserve',
    labels: {
      'app.kubernetes.io/name': 'iris',
      'serving.kserve.io/inferenceservice': 'iris-classifier',
      'pod-template-hash': '5c6b',
    },
    annotations: ANNOTATED,
    ports: { '': 8080, proxy: 8443 },
    scraped: '',
  },
  { name: 'shop-a', namespace: 'shop', ports: { http: 8080, 'http-usermetric': 9091 } },
  {
    name: 'autoscaler-a',
    namespace: 'knative-serving',
    ports: { metrics: 9090, profiling: 8008, websocket: 8080 },
    scraped: 'metrics',
  },
  {
    name: 'kube-state-metrics-a',
    namespace: 'monitoring',
    labels: { 'app.kubernetes.io/name': 'kube-state-metrics' },
    ports: { 'http-metrics': 8080, telemetry: 8081 },
    scraped: 'http-metrics',
  },
]

const folder = mkdtempSync(join(tmpdir(), 'prometheus-'))
let served: Server
/** Must not be scraped; `asked` contains the paths that were requested from it. */
let forbidden: HttpServer
const asked: string[] = []
let prometheus: ChildProcess
let url: string

before(async () => {
  served = await startServer()
  forbidden = createServer(({ url }, response) => {
    asked.push(String(url))
    response.end()
  })
  const forbiddenPort = await listen(forbidden)
  writeFileSync(
    join(folder, 'targets.yml'),
    stringify(PODS.flatMap(pod => targetsOf(pod, served.port, forbiddenPort))),
  )
  writeFileSync(
    join(folder, 'prometheus.yml'),
    withFiles(readYaml('monitoring/prometheus/kubernetes.yml'), 'targets.yml', '1s'),
  )
  const port = await freePort()
  url = `http://127.0.0.1:${port}`
  const args = [
    `--config.file=${folder}/prometheus.yml`,
    `--storage.tsdb.path=${folder}/data`,
    `--web.listen-address=127.0.0.1:${port}`,
  ]
  prometheus = spawn('prometheus', args, {
    stdio: 'ignore',
    timeout: 120_000,
    killSignal: 'SIGKILL',
  })
  await once(prometheus, 'spawn').catch(() => {
    throw new Error('Prometheus is missing: apt-get install prometheus')
  })
  await until(
    'all targets are scraped',
    async () =>
      (await query('up')).length === PODS.filter(({ scraped }) => scraped !== undefined).length,
  )
  await until('the rules are evaluated', async () => (await query('service:up:sum')).length > 0)
})
after(async () => {
  if (prometheus?.pid !== undefined && prometheus.exitCode === null) {
    prometheus.kill('SIGKILL')
    await once(prometheus, 'exit')
  }
  forbidden.close()
  await served.stop()
  rmSync(folder, { recursive: true })
})

async function listen(server: HttpServer): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** The targets of a pod, with the labels of Kubernetes' discovery in the role "pod". */
function targetsOf(
  { name, namespace, phase = 'Running', labels = {}, annotations = {}, ports, scraped }: Pod,
  good: number,
  bad: number,
) {
  const meta = (kind: string, of: Readonly<Record<string, string>>) =>
    Object.entries(of).map(([key, value]) => [
      `__meta_kubernetes_pod_${kind}_${key.replace(/\W/g, '_')}`,
      value,
    ])
  return Object.entries(ports).map(([portName, number]) => ({
    targets: [`127.0.0.1:${portName === scraped ? good : bad}`],
    labels: {
      __meta_kubernetes_namespace: namespace,
      __meta_kubernetes_pod_name: name,
      __meta_kubernetes_pod_phase: phase,
      __meta_kubernetes_pod_container_port_name: portName,
      __meta_kubernetes_pod_container_port_number: String(number),
      ...Object.fromEntries([...meta('label', labels), ...meta('annotation', annotations)]),
    },
  }))
}

type Series = Readonly<Record<string, string>>

async function query(expression: string): Promise<{ metric: Series; value: number }[]> {
  const answer = await fetch(`${url}/api/v1/query?query=${encodeURIComponent(expression)}`).catch(
    () => undefined,
  )
  if (answer === undefined || !answer.ok) return []
  const { data } = (await answer.json()) as {
    data: { result: { metric: Series; value: [number, string] }[] }
  }
  return data.result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }))
}

const shown = ({ job, namespace, pod, service, revision }: Series) =>
  [job, namespace, pod, service, revision].map(value => value ?? '')

test('exactly one port of each pod is scraped: the user port or the annotated port', async () => {
  const targets = await query('up')
  assert.deepEqual(targets.map(({ metric }) => shown(metric)).sort(), [
    ['annotated-pods', 'iris', 'iris-classifier-7d9f-a', 'iris-classifier', '7d9f'],
    [
      'annotated-pods',
      'iris-kserve',
      'iris-classifier-predictor-5c6b-a',
      'iris-classifier',
      '5c6b',
    ],
    ['knative', 'knative-serving', 'autoscaler-a', '', ''],
    [
      'knative-pods',
      'iris',
      'iris-classifier-00002-deployment-a',
      'iris-classifier',
      'iris-classifier-00002',
    ],
    [
      'knative-pods',
      'iris',
      'iris-dead-letter-00001-deployment-a',
      'iris-dead-letter',
      'iris-dead-letter-00001',
    ],
    [
      'knative-pods',
      'iris-kserve',
      'iris-classifier-predictor-00001-deployment-a',
      'iris-classifier-predictor',
      'iris-classifier-predictor-00001',
    ],
    // The metrics of kube-state-metrics describe other objects.
    ['kube-state-metrics', '', '', '', ''],
  ])
  assert.ok(targets.every(({ value }) => value === 1))
})

test('queue-proxy ports and terminated pods are not scraped', () => {
  assert.deepEqual(asked, [])
})

test('the service and revision labels describe the pod, whatever names the process reports', async () => {
  const [info] = await query('function_info{pod="iris-classifier-00002-deployment-a"}')
  assert.deepEqual(
    [info?.metric.service, info?.metric.revision],
    ['iris-classifier', 'iris-classifier-00002'],
  )
})

test('every rule is evaluated without an error', async () => {
  const rules = async () => {
    const { data } = (await (await fetch(`${url}/api/v1/rules`)).json()) as {
      data: { groups: { rules: Rule[] }[] }
    }
    return data.groups.flatMap(({ rules }) => rules)
  }
  await until('all rules are evaluated', async () =>
    (await rules()).every(({ health }) => health !== 'unknown'),
  )
  const all = await rules()
  assert.ok(all.length > 30)
  assert.deepEqual(
    all.filter(({ health }) => health !== 'ok'),
    [],
  )
})

interface Rule {
  readonly name: string
  readonly health: 'ok' | 'err' | 'unknown'
}
