/** An object as the API server returns it. Each mode reads the fields that it knows. */
// biome-ignore lint/suspicious/noExplicitAny: custom resources have no types here
export type KubernetesObject = any

/** The canary's state, which is read from the object alone. */
export interface Canary {
  readonly percent: number
  /** All later requests were served with this specification. */
  readonly since: Date
  readonly setBy: string
  readonly untouched: boolean
  readonly old: Revision
  readonly new: Revision
  /** Why the new revision cannot accept traffic yet. */
  readonly notReady?: string
  /**
   * Whether requests to the new revision fail because it has no pod. Knative queues them instead.
   */
  readonly isDown?: boolean
  readonly unrouted?: string
}

export interface Revision {
  readonly name: string
  /**
   * PromQL matchers for the revision's series, with the target labels in docs/metrics.md#scraping.
   */
  readonly series: string
}

/**
 * A canary, or an action without one: `idle` has nothing to do, `wait` waits for the platform, and
 * `stand` needs a person's decision.
 */
export type State =
  | { readonly canary: Canary }
  | { readonly action: 'idle' | 'wait' | 'stand'; readonly reason: string }

/**
 * Reads another object in the same namespace; undefined if it does not exist.
 * @throws {ClusterError}
 */
export type Find = (resource: Resource, name: string) => Promise<KubernetesObject | undefined>

export interface Mode {
  readonly name: string
  read(object: KubernetesObject, find: Find): State | Promise<State>
  /** Returns a merge patch that sets the new revision's percentage; 100 ends the canary. */
  patch(object: KubernetesObject, percent: number): object
}

export interface Resource {
  readonly group: string
  readonly version: string
  readonly plural: string
  readonly kind: string
}

export const RESOURCES = {
  inferenceservice: {
    group: 'serving.kserve.io',
    version: 'v1beta1',
    plural: 'inferenceservices',
    kind: 'InferenceService',
  },
  service: { group: 'serving.knative.dev', version: 'v1', plural: 'services', kind: 'Service' },
  httproute: {
    group: 'gateway.networking.k8s.io',
    version: 'v1',
    plural: 'httproutes',
    kind: 'HTTPRoute',
  },
} as const satisfies Record<string, Resource>

export const FIELD_MANAGER = 'onnx-function-canary'

/**
 * Reads from metadata.managedFields who set a field, and when the object last changed.
 * @param path such as ['spec', 'traffic']
 * @returns undefined if no manager is recorded for the field
 */
export function history(
  { metadata }: KubernetesObject,
  path: readonly string[],
): Pick<Canary, 'since' | 'setBy' | 'untouched'> | undefined {
  const changes = changesOf(metadata)
  const setter = changes.find(change => isAbout(change, path))
  const [last] = changes
  if (setter === undefined) return undefined
  return {
    since: new Date(last.time),
    setBy: setter.manager,
    untouched: last.manager === FIELD_MANAGER,
  }
}

export function changedAt(
  { metadata }: KubernetesObject,
  path: readonly string[],
): Date | undefined {
  const change = changesOf(metadata).find(change => isAbout(change, path))
  return change === undefined ? undefined : new Date(change.time)
}

/** The entries of metadata.managedFields, newest first, without changes of the status. */
const changesOf = ({ managedFields = [] }: KubernetesObject): KubernetesObject[] =>
  managedFields
    .filter(({ subresource }: KubernetesObject) => subresource === undefined)
    .sort((a: KubernetesObject, b: KubernetesObject) => Date.parse(b.time) - Date.parse(a.time))

const isAbout = ({ fieldsV1 }: KubernetesObject, path: readonly string[]) =>
  path.reduce((at, name) => at?.[`f:${name}`], fieldsV1) !== undefined

export const UNRECORDED = {
  action: 'stand',
  reason: 'metadata.managedFields does not record when the percentage was set: set it again',
} as const
