import { history, type KubernetesObject, type Mode, type Revision, UNRECORDED } from './state.ts'

/**
 * KServe in Standard mode: `spec.canary`, a Deployment of its own and weights of the Gateway API.
 */
export const kserveStandard: Mode = {
  name: 'KServe, Standard mode',

  read(object) {
    const { canary: [entry, ...others] = [], predictor } = object.spec
    if (entry === undefined) return { action: 'idle', reason: 'no canary: spec.canary is empty' }
    if (others.length > 0)
      return {
        action: 'stand',
        reason: `spec.canary has ${others.length + 1} entries: which is meant cannot be told`,
      }
    if (entry.trafficPercent >= 100)
      return { action: 'idle', reason: `${entry.predictor.name} was given all traffic` }
    const set = history(object, ['spec', 'canary'])
    if (set === undefined) return UNRECORDED
    const ready =
      object.status?.canaryStatuses?.find(
        ({ name }: KubernetesObject) => name === entry.predictor.name,
      )?.ready === true
    return {
      canary: {
        percent: entry.trafficPercent,
        ...set,
        old: revision(object, predictor.name),
        new: revision(object, entry.predictor.name),
        ...(ready ? {} : { notReady: `no pod of ${entry.predictor.name} is ready` }),
      },
    }
  },

  patch({ spec: { canary } }, percent) {
    const [entry] = canary
    if (percent < 100) return { spec: { canary: [{ ...entry, trafficPercent: percent }] } }
    // With the canary's name and pod template, its Deployment becomes the stable one without a
    // restart. The canary's number of pods does not carry over. KServe 0.20's schema requires a name
    // of a canary's model, and its webhook refuses that name in the stable predictor.
    const { minReplicas: _, ...of } = entry.predictor
    const { name: __, ...model } = of.model ?? {}
    return { spec: { predictor: of.model === undefined ? of : { ...of, model }, canary: null } }
  },
}

/**
 * Matches pods by name: Kubernetes appends the template's hash and five letters to the
 * Deployment's. The hash, which is the label `revision`, is not in the InferenceService.
 */
function revision({ metadata }: KubernetesObject, predictor: string | undefined): Revision {
  const name = [metadata.name, ...(predictor === undefined ? [] : [predictor]), 'predictor'].join(
    '-',
  )
  return {
    name,
    series: `namespace="${metadata.namespace}",service="${metadata.name}",pod=~"${name}-[a-z0-9]+-[a-z0-9]{5}"`,
  }
}
