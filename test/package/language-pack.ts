import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'yaml'

/*
 * Reads a language pack as func 1.23 does (knative/func: pkg/functions/repository.go and
 * template.go).
 */

/** func reads these fields of manifest.yaml; each level provides the next level's defaults. */
interface Manifest {
  readonly name?: string
  readonly version?: string
  /** The folder of the runtimes. */
  readonly templates?: string
  readonly builderImages?: Readonly<Record<string, string>>
  readonly buildpacks?: readonly string[]
  readonly buildEnvs?: readonly { readonly name: string; readonly value: string }[]
  readonly runEnvs?: readonly { readonly name: string; readonly value: string }[]
  readonly healthEndpoints?: { readonly liveness: string; readonly readiness: string }
  readonly invoke?: string
}

export interface Template {
  readonly runtime: string
  readonly name: string
  readonly folder: string
  readonly manifest: Manifest
}

const MANIFEST = 'manifest.yaml'

const readManifest = (folder: string): Manifest => {
  const file = join(folder, MANIFEST)
  return existsSync(file) ? parse(readFileSync(file, 'utf8')) : {}
}

const foldersIn = (folder: string, reserved: string): string[] =>
  readdirSync(folder).filter(
    name =>
      statSync(join(folder, name)).isDirectory() && !name.startsWith('.') && name !== reserved,
  )

export function templatesOf(repository: string): Template[] {
  const root = readManifest(repository)
  const templates = join(repository, root.templates ?? '.')
  return foldersIn(templates, 'certs').flatMap(runtime => {
    const folder = join(templates, runtime)
    const ofRuntime = { ...root, ...readManifest(folder) }
    return foldersIn(folder, 'scaffolding').map(name => ({
      runtime,
      name,
      folder: join(folder, name),
      manifest: { ...ofRuntime, ...readManifest(join(folder, name)) },
    }))
  })
}

/** The part of a template's manifest that func copies into func.yaml. */
export const functionOf = ({
  manifest: { builderImages, buildpacks, buildEnvs, runEnvs, healthEndpoints, invoke },
}: Template) => ({
  build: { ...(builderImages && { builderImages }), ...(buildpacks && { buildpacks }), buildEnvs },
  ...(runEnvs && { run: { envs: runEnvs } }),
  deploy: { healthEndpoints },
  ...(invoke !== undefined && invoke !== 'http' && { invoke }),
})
