import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/** A Kubernetes object; the rules interpret its fields. */
// biome-ignore lint/suspicious/noExplicitAny: its content is unknown until checked
export type Manifest = any

/** The objects that one `kubectl apply` would send. */
export interface Bundle {
  /** The folder of a kustomization, or a single file. */
  readonly name: string
  /** No other bundle includes it, so it must contain everything it refers to. */
  readonly whole: boolean
  readonly objects: readonly Manifest[]
  /**
   * Objects that exist elsewhere: for a file, all that is built; for an example, what func deploys.
   */
  readonly beside: readonly Manifest[]
}

/** Folders with manifests; a folder that does not exist yet has none. */
const FOLDERS = ['knative', 'kserve', 'kubernetes', 'monitoring', 'examples']

/** Third-party programs, exempt from the rules for ours; monitoring.test.ts checks them. */
const OTHERS = /^monitoring\/(kustomization\.yaml$|cluster\/)/

export const read = (path: string) => readFileSync(join(PROJECT, path), 'utf8')
export const exists = (path: string) => existsSync(join(PROJECT, path))

/** @throws {Error} naming the file that is not YAML */
export function parse(text: string, name: string): Manifest[] {
  return parseAllDocuments(text, { merge: true })
    .filter(document => document.contents !== null)
    .map(document => {
      const [error] = document.errors
      if (error !== undefined) throw new Error(`${name}: ${error.message}`)
      return document.toJS()
    })
}

/** @returns paths, relative to the project, of all files below `folder` */
export function filesBelow(folder: string): string[] {
  if (!exists(folder)) return []
  return readdirSync(join(PROJECT, folder), { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name)
    if (entry.name === 'node_modules') return []
    return entry.isDirectory() ? filesBelow(path) : [path]
  })
}

/** The example that contains a path: a separate project. */
export const exampleOf = (path: string) => /^examples\/[^/]+(?=\/)/.exec(path)?.[0]

/** The Service that `func deploy` creates for an example, which its manifests name. */
function deployedByFunc(folder: string): Manifest[] {
  const file = `${exampleOf(folder)}/func.yaml`
  if (!exists(file)) return []
  const [{ name }] = parse(read(file), file)
  return [{ apiVersion: 'serving.knative.dev/v1', kind: 'Service', metadata: { name } }]
}

/**
 * Every manifest of the project, as it would be applied.
 * @throws {Error} naming a folder that does not build, or a file that the kustomization beside it
 * does not list
 */
export function findBundles(): Bundle[] {
  const files = FOLDERS.flatMap(filesBelow).filter(
    path => /\.ya?ml$/.test(path) && !OTHERS.test(path),
  )
  const kustomizations = new Map(
    files
      .filter(path => basename(path) === 'kustomization.yaml')
      .map(path => [dirname(path), parse(read(path), path)[0]]),
  )
  const built = new Set(
    [...kustomizations].flatMap(([folder, { resources = [] }]) =>
      resources.map((path: string) => join(folder, path)),
    ),
  )
  const bundles: Bundle[] = []
  for (const [folder, kustomization] of kustomizations) {
    if (kustomization.kind === 'Component') continue
    bundles.push({
      name: folder,
      whole: !built.has(folder),
      objects: parse(kustomize(folder), folder),
      beside: deployedByFunc(folder),
    })
  }
  const beside = bundles.flatMap(({ objects }) => objects)
  for (const path of files) {
    if (basename(path) === 'kustomization.yaml') continue
    const kustomization = kustomizations.get(dirname(path))
    if (kustomization === undefined) {
      const objects = parse(read(path), path)
      // Files for other programs, such as Prometheus' own configuration, are not checked.
      if (
        objects.every(
          object =>
            object?.apiVersion !== undefined &&
            object.kind !== undefined &&
            object.metadata !== undefined,
        )
      ) {
        bundles.push({ name: path, whole: true, objects, beside })
      }
    } else if (!isUsed(kustomization, basename(path)) && !built.has(path)) {
      throw new Error(
        `${path} is in no kustomization: name it in ${dirname(path)}/kustomization.yaml, or remove it`,
      )
    }
  }
  return bundles
}

const isUsed = ({ resources = [], patches = [], configurations = [] }: Manifest, file: string) =>
  [...resources, ...configurations, ...patches.map(({ path }: Manifest) => path)].some(
    path => path !== undefined && relative('.', path) === file,
  )

/** Builds a folder, relative to the project. @throws {Error} kustomize's, or that it is missing */
export function kustomize(folder: string): string {
  for (const [command, ...args] of [
    ['kustomize', 'build'],
    ['kubectl', 'kustomize'],
  ] as const) {
    try {
      return execFileSync(command, [...args, resolve(PROJECT, folder)], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      })
    } catch (error) {
      const { code, stderr } = error as { code?: string; stderr?: string }
      if (code !== 'ENOENT') throw new Error(`${folder} does not build: ${String(stderr).trim()}`)
    }
  }
  throw new Error(
    'neither kubectl nor kustomize is there: install kubectl, or go install sigs.k8s.io/kustomize/kustomize/v5@v5.7.1, and put it on the PATH',
  )
}
