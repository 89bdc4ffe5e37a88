import { execFileSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseAllDocuments } from 'yaml'

export const PROJECT = fileURLToPath(new URL('../..', import.meta.url))

// biome-ignore lint/suspicious/noExplicitAny: its content is unknown until checked
export type Manifest = any

/** The objects of one `kubectl apply`. */
export interface Bundle {
  readonly name: string
  /** True if no other bundle includes this one; it must then contain every object it refers to. */
  readonly whole: boolean
  readonly objects: readonly Manifest[]
  /**
   * Objects outside the bundle that it may name: for a file, those of all built folders; for an
   * example, the Service that func deploys.
   */
  readonly beside: readonly Manifest[]
}

const FOLDERS = ['knative', 'kserve', 'kubernetes', 'monitoring', 'examples']

/** Manifests of third-party programs, which monitoring.test.ts checks. */
const OTHERS = /^monitoring\/(kustomization\.yaml$|cluster\/)/

export const read = (path: string) => readFileSync(join(PROJECT, path), 'utf8')
export const exists = (path: string) => existsSync(join(PROJECT, path))

/** @throws {Error} with the file's name if it is not YAML */
export function parse(text: string, name: string): Manifest[] {
  return parseAllDocuments(text, { merge: true })
    .filter(document => document.contents !== null)
    .map(document => {
      const [error] = document.errors
      if (error !== undefined) throw new Error(`${name}: ${error.message}`)
      return document.toJS()
    })
}

/** @returns paths relative to the project */
export function filesBelow(folder: string): string[] {
  if (!exists(folder)) return []
  return readdirSync(join(PROJECT, folder), { withFileTypes: true }).flatMap(entry => {
    const path = join(folder, entry.name)
    if (entry.name === 'node_modules') return []
    return entry.isDirectory() ? filesBelow(path) : [path]
  })
}

/** Each example is a separate project. */
export const exampleOf = (path: string) => /^examples\/[^/]+(?=\/)/.exec(path)?.[0]

function deployedByFunc(folder: string): Manifest[] {
  const file = `${exampleOf(folder)}/func.yaml`
  if (!exists(file)) return []
  const [{ name }] = parse(read(file), file)
  return [{ apiVersion: 'serving.knative.dev/v1', kind: 'Service', metadata: { name } }]
}

/**
 * Builds every manifest of the project, as it would be applied.
 * @throws {Error} if a folder does not build, or a kustomization does not list a file beside it
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
      // Skip files of other formats, such as Prometheus's configuration.
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
        `${path} is not used: list it in ${dirname(path)}/kustomization.yaml, or remove it`,
      )
    }
  }
  return bundles
}

const isUsed = ({ resources = [], patches = [], configurations = [] }: Manifest, file: string) =>
  [...resources, ...configurations, ...patches.map(({ path }: Manifest) => path)].some(
    path => path !== undefined && relative('.', path) === file,
  )

/** @throws {Error} with kustomize's message, or if neither kustomize nor kubectl is installed */
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
    'neither kubectl nor kustomize is on the PATH: install kubectl, or run go install sigs.k8s.io/kustomize/kustomize/v5@v5.7.1',
  )
}
