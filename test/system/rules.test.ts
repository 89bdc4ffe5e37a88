import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { after, before, describe, suite, test } from 'node:test'
import { promisify } from 'node:util'
import { projectFolder, startServer } from '../server.ts'
import { withFiles } from './monitoring/configuration.ts'
import { knownSeries, unknownIn } from './monitoring/series.ts'
import {
  alerts,
  find,
  PROMETHEUS,
  queriesOf,
  read,
  readYaml,
  recorded,
  unitTests,
} from './monitoring/sources.ts'

const run = promisify(execFile)
const folder = mkdtempSync(join(tmpdir(), 'prometheus-'))
after(() => rmSync(folder, { recursive: true }))

/** Debian's promtool 2.42, and each promtool of Prometheus 3 in PROMTOOLS, separated by spaces. */
const PROMTOOLS = [
  'promtool',
  ...(process.env.PROMTOOLS ?? '').split(' ').filter(name => name !== ''),
]
const promtool = (program: string, ...args: readonly string[]) =>
  run(program, args, { cwd: PROMETHEUS })

before(async () => {
  await promtool('promtool', '--version').catch(() => {
    throw new Error('promtool is missing: apt-get install prometheus')
  })
})

let exposed: string
before(async () => {
  const server = await startServer()
  await fetch(`${server.url}/v2/models/iris-classifier/infer`, { method: 'POST', body: '{}' })
  exposed = await (await fetch(`${server.url}/metrics`)).text()
  await server.stop()
})

for (const program of PROMTOOLS) {
  describe(`with ${basename(program)}${program === 'promtool' ? '' : ` (${program})`}`, () => {
    let major: number
    before(async () => {
      const { stdout, stderr } = await promtool(program, '--version')
      // A promtool that was built from its Go module does not print a version.
      major = Number(/version (\d+)/.exec(stdout + stderr)?.[1] ?? 3)
    })

    for (const path of find('monitoring/prometheus/*.yml')) {
      const name = basename(path)
      test(`${name} and its rules are valid`, async t => {
        if (/-3\.yml$/.test(name) && major < 3)
          return t.skip('only Prometheus 3 supports its content')
        const config = join(PROMETHEUS, name)
        try {
          await promtool(program, 'check', 'config', config)
        } catch (error) {
          // Debian builds Prometheus without Kubernetes' discovery: check the file with discovery
          // from a file instead.
          if (!/field kubernetes_sd_configs not found/.test((error as { stderr: string }).stderr))
            throw error
          writeFileSync(join(folder, name), withFiles(readYaml(path), 'targets.yml'))
          await promtool(program, 'check', 'config', join(folder, name))
          t.diagnostic('without kubernetes_sd_configs, which this build does not support')
        }
      })
    }

    test('check metrics finds no problem in the server’s metrics', async () => {
      const checking = run(program, ['check', 'metrics'])
      checking.child.stdin?.end(exposed)
      const { stdout, stderr } = await checking
      assert.equal(stdout + stderr, '')
    })

    for (const path of unitTests.keys()) {
      test(`the unit tests in ${basename(path)} pass`, async () => {
        await promtool(program, 'test', 'rules', join(projectFolder, path))
      })
    }
  })
}

test('kubernetes-3.yml is kubernetes.yml plus settings of Prometheus 3', () => {
  const { otlp, storage, ...rest } = readYaml('monitoring/prometheus/kubernetes-3.yml')
  assert.ok(otlp !== undefined && storage !== undefined)
  assert.deepEqual(rest, readYaml('monitoring/prometheus/kubernetes.yml'))
})

suite('every alert is tested and documented:', () => {
  const tests = [...unitTests.values()].flat()
  const runbook = existsSync(join(projectFolder, 'docs/runbook.md')) ? read('docs/runbook.md') : ''

  for (const { alert, annotations, labels } of alerts) {
    const asked = (of: (typeof tests)[number]) =>
      (of.alert_rule_test ?? []).filter(({ alertname }) => alertname === alert)
    const expected = ({ exp_alerts = [] }: { exp_alerts?: readonly unknown[] }) => exp_alerts.length

    test(`${alert} has a test in which it fires and resolves`, () => {
      const resolves = tests.some(each => {
        const fired = asked(each).findIndex(time => expected(time) > 0)
        return fired !== -1 && asked(each).some((time, i) => i > fired && expected(time) === 0)
      })
      assert.ok(
        resolves,
        `no test in monitoring/prometheus/tests expects ${alert} and later no alert in exp_alerts`,
      )
    })

    test(`${alert} has a test in which it does not fire`, () => {
      assert.ok(
        tests.some(
          each => asked(each).length > 0 && asked(each).every(time => expected(time) === 0),
        ),
        `no test in monitoring/prometheus/tests checks that ${alert} does not fire`,
      )
    })

    test(`${alert} has a test in which it is silent without pods`, () => {
      const [zero] = unitTests.get('monitoring/prometheus/tests/zero-replicas.yml') ?? []
      const [fires, ...later] = zero?.promql_expr_test ?? []
      assert.ok(
        fires?.exp_samples?.some(({ labels }) => labels === `{alertname="${alert}"}`),
        `zero-replicas.yml does not check ${alert}`,
      )
      assert.deepEqual([later.at(-1)?.expr, later.at(-1)?.exp_samples], ['ALERTS', undefined])
    })

    test(`${alert} has a severity, a description and a link to the runbook`, () => {
      assert.ok(['critical', 'warning'].includes(labels.severity ?? ''))
      assert.deepEqual(Object.keys(annotations).sort(), ['description', 'runbook_url', 'summary'])
      const [, anchor] = /\/docs\/runbook\.md#([\w-]+)$/.exec(annotations.runbook_url ?? '') ?? []
      assert.equal(anchor, alert.toLowerCase())
      const [, paragraph] = runbook.split(new RegExp(`^## ${alert}$`, 'm'))
      for (const part of ['Meaning', 'Check', 'Action'])
        assert.match(
          paragraph?.split(/^## /m)[0] ?? '',
          new RegExp(`\\*\\*${part}\\.\\*\\*`),
          `docs/runbook.md, ${alert}: ${part}`,
        )
    })
  }
})

suite('every queried series and label exists', async () => {
  const known = await knownSeries(recorded)
  const sources = [
    ...recorded.map(({ record, expr }) => ({ what: `the rule ${record}`, expr, legend: [] })),
    ...alerts.map(({ alert, expr }) => ({ what: `the alert ${alert}`, expr, legend: [] })),
    ...find('monitoring/grafana/dashboards/*.json').flatMap(path =>
      queriesOf(JSON.parse(read(path))).map((query, i) => ({
        what: `query ${i + 1} of ${path}`,
        ...query,
      })),
    ),
    ...find('{docs/*,README}.md').flatMap(path =>
      [...read(path).matchAll(/```promql\n([\s\S]*?)```/g)].map(([, expr = ''], i) => ({
        what: `query ${i + 1} of ${path}`,
        expr,
        legend: [],
      })),
    ),
  ]
  for (const { what, expr, legend } of sources) {
    test(`in ${what}`, () => {
      const shown =
        legend.length === 0 ? [] : unknownIn(`sum by (${legend.join(', ')}) (${expr})`, known)
      assert.deepEqual([...new Set([...unknownIn(expr, known), ...shown])], [], expr)
    })
  }

  for (const { mistake, expr, says } of [
    {
      mistake: 'the name of a metric',
      expr: 'rate(inference_request_total[5m])',
      says: /no series inference_request_total/,
    },
    {
      mistake: 'the suffix of a histogram',
      expr: 'inference_batch_rows',
      says: /no series inference_batch_rows/,
    },
    {
      mistake: 'the name of a label',
      expr: 'inference_rejected_total{cause="overloaded"}',
      says: /has no label cause/,
    },
    {
      mistake: 'the value of a label',
      expr: 'inference_requests_total{status="ok"}',
      says: /has no status="ok"/,
    },
    {
      mistake: 'the labels of a sum',
      expr: 'sum by (models) (inference_requests_total)',
      says: /no series here has the label models/,
    },
    {
      mistake: 'the name of a recorded series',
      expr: 'service:inference_requests:rate1m > 0',
      says: /no series service:inference_requests:rate1m/,
    },
    {
      mistake: 'a name of Knative before 1.19',
      expr: 'revision_app_request_latencies_bucket',
      says: /no series revision_app/,
    },
  ]) {
    test(`the check finds an error in ${mistake}`, () =>
      assert.match(unknownIn(expr, known).join('\n'), says))
  }
})
