import type { Manifest } from './sources.ts'

export const KNATIVE_SERVICE = 'serving.knative.dev/Service'

/** The kind, with the group for a Service that is not Kubernetes' own. */
export const kindOf = ({ apiVersion, kind }: Manifest): string => {
  const [group] = apiVersion.split('/')
  return kind === 'Service' && group !== 'v1' ? `${group}/Service` : kind
}

/** The paths of the pods in each kind; an InferenceService also has pods of its canaries. */
const PODS: Readonly<Record<string, readonly string[]>> = {
  [KNATIVE_SERVICE]: ['spec/template/spec'],
  Deployment: ['spec/template/spec'],
  Job: ['spec/template/spec'],
  CronJob: ['spec/jobTemplate/spec/template/spec'],
  InferenceService: ['spec/predictor', 'spec/canary/*/predictor'],
  ServingRuntime: ['spec'],
  ClusterServingRuntime: ['spec'],
}

export interface Found {
  readonly at: string
  readonly value: Manifest
}

/** Every field that the path matches; `*` matches every item. A missing field is undefined. */
export function find(value: Manifest, path: string, at = ''): Found[] {
  if (path === '') return [{ at, value }]
  const [key = '', ...rest] = path.split('/')
  const join = (name: string) => (at === '' ? name : `${at}.${name}`)
  if (key === '*')
    return Object.entries(value ?? {}).flatMap(([name, inner]) =>
      find(inner, rest.join('/'), join(name)),
    )
  const inner = value?.[key]
  if (inner !== undefined) return find(inner, rest.join('/'), join(key))
  return rest.includes('*') ? [] : [{ at: join(path.replaceAll('/', '.')), value: undefined }]
}

export const podsOf = (object: Manifest): readonly Found[] =>
  (PODS[kindOf(object)] ?? []).flatMap(path => find(object, path))

/** The containers of an object. If it has a `model`, the runtime creates the containers. */
export const containersOf = (object: Manifest): readonly Found[] =>
  podsOf(object).flatMap(({ value, at }) =>
    (value?.containers ?? []).map((container: Manifest) => ({
      at: `${at}.containers`,
      // A pod's security context applies to its containers.
      value: {
        ...container,
        securityContext: { ...value.securityContext, ...container.securityContext },
      },
    })),
  )

export const podLabelsOf = (object: Manifest): Readonly<Record<string, string>> =>
  object.spec.template.metadata?.labels ?? {}

export const typesOf = (trigger: Manifest): string[] =>
  find(trigger, 'spec/filters/*/exact/type').flatMap(({ value }) => value ?? [])
