import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Manifest } from './sources.ts'

/** Go modules of their own: KServe pins older versions of Kubernetes than Knative Serving needs. */
const PROGRAMS = ['knative', 'kserve'].map(name =>
  fileURLToPath(new URL(`admission/${name}`, import.meta.url)),
)

/** Kinds for which admission/ has a webhook. */
const ASKED =
  /^(serving\.knative\.dev\/v1 Service|gateway\.networking\.k8s\.io\/v1 HTTPRoute|serving\.kserve\.io\/\S+ (InferenceService|(Cluster)?ServingRuntime))$/

export const isAsked = ({ apiVersion, kind }: Manifest) => ASKED.test(`${apiVersion} ${kind}`)

export const hasGo = spawnSync('go', ['version']).error === undefined

/**
 * Asks the validation of Knative Serving, of KServe and of the Gateway API's CRDs, compiled from their own modules: some minutes the
 * first time.
 * @returns what they have against each object, in order
 * @throws {Error} if the program does not build, which Go explains on stderr
 */
export function askWebhooks(objects: readonly Manifest[]): string[][] {
  if (objects.length === 0) return []
  const said = PROGRAMS.map(folder => answers(folder, objects))
  return objects.map((_, i) => said.flatMap(of => of[i] ?? []))
}

/** @returns what one program has against each object; null where it does not know the kind */
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
