// Writes a bill of materials of the function as a CycloneDX document:
//
//   node scripts/sbom.mjs FILE
//
// It lists Node, and the packages of package-lock.json in production, installed or bundled, with
// their digests. It omits the base image's Debian packages, which an image scanner finds
// (docs/security.md).
import { spawnSync } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { shippedPackages } from './shipped.mjs'

const target = process.argv[2]
if (target === undefined) {
  process.stderr.write('FILE is missing\nusage: node scripts/sbom.mjs FILE\n')
  process.exit(1)
}
const args = ['sbom', '--sbom-format=cyclonedx', '--sbom-type=application', '--package-lock-only']
const { stdout, stderr, status } = spawnSync('npm', args, { encoding: 'utf8', maxBuffer: 2 ** 26 })
if (status !== 0) {
  process.stderr.write(`npm sbom failed (it needs npm 10 or later): ${stderr}\n`)
  process.exit(1)
}
const bom = JSON.parse(stdout)
const { name, devDependencies } = JSON.parse(await readFile('package.json', 'utf8'))
const packages = [...(await shippedPackages()).values()]
const shipped = new Set(packages.map(({ name, version }) => `${name}@${version}`))
const isShipped = ref => shipped.has(ref) || ref === bom.metadata.component['bom-ref']
bom.components = bom.components
  .filter(component => isShipped(component['bom-ref']))
  // npm does not count bundled packages as production dependencies.
  .map(({ properties = [], scope: _scope, ...component }) => ({
    ...component,
    scope: 'required',
    properties: properties.filter(({ name }) => name !== 'cdx:npm:package:development'),
  }))
bom.dependencies = bom.dependencies
  .filter(({ ref }) => isShipped(ref))
  .map(({ ref, dependsOn }) => ({ ref, dependsOn: dependsOn.filter(isShipped) }))
// npm names the component after its folder.
bom.metadata.component.name = name
const node = `pkg:generic/node@${devDependencies.node}`
bom.components.push({
  'bom-ref': node,
  type: 'platform',
  name: 'node',
  version: devDependencies.node,
  purl: node,
  scope: 'required',
})
bom.dependencies.find(({ ref }) => ref === bom.metadata.component['bom-ref']).dependsOn.push(node)
await writeFile(target, `${JSON.stringify(bom, undefined, 2)}\n`)
process.stdout.write(`${target}: ${bom.components.length} components\n`)
