import {
  type Canary,
  history,
  type KubernetesObject,
  type Mode,
  type Revision,
  UNRECORDED,
} from './state.ts'

/** Knative without KServe: `spec.traffic` of a Service, whose latest revision is the new one. */
export const knative: Mode = {
  name: 'Knative',

  read(object) {
    const {
      latestCreatedRevisionName: created,
      latestReadyRevisionName: ready,
      observedGeneration,
    } = object.status ?? {}
    if (observedGeneration !== object.metadata.generation)
      return { action: 'wait', reason: 'Knative has not observed the last change yet' }
    const { fresh, others } = split(object)
    const [old, ...more] = others.filter(({ percent = 0 }) => percent > 0)
    if (fresh === undefined)
      return { action: 'idle', reason: `no canary: spec.traffic does not name ${created}` }
    if (old === undefined) return { action: 'idle', reason: `${created} has all traffic` }
    if (more.length > 0)
      return {
        action: 'stand',
        reason: 'spec.traffic has three or more revisions; only two can be compared',
      }
    const set = history(object, ['spec', 'traffic'])
    if (set === undefined) return UNRECORDED
    return {
      canary: {
        percent: fresh.percent ?? 0,
        ...set,
        old: revision(object, old.revisionName),
        new: revision(object, created),
        ...(ready === created ? {} : { notReady: `${created} is not ready` }),
        ...unroutedIn(object.status.traffic, created, 'status.traffic of the Service'),
      },
    }
  },

  patch(object, percent) {
    const { fresh, others } = split(object)
    const old = others.find(target => (target.percent ?? 0) > 0)
    const traffic = object.spec.traffic.map((target: KubernetesObject) => {
      if (target === fresh) return { ...target, percent }
      return target === old ? { ...target, percent: 100 - percent } : target
    })
    return { spec: { traffic } }
  },
}

function split({ spec, status }: KubernetesObject): {
  fresh: KubernetesObject
  others: KubernetesObject[]
} {
  const traffic: KubernetesObject[] = spec.traffic ?? []
  const latest = status?.latestCreatedRevisionName
  const fresh = traffic.find(
    ({ revisionName, latestRevision }) => latestRevision === true || revisionName === latest,
  )
  return { fresh, others: traffic.filter(target => target !== fresh) }
}

const revision = ({ metadata }: KubernetesObject, name: string): Revision => ({
  name,
  series: `namespace="${metadata.namespace}",service="${metadata.name}",revision="${name}"`,
})

/**
 * Reports a route that gives the revision no traffic. A smaller share is not a fault, because
 * Knative can move traffic slowly (serving.knative.dev/rollout-duration).
 */
export function unroutedIn(
  traffic: readonly KubernetesObject[] | undefined,
  revision: string,
  field: string,
): Pick<Canary, 'unrouted'> {
  const targets = (traffic ?? []).filter(({ revisionName }) => revisionName === revision)
  if (targets.some(({ percent = 0 }) => percent > 0)) return {}
  return {
    unrouted: `${field} gives ${revision} no traffic: Knative's route does not apply the percentage`,
  }
}
