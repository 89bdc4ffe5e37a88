import { deploymentRevision } from './deployment.ts'
import { weightInRoute } from './http-route.ts'
import {
  type Find,
  history,
  type KubernetesObject,
  type Mode,
  type Revision,
  UNRECORDED,
} from './state.ts'

/**
 * KServe in Standard mode: `spec.canary`, a separate Deployment and weights of the Gateway API.
 * KServe 0.20 uses `trafficPercent` only for the status: its HTTPRoute keeps one backendRef.
 */
export const kserveStandard: Mode = {
  name: 'KServe, Standard mode',

  async read(object, find) {
    const { canary: [entry, ...others] = [], predictor } = object.spec
    if (entry === undefined) return { action: 'idle', reason: 'no canary: spec.canary is empty' }
    if (others.length > 0)
      return {
        action: 'stand',
        reason: `spec.canary has ${others.length + 1} entries; one is allowed`,
      }
    if (entry.trafficPercent >= 100)
      return { action: 'idle', reason: `${entry.predictor.name} has all traffic` }
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
        ...(ready && entry.trafficPercent > 0 ? await routed(object, entry, find) : {}),
      },
    }
  },

  patch({ spec: { canary } }, percent) {
    const [entry] = canary
    if (percent < 100) return { spec: { canary: [{ ...entry, trafficPercent: percent }] } }
    // With the canary's name and pod template, the canary's Deployment becomes the stable one without
    // a restart. The stable predictor keeps its number of pods. KServe 0.20's schema requires a name
    // for a canary's model, but its webhook rejects that name in the stable predictor.
    const { minReplicas: _, ...of } = entry.predictor
    const { name: __, ...model } = of.model ?? {}
    return { spec: { predictor: of.model === undefined ? of : { ...of, model }, canary: null } }
  },
}

function revision({ metadata }: KubernetesObject, predictor: string | undefined): Revision {
  const matchers = [`service="${metadata.name}"`]
  return deploymentRevision(metadata.namespace, predictorOf(metadata.name, predictor), matchers)
}

const predictorOf = (name: string, predictor: string | undefined) =>
  [name, ...(predictor === undefined ? [] : [predictor]), 'predictor'].join('-')

async function routed(
  { metadata: { name } }: KubernetesObject,
  { predictor, trafficPercent }: KubernetesObject,
  find: Find,
): Promise<{ readonly unrouted?: string }> {
  const service = predictorOf(name, predictor.name)
  const weight = await weightInRoute(find, { name, service })
  if (weight === trafficPercent) return {}
  const has =
    weight === undefined ? `does not name the Service ${service}` : `gives ${service} ${weight} %`
  return {
    unrouted: `the HTTPRoute "${name}" ${has}. KServe up to 0.20 sets no weights there, and creates no HTTPRoute unless its ingress is the Gateway API. docs/kserve.md#canaries-without-knative describes our own weighted HTTPRoute`,
  }
}
