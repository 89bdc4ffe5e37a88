import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Manifest } from './sources.ts'

/** Separate Go modules: KServe pins older versions of Kubernetes than Knative Serving needs. */
const PROGRAMS = ['knative', 'kserve'].map(name =>
  fileURLToPath(new URL(`admission/${name}`, import.meta.url)),
)

/** Kinds that a webhook in admission/ validates. */
const ASKED =
  /^(serving\.knative\.dev\/v1 Service|gateway\.networking\.k8s\.io\/v1 HTTPRoute|serving\.kserve\.io\/\S+ (InferenceService|(Cluster)?ServingRuntime))$/

export const isAsked = ({ apiVersion, kind }: Manifest) => ASKED.test(`${apiVersion} ${kind}`)

export const hasGo = spawnSync('go', ['version']).error === undefined

/**
 * Runs the validation of Knative Serving, of KServe and of the Gateway API's CRDs, compiled from
 * their own modules: some minutes the first time.
 * @returns each object's errors, in order
 * @throws {Error} if the program does not build; Go prints why on stderr
 */
export function askWebhooks(objects: readonly Manifest[]): string[][] {
  if (objects.length === 0) return []
  const said = PROGRAMS.map(folder => answers(folder, objects))
  return objects.map((_, i) => said.flatMap(of => of[i] ?? []))
}

/** @returns one program's errors per object; null for a kind that it does not know */
function answers(folder: string, objects: readonly Manifest[]): (string[] | null)[] {
  const { status, stdout } = spawnSync('go', ['run', '.'], {
    cwd: folder,
    input: objects.map(object => `${JSON.stringify(object)}\n`).join(''),
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error(`${folder}: go run failed`)
  return stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line))
}
