import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { parse } from 'yaml'
import { readDashboards } from '../demo/dashboards.ts'
import { DASHBOARDS, folder, written } from './generate.ts'

const dashboards = readDashboards()
const project = join(import.meta.dirname, '../..')
const yaml = (path: string) => parse(readFileSync(join(project, path), 'utf8'), { merge: true })

test('the JSON files are up to date (npm run dashboards --prefix monitoring)', () => {
  for (const [file, dashboard] of Object.entries(DASHBOARDS))
    assert.equal(readFileSync(join(folder, file), 'utf8'), written(dashboard), file)
  assert.deepEqual(
    readdirSync(folder)
      .filter(name => name.endsWith('.json'))
      .sort(),
    Object.keys(DASHBOARDS).sort(),
  )
})

test('uids do not change, because links and bookmarks contain them', () => {
  assert.deepEqual(Object.fromEntries(dashboards.map(({ title, uid }) => [title, uid])), {
    Inference: 'onnx-function-inference',
    'Scale to zero': 'onnx-function-scale-to-zero',
    Canary: 'onnx-function-canary',
  })
})

for (const { title, panels, templating, ...more } of dashboards) {
  describe(title, () => {
    test('has no id, so that Grafana matches it by its uid', () => {
      assert.equal((more as { id?: unknown }).id, null)
    })

    test('has variables for service, revision and model, and uses no undefined variable', () => {
      const names = templating.list.map(({ name }) => name)
      for (const name of ['service', 'revision', 'model']) assert.ok(names.includes(name), name)
      const used = panels.flatMap(({ targets = [] }) =>
        targets.flatMap(({ expr }) =>
          [...expr.matchAll(/\$(\w+)/g)].map(([, name]) => name as string),
        ),
      )
      for (const name of used.filter(name => !name.startsWith('__')))
        assert.ok(names.includes(name), name)
    })

    test('has panels that do not overlap', () => {
      for (const [i, a] of panels.entries()) {
        assert.ok(a.gridPos.x >= 0 && a.gridPos.x + a.gridPos.w <= 24, a.title)
        for (const b of panels.slice(i + 1)) {
          const apart =
            a.gridPos.x + a.gridPos.w <= b.gridPos.x ||
            b.gridPos.x + b.gridPos.w <= a.gridPos.x ||
            a.gridPos.y + a.gridPos.h <= b.gridPos.y ||
            b.gridPos.y + b.gridPos.h <= a.gridPos.y
          assert.ok(apart, `${a.title} and ${b.title}`)
        }
      }
    })

    test('describes each panel, gives its unit, and queries the chosen data source', () => {
      for (const { title, description, type, fieldConfig, datasource } of panels.filter(
        ({ targets = [] }) => targets.length > 0,
      )) {
        assert.ok((description ?? '').length > 15 && description?.endsWith('.'), title)
        assert.ok(fieldConfig.defaults.unit !== undefined, `${title}: ${type}`)
        // biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana replaces the variable
        assert.equal(datasource.uid, '${datasource}', title)
      }
    })

    test('has a unique number and title for each panel', () => {
      assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length)
      assert.equal(new Set(panels.map(({ title }) => title)).size, panels.length)
    })
  })
}

for (const [question, dashboard, panel] of [
  ['is the function up?', 'Inference', 'Ready processes'],
  ['how fast does the function respond?', 'Inference', 'Response time (p95)'],
  ['how many requests fail?', 'Inference', 'Error rate and failure rate'],
  ['which events were lost?', 'Inference', 'Failed deliveries without retry'],
  ['did the function wake from zero?', 'Scale to zero', 'Wake-up from zero'],
  ['is the new version worse?', 'Canary', 'Comparison with the baseline'],
] as const) {
  test(`exactly one panel answers "${question}"`, () => {
    const places = dashboards.flatMap(({ title, panels }) =>
      panels.filter(each => each.title === panel).map(() => title),
    )
    assert.deepEqual(places, [dashboard])
  })
}

test('Inference contains four common queries unchanged, and a corrected version next to the third query', () => {
  const asked =
    dashboards
      .find(({ title }) => title === 'Inference')
      ?.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)) ?? []
  for (const query of [
    'histogram_quantile(0.95, rate(inference_request_duration_seconds_bucket[5m]))',
    'rate(inference_requests_total{status="success"}[1m])',
    '100 * rate(inference_requests_total{status="error"}[1m]) / rate(inference_requests_total[1m])',
    'count(kube_pod_info{namespace="$namespace"})',
  ]) {
    assert.ok(asked.includes(query), query)
  }
  const third = asked.findIndex(expr => expr.startsWith('100 * rate('))
  assert.equal(
    asked[third + 1],
    '100 * sum(rate(inference_requests_total{status="error"}[1m])) / sum(rate(inference_requests_total[1m]))',
  )
})

describe('with compose.yaml', () => {
  const { volumes } = yaml('compose.yaml').services.grafana
  const mounted = (path: string) => volumes.some((volume: string) => volume === path)

  test('Grafana finds the dashboards and their initial data source', () => {
    const [provider] = yaml(
      'monitoring/grafana/provisioning/dashboards/onnx-function.yml',
    ).providers
    assert.ok(mounted('./monitoring/grafana/provisioning:/etc/grafana/provisioning:ro'))
    assert.ok(mounted(`./monitoring/grafana/dashboards:${provider.options.path}:ro`))
    const [source] = yaml('monitoring/grafana/provisioning/datasources/prometheus.yml').datasources
    for (const { templating } of dashboards) {
      const first = templating.list[0] as unknown as { current: { value: string } }
      assert.equal(first.current.value, source.uid)
    }
  })

  test('Prometheus loads the rules', () => {
    const configuration = 'monitoring/prometheus/compose.yml'
    assert.ok(
      yaml('compose.yaml').services.prometheus.volumes.includes(
        './monitoring/prometheus:/etc/prometheus:ro',
      ),
    )
    assert.deepEqual(yaml(configuration).rule_files, ['rules/*.yml'])
  })
})

describe('in Kubernetes', () => {
  const { configMapGenerator, generatorOptions } = yaml(
    'monitoring/grafana/dashboards/kustomization.yaml',
  )

  test('all dashboards are in a ConfigMap that Grafana’s sidecar finds', () => {
    assert.deepEqual(configMapGenerator[0].files.toSorted(), Object.keys(DASHBOARDS).sort())
    assert.equal(generatorOptions.labels.grafana_dashboard, '1')
  })

  test('the ConfigMap is small enough for kubectl apply, which stores a copy in an annotation', () => {
    const data = Object.fromEntries(
      Object.keys(DASHBOARDS).map(file => [file, readFileSync(join(folder, file), 'utf8')]),
    )
    assert.ok(JSON.stringify({ data }).length < 240_000)
  })
})
