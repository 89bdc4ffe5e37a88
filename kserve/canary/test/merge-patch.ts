import { isDeepStrictEqual } from 'node:util'
import type { KubernetesObject } from '../rollout/state.ts'

/* Merge patches and the owners of fields (FieldsV1), as the API server treats them. */

const isMap = (value: unknown): value is Record<string, KubernetesObject> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** RFC 7386. */
export function merged(value: KubernetesObject, patch: KubernetesObject): KubernetesObject {
  if (!isMap(patch)) return patch
  const next = isMap(value) ? { ...value } : {}
  for (const [key, part] of Object.entries(patch)) {
    if (part === null) delete next[key]
    else next[key] = merged(next[key], part)
  }
  return next
}

/** The paths of the fields that differ. A list counts as one field, as in Kubernetes. */
export function differences(
  a: KubernetesObject,
  b: KubernetesObject,
  path: readonly string[] = [],
): string[][] {
  if (!isMap(b) || (!isMap(a) && a !== undefined)) return isDeepStrictEqual(a, b) ? [] : [[...path]]
  return [...new Set([...Object.keys(a ?? {}), ...Object.keys(b)])].flatMap(key =>
    differences(a?.[key], b[key], [...path, key]),
  )
}

export function within(fields: KubernetesObject, path: readonly string[]): KubernetesObject {
  const [key, ...rest] = path
  if (key === undefined) return fields
  return { ...fields, [`f:${key}`]: within(fields[`f:${key}`] ?? {}, rest) }
}

export function without(
  fields: KubernetesObject,
  [key, ...rest]: readonly string[],
): KubernetesObject {
  const { [`f:${key}`]: inner, ...others } = fields
  if (inner === undefined) return fields
  const left = rest.length === 0 ? {} : without(inner, rest)
  return Object.keys(left).length === 0 ? others : { ...others, [`f:${key}`]: left }
}
