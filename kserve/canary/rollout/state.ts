/** A Kubernetes object as the API server gives it; a mode looks at the fields it knows. */
// biome-ignore lint/suspicious/noExplicitAny: a custom resource has no type of its own here
export type KubernetesObject = any

/** A canary under way, read from the object alone: nothing of it is kept anywhere else. */
export interface Canary {
  readonly percent: number
  /** When anybody last changed the object: from then on what is counted was served by what it says now. */
  readonly since: Date
  /** Who set the percent, by the name of the field manager. */
  readonly setBy: string
  /** The last change is this program's own. */
  readonly untouched: boolean
  readonly old: Revision
  readonly new: Revision
  /** Why the new revision cannot take traffic yet. */
  readonly notReady?: string
}

export interface Revision {
  readonly name: string
  /** PromQL matchers of its series, by what Prometheus puts on targets (docs/metrics.md#how-they-are-scraped). */
  readonly series: string
}

/** Or there is none: `idle` as it should be, `wait` for the platform, `stand` where a person has to decide. */
export type State =
  | { readonly canary: Canary }
  | { readonly action: 'idle' | 'wait' | 'stand'; readonly reason: string }

/** A way to split traffic between two revisions. */
export interface Mode {
  readonly name: string
  read(object: KubernetesObject): State
  /** A merge patch that gives the new revision so many percent; 100 ends the canary. */
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
} as const satisfies Record<string, Resource>

/** Under this name the API server records what is set here, and when; that record is all this remembers. */
export const FIELD_MANAGER = 'onnx-function-canary'

/**
 * Who set a field, and since when the object is as it is, by the API server's own record (metadata.managedFields).
 * @param path of the field, such as ['spec', 'traffic']
 */
export function history(
  { metadata }: KubernetesObject,
  path: readonly string[],
): Pick<Canary, 'since' | 'setBy' | 'untouched'> | undefined {
  const changes: KubernetesObject[] = (metadata.managedFields ?? [])
    // Status is written by controllers, all the time.
    .filter(({ subresource }: KubernetesObject) => subresource === undefined)
    .sort((a: KubernetesObject, b: KubernetesObject) => Date.parse(b.time) - Date.parse(a.time))
  const setter = changes.find(
    ({ fieldsV1 }) => path.reduce((at, name) => at?.[`f:${name}`], fieldsV1) !== undefined,
  )
  const [last] = changes
  if (setter === undefined) return undefined
  return {
    since: new Date(last.time),
    setBy: setter.manager,
    untouched: last.manager === FIELD_MANAGER,
  }
}

export const UNRECORDED = {
  action: 'stand',
  reason: 'metadata.managedFields does not say who set the percent, nor when: set it once more',
} as const
