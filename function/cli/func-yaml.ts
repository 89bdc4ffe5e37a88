/**
 * Returns a new function's func.yaml, as `func create` writes it.
 * @param manifest the template's manifest.yaml; every top-level key is a list or an object
 */
export function funcYaml(name: string, manifest: string, created = new Date()): string {
  const parts = new Map(
    manifest.split(/^(?=\w)/m).map(part => [/^\w+/.exec(part)?.[0], part.trimEnd()] as const),
  )
  const under = (key: string, ...names: readonly string[]) =>
    [`${key}:`, ...names.map(each => (parts.get(each) ?? '').replaceAll(/^/gm, '  '))].join('\n')
  return `${[
    'specVersion: 0.36.0',
    `name: ${name}`,
    'runtime: typescript',
    `created: ${created.toISOString()}`,
    under('build', 'builderImages', 'buildEnvs'),
    under('deploy', 'healthEndpoints'),
  ].join('\n')}\n`
}
