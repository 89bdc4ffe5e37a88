import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { projectFolder } from '../server.ts'
import { versions } from './cluster.ts'

const read = (path: string) => readFileSync(join(projectFolder, path), 'utf8')
const minor = (version: string | undefined) => String(version).split('.').slice(0, 2).join('.')
const pages = [
  'README.md',
  'scripts/cluster/README.md',
  ...readdirSync(join(projectFolder, 'docs'))
    .filter(file => file.endsWith('.md'))
    .map(file => `docs/${file}`),
]
const images = (path: string) =>
  [...read(path).matchAll(/\bimage: (\S+)/g)].map(([, image]) => image)

describe('a version that setup-cluster.sh installs', () => {
  test('is complete, so that every run installs the same release; the node image also has a digest', () => {
    for (const name of [
      'SERVING',
      'KOURIER',
      'EVENTING',
      'KSERVE',
      'CERT_MANAGER',
      'KEDA',
      'METRICS_SERVER',
      'PROMETHEUS',
      'GRAFANA',
      'KUBE_STATE_METRICS',
    ])
      assert.match(versions[name] ?? '', /^\d+\.\d+\.\d+$/, name)
    assert.match(versions.KIND_NODE ?? '', /^kindest\/node:v\d+\.\d+\.\d+@sha256:[0-9a-f]{64}$/)
  })

  test('appears in no other script', () => {
    for (const file of [
      'scripts/setup-cluster.sh',
      'scripts/delete-cluster.sh',
      'scripts/cluster/common.sh',
      'scripts/cluster/components.sh',
    ])
      assert.deepEqual(read(file).match(/\bv?\d+\.\d+\.\d+\b(?!\.|:)/g), null, file)
  })

  test('is the version of Prometheus, Grafana and kube-state-metrics in the manifests and in compose.yaml', () => {
    const prometheus = `prom/prometheus:v${versions.PROMETHEUS}`
    const grafana = `grafana/grafana:${versions.GRAFANA}`
    assert.deepEqual(images('monitoring/cluster/prometheus.yaml'), [prometheus])
    assert.deepEqual(images('monitoring/cluster/grafana.yaml'), [grafana])
    assert.deepEqual(images('monitoring/cluster/kube-state-metrics.yaml'), [
      `registry.k8s.io/kube-state-metrics/kube-state-metrics:v${versions.KUBE_STATE_METRICS}`,
    ])
    assert.deepEqual(images('compose.yaml'), [prometheus, grafana])
  })

  test('is the Kubernetes version against whose schemas the manifests are checked', () => {
    const [, node] = /node:v(\d+\.\d+)/.exec(versions.KIND_NODE ?? '') ?? []
    assert.match(read('.ci/run'), new RegExp(`k8s\\.io/kubernetes@v${node}\\.`))
    assert.match(read('docs/deploy.md'), new RegExp(`manifests are for Kubernetes ${node},`))
    assert.match(
      read('docs/deploy.md'),
      new RegExp(`minikube start --kubernetes-version ${node}\\.`),
    )
  })

  test('is within the range in docs/deploy.md', () => {
    const [, least = '', most = '', keda] =
      /Knative (\S+) to (\S+), and KEDA (\d+\.\d+)/.exec(read('docs/deploy.md')) ?? []
    for (const name of ['SERVING', 'KOURIER', 'EVENTING']) {
      const version = Number(minor(versions[name]).split('.')[1])
      assert.ok(
        Number(least.split('.')[1]) <= version && version <= Number(most.split('.')[1]),
        name,
      )
    }
    assert.equal(minor(versions.KEDA), keda)
  })

  for (const page of pages) {
    test(`is the version of KServe, KEDA, cert-manager and metrics-server in ${page}`, () => {
      const text = read(page)
      for (const [name, product] of [
        ['KSERVE', 'KServe'],
        ['KEDA', 'KEDA'],
        ['CERT_MANAGER', 'cert-manager'],
        ['METRICS_SERVER', 'metrics-server'],
      ] as const) {
        for (const [said, version] of text.matchAll(
          new RegExp(`\\b${product}'?s? (?:SDK )?v?(\\d+\\.\\d+(?:\\.\\d+)?)`, 'g'),
        )) {
          // KServe's SDK is a separate package with its own versions.
          if (said.includes('SDK')) continue
          assert.equal(
            version,
            version?.split('.').length === 3 ? versions[name] : minor(versions[name]),
            said,
          )
        }
      }
    })
  }

  test('is in the table of scripts/cluster/README.md', () => {
    const table = read('scripts/cluster/README.md')
    for (const [name, version] of Object.entries(versions)) {
      if (name.endsWith('_LEAST')) continue
      assert.ok(
        table.includes(
          name === 'KIND_NODE' ? String(/v(\d+\.\d+\.\d+)/.exec(version)?.[1]) : version,
        ),
        name,
      )
    }
  })
})
