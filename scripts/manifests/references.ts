import { containersOf, find, KNATIVE_SERVICE, kindOf, podLabelsOf, podsOf } from './objects.ts'
import type { Bundle, Manifest } from './sources.ts'

/** The apiVersion and kind to use if the field omits them. */
type Target = Readonly<Partial<Record<'apiVersion' | 'kind', string>>>

const BROKER: Target = { apiVersion: 'eventing.knative.dev/v1', kind: 'Broker' }
const DEPLOYMENT: Target = { apiVersion: 'apps/v1', kind: 'Deployment' }

/** The object with this kind and name must also be applied. */
const REFERENCES: Readonly<Record<string, Readonly<Record<string, Target>>>> = {
  Broker: { 'spec/delivery/deadLetterSink/ref': {} },
  Trigger: {
    'spec/broker': BROKER,
    'spec/subscriber/ref': {},
    'spec/delivery/deadLetterSink/ref': {},
  },
  PingSource: { 'spec/sink/ref': {} },
  RequestReply: { 'spec/brokerRef': {} },
  HorizontalPodAutoscaler: { 'spec/scaleTargetRef': {} },
  ScaledObject: {
    'spec/scaleTargetRef': DEPLOYMENT,
    'spec/triggers/*/metadata/interceptorRoute': {
      apiVersion: 'http.keda.sh/v1beta1',
      kind: 'InterceptorRoute',
    },
  },
  InterceptorRoute: { 'spec/target/service': { apiVersion: 'v1', kind: 'Service' } },
  RoleBinding: {
    roleRef: { apiVersion: 'rbac.authorization.k8s.io/v1' },
    'subjects/*': { apiVersion: 'v1' },
  },
}

/** A Service that KServe creates in Standard mode has port 80. */
function servicePorts(name: string, { objects }: Bundle): readonly number[] | undefined {
  const service = objects.find(
    object => kindOf(object) === 'Service' && object.metadata.name === name,
  )
  if (service !== undefined) return service.spec.ports.map(({ port }: Manifest) => port)
  const predictors = objects
    .filter(({ kind }) => kind === 'InferenceService')
    .flatMap(({ metadata, spec: { predictor, canary = [] } }) =>
      [predictor, ...canary.map((entry: Manifest) => entry.predictor)].map(({ name: own }) =>
        [metadata.name, ...(own === undefined ? [] : [own]), 'predictor'].join('-'),
      ),
    )
  return predictors.includes(name) ? [80] : undefined
}

/** Labels that Knative and KServe set on pods, with the kind of the object that the label names. */
const OWNERS: Readonly<Record<string, string>> = {
  'serving.knative.dev/service': KNATIVE_SERVICE,
  'serving.kserve.io/inferenceservice': 'InferenceService',
}

const when = (wrong: boolean, message: string) => (wrong ? [message] : [])

/** An object may refer only to objects that are applied with it. */
export const checkReferences = (object: Manifest, bundle: Bundle): string[] => [
  ...checkNames(object, bundle),
  ...(CHECKS[kindOf(object)]?.(object, bundle) ?? []),
  ...checkAccounts(object, bundle),
]

const CHECKS: Readonly<Record<string, (object: Manifest, bundle: Bundle) => string[]>> = {
  ConfigMap: ({ data = {} }) => Object.entries<string>(data).flatMap(checkDashboard),
  PodMonitor: ({ spec }) =>
    spec.podMetricsEndpoints.flatMap(({ scrapeTimeout = '0s', interval = '30s' }: Manifest) =>
      when(
        goSeconds(scrapeTimeout) > goSeconds(interval),
        'spec.podMetricsEndpoints: scrapeTimeout is longer than its interval',
      ),
    ),
  PingSource: ({ spec }) =>
    when(
      spec.contentType === 'application/json' && !isJsonObject(spec.data),
      'spec.data is not a JSON object, although contentType is application/json',
    ),
  Namespace: checkNamespace,
  Deployment: checkDeployment,
  Service: ({ spec }, bundle) => [
    ...checkSelects(spec.selector, 'spec.selector', bundle),
    ...spec.ports.flatMap(({ targetPort, port }: Manifest) =>
      when(
        bundle.whole && !portsOf(bundle).has(targetPort ?? port),
        `spec.ports.targetPort: no container has a port ${targetPort}`,
      ),
    ),
  ],
  PodDisruptionBudget: ({ spec }, bundle) =>
    checkSelects(spec.selector?.matchLabels, 'spec.selector', bundle),
  NetworkPolicy: ({ spec }, bundle) => checkSelectedPods(spec.podSelector ?? {}, bundle),
  HorizontalPodAutoscaler: ({ spec }, bundle) => [
    ...when(spec.maxReplicas < spec.minReplicas, 'spec.maxReplicas is less than minReplicas'),
    ...checkMeasured(spec.metrics ?? [], bundle),
    ...ownReplicas(bundle),
  ],
  ScaledObject: ({ spec: { minReplicaCount = 0, maxReplicaCount = 100 } }, bundle) => [
    ...when(minReplicaCount > maxReplicaCount, 'spec.minReplicaCount is more than maxReplicaCount'),
    ...ownReplicas(bundle),
  ],
  HTTPRoute: ({ spec }, bundle) =>
    find(spec, 'rules/*/backendRefs/*').flatMap(({ at, value: { name, port } }) => {
      const ports = servicePorts(name, bundle)
      if (ports === undefined)
        return when(bundle.whole, `spec.${at}: there is no Service "${name}"`)
      return when(!ports.includes(port), `spec.${at}: the Service "${name}" has no port ${port}`)
    }),
  InterceptorRoute: ({ spec: { target } }, { objects }) => {
    const service = objects.find(
      object => kindOf(object) === 'Service' && object.metadata.name === target?.service,
    )
    return when(
      service?.spec.ports.every(({ port }: Manifest) => port !== target.port),
      `spec.target.port: the Service has no port ${target?.port}`,
    )
  },
}

function checkNames(object: Manifest, { objects, beside, whole }: Bundle): string[] {
  const fields = Object.entries(REFERENCES[kindOf(object)] ?? {}).flatMap(([path, target]) =>
    find(object, path).map(found => ({ ...found, target })),
  )
  return fields.flatMap(({ at, value, target }) => {
    // policy.yaml checks required fields, and a URI refers to no object.
    if (value === undefined) return []
    const { name, ...named } = typeof value === 'string' ? { name: value } : value
    const { apiVersion, kind } = { ...named, ...target }
    if (!apiVersion || !kind || !name) return [`${at} needs apiVersion, kind and name`]
    const isThere = [...objects, ...beside].some(
      other =>
        other.apiVersion === apiVersion && other.kind === kind && other.metadata.name === name,
    )
    return when(whole && !isThere, `${at}: there is no ${kind} "${name}" (${apiVersion})`)
  })
}

/** Only pods with permissions may mount a token: others do not call Kubernetes. */
function checkAccounts(object: Manifest, { objects, whole }: Bundle): string[] {
  if (kindOf(object).endsWith('ServingRuntime')) return []
  const isThere = (name: string) =>
    objects.some(({ kind, metadata }) => kind === 'ServiceAccount' && metadata.name === name)
  const isGranted = (name: string) =>
    objects.some(
      ({ kind, subjects = [] }) =>
        kind === 'RoleBinding' && subjects.some((subject: Manifest) => subject.name === name),
    )
  return podsOf(object).flatMap(({ at, value: pod }) => {
    // A model without containers uses the namespace's defaults.
    if (pod === undefined || Object.keys(pod).every(field => field === 'model')) return []
    const account = pod.serviceAccountName
    if (account === undefined)
      return [
        `${at}.serviceAccountName is missing; other pods share the default account and its permissions`,
      ]
    const token = isGranted(account)
    return [
      ...when(
        pod.automountServiceAccountToken !== token,
        `${at}.automountServiceAccountToken must be ${token}`,
      ),
      ...when(
        whole && !isThere(account),
        `${at}.serviceAccountName: there is no ServiceAccount "${account}"`,
      ),
    ]
  })
}

function checkNamespace({ metadata }: Manifest, { objects }: Bundle): string[] {
  const level = metadata.labels?.['pod-security.kubernetes.io/enforce']
  // KServe adds containers to its pods, so a namespace with only those is exempt.
  const ours = objects.some(object => [KNATIVE_SERVICE, 'Deployment'].includes(kindOf(object)))
  const elsewhere = objects.filter(
    ({ metadata: { namespace } }) => namespace !== undefined && namespace !== metadata.name,
  )
  return [
    ...when(
      level === undefined && ours,
      'metadata.labels: pod-security.kubernetes.io/enforce must be restricted',
    ),
    ...elsewhere.map(
      ({ kind, metadata: { name } }) =>
        `metadata.name is ${metadata.name}; the ${kind} ${name} is in another namespace`,
    ),
  ]
}

function checkDeployment(object: Manifest): string[] {
  const labels = podLabelsOf(object)
  const unmatched = Object.entries(object.spec.selector?.matchLabels ?? {}).filter(
    ([name, value]) => labels[name] !== value,
  )
  return [
    ...unmatched.map(
      ([name, value]) => `spec.selector.matchLabels: the template lacks the label ${name}=${value}`,
    ),
    ...containersOf(object).flatMap(({ value, at }) => checkProbes(value, at)),
  ]
}

function checkProbes(container: Manifest, at: string): string[] {
  const ports = find(container, 'ports/*').flatMap(({ value }) => [value.name, value.containerPort])
  return ['readinessProbe', 'livenessProbe', 'startupProbe'].flatMap(name => {
    const port = container[name]?.httpGet?.port
    if (container[name] === undefined) return [`${at}.${name} is missing`]
    return when(
      !ports.includes(port),
      `${at}.${name}.httpGet.port is ${port}; the container has ${ports.join(', ')}`,
    )
  })
}

function checkSelects(labels: Manifest, at: string, { objects, whole }: Bundle): string[] {
  const wanted = Object.entries(labels ?? {})
  const found = objects.some(
    object =>
      kindOf(object) === 'Deployment' &&
      wanted.every(([name, value]) => podLabelsOf(object)[name] === value),
  )
  return when(whole && (!found || wanted.length === 0), `${at} selects no Deployment's pods`)
}

function checkSelectedPods(selector: Manifest, bundle: Bundle): string[] {
  const { matchLabels = {}, matchExpressions = [] } = selector
  const named = [
    ...Object.entries<string>(matchLabels).map(([key, value]) => ({ key, values: [value] })),
    ...matchExpressions.map(({ key, values = [] }: Manifest) => ({ key, values })),
  ]
  if (!named.some(({ key }) => key in OWNERS))
    return checkSelects(matchLabels, 'spec.podSelector', bundle)
  const isThere = (kind: string | undefined, name: string) =>
    bundle.objects.some(object => kindOf(object) === kind && object.metadata.name === name)
  return named.flatMap(({ key, values }) =>
    values
      .filter((value: string) => !isThere(OWNERS[key], value))
      .map((value: string) => `spec.podSelector: there is no ${OWNERS[key] ?? key} "${value}"`),
  )
}

const portsOf = ({ objects }: Bundle): ReadonlySet<unknown> =>
  new Set(
    objects
      .filter(object => kindOf(object) === 'Deployment')
      .flatMap(containersOf)
      .flatMap(({ value }) => value.ports ?? [])
      .flatMap(({ name, containerPort }: Manifest) => [name, containerPort]),
  )

function checkMeasured(metrics: readonly Manifest[], { objects, whole }: Bundle): string[] {
  const names = objects.flatMap(containersOf).map(({ value }) => value.name)
  return metrics
    .map(({ containerResource }) => containerResource?.container)
    .filter(name => whole && name !== undefined && !names.includes(name))
    .map(name => `spec.metrics: there is no container "${name}"`)
}

/** `replicas` in a Deployment would override the autoscaler at each apply. */
const ownReplicas = ({ objects }: Bundle) =>
  objects
    .filter(object => kindOf(object) === 'Deployment' && object.spec.replicas !== undefined)
    .map(
      ({ metadata }) =>
        `the Deployment "${metadata.name}" has spec.replicas, which would override the autoscaler`,
    )

/** Without a uid in the dashboard, Grafana would generate another at each startup. */
function checkDashboard([name, text]: [string, string]): string[] {
  if (!isJsonObject(text)) return [`data.${name} is not a JSON object`]
  return when(typeof JSON.parse(text).uid !== 'string', `data.${name} has no uid`)
}

function isJsonObject(text: string): boolean {
  try {
    return Object.prototype.toString.call(JSON.parse(text)) === '[object Object]'
  } catch {
    return false
  }
}

function goSeconds(text: string): number {
  const unit: Record<string, number> = { h: 3600, m: 60, s: 1, ms: 0.001 }
  return [...text.matchAll(/([\d.]+)(h|ms|m|s)/g)].reduce(
    (sum, [, number, name]) => sum + Number(number) * (unit[name as string] as number),
    0,
  )
}
