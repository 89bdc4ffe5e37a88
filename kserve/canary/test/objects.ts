import type { KubernetesObject } from '../rollout/state.ts'
import { ApiServer, type Plural } from './api-server.ts'

/**
 * A canary in each mode, with as much of its controllers as necessary: Knative 1.23, KServe 0.20
 * and Gateway API 1.5. Standard mode follows the next KServe version, which sets weights
 * (kserve/kserve#5912).
 */
export interface Rollout {
  readonly plural: Plural
  readonly args: readonly string[]
  readonly object: KubernetesObject
  readonly at: (percent: number) => object
  readonly percent: (object: KubernetesObject) => number | undefined
  readonly reconcile: (api: ApiServer) => (object: KubernetesObject) => void
  readonly beside?: ApiServer['beside']
  /** Leaves the new revision without a ready pod. */
  readonly makeUnready: (api: ApiServer) => void
  /** Makes the route not apply the percentage. */
  readonly unroute: (api: ApiServer) => void
  readonly newSeries: string
}

const metadata = { name: 'iris-classifier', namespace: 'iris' }

const KSERVE_KNATIVE: Rollout = {
  plural: 'inferenceservices',
  args: ['iris-classifier'],
  object: {
    apiVersion: 'serving.kserve.io/v1beta1',
    kind: 'InferenceService',
    metadata: { ...metadata, annotations: { 'serving.kserve.io/deploymentMode': 'Knative' } },
    spec: {
      predictor: {
        minReplicas: 0,
        containers: [{ name: 'kserve-container', image: 'onnx-function:2' }],
      },
    },
    status: {
      deploymentMode: 'Knative',
      components: {
        predictor: {
          latestCreatedRevision: 'iris-classifier-predictor-00002',
          latestReadyRevision: 'iris-classifier-predictor-00002',
          latestRolledoutRevision: 'iris-classifier-predictor-00001',
        },
      },
    },
  },
  at: percent => ({ spec: { predictor: { canaryTrafficPercent: percent } } }),
  percent: ({ spec }) => spec.predictor.canaryTrafficPercent,
  // As in KServe's inference_service_status.go, a revision that gets all traffic counts as rolled
  // out.
  reconcile: api => object => {
    const percent = object.spec.predictor.canaryTrafficPercent
    const { latestCreatedRevision, latestRolledoutRevision } = object.status.components.predictor
    const traffic = [
      { revisionName: latestCreatedRevision, latestRevision: true, percent: percent ?? 100 },
      { revisionName: latestRolledoutRevision, percent: 100 - (percent ?? 100), tag: 'prev' },
    ]
    const rolledOut = percent === undefined ? latestCreatedRevision : latestRolledoutRevision
    api.setStatus({ components: { predictor: { traffic, latestRolledoutRevision: rolledOut } } })
  },
  makeUnready: api =>
    api.setStatus({
      components: { predictor: { latestReadyRevision: 'iris-classifier-predictor-00001' } },
    }),
  unroute: api =>
    api.setStatus({
      components: {
        predictor: {
          traffic: [{ revisionName: 'iris-classifier-predictor-00001', percent: 100 }],
        },
      },
    }),
  newSeries:
    'namespace="iris",service="iris-classifier-predictor",revision="iris-classifier-predictor-00002"',
}

const model = (version: string) => ({
  modelFormat: { name: 'onnx' },
  runtime: 'onnx-function',
  storageUri: `pvc://iris-models/${version}`,
})

const GROUPS = { httproutes: 'gateway.networking.k8s.io', deployments: 'apps' } as const

const pathOf = (namespace: string, plural: keyof typeof GROUPS, name = 'iris-classifier') =>
  `/apis/${GROUPS[plural]}/v1/namespaces/${namespace}/${plural}/${name}`

const routeOf = (backendRefs: readonly object[]) => ({
  apiVersion: 'gateway.networking.k8s.io/v1',
  kind: 'HTTPRoute',
  metadata,
  spec: {
    parentRefs: [{ name: 'public', namespace: 'gateways' }],
    hostnames: ['iris.example.com'],
    rules: [{ backendRefs: backendRefs.map(ref => ({ port: 80, ...ref })) }],
  },
})

const KSERVE_STANDARD: Rollout = {
  plural: 'inferenceservices',
  args: ['iris-classifier'],
  object: {
    apiVersion: 'serving.kserve.io/v1beta1',
    kind: 'InferenceService',
    metadata: { ...metadata, annotations: { 'serving.kserve.io/deploymentMode': 'Standard' } },
    spec: {
      predictor: { minReplicas: 2, terminationGracePeriodSeconds: 50, model: model('v1.0.0') },
    },
    status: {
      deploymentMode: 'Standard',
      canaryStatuses: [{ name: 'v2-0-0', ready: true, trafficPercent: 10 }],
    },
  },
  at: trafficPercent => ({
    spec: {
      canary: [
        {
          trafficPercent,
          predictor: {
            name: 'v2-0-0',
            minReplicas: 1,
            model: { name: 'kserve-container', ...model('v2.0.0') },
          },
        },
      ],
    },
  }),
  percent: ({ spec }) => spec.canary?.[0].trafficPercent,
  reconcile: () => () => {},
  beside: ({ metadata: { namespace }, spec: { canary } }) => ({
    [pathOf(namespace, 'httproutes')]: routeOf([
      { name: 'iris-classifier-predictor', weight: 100 - (canary?.[0].trafficPercent ?? 0) },
      ...(canary === undefined
        ? []
        : [{ name: 'iris-classifier-v2-0-0-predictor', weight: canary[0].trafficPercent }]),
    ]),
  }),
  makeUnready: api =>
    api.setStatus({ canaryStatuses: [{ name: 'v2-0-0', ready: false, trafficPercent: 10 }] }),
  // The route that KServe 0.20 writes.
  unroute: api => {
    const route = routeOf([{ name: 'iris-classifier-predictor' }])
    api.beside = ({ metadata }) => ({ [pathOf(metadata.namespace, 'httproutes')]: route })
  },
  newSeries:
    'namespace="iris",service="iris-classifier",pod=~"iris-classifier-v2-0-0-predictor-[a-z0-9]+-[a-z0-9]{5}"',
}

const KNATIVE: Rollout = {
  plural: 'services',
  args: ['--kind', 'service', 'iris-classifier'],
  object: {
    apiVersion: 'serving.knative.dev/v1',
    kind: 'Service',
    metadata,
    spec: {
      template: {
        metadata: { name: 'iris-classifier-v2-0-0' },
        spec: { containers: [{ image: 'onnx-function:2' }] },
      },
    },
    status: {
      latestCreatedRevisionName: 'iris-classifier-v2-0-0',
      latestReadyRevisionName: 'iris-classifier-v2-0-0',
    },
  },
  at: percent => ({
    spec: {
      traffic: [
        { revisionName: 'iris-classifier-v1-0-0', percent: 100 - percent, tag: 'stable' },
        { revisionName: 'iris-classifier-v2-0-0', percent, tag: 'preview' },
      ],
    },
  }),
  percent: ({ spec }) => spec.traffic?.[1].percent,
  reconcile: api => object => {
    if (object.status.observedGeneration !== object.metadata.generation)
      api.setStatus({
        observedGeneration: object.metadata.generation,
        traffic: object.spec.traffic,
      })
  },
  makeUnready: api => api.setStatus({ latestReadyRevisionName: 'iris-classifier-v1-0-0' }),
  unroute: api =>
    api.setStatus({ traffic: [{ revisionName: 'iris-classifier-v1-0-0', percent: 100 }] }),
  newSeries: 'namespace="iris",service="iris-classifier",revision="iris-classifier-v2-0-0"',
}

/** All pods have the Deployment's current template. */
export const deploymentOf = (name: string, status: object = {}, templateSet = '2026-01-01') => ({
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: {
    ...metadata,
    name,
    generation: 3,
    managedFields: [
      {
        manager: 'kubectl-client-side-apply',
        operation: 'Update',
        time: new Date(templateSet).toISOString(),
        fieldsV1: { 'f:spec': { 'f:template': {} } },
      },
    ],
  },
  status: {
    observedGeneration: 3,
    replicas: 2,
    updatedReplicas: 2,
    availableReplicas: 2,
    ...status,
  },
})

export const deployments =
  (ofNew: ReturnType<typeof deploymentOf>): ApiServer['beside'] =>
  ({ metadata: { namespace } }) => ({
    [pathOf(namespace, 'deployments')]: deploymentOf('iris-classifier'),
    [pathOf(namespace, 'deployments', 'iris-classifier-v2-0-0')]: ofNew,
  })

const parentStatus = (observedGeneration: number, accepted = 'True') => [
  {
    parentRef: { name: 'public', namespace: 'gateways' },
    controllerName: 'example.com/gateway',
    conditions: [
      {
        type: 'Accepted',
        status: accepted,
        reason: accepted === 'True' ? 'Accepted' : 'NotAllowedByListeners',
        message: 'no listener accepts routes of this namespace',
        observedGeneration,
      },
      { type: 'ResolvedRefs', status: 'True', reason: 'ResolvedRefs', observedGeneration },
    ],
  },
]

const HTTP_ROUTE: Rollout = {
  plural: 'httproutes',
  args: ['--kind', 'httproute', 'iris-classifier'],
  object: { ...routeOf([]), status: {} },
  at: percent => ({
    spec: {
      rules: [
        {
          backendRefs: [
            { name: 'iris-classifier', port: 80, weight: 100 - percent },
            { name: 'iris-classifier-v2-0-0', port: 80, weight: percent },
          ],
        },
      ],
    },
  }),
  percent: ({ spec }) => spec.rules[0].backendRefs[1]?.weight,
  reconcile: api => object => api.setStatus({ parents: parentStatus(object.metadata.generation) }),
  beside: deployments(deploymentOf('iris-classifier-v2-0-0')),
  makeUnready: api => {
    api.beside = deployments(deploymentOf('iris-classifier-v2-0-0', { availableReplicas: 0 }))
  },
  unroute: api => api.setStatus({ parents: parentStatus(api.object.metadata.generation, 'False') }),
  newSeries: 'namespace="iris",pod=~"iris-classifier-v2-0-0-[a-z0-9]+-[a-z0-9]{5}"',
}

export const ROLLOUTS = {
  'KServe in Knative mode': KSERVE_KNATIVE,
  'KServe in Standard mode': KSERVE_STANDARD,
  'Knative alone': KNATIVE,
  'an HTTPRoute': HTTP_ROUTE,
} as const

export async function startCanaryObject(
  { plural, object, at, reconcile, beside }: Rollout,
  percent: number,
  since: Date,
  by = 'kubectl-client-side-apply',
): Promise<ApiServer> {
  const api = new ApiServer(object, plural)
  await api.start()
  api.reconcile = reconcile(api)
  if (beside !== undefined) api.beside = beside
  api.change(by, at(percent), since)
  return api
}
