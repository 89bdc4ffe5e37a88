// Writes the files of a release. The pipeline runs it for each version tag:
//
//   node scripts/release/assets.ts FOLDER IMAGE@sha256:DIGEST
//
// Writes the notes from CHANGELOG.md to FOLDER.md, beside FOLDER. FOLDER receives the manifests
// that run exactly this image, the production tree for each architecture, the bill of materials,
// and the checksums of all these files. The same commit and image produce the same bytes, except
// for the serial number and the time in the bill of materials.
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import manifest from '../../package.json' with { type: 'json' }
import { section } from './changelog.ts'

/** Users can apply these manifests without a clone. The keys are part of the assets' file names. */
const MANIFESTS: Readonly<Record<string, string>> = {
  knative: 'knative/overlays/production',
  kserve: 'kserve/knative/base',
  kubernetes: 'kubernetes/hpa',
}
const ARCHITECTURES = ['amd64', 'arm64']

const [target, image] = process.argv.slice(2)
if (target === undefined || image === undefined || !/^[\w./:-]+@sha256:[0-9a-f]{64}$/.test(image)) {
  process.stderr.write(
    'FOLDER is missing, or the image is not IMAGE@sha256:DIGEST\nusage: node scripts/release/assets.ts FOLDER IMAGE@sha256:DIGEST\n',
  )
  process.exit(1)
}
const name = `${manifest.name}-${manifest.version}`
const notes = section(readFileSync('CHANGELOG.md', 'utf8'), manifest.version)
if (notes === undefined) {
  process.stderr.write(
    `CHANGELOG.md has no section "## ${manifest.version}": create the release with npm version\n`,
  )
  process.exit(1)
}

rmSync(target, { recursive: true, force: true })
mkdirSync(target, { recursive: true })
writeManifests()
for (const architecture of ARCHITECTURES)
  archive(architecture, join(target, `${name}-linux-${architecture}.tar.gz`))
execFileSync(process.execPath, ['scripts/sbom.mjs', join(target, `${name}.cdx.json`)], {
  stdio: 'inherit',
})
const sums = readdirSync(target)
  .sort()
  .map(
    file =>
      `${createHash('sha256')
        .update(readFileSync(join(target, file)))
        .digest('hex')}  ${file}\n`,
  )
writeFileSync(join(target, 'SHA256SUMS'), sums.join(''))
writeFileSync(
  `${target}.md`,
  `${notes}\n\nThe image is \`${image}\`. docs/releasing.md describes how to verify these files.\n`,
)
process.stdout.write(sums.join(''))

/** Builds the manifests from a copy in which kubernetes/image names this image. */
function writeManifests(): void {
  const copy = mkdtempSync(join(tmpdir(), 'manifests-'))
  for (const folder of ['knative', 'kserve', 'kubernetes'])
    cpSync(folder, join(copy, folder), { recursive: true })
  const file = join(copy, 'kubernetes/image/kustomization.yaml')
  const [newName, digest] = (image as string).split('@')
  const before = readFileSync(file, 'utf8').replace(/^images:[\s\S]*/m, '')
  writeFileSync(
    file,
    `${before}images:\n- name: ghcr.io/example/onnx-function\n  newName: ${newName}\n  digest: ${digest}\n`,
  )
  for (const [kind, folder] of Object.entries(MANIFESTS)) {
    writeFileSync(join(target as string, `${name}-${kind}.yaml`), kustomize(join(copy, folder)))
  }
  rmSync(copy, { recursive: true })
}

function kustomize(folder: string): string {
  for (const [program = '', ...args] of [
    ['kustomize', 'build'],
    ['kubectl', 'kustomize'],
  ]) {
    const { stdout, stderr, status, error } = spawnSync(program, [...args, folder], {
      encoding: 'utf8',
      maxBuffer: 2 ** 26,
    })
    if (error !== undefined) continue
    if (status !== 0) throw new Error(`${program} cannot build ${folder}: ${stderr}`)
    return stdout
  }
  throw new Error('neither kustomize nor kubectl is on the PATH')
}

/** Reproducible, like npm pack's tarball: sorted, without owners or dates. */
function archive(architecture: string, file: string): void {
  const folder = mkdtempSync(join(tmpdir(), 'tree-'))
  const tree = join(folder, basename(file, '.tar.gz'))
  execFileSync(process.execPath, ['scripts/production-tree.mjs', tree, architecture], {
    stdio: 'inherit',
  })
  const nobodys = [
    '--sort=name',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mode=go=rX,u+rw,a-s',
    '--mtime=@0',
  ]
  execFileSync('tar', [
    ...nobodys,
    '--use-compress-program=gzip --no-name',
    '--create',
    '--file',
    file,
    '--directory',
    folder,
    basename(tree),
  ])
  rmSync(folder, { recursive: true })
}
