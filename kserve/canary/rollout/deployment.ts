import type { KubernetesObject, Resource, Revision } from './state.ts'

/** KServe's Standard mode and plain Kubernetes have a Deployment per revision. */
export const DEPLOYMENT: Resource = {
  group: 'apps',
  version: 'v1',
  plural: 'deployments',
  kind: 'Deployment',
}

/**
 * Matches a revision's series by pod name: the Deployment's name, the hash of the pod template and
 * five characters. The route does not contain the label `revision`, which is that hash.
 */
export const deploymentRevision = (
  namespace: string,
  name: string,
  matchers: readonly string[] = [],
): Revision => ({
  name,
  series: [`namespace="${namespace}"`, ...matchers, `pod=~"${name}-[a-z0-9]+-[a-z0-9]{5}"`].join(
    ',',
  ),
})

export const isAvailable = (deployment: KubernetesObject | undefined): boolean =>
  deployment?.status?.availableReplicas > 0

/** Returns why a Deployment's pods cannot be judged yet; undefined if they can. */
export function notReadyOf(name: string, deployment: KubernetesObject | undefined) {
  if (deployment === undefined)
    return `there is no Deployment "${name}"; it must have the Service's name`
  const { observedGeneration, replicas = 0, updatedReplicas = 0 } = deployment.status ?? {}
  if (observedGeneration !== deployment.metadata.generation || updatedReplicas < replicas)
    return `the pods of ${name} are being replaced`
  return isAvailable(deployment) ? undefined : `no pod of ${name} is ready`
}
