import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

/** A Kubernetes object; fields are looked at by the rules that know them. */
// biome-ignore lint/suspicious/noExplicitAny: what is in it is what is to be found out
export type Manifest = any

/** What one `kubectl apply` would send. */
export interface Bundle {
  /** The folder of a kustomization, or a file that stands alone. */
  readonly name: string
  /** Nothing else is built from it, so what it refers to must be in it. */
  readonly whole: boolean
  readonly objects: readonly Manifest[]
  /** What is there besides: for a file that stands alone, all that is built; for an example, what func deploys. */
  readonly beside: readonly Manifest[]
}

/** Where manifests are; a folder that is not there yet has none. */
const FOLDERS = ['knative', 'kserve', 'kubernetes', 'monitoring', 'examples']

/** Other people's programs, which no rule for ours is about: monitoring.test.ts is for them. */
const OTHERS = /^monitoring\/(kustomization\.yaml$|cluster\/)/

export const read = (path: string) => readFileSync(join(PROJECT, path), 'utf8')
export const exists = (path: string) => existsSync(join(PROJECT, path))

/** @throws {Error} naming the file that is no YAML */
export function parse(text: string, name: string): Manifest[] {
  return parseAllDocuments(text, { merge: true })
    .filter(document => document.contents !== null)
    .map(document => {
      const [error] = document.errors
      if (error !== undefined) throw new Error(`${name}: ${error.message}`)
      return document.toJS()
    })
}

/** @returns paths from the project's folder of all files below `folder` */
export function filesBelow(folder: string): string[] {
  if (!exists(folder)) return []
  return readdirSync(join(PROJECT, folder), { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name)
    if (entry.name === 'node_modules') return []
    return entry.isDirectory() ? filesBelow(path) : [path]
  })
}

/** The example that a path is in: a project of its own. */
export const exampleOf = (path: string) => /^examples\/[^/]+(?=\/)/.exec(path)?.[0]

/** The Service that `func deploy` makes of an example, which its manifests name. */
function deployedByFunc(folder: string): Manifest[] {
  const file = `${exampleOf(folder)}/func.yaml`
  if (!exists(file)) return []
  const [{ name }] = parse(read(file), file)
  return [{ apiVersion: 'serving.knative.dev/v1', kind: 'Service', metadata: { name } }]
}

/**
 * Every manifest of the project, as it would be applied.
 * @throws {Error} naming a folder that does not build, or a file that is in no kustomization beside it
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
      // What is not for Kubernetes, such as Prometheus' own configuration, is not ours to check.
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

/** Builds a folder, of the project where its path is relative. @throws {Error} with what kustomize says, or that there is none */
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
