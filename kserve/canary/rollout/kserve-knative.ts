import { unroutedIn } from './knative.ts'
import { history, type KubernetesObject, type Mode, type Revision, UNRECORDED } from './state.ts'

/**
 * KServe in Knative mode: `spec.predictor.canaryTrafficPercent`. The patch sets no annotations:
 * KServe copies them into the template, which would create a new revision.
 */
export const kserveKnative: Mode = {
  name: 'KServe, Knative mode',

  read(object) {
    const percent = object.spec.predictor.canaryTrafficPercent
    const {
      latestCreatedRevision: created,
      latestReadyRevision: ready,
      latestRolledoutRevision: old,
      traffic,
    } = object.status?.components?.predictor ?? {}
    if (percent === undefined)
      return {
        action: 'idle',
        reason: `no canary: ${created ?? 'the first revision'} gets all traffic`,
      }
    if (percent >= 100)
      return { action: 'idle', reason: `${created ?? 'the first revision'} has all traffic` }
    // KServe ignores the percentage until one revision has had all traffic.
    if (old === undefined || created === undefined || created === old)
      return { action: 'wait', reason: 'KServe has no second revision yet' }
    const set = history(object, ['spec', 'predictor', 'canaryTrafficPercent'])
    if (set === undefined) return UNRECORDED
    return {
      canary: {
        percent,
        ...set,
        old: revision(object, old),
        new: revision(object, created),
        ...(ready === created ? {} : { notReady: `${created} is not ready` }),
        ...unroutedIn(traffic, created, 'status.components.predictor.traffic'),
      },
    }
  },

  // KServe promotes the new revision when the field is removed.
  patch: (_, percent) => ({
    spec: { predictor: { canaryTrafficPercent: percent === 100 ? null : percent } },
  }),
}

const revision = ({ metadata }: KubernetesObject, name: string): Revision => ({
  name,
  series: `namespace="${metadata.namespace}",service="${metadata.name}-predictor",revision="${name}"`,
})
