import { httpRoute } from './http-route.ts'
import { knative } from './knative.ts'
import { kserveKnative } from './kserve-knative.ts'
import { kserveStandard } from './kserve-standard.ts'
import { type KubernetesObject, type Mode, RESOURCES } from './state.ts'

/** KServe's names for its modes, current and former. */
const KSERVE: Readonly<Record<string, Mode>> = {
  Knative: kserveKnative,
  Serverless: kserveKnative,
  Standard: kserveStandard,
}

export function modeOf({ kind, status, metadata }: KubernetesObject): Mode | undefined {
  if (kind === RESOURCES.service.kind) return knative
  if (kind === RESOURCES.httproute.kind) return httpRoute
  return KSERVE[
    status?.deploymentMode ?? metadata.annotations?.['serving.kserve.io/deploymentMode']
  ]
}
