import { DEPLOYMENT, deploymentRevision, isAvailable, notReadyOf } from './deployment.ts'
import {
  changedAt,
  type Find,
  history,
  type KubernetesObject,
  type Mode,
  RESOURCES,
  type State,
  UNRECORDED,
} from './state.ts'

/**
 * Two Deployments behind a weighted HTTPRoute of the Gateway API, for plain Kubernetes and for
 * KServe's Standard mode up to 0.20, which sets no weights. The second backendRef is the new
 * version. Each Deployment must have the name of its Service.
 */
export const httpRoute: Mode = {
  name: 'HTTPRoute',

  async read(route, find) {
    const split = splitOf(route)
    if ('action' in split) return split
    const { percent, old, fresh } = split
    if (percent >= 100) return { action: 'idle', reason: `${fresh} has all traffic` }
    const set = history(route, ['spec', 'rules'])
    if (set === undefined) return UNRECORDED
    const deployments = await readDeployments(find, [old, fresh])
    const { namespace } = route.metadata
    const notReady = [fresh, old]
      .map(name => notReadyOf(name, deployments.get(name)))
      .find(reason => reason !== undefined)
    const unrouted = unroutedBy(route)
    return {
      canary: {
        percent,
        ...sinceTemplates(set, [...deployments.values()]),
        old: deploymentRevision(namespace, old),
        new: deploymentRevision(namespace, fresh),
        ...(notReady === undefined ? {} : { notReady }),
        isDown: !isAvailable(deployments.get(fresh)),
        ...(unrouted === undefined ? {} : { unrouted }),
      },
    }
  },

  // A merge patch replaces the complete list, so this patch must repeat all rules.
  patch: ({ spec }, percent) => ({
    spec: {
      rules: spec.rules.map((rule: KubernetesObject) => {
        if (!isSplit(rule)) return rule
        const weights = [100 - percent, percent]
        const backendRefs = rule.backendRefs.map((ref: KubernetesObject, i: number) => ({
          ...ref,
          weight: weights[i],
        }))
        return { ...rule, backendRefs }
      }),
    },
  }),
}

const isSplit = ({ backendRefs = [] }: KubernetesObject) => backendRefs.length > 1

interface Split {
  readonly percent: number
  readonly old: string
  readonly fresh: string
}

type NoCanary = Extract<State, { readonly action: string }>

/** Ignores rules with one backend, such as a preview. */
function splitOf({ spec }: KubernetesObject): Split | NoCanary {
  const [first, ...others]: KubernetesObject[] = (spec.rules ?? []).filter(isSplit)
  if (first === undefined)
    return { action: 'idle', reason: 'no canary: no rule of the HTTPRoute has two backendRefs' }
  if (others.some(rule => sharesOf(rule) !== sharesOf(first)))
    return stand('the rules split the traffic differently; all must have the same weights')
  const [old, fresh, ...more] = first.backendRefs
  if (more.length > 0)
    return stand('a rule has three or more backendRefs; only two revisions can be compared')
  const foreign = [old, fresh].find(ref => !isOwnService(ref))
  if (foreign !== undefined)
    return stand(`the backendRef "${foreign.name}" is not a Service in the HTTPRoute's namespace`)
  const [before, after] = [old, fresh].map(({ weight = 1 }) => weight)
  if (before + after === 0)
    return stand('both weights are 0: the Gateway answers every request with status 500')
  const percent = Math.round((1e4 * after) / (before + after)) / 100
  return { percent, old: old.name, fresh: fresh.name }
}

const stand = (reason: string) => ({ action: 'stand', reason }) as const

/** The names and weights by which rules are compared. Filters and ports may differ. */
const sharesOf = ({ backendRefs }: KubernetesObject) =>
  JSON.stringify(backendRefs.map(({ name, weight = 1 }: KubernetesObject) => [name, weight]))

const isOwnService = ({ group = '', kind = 'Service', namespace }: KubernetesObject) =>
  group === '' && kind === 'Service' && namespace === undefined

async function readDeployments(
  find: Find,
  names: readonly string[],
): Promise<ReadonlyMap<string, KubernetesObject>> {
  const found = await Promise.all(names.map(name => find(DEPLOYMENT, name)))
  return new Map(
    found.flatMap((deployment, i) =>
      deployment === undefined ? [] : [[names[i] as string, deployment]],
    ),
  )
}

/**
 * Restarts the step at the last change of a pod template, which the route does not show: earlier
 * counts and rollbacks belong to another version.
 */
function sinceTemplates(
  set: NonNullable<ReturnType<typeof history>>,
  deployments: readonly KubernetesObject[],
): typeof set {
  const changes = deployments.flatMap(object => changedAt(object, ['spec', 'template']) ?? [])
  const last = Math.max(...changes.map(change => change.getTime()))
  if (!(last > set.since.getTime())) return set
  return { ...set, since: new Date(last), untouched: false }
}

/** Returns why a Gateway does not use the current weights; undefined if all Gateways use them. */
function unroutedBy({ spec, status, metadata }: KubernetesObject): string | undefined {
  const parentRefs: KubernetesObject[] = spec.parentRefs ?? []
  if (parentRefs.length === 0) return 'the HTTPRoute has no parentRefs, so no Gateway reads it'
  return parentRefs
    .map(ref => {
      const seen: KubernetesObject | undefined = (status?.parents ?? []).find(
        ({ parentRef }: KubernetesObject) => isSame(parentRef, ref, metadata.namespace),
      )
      return seen === undefined
        ? `no controller has reported the route's status for the Gateway "${ref.name}"`
        : refusedBy(ref.name, seen, metadata.generation)
    })
    .find(reason => reason !== undefined)
}

const isSame = (one: KubernetesObject, other: KubernetesObject, namespace: string) =>
  one.name === other.name &&
  (one.namespace ?? namespace) === (other.namespace ?? namespace) &&
  one.sectionName === other.sectionName &&
  one.port === other.port

function refusedBy(gateway: string, { conditions = [] }: KubernetesObject, generation: number) {
  for (const type of ['Accepted', 'ResolvedRefs']) {
    const condition = conditions.find((one: KubernetesObject) => one.type === type)
    if (condition === undefined)
      return `the Gateway "${gateway}" does not report the condition ${type}`
    if (condition.observedGeneration < generation)
      return `the Gateway "${gateway}" has not observed the last change`
    if (condition.status !== 'True')
      return `the Gateway "${gateway}" reports ${type} ${condition.status}, ${condition.reason}: ${condition.message}`
  }
  return undefined
}

/**
 * Reads a Service's percentage from KServe's own HTTPRoute, which routes an InferenceService's
 * traffic in Standard mode.
 * @returns undefined if the route does not exist or does not name the Service
 */
export async function weightInRoute(
  find: Find,
  { name, service }: { readonly name: string; readonly service: string },
): Promise<number | undefined> {
  const route = await find(RESOURCES.httproute, name)
  const rules: KubernetesObject[] = route?.spec.rules ?? []
  const refs: KubernetesObject[] =
    rules.find(({ backendRefs = [] }) =>
      backendRefs.some((ref: KubernetesObject) => ref.name === service),
    )?.backendRefs ?? []
  const sum = refs.reduce((all, { weight = 1 }) => all + weight, 0)
  const own = refs.find(ref => ref.name === service)
  return own === undefined ? undefined : (100 * (own.weight ?? 1)) / sum
}
