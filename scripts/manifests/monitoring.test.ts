/* monitoring/ installs third-party programs, which must follow the same rules as our own pods. */
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
    `the ${object.kind} ${object.metadata.name} has no unknown fields`,
    {
      skip: schema === undefined && 'no schema for this kind; set SCHEMAS to folders with schemas',
    },
    () => assert.deepEqual(schema?.(object), []),
  )
}

for (const deployment of deployments) {
  const { name } = deployment.metadata
  const pod = podsOf(deployment)[0]?.value

  test(`${name} has probes, limits and the restrictions of our own pods, and so has its namespace`, () => {
    const problems = [
      ...checkPolicy(deployment),
      ...checkPolicy(named('Namespace', 'monitoring')),
      ...checkReferences(named('Namespace', 'monitoring'), bundle),
      // Another test, below, checks the tokens.
      ...checkReferences(deployment, bundle).filter(problem => !problem.includes('Token')),
    ]
    assert.deepEqual(problems, [])
  })

  test(`${name} mounts only existing objects, except the Secret with the password`, () => {
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

  test(`${name} has a token only if it has a role, and the role can only read pods`, () => {
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

test('each Service selects a Deployment and one of its ports', () => {
  const services = objects.filter(({ kind }) => kind === 'Service')
  assert.ok(services.length > 0)
  for (const service of services) assert.deepEqual(checkReferences(service, bundle), [])
})

test('Grafana has the same data source as in compose.yaml, with the scrape interval of Prometheus', () => {
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
