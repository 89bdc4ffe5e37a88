/** A Kubernetes object as the API server returns it; each mode reads the fields it knows. */
// biome-ignore lint/suspicious/noExplicitAny: a custom resource has no type of its own here
export type KubernetesObject = any

/** A canary in progress. All of it is read from the object: there is no other state. */
export interface Canary {
  readonly percent: number
  /** The object's last change: everything counted since was served by the current specification. */
  readonly since: Date
  /** The field manager that set the percent. */
  readonly setBy: string
  /** Whether this program made the last change. */
  readonly untouched: boolean
  readonly old: Revision
  readonly new: Revision
  /** Why the new revision cannot take traffic yet. */
  readonly notReady?: string
  /** Whether requests to the new revision fail because it has no pod; a platform may hold them. */
  readonly isDown?: boolean
  /** Why the route that carries the traffic does not give the new revision its percent. */
  readonly unrouted?: string
}

export interface Revision {
  readonly name: string
  /** PromQL matchers of its series: the target labels of docs/metrics.md#how-they-are-scraped. */
  readonly series: string
}

/** Without a canary: `idle` needs nothing, `wait` is for the platform, `stand` needs a person. */
export type State =
  | { readonly canary: Canary }
  | { readonly action: 'idle' | 'wait' | 'stand'; readonly reason: string }

/**
 * Reads another object of the same namespace; undefined when there is none.
 * @throws {ClusterError}
 */
export type Find = (resource: Resource, name: string) => Promise<KubernetesObject | undefined>

/** A way to split traffic between two revisions. */
export interface Mode {
  readonly name: string
  read(object: KubernetesObject, find: Find): State | Promise<State>
  /** A merge patch that gives the new revision this percent of traffic; 100 ends the canary. */
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

/**
 * The API server records changes under this name, with their time. The canary keeps no other state.
 */
export const FIELD_MANAGER = 'onnx-function-canary'

/**
 * The manager that set a field, and the time of the object's last change, from
 * metadata.managedFields.
 * @param path of the field, such as ['spec', 'traffic']
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

/** When a field was last changed, if metadata.managedFields records it. */
export function changedAt(
  { metadata }: KubernetesObject,
  path: readonly string[],
): Date | undefined {
  const change = changesOf(metadata).find(change => isAbout(change, path))
  return change === undefined ? undefined : new Date(change.time)
}

/** Entries of metadata.managedFields, the newest first; controllers write status all the time. */
const changesOf = ({ managedFields = [] }: KubernetesObject): KubernetesObject[] =>
  managedFields
    .filter(({ subresource }: KubernetesObject) => subresource === undefined)
    .sort((a: KubernetesObject, b: KubernetesObject) => Date.parse(b.time) - Date.parse(a.time))

const isAbout = ({ fieldsV1 }: KubernetesObject, path: readonly string[]) =>
  path.reduce((at, name) => at?.[`f:${name}`], fieldsV1) !== undefined

export const UNRECORDED = {
  action: 'stand',
  reason: 'metadata.managedFields does not say who set the percent, nor when: set it once more',
} as const
