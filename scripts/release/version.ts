/** [major, minor, patch]; undefined where the text is no such version. Others, such as 1.0.0-rc.1, are not released here. */
export function parse(version: string): readonly [number, number, number] | undefined {
  const parts = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)$/.exec(version)
  return parts === null ? undefined : [Number(parts[1]), Number(parts[2]), Number(parts[3])]
}

/** The first version that may follow, given what changed: a break is a new major, and before 1.0.0 a new minor (docs/upgrading.md). */
export function leastAfter(current: string, isBreaking: boolean): string {
  const [major, minor, patch] = parse(current) ?? [0, 0, 0]
  if (!isBreaking) return `${major}.${minor}.${patch + 1}`
  return major === 0 ? `0.${minor + 1}.0` : `${major + 1}.0.0`
}

export function isBefore(a: string, b: string): boolean {
  const [left, right] = [parse(a) ?? [], parse(b) ?? []]
  const differing = left.findIndex((part, index) => part !== right[index])
  return differing !== -1 && (left[differing] as number) < (right[differing] as number)
}

/** The image as manifests and pages name it, with its tag, which is the version: `…/onnx-function:VERSION`, and kustomize's newTag below the name. */
export const IMAGE = /(\bonnx-function(?:-canary)?(?::|\s+newTag: ))(\d+\.\d+\.\d+)\b/g

/** A text whose images are of that version. */
export const withImage = (text: string, version: string) => text.replaceAll(IMAGE, `$1${version}`)
