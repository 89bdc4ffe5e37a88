import type { KubernetesObject, Resource, Revision } from './state.ts'

/** A revision that is a Deployment of its own: in KServe's Standard mode, and without KServe. */
export const DEPLOYMENT: Resource = {
  group: 'apps',
  version: 'v1',
  plural: 'deployments',
  kind: 'Deployment',
}

/**
 * Matches pods by name: Kubernetes appends the template's hash and five letters to the
 * Deployment's. The hash, which is the label `revision`, is not in the object that splits traffic.
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

/** Why a Deployment's pods cannot be judged yet: none is ready, or some are of another template. */
export function notReadyOf(name: string, deployment: KubernetesObject | undefined) {
  if (deployment === undefined) return `there is no Deployment "${name}", as the Service is named`
  const { observedGeneration, replicas = 0, updatedReplicas = 0 } = deployment.status ?? {}
  if (observedGeneration !== deployment.metadata.generation || updatedReplicas < replicas)
    return `the pods of ${name} are being replaced`
  return isAvailable(deployment) ? undefined : `no pod of ${name} is ready`
}
