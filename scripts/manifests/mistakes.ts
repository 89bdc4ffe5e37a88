import type { Manifest } from './sources.ts'

/** A change to one field that makes a manifest wrong, and what the check must say of it. */
export interface Mistake {
  readonly what: string
  /** Keys and indices, separated by slashes. */
  readonly at: string
  /** Undefined: the field is taken away. */
  readonly value: unknown
  readonly says: RegExp
}

/** Makes the mistake in a copy. */
export function withMistake(
  manifest: Manifest,
  { at, value }: Pick<Mistake, 'at' | 'value'>,
): Manifest {
  const copy = structuredClone(manifest)
  const keys = at.split('/')
  const last = keys.pop() as string
  let parent = copy
  for (const key of keys) {
    parent[key] ??= {}
    parent = parent[key]
  }
  if (value === undefined) delete parent[last]
  else parent[last] = value
  return copy
}

const POD = 'spec/template/spec'
const CONTAINER = `${POD}/containers/0`
const ENDPOINT = 'spec/podMetricsEndpoints/0'
const PROMETHEUS_RULE = 'spec/groups/0/rules/0'

const row = (what: string, at: string, value: unknown, says: RegExp): Mistake => ({
  what,
  at,
  value,
  says,
})

/** At least three for each kind, none of which a schema notices. */
export const MISTAKES: Readonly<Record<string, readonly Mistake[]>> = {
  'serving.knative.dev/Service': [
    row(
      'sets PORT',
      `${CONTAINER}/env`,
      [{ name: 'PORT', value: '8080' }],
      /PORT is set by Knative/,
    ),
    row(
      'sets a variable that does not exist',
      `${CONTAINER}/env`,
      [{ name: 'MAX_BODY', value: '1' }],
      /has no MAX_BODY/,
    ),
    row(
      'sends nine in ten nowhere',
      'spec/traffic',
      [{ latestRevision: true, percent: 10 }],
      /percents sum to 10/,
    ),
    row(
      'has a probe with a threshold, without a period',
      `${CONTAINER}/readinessProbe/failureThreshold`,
      3,
      /without periodSeconds/,
    ),
    row(
      'leaves a default of the probe to Knative',
      `${CONTAINER}/readinessProbe/successThreshold`,
      undefined,
      /second apply of a revision with a name/,
    ),
    row(
      'asks for what needs a feature flag',
      `${POD}/topologySpreadConstraints`,
      [],
      /topologySpreadConstraints: Knative does not allow it/,
    ),
    row(
      'is scaled in the wrong place',
      'metadata/annotations',
      { 'autoscaling.knative.dev/min-scale': '1' },
      /belongs in spec\.template/,
    ),
    row(
      'misspells an annotation',
      'spec/template/metadata/annotations',
      { 'autoscaling.knative.dev/maxscale': '1' },
      /knows no annotation/,
    ),
    row(
      'names a revision of another Service',
      'spec/template/metadata/name',
      'other-v1',
      /must begin with/,
    ),
    row('waits longer than Knative lets it', `${POD}/timeoutSeconds`, 601, /must be at most 600/),
    row(
      'probes a path that nobody answers',
      `${CONTAINER}/readinessProbe/httpGet/path`,
      '/healthz',
      /has no \/healthz/,
    ),
    row(
      "takes a port of Knative's",
      `${CONTAINER}/ports/0/containerPort`,
      9090,
      /9090 is Knative's own/,
    ),
    row(
      'runs another version',
      `${CONTAINER}/image`,
      'ghcr.io/example/onnx-function:latest',
      /package\.json's version/,
    ),
    row('runs another image', `${CONTAINER}/image`, 'ghcr.io/example/iris:0.1.0', /the others are/),
    row(
      'runs a program that is not built',
      `${CONTAINER}/args`,
      ['build/dead-letter.js'],
      /makes no build\/dead-letter\.js/,
    ),
    row(
      'may become root',
      `${CONTAINER}/securityContext/allowPrivilegeEscalation`,
      true,
      /allowPrivilegeEscalation must be false/,
    ),
    row(
      'gets a token',
      `${POD}/automountServiceAccountToken`,
      true,
      /automountServiceAccountToken/,
    ),
    row(
      'has everybody’s account',
      `${POD}/serviceAccountName`,
      undefined,
      /serviceAccountName is missing/,
    ),
  ],
  Broker: [
    row('has no dead letter sink', 'spec/delivery/deadLetterSink', undefined, /would vanish/),
    row(
      'sends dead letters to nobody',
      'spec/delivery/deadLetterSink/ref/name',
      'other',
      /there is no Service "other"/,
    ),
    row('waits in seconds as Go writes them', 'spec/delivery/backoffDelay', '500ms', /ISO 8601/),
    row('gives no time to answer', 'spec/delivery/timeout', 'PT0S', /above 0/),
  ],
  Trigger: [
    row(
      'waits for a type that nobody sends',
      'spec/filters/0/exact/type',
      'com.example.iris.classify',
      /nobody sends|no Trigger here makes/,
    ),
    row('has a map of filters', 'spec/filters', { exact: { type: 'a' } }, /must be a list/),
    row('takes every event', 'spec/filters', undefined, /every event/),
    row('has a filter of two dialects', 'spec/filters/0/suffix', { type: 'a' }, /2 dialects/),
    row(
      'filters by what is no attribute',
      'spec/filters/0',
      { exact: { 'ce-type': 'a' } },
      /is no attribute name/,
    ),
    row('delivers to nobody', 'spec/subscriber/ref/name', 'other', /there is no Service "other"/),
    row('hangs on another Broker', 'spec/broker', 'other', /there is no Broker "other"/),
    row(
      'has a delivery of its own without dead letters',
      'spec/delivery',
      { retry: 1 },
      /deadLetterSink is missing/,
    ),
  ],
  PingSource: [
    row('has a schedule of Go’s', 'spec/schedule', '@every 1m', /cron expression/),
    row(
      'sends what is not the sample',
      'spec/data',
      '{"inputs":[{"name":"input","data":[1]}]}',
      /is not the sample/,
    ),
    row('sends what is no JSON', 'spec/data', '{', /no JSON/),
    row('sends to nobody', 'spec/sink/ref/name', 'other', /there is no Broker "other"/),
  ],
  RequestReply: [
    row(
      'correlates by the id',
      'spec/correlationAttribute',
      'id',
      /must be an extension attribute/,
    ),
    row(
      'waits for an attribute that the function does not set',
      'spec/replyAttribute',
      'inreplyto',
      /copies no correlationid to inreplyto/,
    ),
    row('has a timeout of Go’s', 'spec/timeout', '60s', /ISO 8601/),
  ],
  Namespace: [
    row(
      'lets more pods in',
      'metadata/labels',
      { 'pod-security.kubernetes.io/enforce': 'baseline' },
      /must be restricted/,
    ),
    row('is not where the rest is', 'metadata/name', 'other', /is in another/),
    row('has a name that is none', 'metadata/name', 'Iris', /must be a DNS label/),
  ],
  Job: [
    row('never ends', 'spec/template/spec/restartPolicy', 'Always', /must be Never or OnFailure/),
    row(
      'runs another version',
      `${CONTAINER}/image`,
      'ghcr.io/example/onnx-function:latest',
      /package\.json's version/,
    ),
    row(
      'may become root',
      `${CONTAINER}/securityContext/allowPrivilegeEscalation`,
      true,
      /allowPrivilegeEscalation must be false/,
    ),
  ],
  CronJob: [
    row(
      'never ends',
      'spec/jobTemplate/spec/template/spec/restartPolicy',
      'Always',
      /must be Never or OnFailure/,
    ),
    row(
      'may run twice at once',
      'spec/concurrencyPolicy',
      undefined,
      /concurrencyPolicy must be Forbid/,
    ),
    row(
      'is tried again and again',
      'spec/jobTemplate/spec/backoffLimit',
      undefined,
      /backoffLimit is missing/,
    ),
    row(
      'has no token to ask with',
      'spec/jobTemplate/spec/template/spec/automountServiceAccountToken',
      false,
      /must be true/,
    ),
    row(
      'is called wrongly',
      'spec/jobTemplate/spec/template/spec/containers/0/args/1',
      '--aply',
      /args: Unknown option '--aply'/,
    ),
    row(
      'is told what it does not read',
      'spec/jobTemplate/spec/template/spec/containers/0/env/0/name',
      'PROMETHEUS',
      /reads no PROMETHEUS/,
    ),
  ],
  Role: [
    row('grants everything', 'rules/0/verbs', ['*'], /grants what nobody has thought of/),
    row('may change any of them', 'rules/0/resourceNames', undefined, /resourceNames is missing/),
    row(
      'names what has no name yet',
      'rules/1/resourceNames',
      ['event'],
      /create with resourceNames grants nothing/,
    ),
  ],
  RoleBinding: [
    row('binds a role that is not there', 'roleRef/name', 'other', /there is no Role "other"/),
    row(
      'is for an account that is not there',
      'subjects/0/name',
      'other',
      /there is no ServiceAccount "other"/,
    ),
    row('is for nobody', 'subjects', [], /subjects is empty/),
  ],
  ConfigMap: [
    row(
      'is not labelled for the sidecar',
      'metadata/labels/grafana_dashboard',
      undefined,
      /label grafana_dashboard must be "1"/,
    ),
    row(
      'holds a dashboard that is no JSON',
      'data/canary.json',
      '{',
      /data\.canary\.json is no JSON/,
    ),
    row(
      'holds a dashboard without a uid',
      'data/canary.json',
      '{"title":"Canary"}',
      /data\.canary\.json has no uid/,
    ),
  ],
  ServiceAccount: [
    row(
      'hands out a token',
      'automountServiceAccountToken',
      true,
      /automountServiceAccountToken must be false/,
    ),
    row(
      'says nothing of a token',
      'automountServiceAccountToken',
      undefined,
      /automountServiceAccountToken must be false/,
    ),
    row(
      'has another name than its pods say',
      'metadata/name',
      'other',
      /there is no ServiceAccount "(?!other)/,
    ),
  ],
  NetworkPolicy: [
    row('is for all pods', 'spec/podSelector', {}, /podSelector selects no Deployment/),
    row(
      'is for pods that are not there',
      'spec/podSelector',
      { matchLabels: { app: 'iris' } },
      /podSelector selects no Deployment/,
    ),
    row('lets everybody in', 'spec/ingress/0/from', undefined, /from is empty: everybody/),
    row('opens every port', 'spec/ingress/0/ports', [], /ports is empty: every port/),
    row('lets nobody in', 'spec/ingress', [], /nobody would be let in/),
    row('is of what goes out alone', 'spec/policyTypes', ['Egress'], /does not name Ingress/),
  ],
  PersistentVolumeClaim: [
    row('says not who writes', 'spec/accessModes', [], /accessModes is empty/),
    row('is written as nothing can be', 'spec/accessModes', ['ReadWrite'], /there is no ReadWrite/),
    row('says not how much', 'spec/resources', {}, /storage is missing/),
  ],
  Deployment: [
    row(
      'does not find its own pods',
      'spec/template/metadata/labels',
      { app: 'iris' },
      /is not on the template/,
    ),
    row(
      'is killed before it has drained',
      `${POD}/terminationGracePeriodSeconds`,
      30,
      /terminationGracePeriodSeconds is 30/,
    ),
    row(
      'closes before others have heard of it',
      `${CONTAINER}/env`,
      [],
      /DRAIN_DELAY_MS is missing/,
    ),
    row(
      'sets a value that the function refuses',
      `${CONTAINER}/env/0/value`,
      '1 MiB',
      /MAX_BODY_BYTES is "1 MiB"; it must be an integer/,
    ),
    row(
      'probes a port that is not there',
      `${CONTAINER}/livenessProbe/httpGet/port`,
      'web',
      /livenessProbe\.httpGet\.port is web/,
    ),
    row(
      'gets a token',
      `${POD}/automountServiceAccountToken`,
      undefined,
      /automountServiceAccountToken must be false/,
    ),
    row(
      'has an account that is not there',
      `${POD}/serviceAccountName`,
      'other',
      /there is no ServiceAccount "other"/,
    ),
    row('is never replaced', 'spec/strategy/rollingUpdate/maxSurge', 0, /ever be replaced/),
  ],
  Service: [
    row('selects nothing', 'spec/selector', { app: 'iris' }, /selects no Deployment/),
    row('selects everything', 'spec/selector', {}, /selects no Deployment/),
    row(
      'leads to a port that is not there',
      'spec/ports/0/targetPort',
      'web',
      /no container has a port web/,
    ),
  ],
  PodDisruptionBudget: [
    row('lets no node be drained', 'spec/maxUnavailable', 0, /ever be drained/),
    row('says two things', 'spec/minAvailable', 1, /exclude each other/),
    row('protects nothing', 'spec/selector/matchLabels', { app: 'iris' }, /selects no Deployment/),
  ],
  HorizontalPodAutoscaler: [
    row(
      'scales something else',
      'spec/scaleTargetRef/name',
      'other',
      /there is no Deployment "other"/,
    ),
    row(
      'asks for a metric that is not there',
      'spec/metrics/2/pods/metric/name',
      'inference_in_flight',
      /no metric inference_in_flight/,
    ),
    row(
      'has a target of another type',
      'spec/metrics/0/containerResource/target/type',
      'Utilization',
      /needs averageUtilization/,
    ),
    row(
      'counts another container',
      'spec/metrics/0/containerResource/container',
      'classifier',
      /no container "classifier"/,
    ),
  ],
  ScaledObject: [
    row(
      'scales something else',
      'spec/scaleTargetRef/name',
      'other',
      /there is no Deployment "other"/,
    ),
    row('has more at least than at most', 'spec/minReplicaCount', 11, /more than maxReplicaCount/),
    row('asks nothing', 'spec/triggers', [], /triggers is empty/),
    row(
      'asks for a metric that is not there',
      'spec/triggers/0',
      {
        type: 'prometheus',
        metadata: { serverAddress: 'http://p', query: 'sum(inference_in_flight)', threshold: '1' },
      },
      /no metric inference_in_flight/,
    ),
  ],
  PodMonitor: [
    row(
      'scrapes the queue-proxy',
      `${ENDPOINT}/port`,
      'http-usermetric',
      /Knative's own port|one of port and portNumber/,
    ),
    row('asks at another path', `${ENDPOINT}/path`, '/prometheus', /metrics are at \/metrics/),
    row(
      'waits longer than until the next time',
      `${ENDPOINT}/scrapeTimeout`,
      '1m',
      /longer than its interval/,
    ),
    row(
      'selects a Service that nobody makes',
      'spec/selector/matchExpressions',
      [{ key: 'serving.knative.dev/service', operator: 'In', values: ['iris'] }],
      /nothing here makes a Knative Service "iris"/,
    ),
  ],
  PrometheusRule: [
    row(
      'has an alert that says nothing',
      PROMETHEUS_RULE,
      { alert: 'Silent', expr: 'up == 0' },
      /Silent has no runbook_url/,
    ),
    row(
      'records by what is no name',
      PROMETHEUS_RULE,
      { record: 'service:requests.rate5m', expr: 'up' },
      /no name of a series/,
    ),
    row(
      'records with a delay',
      PROMETHEUS_RULE,
      { record: 'service:up', expr: 'up', for: '5m' },
      /are an alert's/,
    ),
    row(
      'has a duration of Go’s',
      PROMETHEUS_RULE,
      { alert: 'A', expr: 'up', for: '1.5m' },
      /must be a duration such as 5m/,
    ),
    row(
      'asks for a metric that is not there',
      `${PROMETHEUS_RULE}/expr`,
      'rate(inference_errors_total[5m])',
      /no metric inference_errors_total/,
    ),
    row(
      'records and alerts at once',
      PROMETHEUS_RULE,
      { record: 'a', alert: 'B', expr: 'up' },
      /one of record and alert/,
    ),
  ],
  InterceptorRoute: [
    row(
      'leads to a Service that is not there',
      'spec/target/service',
      'other',
      /there is no Service "other"/,
    ),
    row('leads to a port that is not there', 'spec/target/port', 8080, /has no port 8080/),
    row('matches nothing', 'spec/rules', [], /no request would match/),
  ],
  InferenceService: [
    row(
      'has the name that a mode had once',
      'metadata/annotations',
      { 'serving.kserve.io/deploymentMode': 'RawDeployment' },
      /must be Knative or Standard/,
    ),
    row('has fewer pods than none', 'spec/predictor/minReplicas', -1, /must not be negative/),
    row(
      'has a batcher, which speaks V1',
      'spec/predictor/batcher',
      { maxBatchSize: 8 },
      /speaks V1 only/,
    ),
    row(
      'sends more than everything to the canary',
      'spec/predictor/canaryTrafficPercent',
      110,
      /must be 0 to 100/,
    ),
    row(
      'is scaled by a metric that is not there',
      'spec/predictor/scaleMetric',
      'gpu',
      /is not for/,
    ),
  ],
  ServingRuntime: [
    row('hides its container', 'spec/containers/0/name', 'server', /named kserve-container/),
    row('serves no format', 'spec/supportedModelFormats', [], /supportedModelFormats is empty/),
    row('speaks V1 only', 'spec/protocolVersions', ['v1'], /must name v2/),
  ],
}

/** What a strict schema notices in any manifest. */
export const SCHEMA_MISTAKES: readonly Mistake[] = [
  row('misspells a field', 'spce', {}, /unknown field "spce"/),
  row(
    'has a field within its spec that nobody knows',
    'spec/unknownField',
    true,
    /unknown field "unknownField"/,
  ),
  row(
    'has an annotation that is no string',
    'metadata/annotations',
    { count: 1 },
    /annotations\.count is 1; it must be string/,
  ),
]

/** In a canary of KServe's Standard mode, whether or not the project has one. */
export const CANARY_MISTAKES: readonly Mistake[] = [
  row(
    'is in Knative mode',
    'metadata/annotations',
    { 'serving.kserve.io/deploymentMode': 'Knative' },
    /Standard mode only/,
  ),
  row('has the stable predictor’s name', 'spec/canary/0/predictor/name', 'stable', /used twice/),
  row('scales', 'spec/canary/0/predictor/maxReplicas', 3, /maxReplicas is not allowed/),
  row(
    'has more pods than the stable predictor',
    'spec/canary/0/predictor/minReplicas',
    3,
    /more than the stable/,
  ),
  row('gets more than everything', 'spec/canary/0/trafficPercent', 101, /percents sum to 101/),
]

/** In a text file: what is written, and what in its place. */
export const TEXT_MISTAKES: readonly {
  file: string
  what: string
  from: RegExp
  to: string
  says: RegExp
}[] = [
  {
    file: 'func.yaml',
    what: 'another target than the Service',
    from: /target: 32/,
    to: 'target: 16',
    says: /scale\.target is 16/,
  },
  {
    file: 'func.yaml',
    what: 'another health path',
    from: /\/health\/readiness/,
    to: '/ready',
    says: /readiness is \/ready/,
  },
  {
    file: 'func.yaml',
    what: 'a subscription nobody sends to',
    from: /classify\.request/,
    to: 'request',
    says: /no Trigger is for/,
  },
  {
    file: 'func.yaml',
    what: 'a script that is not there',
    from: /value: build\n/,
    to: 'value: compile\n',
    says: /no script compile/,
  },
  {
    file: 'func.yaml',
    what: 'another start',
    from: /node .*build\/main\.js/,
    to: 'npm start',
    says: /NODE_CMD is "npm start"/,
  },
  {
    file: 'func.yaml',
    what: 'another Node',
    from: /24\.\*/,
    to: '22.*',
    says: /BP_NODE_VERSION is 22/,
  },
  {
    file: 'func.yaml',
    what: 'no time of its creation',
    from: /created: .*\n/,
    to: 'created: now\n',
    says: /takes this for no function/,
  },
  {
    file: '.funcignore',
    what: 'the build’s scripts',
    from: /^bench$/m,
    to: 'scripts',
    says: /leaves out scripts/,
  },
  {
    file: '.funcignore',
    what: 'nothing of node_modules',
    from: /^node_modules$/m,
    to: '',
    says: /does not leave out node_modules/,
  },
  {
    file: '.dockerignore',
    what: 'nothing of knative',
    from: /^!knative$/m,
    to: '',
    says: /leaves out knative/,
  },
  {
    file: 'Dockerfile',
    what: 'another port',
    from: /EXPOSE 8080/,
    to: 'EXPOSE 3000',
    says: /EXPOSE is not 8080/,
  },
  { file: 'Dockerfile', what: 'root', from: /USER .*/, to: 'USER root', says: /USER is no number/ },
  {
    file: 'Dockerfile',
    what: 'another Node',
    from: /node:24\.\d+\.\d+/,
    to: 'node:22.1.0',
    says: /is not Node 24/,
  },
  {
    file: 'Dockerfile',
    what: 'npm as its program',
    from: /ENTRYPOINT .*/,
    to: 'ENTRYPOINT ["npm"]',
    says: /ENTRYPOINT is not node/,
  },
  {
    file: 'compose.yaml',
    what: 'a variable that does not exist',
    from: /MAX_BODY_BYTES:/,
    to: 'LOGLEVEL:',
    says: /has no LOGLEVEL/,
  },
  {
    file: 'compose.yaml',
    what: 'another port',
    from: /:8080:8080/,
    to: ':8080:3000',
    says: /not published from 8080/,
  },
  {
    file: 'compose.yaml',
    what: 'a password',
    from: /^services:\n/m,
    to: 'services:\n  db: {image: "a:1", environment: {PASSWORD: admin}}\n',
    says: /PASSWORD is written down/,
  },
]
