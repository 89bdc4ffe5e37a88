import { type Bundle, exists, type Manifest } from './sources.ts'

/** One rule that a schema cannot say. */
export interface Rule {
  /** Kinds it is for, as `kind` or `group/kind`. */
  readonly kinds: readonly string[]
  /** Where it comes from. */
  readonly source: string
  /** @returns what is wrong, one line each, beginning with the field */
  readonly check: (object: Manifest, bundle: Bundle) => string[]
}

/** A kind, told apart from another group's kind of the same name. */
export const kindOf = ({ apiVersion, kind }: Manifest) => {
  const group = apiVersion.includes('/') ? apiVersion.split('/')[0] : ''
  return kind === 'Service' && group !== '' ? `${group}/Service` : kind
}

const KNATIVE_SERVICE = 'serving.knative.dev/Service'
const DNS_1035 = /^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$/
const ISO_DURATION = /^P(?!$)(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?$/
const CLOUDEVENT_ATTRIBUTE = /^[a-z][a-z0-9]*$/

const when = (wrong: boolean, message: string) => (wrong ? [message] : [])

/** Seconds of a Go duration such as 60s or 1m30s; NaN for what is none. */
export function goSeconds(text: string): number {
  if (!/^(\d+(\.\d+)?(h|m|s|ms))+$/.test(text)) return text === '0' ? 0 : Number.NaN
  const unit: Record<string, number> = { h: 3600, m: 60, s: 1, ms: 0.001 }
  return [...text.matchAll(/([\d.]+)(h|ms|m|s)/g)].reduce(
    (sum, [, number, name]) => sum + Number(number) * (unit[name as string] as number),
    0,
  )
}

/** The pod a kind makes, and the place of its spec. */
export function podOf(
  object: Manifest,
): { readonly spec: Manifest; readonly at: string; readonly metadata: Manifest } | undefined {
  switch (kindOf(object)) {
    case KNATIVE_SERVICE:
    case 'Deployment':
    case 'Job':
      return {
        spec: object.spec.template.spec,
        at: 'spec.template.spec',
        metadata: object.spec.template.metadata ?? {},
      }
    case 'InferenceService':
      return { spec: object.spec.predictor, at: 'spec.predictor', metadata: object.metadata }
    case 'ServingRuntime':
    case 'ClusterServingRuntime':
      return { spec: object.spec, at: 'spec', metadata: object.metadata }
    case 'CronJob':
      return {
        spec: object.spec.jobTemplate.spec.template.spec,
        at: 'spec.jobTemplate.spec.template.spec',
        metadata: object.metadata,
      }
    default:
      return undefined
  }
}

const RESERVED_PORTS = [8012, 8013, 8022, 9090, 9091, 8008]
const RESERVED_ENVIRONMENT = ['PORT', 'K_SERVICE', 'K_CONFIGURATION', 'K_REVISION']
/** What a pod of Knative may say while all of the cluster's feature flags are at their defaults. */
const KNATIVE_POD = [
  'containers',
  'volumes',
  'serviceAccountName',
  'imagePullSecrets',
  'enableServiceLinks',
  'automountServiceAccountToken',
]
const KNATIVE_REVISION = [
  'containerConcurrency',
  'timeoutSeconds',
  'responseStartTimeoutSeconds',
  'idleTimeoutSeconds',
]
const KNATIVE_VOLUMES = ['name', 'secret', 'configMap', 'projected', 'emptyDir']

function checkKnativePod(spec: Manifest, at: string): string[] {
  const problems: string[] = []
  for (const field of Object.keys(spec)) {
    if (!KNATIVE_POD.includes(field) && !KNATIVE_REVISION.includes(field))
      problems.push(`${at}.${field}: Knative does not allow it`)
  }
  problems.push(
    ...when(
      spec.automountServiceAccountToken === true,
      `${at}.automountServiceAccountToken: may only be false`,
    ),
  )
  const mounted = new Set(
    spec.containers.flatMap(({ volumeMounts = [] }: Manifest) =>
      volumeMounts.map(({ name }: Manifest) => name),
    ),
  )
  for (const volume of spec.volumes ?? []) {
    const other = Object.keys(volume).find(field => !KNATIVE_VOLUMES.includes(field))
    if (other !== undefined)
      problems.push(`${at}.volumes: ${other} needs a feature flag of the cluster`)
    if (!mounted.has(volume.name)) problems.push(`${at}.volumes: "${volume.name}" is not mounted`)
  }
  const ports = spec.containers.flatMap(({ ports = [] }: Manifest) => ports)
  problems.push(...when(ports.length > 1, `${at}.containers: more than one port is set`))
  for (const { name, containerPort, protocol } of ports) {
    problems.push(
      ...when(
        !['', 'http1', 'h2c', undefined].includes(name),
        `${at}.containers.ports.name is "${name}"; it must be http1 or h2c`,
      ),
      ...when(
        RESERVED_PORTS.includes(containerPort),
        `${at}.containers.ports.containerPort: ${containerPort} is Knative's own`,
      ),
      ...when(
        protocol !== undefined && protocol !== 'TCP',
        `${at}.containers.ports.protocol must be TCP`,
      ),
    )
  }
  for (const container of spec.containers) {
    problems.push(
      ...when(
        container.name === 'queue-proxy',
        `${at}.containers.name: queue-proxy is Knative's own`,
      ),
    )
    for (const { name, valueFrom } of container.env ?? []) {
      problems.push(
        ...when(
          RESERVED_ENVIRONMENT.includes(name),
          `${at}.containers.env: ${name} is set by Knative`,
        ),
        ...when(
          valueFrom?.fieldRef !== undefined || valueFrom?.resourceFieldRef !== undefined,
          `${at}.containers.env: ${name} from a field needs a feature flag`,
        ),
      )
    }
    problems.push(...checkKnativeProbes(container, at))
  }
  return problems
}

function checkKnativeProbes(container: Manifest, at: string): string[] {
  const readiness = container.readinessProbe
  const portName = container.ports?.[0]?.name ?? 'http'
  return [
    ...when(
      readiness !== undefined &&
        !readiness.periodSeconds &&
        (readiness.failureThreshold ?? readiness.timeoutSeconds) !== undefined,
      `${at}.containers.readinessProbe: without periodSeconds, failureThreshold and timeoutSeconds are not allowed`,
    ),
    ...['readinessProbe', 'livenessProbe', 'startupProbe'].flatMap(name => {
      const port = container[name]?.httpGet?.port
      return when(
        typeof port === 'string' && port !== portName,
        `${at}.containers.${name}.httpGet.port is "${port}"; the container's is "${portName}"`,
      )
    }),
  ]
}

/** Annotations of a revision, by what they may be. */
const AUTOSCALING: Readonly<Record<string, (value: string) => boolean>> = {
  class: value => ['kpa.autoscaling.knative.dev', 'hpa.autoscaling.knative.dev'].includes(value),
  metric: value => ['concurrency', 'rps', 'cpu', 'memory'].includes(value),
  target: value => Number(value) >= 0.01,
  'target-utilization-percentage': value => Number(value) >= 1 && Number(value) <= 100,
  'min-scale': isCount,
  'max-scale': isCount,
  'initial-scale': value => /^[1-9]\d*$/.test(value),
  'activation-scale': value => isCount(value) && Number(value) >= 2,
  window: value =>
    goSeconds(value) >= 6 && goSeconds(value) <= 3600 && Number.isInteger(goSeconds(value)),
  'scale-down-delay': value =>
    goSeconds(value) >= 0 && goSeconds(value) <= 3600 && Number.isInteger(goSeconds(value)),
  'scale-to-zero-pod-retention-period': value => goSeconds(value) >= 0 && goSeconds(value) <= 3600,
  'panic-window-percentage': value => Number(value) >= 1 && Number(value) <= 100,
  'panic-threshold-percentage': value => Number(value) >= 110 && Number(value) <= 1000,
  'target-burst-capacity': value => Number(value) >= 0 || Number(value) === -1,
}

function isCount(value: string): boolean {
  return /^\d+$/.test(value)
}

function checkAutoscaling(annotations: Readonly<Record<string, string>>, at: string): string[] {
  const prefix = 'autoscaling.knative.dev/'
  const problems = Object.entries(annotations).flatMap(([name, value]) => {
    if (!name.startsWith(prefix)) return []
    const allowed = AUTOSCALING[name.slice(prefix.length)]
    if (allowed === undefined) return [`${at}: Knative knows no annotation ${name}`]
    return when(!allowed(String(value)), `${at}: ${name} is "${value}", which Knative refuses`)
  })
  const [min, max] = ['min-scale', 'max-scale'].map(name =>
    Number(annotations[prefix + name] ?? 0),
  ) as [number, number]
  return [
    ...problems,
    ...when(max !== 0 && max < min, `${at}: max-scale ${max} is less than min-scale ${min}`),
  ]
}

function checkDelivery(delivery: Manifest, at: string): string[] {
  if (delivery === undefined) return []
  const { retry, timeout, backoffDelay, backoffPolicy, format, retryAfterMax } = delivery
  return [
    ...when(retry !== undefined && retry < 0, `${at}.retry is ${retry}; it must not be negative`),
    ...when(
      timeout !== undefined && (!ISO_DURATION.test(timeout) || /^P(T0+S)$/.test(timeout)),
      `${at}.timeout is "${timeout}"; it must be an ISO 8601 duration above 0`,
    ),
    ...when(
      backoffDelay !== undefined && !ISO_DURATION.test(backoffDelay),
      `${at}.backoffDelay is "${backoffDelay}"; it must be an ISO 8601 duration`,
    ),
    ...when(
      backoffPolicy !== undefined && !['linear', 'exponential'].includes(backoffPolicy),
      `${at}.backoffPolicy must be linear or exponential`,
    ),
    ...when(
      format !== undefined && !['json', 'binary'].includes(format),
      `${at}.format must be json or binary`,
    ),
    ...when(retryAfterMax !== undefined, `${at}.retryAfterMax needs a feature flag`),
  ]
}

const DIALECTS = ['exact', 'prefix', 'suffix', 'all', 'any', 'not', 'cesql']

function checkFilter(filter: Manifest, at: string): string[] {
  const used = DIALECTS.filter(dialect => filter[dialect] !== undefined)
  const names = ['exact', 'prefix', 'suffix'].flatMap(dialect => Object.keys(filter[dialect] ?? {}))
  return [
    ...when(used.length !== 1, `${at} has ${used.length} dialects; it must have one`),
    ...names
      .filter(name => !CLOUDEVENT_ATTRIBUTE.test(name))
      .map(name => `${at}: "${name}" is no attribute name`),
    ...[
      ...(filter.all ?? []),
      ...(filter.any ?? []),
      ...(filter.not === undefined ? [] : [filter.not]),
    ].flatMap((inner: Manifest) => checkFilter(inner, at)),
  ]
}

/** Where events go: an object of that kind and name in the same bundle, or a URI. */
function checkDestination(destination: Manifest, at: string, bundle: Bundle): string[] {
  if (destination === undefined) return [`${at} is missing`]
  const { ref, uri } = destination
  if (ref === undefined) return when(uri === undefined, `${at} has neither ref nor uri`)
  return checkReference(ref, `${at}.ref`, bundle)
}

function checkReference(
  { apiVersion, kind, name }: Manifest,
  at: string,
  { objects, beside, whole }: Bundle,
): string[] {
  if (apiVersion === undefined || kind === undefined || name === undefined)
    return [`${at} needs apiVersion, kind and name`]
  const found = [...objects, ...beside].some(
    object =>
      object.apiVersion === apiVersion && object.kind === kind && object.metadata.name === name,
  )
  return when(whole && !found, `${at}: there is no ${kind} "${name}" (${apiVersion})`)
}

/** That a label selector of one object finds the pods of a Deployment. */
function checkSelects(labels: Manifest, at: string, { objects, whole }: Bundle): string[] {
  const found = objects.some(object => {
    const pod = kindOf(object) === 'Deployment' ? podOf(object) : undefined
    return (
      pod !== undefined &&
      Object.entries(labels ?? {}).every(([name, value]) => pod.metadata.labels?.[name] === value)
    )
  })
  return when(
    whole && (!found || Object.keys(labels ?? {}).length === 0),
    `${at} selects no Deployment's pods`,
  )
}

/** Everything that makes a container, with its place; a model's runtime and a canary bring their own. */
export const containersOf = (
  object: Manifest,
): readonly { readonly container: Manifest; readonly at: string }[] => {
  const pod = podOf(object)
  const canaries = kindOf(object) === 'InferenceService' ? (object.spec.canary ?? []) : []
  return [
    ...(pod === undefined ? [] : [{ spec: pod.spec, at: pod.at }]),
    ...canaries.map(({ predictor }: Manifest, i: number) => ({
      spec: predictor,
      at: `spec.canary.${i}.predictor`,
    })),
  ].flatMap(({ spec, at }) =>
    (spec.containers ?? []).map((container: Manifest) => ({ container, at: `${at}.containers` })),
  )
}

const SERVING = 'knative/serving 1.23: pkg/apis'
const EVENTING = 'knative/eventing 1.22: pkg/apis'
const KSERVE = 'kserve 0.20: pkg/apis/serving/v1beta1'

/** Ports of a pod that are Knative's own, by name (knative/serving 1.23: pkg/reconciler/revision/resources/queue.go). */
const KNATIVE_PORT_NAMES = [
  'queue-port',
  'https-port',
  'http-autometric',
  'http-usermetric',
  'profiling-port',
]
const METRIC_NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/
const PROMETHEUS_DURATION = /^(\d+(ms|[smhdwy]))+$/

function checkPrometheusRule(
  { record, alert, expr, for: pending, annotations = {}, labels = {} }: Manifest,
  at: string,
): string[] {
  return [
    ...when(
      (record === undefined) === (alert === undefined),
      `${at} must have one of record and alert`,
    ),
    ...when(String(expr ?? '').trim() === '', `${at}.expr is empty`),
    ...when(
      record !== undefined && !METRIC_NAME.test(record),
      `${at}.record is "${record}", which is no name of a series`,
    ),
    ...when(
      record !== undefined && (pending !== undefined || Object.keys(annotations).length > 0),
      `${at}: for and annotations are an alert's`,
    ),
    ...when(
      pending !== undefined && !PROMETHEUS_DURATION.test(pending),
      `${at}.for is "${pending}"; it must be a duration such as 5m`,
    ),
    ...Object.keys({ ...labels, ...annotations })
      .filter(name => !/^[a-zA-Z_]\w*$/.test(name))
      .map(name => `${at}: "${name}" is no label`),
    ...['summary', 'description', 'runbook_url']
      .filter(name => alert !== undefined && !annotations[name])
      .map(name => `${at}: the alert ${alert} has no ${name}`),
  ]
}

export const RULES: readonly Rule[] = [
  {
    kinds: ['ConfigMap'],
    source:
      'kiwigrid/k8s-sidecar, as Grafana’s chart sets it up; Grafana: a dashboard without a uid gets a new one at each start',
    check: ({ metadata, data = {} }) => [
      ...when(
        metadata.labels?.grafana_dashboard !== '1',
        'metadata.labels: the label grafana_dashboard must be "1"',
      ),
      ...Object.entries<string>(data).flatMap(([name, text]) => {
        try {
          return when(typeof JSON.parse(text).uid !== 'string', `data.${name} has no uid`)
        } catch {
          return [`data.${name} is no JSON`]
        }
      }),
    ],
  },
  {
    kinds: ['PodMonitor'],
    source:
      'prometheus-operator 0.93: pkg/prometheus/resource_selector.go; the ports of a Knative pod',
    check: ({ spec }) =>
      (spec.podMetricsEndpoints ?? []).flatMap(
        ({ port, portNumber, path, interval, scrapeTimeout }: Manifest, i: number) => {
          const at = `spec.podMetricsEndpoints.${i}`
          return [
            ...when(
              (port === undefined) === (portNumber === undefined),
              `${at} must have one of port and portNumber`,
            ),
            ...when(
              KNATIVE_PORT_NAMES.includes(port) || RESERVED_PORTS.includes(portNumber),
              `${at}: ${port ?? portNumber} is Knative's own port`,
            ),
            ...when(path !== '/metrics', `${at}.path is ${path}; metrics are at /metrics`),
            ...when(
              interval !== undefined && !PROMETHEUS_DURATION.test(interval),
              `${at}.interval is "${interval}"; it must be a duration such as 10s`,
            ),
            ...when(
              goSeconds(scrapeTimeout ?? '0') > goSeconds(interval ?? '30s'),
              `${at}.scrapeTimeout is longer than its interval`,
            ),
          ]
        },
      ),
  },
  {
    kinds: ['PrometheusRule'],
    source: 'prometheus-operator 0.93: pkg/operator/rules.go, which is promtool’s check',
    check({ spec }) {
      const groups: Manifest[] = spec.groups ?? []
      const names = groups.map(({ name }) => name)
      return [
        ...names
          .filter((name, i) => names.indexOf(name) !== i)
          .map(name => `spec.groups: ${name} is there twice`),
        ...groups.flatMap(({ rules = [] }, i) =>
          rules.flatMap((rule: Manifest, j: number) =>
            checkPrometheusRule(rule, `spec.groups.${i}.rules.${j}`),
          ),
        ),
      ]
    },
  },
  {
    kinds: [KNATIVE_SERVICE],
    source: `${SERVING}/serving/{fieldmask,k8s_validation}.go`,
    check: ({ spec }) => checkKnativePod(spec.template.spec, 'spec.template.spec'),
  },
  {
    kinds: [KNATIVE_SERVICE],
    source: `${SERVING}/autoscaling/annotation_validation.go`,
    check: ({ metadata, spec }) => [
      ...checkAutoscaling(
        spec.template.metadata?.annotations ?? {},
        'spec.template.metadata.annotations',
      ),
      ...Object.keys(metadata.annotations ?? {})
        .filter(name => name.startsWith('autoscaling.knative.dev'))
        .map(name => `metadata.annotations: ${name} belongs in spec.template.metadata.annotations`),
    ],
  },
  {
    kinds: [KNATIVE_SERVICE],
    source: `${SERVING}/serving/v1/revision_validation.go, metadata_validation.go`,
    check({ metadata, spec }) {
      const {
        containerConcurrency: concurrency = 0,
        timeoutSeconds = 300,
        responseStartTimeoutSeconds: start = 0,
        idleTimeoutSeconds: idle = 0,
      } = spec.template.spec
      const name = spec.template.metadata?.name
      const rollout = metadata.annotations?.['serving.knative.dev/rollout-duration'] ?? '0s'
      return [
        ...when(
          concurrency < 0 || concurrency > 1000,
          `spec.template.spec.containerConcurrency is ${concurrency}; it must be 0 to 1000`,
        ),
        ...when(
          timeoutSeconds < 0 || timeoutSeconds > 600,
          `spec.template.spec.timeoutSeconds is ${timeoutSeconds}; it must be at most 600`,
        ),
        ...when(
          Math.max(start, idle) > timeoutSeconds,
          'spec.template.spec: no timeout may be longer than timeoutSeconds',
        ),
        ...when(
          name !== undefined && !(name.startsWith(`${metadata.name}-`) && DNS_1035.test(name)),
          `spec.template.metadata.name is "${name}"; it must begin with "${metadata.name}-"`,
        ),
        ...when(
          !Number.isInteger(goSeconds(rollout)),
          `metadata.annotations: rollout-duration is "${rollout}"; it must be whole seconds`,
        ),
      ]
    },
  },
  {
    kinds: [KNATIVE_SERVICE],
    source: `${SERVING}/serving/v1/route_validation.go`,
    check({ spec }) {
      const traffic = spec.traffic ?? [{ latestRevision: true, percent: 100 }]
      const sum = traffic.reduce((total: number, { percent = 0 }: Manifest) => total + percent, 0)
      const tags = traffic.flatMap(({ tag }: Manifest) => (tag === undefined ? [] : [tag]))
      return [
        ...when(sum !== 100, `spec.traffic: percents sum to ${sum}; they must sum to 100`),
        ...when(new Set(tags).size < tags.length, 'spec.traffic: a tag is there twice'),
        ...tags
          .filter((tag: string) => !DNS_1035.test(tag))
          .map((tag: string) => `spec.traffic: "${tag}" is no tag`),
        ...traffic.flatMap(
          ({ percent = 0, revisionName, latestRevision, configurationName }: Manifest) => [
            ...when(percent < 0 || percent > 100, `spec.traffic: ${percent} is no percent`),
            ...when(
              revisionName !== undefined && latestRevision === true,
              `spec.traffic: revisionName "${revisionName}" and latestRevision exclude each other`,
            ),
            ...when(
              revisionName === undefined && latestRevision === false,
              'spec.traffic: an entry names no revision',
            ),
            ...when(
              configurationName !== undefined,
              'spec.traffic: configurationName is not allowed in a Service',
            ),
          ],
        ),
      ]
    },
  },
  {
    kinds: [KNATIVE_SERVICE],
    source:
      'knative/serving 1.21: its webhook, run; pkg/apis/serving/v1/configuration_defaults.go: under a name that stays nothing is filled in',
    check: ({ spec }) =>
      spec.template.spec.containers.flatMap(({ readinessProbe }: Manifest) =>
        when(
          readinessProbe !== undefined && readinessProbe.successThreshold !== 1,
          'spec.template.spec.containers.readinessProbe.successThreshold must be said: the second apply of a revision with a name is refused',
        ),
      ),
  },
  {
    kinds: [KNATIVE_SERVICE, 'InferenceService'],
    source: 'the host {tag}-{name}.{namespace} is one DNS label',
    check({ metadata }) {
      return when(
        !DNS_1035.test(metadata.name) || metadata.name.length > 50,
        `metadata.name is "${metadata.name}"; it must be a short DNS label`,
      )
    },
  },
  {
    kinds: ['Broker'],
    source: `${EVENTING}/eventing/v1/broker_validation.go, duck/v1/delivery_types.go`,
    check: ({ spec }, bundle) => [
      ...checkDelivery(spec?.delivery, 'spec.delivery'),
      ...(spec?.delivery?.deadLetterSink === undefined
        ? ['spec.delivery.deadLetterSink is missing: what cannot be delivered would vanish']
        : checkDestination(spec.delivery.deadLetterSink, 'spec.delivery.deadLetterSink', bundle)),
    ],
  },
  {
    kinds: ['Trigger'],
    source: `${EVENTING}/eventing/v1/trigger_validation.go; pkg/reconciler/broker/trigger/trigger.go`,
    check: ({ spec }, bundle) => [
      ...when(spec.broker === undefined && spec.brokerRef === undefined, 'spec.broker is missing'),
      ...checkReference(
        { apiVersion: 'eventing.knative.dev/v1', kind: 'Broker', name: spec.broker },
        'spec.broker',
        bundle,
      ),
      ...when(
        spec.filters !== undefined && !Array.isArray(spec.filters),
        'spec.filters must be a list',
      ),
      ...(Array.isArray(spec.filters)
        ? spec.filters.flatMap((filter: Manifest, i: number) =>
            checkFilter(filter, `spec.filters.${i}`),
          )
        : []),
      ...when(
        spec.filters === undefined && spec.filter === undefined,
        'spec.filters is missing: every event, its own replies too, would come',
      ),
      ...checkDestination(spec.subscriber, 'spec.subscriber', bundle),
      ...checkDelivery(spec.delivery, 'spec.delivery'),
      // It takes the place of the Broker's whole.
      ...(spec.delivery === undefined
        ? []
        : checkDestination(spec.delivery.deadLetterSink, 'spec.delivery.deadLetterSink', bundle)),
    ],
  },
  {
    kinds: ['PingSource'],
    source: `${EVENTING}/sources/v1/ping_validation.go`,
    check({ spec }, bundle) {
      const fields = String(spec.schedule).split(/\s+/)
      return [
        ...when(
          !(fields.length === 5 || fields.length === 6) ||
            !fields.every(field => /^[\d*/,?A-Za-z-]+$/.test(field)),
          `spec.schedule is "${spec.schedule}"; it must be a cron expression`,
        ),
        ...when(
          spec.contentType === 'application/json' && !isJsonObject(spec.data),
          'spec.data is no JSON object, as its contentType says',
        ),
        ...when(
          spec.data !== undefined && spec.dataBase64 !== undefined,
          'spec: data and dataBase64 exclude each other',
        ),
        ...checkDestination(spec.sink, 'spec.sink', bundle),
      ]
    },
  },
  {
    kinds: ['RequestReply'],
    source: `${EVENTING}/eventing/v1alpha1/requestreply_validation.go`,
    check: ({ spec }, bundle) => [
      ...checkReference(spec.brokerRef ?? {}, 'spec.brokerRef', bundle),
      ...when(spec.brokerRef?.kind !== 'Broker', 'spec.brokerRef.kind must be Broker'),
      ...when(spec.brokerRef?.namespace !== undefined, 'spec.brokerRef.namespace is not allowed'),
      ...when(
        spec.timeout !== undefined && !ISO_DURATION.test(spec.timeout),
        `spec.timeout is "${spec.timeout}"; it must be an ISO 8601 duration`,
      ),
      ...['correlationAttribute', 'replyAttribute'].flatMap(field =>
        when(
          !CLOUDEVENT_ATTRIBUTE.test(spec[field] ?? '') ||
            ['id', 'source', 'specversion', 'type'].includes(spec[field]),
          `spec.${field} must be an extension attribute`,
        ),
      ),
      ...checkDelivery(spec.delivery, 'spec.delivery'),
    ],
  },
  {
    kinds: ['InferenceService'],
    source: `${KSERVE}/{inference_service_validation,component,predictor_custom}.go`,
    check({ metadata, spec }) {
      const { predictor } = spec
      const {
        minReplicas = 1,
        maxReplicas = 0,
        containerConcurrency: concurrency = 0,
        canaryTrafficPercent: canary = 0,
        timeout = 0,
      } = predictor
      const mode = metadata.annotations?.['serving.kserve.io/deploymentMode']
      const scaler = metadata.annotations?.['serving.kserve.io/autoscalerClass']
      const metrics = mode === 'Standard' ? ['cpu', 'memory'] : ['concurrency', 'rps']
      // A model and nothing else goes in either mode.
      const saysMore =
        Object.keys(predictor).some(field => field !== 'model') || spec.canary !== undefined
      return [
        ...when(
          mode === undefined ? saysMore : !['Knative', 'Standard'].includes(mode),
          'metadata.annotations: serving.kserve.io/deploymentMode must be Knative or Standard; installations differ in the default',
        ),
        ...when(
          minReplicas < 0 || maxReplicas < 0,
          'spec.predictor: replicas must not be negative',
        ),
        ...when(
          maxReplicas !== 0 && minReplicas > maxReplicas,
          `spec.predictor.minReplicas ${minReplicas} is more than maxReplicas ${maxReplicas}`,
        ),
        ...when(
          concurrency < 0 || (mode === 'Knative' && concurrency > 1000),
          `spec.predictor.containerConcurrency is ${concurrency}; it must be 0 to 1000`,
        ),
        ...when(
          canary < 0 || canary > 100,
          `spec.predictor.canaryTrafficPercent is ${canary}; it must be 0 to 100`,
        ),
        ...when(
          mode === 'Standard' && predictor.canaryTrafficPercent !== undefined,
          'spec.predictor.canaryTrafficPercent works in Knative mode only; Standard has spec.canary',
        ),
        ...when(
          mode === 'Standard' && minReplicas === 0 && scaler !== 'keda',
          'spec.predictor.minReplicas 0 needs Knative mode',
        ),
        ...when(
          mode === 'Knative' && timeout > 600,
          `spec.predictor.timeout is ${timeout}; it must be at most 600`,
        ),
        ...when(
          scaler !== undefined && !['hpa', 'keda', 'external', 'none'].includes(scaler),
          `metadata.annotations: "${scaler}" is no autoscalerClass`,
        ),
        ...when(
          predictor.scaleMetric !== undefined && !metrics.includes(predictor.scaleMetric),
          `spec.predictor.scaleMetric "${predictor.scaleMetric}" is not for ${mode} mode`,
        ),
        ...when(
          scaler === 'keda' && predictor.scaleMetric !== undefined,
          'spec.predictor.scaleMetric is not for KEDA',
        ),
        ...when(predictor.batcher !== undefined, 'spec.predictor.batcher speaks V1 only'),
        ...checkImplementation(predictor, 'spec.predictor'),
        ...(mode === 'Knative' && predictor.containers !== undefined
          ? checkKnativeProbes(predictor.containers[0], 'spec.predictor')
          : []),
        ...checkCanary(spec, mode),
      ]
    },
  },
  {
    kinds: ['ServingRuntime', 'ClusterServingRuntime'],
    source:
      'kserve 0.20: pkg/webhook/admission/servingruntime/servingruntime_webhook.go; pkg/constants',
    check({ spec }) {
      const main =
        spec.containers?.filter(({ name }: Manifest) => name === 'kserve-container') ?? []
      const priorities = new Map<string, number | undefined>()
      return [
        ...when(main.length !== 1, 'spec.containers: one must be named kserve-container'),
        ...when(!(spec.supportedModelFormats?.length > 0), 'spec.supportedModelFormats is empty'),
        ...(spec.supportedModelFormats ?? []).flatMap(
          ({ name, autoSelect, priority }: Manifest) => {
            const other = priorities.get(name)
            if (autoSelect === true) priorities.set(name, priority)
            return when(
              autoSelect === true && other !== undefined && priority !== other,
              `spec.supportedModelFormats: "${name}" has two priorities`,
            )
          },
        ),
        ...when(!spec.protocolVersions?.includes('v2'), 'spec.protocolVersions must name v2'),
      ]
    },
  },
  {
    kinds: ['Deployment'],
    source: 'Kubernetes: pkg/apis/apps/validation',
    check({ spec }) {
      const { selector, template, strategy } = spec
      const { maxUnavailable, maxSurge } = strategy?.rollingUpdate ?? {}
      return [
        ...Object.entries(selector?.matchLabels ?? {}).flatMap(([name, value]) =>
          when(
            template.metadata?.labels?.[name] !== value,
            `spec.selector.matchLabels: ${name}=${value} is not on the template`,
          ),
        ),
        ...when(
          Number.parseInt(maxUnavailable, 10) === 0 && Number.parseInt(maxSurge, 10) === 0,
          'spec.strategy.rollingUpdate: nothing could ever be replaced',
        ),
        ...containersOf({ apiVersion: 'apps/v1', kind: 'Deployment', spec }).flatMap(
          ({ container, at }) => checkPodProbes(container, at),
        ),
      ]
    },
  },
  {
    kinds: ['Service'],
    source: 'what a Service selects',
    check({ spec }, bundle) {
      const ports = bundle.objects
        .flatMap(object => (kindOf(object) === 'Deployment' ? containersOf(object) : []))
        .flatMap(({ container }) => container.ports ?? [])
      return [
        ...checkSelects(spec.selector, 'spec.selector', bundle),
        ...spec.ports.flatMap(({ targetPort, port }: Manifest) =>
          when(
            bundle.whole &&
              !ports.some(
                ({ name, containerPort }: Manifest) =>
                  name === targetPort || containerPort === (targetPort ?? port),
              ),
            `spec.ports.targetPort: no container has a port ${targetPort}`,
          ),
        ),
      ]
    },
  },
  {
    kinds: ['PodDisruptionBudget'],
    source: 'Kubernetes: pkg/apis/policy/validation',
    check: ({ spec }, bundle) => [
      ...when(
        spec.minAvailable !== undefined && spec.maxUnavailable !== undefined,
        'spec: minAvailable and maxUnavailable exclude each other',
      ),
      ...when(
        [0, '0', '0%'].includes(spec.maxUnavailable),
        'spec.maxUnavailable 0: no node could ever be drained',
      ),
      ...checkSelects(spec.selector?.matchLabels, 'spec.selector', bundle),
    ],
  },
  {
    kinds: ['HorizontalPodAutoscaler'],
    source: 'Kubernetes: pkg/apis/autoscaling/validation',
    check({ spec }, bundle) {
      const containers = bundle.objects.flatMap(containersOf).map(({ container }) => container.name)
      return [
        ...checkReference(spec.scaleTargetRef, 'spec.scaleTargetRef', bundle),
        ...when(spec.minReplicas < 1, 'spec.minReplicas must be 1 or more'),
        ...when(spec.maxReplicas < spec.minReplicas, 'spec.maxReplicas is less than minReplicas'),
        ...(spec.metrics ?? []).flatMap(({ type, ...metric }: Manifest) => {
          const field = type[0].toLowerCase() + type.slice(1)
          const { target = {}, container } = metric[field] ?? {}
          const value: Record<string, string> = {
            Utilization: 'averageUtilization',
            AverageValue: 'averageValue',
            Value: 'value',
          }
          return [
            ...when(metric[field] === undefined, `spec.metrics: a ${type} metric needs ${field}`),
            ...when(
              target[value[target.type] ?? ''] === undefined,
              `spec.metrics: a target of ${target.type} needs ${value[target.type]}`,
            ),
            ...when(
              container !== undefined && bundle.whole && !containers.includes(container),
              `spec.metrics: there is no container "${container}"`,
            ),
          ]
        }),
        ...ownReplicas(bundle),
      ]
    },
  },
  {
    kinds: ['ScaledObject'],
    source: 'kedacore/keda 2.20: apis/keda/v1alpha1/scaledobject_webhook.go',
    check({ spec }, bundle) {
      const { minReplicaCount: min = 0, maxReplicaCount: max = 100, triggers = [], fallback } = spec
      return [
        ...checkReference(
          { apiVersion: 'apps/v1', kind: 'Deployment', ...spec.scaleTargetRef },
          'spec.scaleTargetRef',
          bundle,
        ),
        ...when(min > max, 'spec.minReplicaCount is more than maxReplicaCount'),
        ...when(triggers.length === 0, 'spec.triggers is empty'),
        ...triggers.flatMap(({ type, metadata = {} }: Manifest) => [
          ...Object.entries(metadata).flatMap(([name, value]) =>
            when(typeof value !== 'string', `spec.triggers.metadata.${name} must be a string`),
          ),
          ...when(
            type === 'prometheus' &&
              !(metadata.serverAddress && metadata.query && Number(metadata.threshold) > 0),
            'spec.triggers: prometheus needs serverAddress, query and threshold',
          ),
          // No pod, no metric of it.
          ...when(
            type === 'prometheus' && min === 0,
            'spec.minReplicaCount 0: a metric of the pods themselves cannot wake the first',
          ),
          ...when(
            type === 'external-push' && !metadata.scalerAddress,
            'spec.triggers: external-push needs scalerAddress',
          ),
          ...(metadata.interceptorRoute === undefined
            ? []
            : checkReference(
                {
                  apiVersion: 'http.keda.sh/v1beta1',
                  kind: 'InterceptorRoute',
                  name: metadata.interceptorRoute,
                },
                'spec.triggers.metadata.interceptorRoute',
                bundle,
              )),
        ]),
        ...when(
          fallback !== undefined && !(fallback.failureThreshold >= 0 && fallback.replicas >= 0),
          'spec.fallback needs failureThreshold and replicas',
        ),
        ...ownReplicas(bundle),
      ]
    },
  },
  {
    kinds: ['InterceptorRoute'],
    source: 'kedacore/http-add-on 0.15: operator/apis/http/v1beta1',
    check({ spec }, bundle) {
      const service = bundle.objects.find(
        object => kindOf(object) === 'Service' && object.metadata.name === spec.target?.service,
      )
      const ports = service?.spec.ports.map(({ port }: Manifest) => port) ?? []
      return [
        ...checkReference(
          { apiVersion: 'v1', kind: 'Service', name: spec.target?.service },
          'spec.target.service',
          bundle,
        ),
        ...when(
          service !== undefined && !ports.includes(spec.target.port),
          `spec.target.port: the Service has no port ${spec.target.port}`,
        ),
        ...when(!(spec.rules?.length > 0), 'spec.rules is empty: no request would match'),
        ...Object.entries(spec.timeouts ?? {}).flatMap(([name, value]) =>
          when(!(goSeconds(String(value)) > 0), `spec.timeouts.${name} is "${value}"`),
        ),
      ]
    },
  },
  {
    kinds: ['Namespace'],
    source: 'Kubernetes: Pod Security admission; what is applied with it',
    check({ metadata }, { objects }) {
      const level = metadata.labels?.['pod-security.kubernetes.io/enforce']
      // KServe puts containers of its own into its pods.
      const ours = objects.some(object => [KNATIVE_SERVICE, 'Deployment'].includes(kindOf(object)))
      const elsewhere = objects.filter(
        ({ metadata: { namespace } }) => namespace !== undefined && namespace !== metadata.name,
      )
      return [
        ...when(
          level === undefined ? ours : level !== 'restricted',
          'metadata.labels: pod-security.kubernetes.io/enforce must be restricted',
        ),
        ...when(
          !DNS_1035.test(metadata.name),
          `metadata.name is "${metadata.name}"; it must be a DNS label`,
        ),
        ...when(
          elsewhere.length > 0,
          `metadata.name is ${metadata.name}; ${elsewhere.map(({ kind, metadata: { name } }) => `${kind} ${name}`)} is in another`,
        ),
      ]
    },
  },
  {
    kinds: [KNATIVE_SERVICE, 'Deployment', 'InferenceService', 'CronJob', 'Job'],
    source:
      'Kubernetes: ServiceAccount; only who is granted something asks Kubernetes for anything',
    check(object, { objects, whole }) {
      const { spec, at } = podOf(object) as { spec: Manifest; at: string }
      const canaries = object.kind === 'InferenceService' ? (object.spec.canary ?? []) : []
      const pods = [
        { pod: spec, at },
        ...canaries.map(({ predictor }: Manifest, i: number) => ({
          pod: predictor,
          at: `spec.canary.${i}.predictor`,
        })),
      ]
      return pods.flatMap(({ pod, at }) => {
        // A model and nothing else: the namespace's defaults are for everything.
        if (Object.keys(pod).every(field => field === 'model')) return []
        const account = pod.serviceAccountName
        const found = objects.some(
          ({ kind, metadata }) => kind === 'ServiceAccount' && metadata.name === account,
        )
        const granted = objects.some(
          ({ kind, subjects }) =>
            kind === 'RoleBinding' && subjects?.some(({ name }: Manifest) => name === account),
        )
        return [
          ...when(
            !granted && pod.automountServiceAccountToken !== false,
            `${at}.automountServiceAccountToken must be false`,
          ),
          ...when(
            granted && pod.automountServiceAccountToken !== true,
            `${at}.automountServiceAccountToken must be true: it asks Kubernetes`,
          ),
          ...when(
            account === undefined,
            `${at}.serviceAccountName is missing: the default account has what others were granted`,
          ),
          ...when(
            account !== undefined && whole && !found,
            `${at}.serviceAccountName: there is no ServiceAccount "${account}"`,
          ),
        ]
      })
    },
  },
  {
    kinds: ['ServiceAccount'],
    source: 'Kubernetes: ServiceAccount',
    check: ({ automountServiceAccountToken: token }) =>
      when(token !== false, 'automountServiceAccountToken must be false'),
  },
  {
    kinds: ['NetworkPolicy'],
    source: 'Kubernetes: pkg/apis/networking/validation; what is left out of a policy is allowed',
    check({ spec }, bundle) {
      return [
        ...checkSelectedPods(spec.podSelector ?? {}, bundle),
        ...when(
          !spec.policyTypes?.includes('Ingress'),
          'spec.policyTypes does not name Ingress: everybody would be let in',
        ),
        ...when(
          spec.egress !== undefined && !spec.policyTypes?.includes('Egress'),
          'spec.egress has no effect without Egress in policyTypes',
        ),
        ...when(!(spec.ingress?.length > 0), 'spec.ingress is empty: nobody would be let in'),
        ...(spec.ingress ?? []).flatMap(({ from, ports }: Manifest, i: number) => [
          ...when(
            !(from?.length > 0),
            `spec.ingress.${i}.from is empty: everybody would be let in`,
          ),
          ...when(
            !(ports?.length > 0),
            `spec.ingress.${i}.ports is empty: every port would be open`,
          ),
        ]),
      ]
    },
  },
  {
    kinds: ['Job'],
    source: 'Kubernetes: pkg/apis/batch/validation',
    check: ({ spec }) =>
      when(
        !['Never', 'OnFailure'].includes(spec.template.spec.restartPolicy),
        'spec.template.spec.restartPolicy must be Never or OnFailure',
      ),
  },
  {
    kinds: ['CronJob'],
    source: 'Kubernetes: pkg/apis/batch/validation; a job that may overlap itself needs a reason',
    check({ spec }) {
      const { template, backoffLimit } = spec.jobTemplate.spec
      return [
        ...when(
          !/^\S+( \S+){4}$/.test(spec.schedule ?? ''),
          `spec.schedule is "${spec.schedule}"; it has five fields, such as "* * * * *"`,
        ),
        ...when(spec.concurrencyPolicy !== 'Forbid', 'spec.concurrencyPolicy must be Forbid'),
        ...when(
          !['Never', 'OnFailure'].includes(template.spec.restartPolicy),
          'spec.jobTemplate.spec.template.spec.restartPolicy must be Never or OnFailure',
        ),
        ...when(
          backoffLimit === undefined,
          'spec.jobTemplate.spec.backoffLimit is missing: it would be tried six times more',
        ),
      ]
    },
  },
  {
    kinds: ['Role'],
    source: 'Kubernetes: pkg/apis/rbac/validation; least privilege',
    check: ({ rules = [] }) => [
      ...when(rules.length === 0, 'rules is empty: it grants nothing'),
      ...rules.flatMap(
        (
          { apiGroups = [], resources = [], resourceNames = [], verbs = [] }: Manifest,
          i: number,
        ) => [
          ...when(
            [...apiGroups, ...resources, ...verbs].includes('*'),
            `rules.${i}: * grants what nobody has thought of`,
          ),
          ...when(
            apiGroups.length === 0 || resources.length === 0 || verbs.length === 0,
            `rules.${i} needs apiGroups, resources and verbs`,
          ),
          ...when(
            resourceNames.length === 0 &&
              verbs.some((verb: string) => ['update', 'patch', 'delete'].includes(verb)),
            `rules.${i}.resourceNames is missing: it might change any of them`,
          ),
          ...when(
            resourceNames.length > 0 && verbs.includes('create'),
            `rules.${i}: create with resourceNames grants nothing: what is created has no name yet`,
          ),
        ],
      ),
    ],
  },
  {
    kinds: ['RoleBinding'],
    source: 'Kubernetes: pkg/apis/rbac/validation',
    check({ roleRef, subjects = [] }, { objects, whole }) {
      const isThere = (kind: string, name: string) =>
        objects.some(object => object.kind === kind && object.metadata.name === name)
      return [
        ...when(
          roleRef.apiGroup !== 'rbac.authorization.k8s.io',
          'roleRef.apiGroup must be rbac.authorization.k8s.io',
        ),
        ...when(
          whole && !isThere(roleRef.kind, roleRef.name),
          `roleRef: there is no ${roleRef.kind} "${roleRef.name}"`,
        ),
        ...when(subjects.length === 0, 'subjects is empty: it grants nobody anything'),
        ...subjects.flatMap(({ kind, name }: Manifest) =>
          when(
            kind !== 'ServiceAccount' || (whole && !isThere(kind, name)),
            `subjects: there is no ServiceAccount "${name}"`,
          ),
        ),
      ]
    },
  },
  {
    kinds: ['PersistentVolumeClaim'],
    source: 'Kubernetes: pkg/apis/core/validation',
    check({ spec }) {
      const modes = ['ReadWriteOnce', 'ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOncePod']
      return [
        ...when(!(spec.accessModes?.length > 0), 'spec.accessModes is empty'),
        ...(spec.accessModes ?? [])
          .filter((mode: string) => !modes.includes(mode))
          .map((mode: string) => `spec.accessModes: there is no ${mode}`),
        ...when(
          spec.resources?.requests?.storage === undefined,
          'spec.resources.requests.storage is missing',
        ),
      ]
    },
  },
  {
    kinds: [
      KNATIVE_SERVICE,
      'Deployment',
      'InferenceService',
      'ServingRuntime',
      'ClusterServingRuntime',
      'CronJob',
      'Job',
    ],
    source: 'Kubernetes: Pod Security Standards, restricted; and what ours adds to it',
    check(object) {
      const pod = podOf(object)?.spec.securityContext ?? {}
      return containersOf(object).flatMap(({ container, at }) => {
        const own = container.securityContext ?? {}
        return [
          ...when(
            (own.runAsNonRoot ?? pod.runAsNonRoot) !== true,
            `${at}.securityContext.runAsNonRoot must be true`,
          ),
          ...when(
            own.allowPrivilegeEscalation !== false,
            `${at}.securityContext.allowPrivilegeEscalation must be false`,
          ),
          ...when(
            own.capabilities?.drop?.includes('ALL') !== true,
            `${at}.securityContext.capabilities.drop must name ALL`,
          ),
          ...when(
            (own.seccompProfile ?? pod.seccompProfile)?.type !== 'RuntimeDefault',
            `${at}.securityContext.seccompProfile must be RuntimeDefault`,
          ),
          ...when(
            own.readOnlyRootFilesystem !== true,
            `${at}.securityContext.readOnlyRootFilesystem must be true`,
          ),
          ...['requests', 'limits'].flatMap(what =>
            ['cpu', 'memory'].flatMap(which =>
              when(
                container.resources?.[what]?.[which] === undefined,
                `${at}.resources.${what}.${which} is missing`,
              ),
            ),
          ),
        ]
      })
    },
  },
]

/** Labels that Knative and KServe put on the pods of what has that name. */
const OWNERS: Readonly<Record<string, string>> = {
  'serving.knative.dev/service': KNATIVE_SERVICE,
  'serving.kserve.io/inferenceservice': 'InferenceService',
}

/** That a policy is for pods of what is applied with it. */
function checkSelectedPods(
  { matchLabels = {}, matchExpressions = [] }: Manifest,
  bundle: Bundle,
): string[] {
  const named = [
    ...Object.entries<string>(matchLabels).map(([key, value]) => ({ key, values: [value] })),
    ...matchExpressions.map(({ key, values = [] }: Manifest) => ({ key, values })),
  ]
  if (!named.some(({ key }) => key in OWNERS))
    return checkSelects(matchLabels, 'spec.podSelector', bundle)
  return named.flatMap(({ key, values }) =>
    values
      .filter(
        (value: string) =>
          !bundle.objects.some(
            object => kindOf(object) === OWNERS[key] && object.metadata.name === value,
          ),
      )
      .map((value: string) => `spec.podSelector: there is no ${OWNERS[key] ?? key} "${value}"`),
  )
}

/** A Deployment that says how many there are takes the number back from who scales it, at each apply. */
const ownReplicas = ({ objects }: Bundle) =>
  objects
    .filter(object => kindOf(object) === 'Deployment' && object.spec.replicas !== undefined)
    .map(({ metadata }) => `the Deployment "${metadata.name}" has spec.replicas of its own`)

function checkPodProbes(container: Manifest, at: string): string[] {
  const ports = (container.ports ?? []).flatMap(({ name, containerPort }: Manifest) => [
    name,
    containerPort,
  ])
  return ['readinessProbe', 'livenessProbe', 'startupProbe'].flatMap(name => {
    const probe = container[name]
    if (probe === undefined) return [`${at}.${name} is missing`]
    return when(
      !ports.includes(probe.httpGet?.port),
      `${at}.${name}.httpGet.port is ${probe.httpGet?.port}; the container has ${ports.join(', ')}`,
    )
  })
}

const FRAMEWORKS = [
  'sklearn',
  'xgboost',
  'tensorflow',
  'pytorch',
  'triton',
  'onnx',
  'huggingface',
  'pmml',
  'lightgbm',
  'paddle',
  'model',
]

function checkImplementation(predictor: Manifest, at: string): string[] {
  const named = FRAMEWORKS.filter(name => predictor[name] !== undefined)
  const count = named.length + (named.length === 0 && predictor.containers !== undefined ? 1 : 0)
  const problems = when(count !== 1, `${at} needs exactly one of model and containers`)
  // Of a canary's model, the schema of KServe 0.20 wants a name.
  if (at === 'spec.predictor' && predictor.model?.name !== undefined)
    problems.push(`${at}.model.name is not allowed`)
  if (named.length > 0 || predictor.containers === undefined) return problems
  const { containers } = predictor
  const main =
    containers.length === 1
      ? containers[0]
      : containers.find(({ name }: Manifest) => name === 'kserve-container')
  const protocol = main?.env?.find(({ name }: Manifest) => name === 'PROTOCOL')?.value
  return [
    ...problems,
    ...when(
      main?.name !== 'kserve-container',
      `${at}.containers: one must be named kserve-container`,
    ),
    ...when(protocol !== 'v2', `${at}.containers.env: PROTOCOL is ${protocol}; it must be v2`),
  ]
}

function checkCanary({ canary = [], predictor }: Manifest, mode: string): string[] {
  if (canary.length === 0) return []
  const names = canary.map((entry: Manifest) => entry.predictor?.name)
  const sum = canary.reduce(
    (total: number, { trafficPercent = 0 }: Manifest) => total + trafficPercent,
    0,
  )
  const storage = predictor.containers?.[0]?.env?.some(
    ({ name }: Manifest) => name === 'STORAGE_URI',
  )
  return [
    ...when(mode !== 'Standard', 'spec.canary works in Standard mode only'),
    ...when(sum > 100, `spec.canary: percents sum to ${sum}; at most 100`),
    ...when(
      new Set([...names, predictor.name]).size < names.length + 1 || names.includes(undefined),
      'spec.canary.predictor.name must be given, and not be used twice',
    ),
    ...when(
      predictor.model === undefined && storage !== true,
      'spec.canary needs a predictor with model or STORAGE_URI',
    ),
    ...canary.flatMap(({ predictor: other = {} }: Manifest, i: number) => [
      ...['maxReplicas', 'scaleTarget', 'scaleMetric', 'autoScaling', 'workerSpec']
        .filter(field => other[field] !== undefined)
        .map(field => `spec.canary.${i}.predictor.${field} is not allowed`),
      ...when(
        (other.minReplicas ?? 1) > (predictor.minReplicas ?? 1),
        `spec.canary.${i}.predictor.minReplicas is more than the stable predictor's`,
      ),
      ...checkImplementation(other, `spec.canary.${i}.predictor`),
    ]),
  ]
}

function isJsonObject(text: string): boolean {
  try {
    const value = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}

/** Whether a model folder that a manifest names is one that images hold. */
export const isShippedModel = (folder: string) => exists(`${folder}/model.onnx`)
