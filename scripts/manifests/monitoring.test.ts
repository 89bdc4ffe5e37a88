/* monitoring/ applies third-party programs; they must meet the rules for every pod. */
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { podsOf } from './objects.ts'
import { checkPolicy } from './policy.ts'
import { checkReferences } from './references.ts'
import { readSchemas } from './schemas.ts'
import { kustomize, type Manifest, parse, read } from './sources.ts'

const objects = parse(kustomize('monitoring'), 'monitoring')
const bundle = { name: 'monitoring', whole: true, objects, beside: [] }
const schemas = readSchemas((process.env.SCHEMAS ?? '').split(':').filter(folder => folder !== ''))
const deployments = objects.filter(({ kind }) => kind === 'Deployment')
const named = (kind: string, name: string) =>
  objects.find(object => object.kind === kind && object.metadata.name === name)

for (const object of objects) {
  const schema = schemas.of(object.apiVersion, object.kind)
  test(
    `the ${object.kind} ${object.metadata.name} has no field that Kubernetes does not know`,
    {
      skip: schema === undefined && 'there is no schema; SCHEMAS names folders of them',
    },
    () => assert.deepEqual(schema?.(object), []),
  )
}

for (const deployment of deployments) {
  const { name } = deployment.metadata
  const pod = podsOf(deployment)[0]?.value

  test(`${name} is as restricted as our own pods, has probes and limits, and a namespace that asks for it`, () => {
    const problems = [
      ...checkPolicy(deployment),
      ...checkPolicy(named('Namespace', 'monitoring')),
      ...checkReferences(named('Namespace', 'monitoring'), bundle),
      // Tokens are tested below.
      ...checkReferences(deployment, bundle).filter(problem => !problem.includes('Token')),
    ]
    assert.deepEqual(problems, [])
  })

  test(`${name} mounts what is there, but for the password, which is made`, () => {
    for (const { configMap } of pod.volumes ?? []) {
      if (configMap !== undefined) assert.ok(named('ConfigMap', configMap.name), configMap.name)
    }
    assert.deepEqual(
      (pod.containers[0].env ?? []).flatMap(
        ({ valueFrom }: Manifest) => valueFrom?.secretKeyRef?.name ?? [],
      ),
      name === 'grafana' ? ['grafana-admin'] : [],
    )
  })

  test(`${name} has a token only where a role needs one, and the role is to look at pods`, () => {
    const bindings = objects.filter(
      ({ kind, subjects }) =>
        kind === 'ClusterRoleBinding' && subjects[0].name === pod.serviceAccountName,
    )
    assert.equal(pod.automountServiceAccountToken, bindings.length > 0)
    for (const { roleRef } of bindings) {
      for (const rule of named('ClusterRole', roleRef.name).rules) {
        assert.deepEqual(rule.resources, ['pods'])
        assert.ok(rule.verbs.every((verb: string) => ['get', 'list', 'watch'].includes(verb)))
      }
    }
  })
}

test('a Service selects one Deployment, by a port that it has', () => {
  const services = objects.filter(({ kind }) => kind === 'Service')
  assert.ok(services.length > 0)
  for (const service of services) assert.deepEqual(checkReferences(service, bundle), [])
})

test('Grafana has the data source that it has beside compose.yaml, at the interval that Prometheus scrapes in', () => {
  const [here, there] = [
    'monitoring/cluster/datasource.yml',
    'monitoring/grafana/provisioning/datasources/prometheus.yml',
  ].map(path => parse(read(path), path)[0].datasources)
  const [{ global }] = parse(read('monitoring/prometheus/kubernetes-3.yml'), 'kubernetes-3.yml')
  assert.equal(here[0].jsonData.timeInterval, global.scrape_interval)
  assert.deepEqual(here, [
    { ...there[0], jsonData: { ...there[0].jsonData, timeInterval: global.scrape_interval } },
  ])
})
