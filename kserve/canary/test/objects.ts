import type { KubernetesObject } from '../rollout/state.ts'
import { ApiServer, type Plural } from './api-server.ts'

/**
 * A canary in each mode, and the part of its controller that this needs (KServe 0.20, Knative
 * 1.23).
 */
export interface Rollout {
  readonly plural: Plural
  readonly args: readonly string[]
  readonly object: KubernetesObject
  /** A patch that gives the new revision this percent. */
  readonly at: (percent: number) => object
  readonly percent: (object: KubernetesObject) => number | undefined
  readonly reconcile: (api: ApiServer) => (object: KubernetesObject) => void
  /** PromQL matchers of the new revision's series. */
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
  // inference_service_status.go: a revision with all traffic is rolled out.
  reconcile: api => object => {
    if (object.spec.predictor.canaryTrafficPercent !== undefined) return
    const { latestCreatedRevision } = object.status.components.predictor
    api.setStatus({ components: { predictor: { latestRolledoutRevision: latestCreatedRevision } } })
  },
  newSeries:
    'namespace="iris",service="iris-classifier-predictor",revision="iris-classifier-predictor-00002"',
}

const model = (version: string) => ({
  modelFormat: { name: 'onnx' },
  runtime: 'onnx-function',
  storageUri: `pvc://iris-models/${version}`,
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
      api.setStatus({ observedGeneration: object.metadata.generation })
  },
  newSeries: 'namespace="iris",service="iris-classifier",revision="iris-classifier-v2-0-0"',
}

export const ROLLOUTS = {
  'KServe in Knative mode': KSERVE_KNATIVE,
  'KServe in Standard mode': KSERVE_STANDARD,
  'Knative alone': KNATIVE,
} as const

/** An API server with a canary at this percent, set by `by` at `since`. */
export async function startCanaryObject(
  { plural, object, at, reconcile }: Rollout,
  percent: number,
  since: Date,
  by = 'kubectl-client-side-apply',
): Promise<ApiServer> {
  const api = new ApiServer(object, plural)
  await api.start()
  api.reconcile = reconcile(api)
  api.change(by, at(percent), since)
  return api
}
