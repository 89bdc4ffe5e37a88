import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Manifest } from './sources.ts'

const PROGRAMS = ['knative', 'kserve'].map(name =>
  fileURLToPath(new URL(`admission/${name}`, import.meta.url)),
)

const ASKED =
  /^(serving\.knative\.dev\/v1 Service|gateway\.networking\.k8s\.io\/v1 HTTPRoute|serving\.kserve\.io\/\S+ (InferenceService|(Cluster)?ServingRuntime))$/

export const isAsked = ({ apiVersion, kind }: Manifest) => ASKED.test(`${apiVersion} ${kind}`)

export const hasGo = spawnSync('go', ['version']).error === undefined

/**
 * Runs the validation code of Knative Serving, KServe and the Gateway API's CRDs. The first call
 * compiles their modules, which takes minutes.
 * @returns the errors of each object, in order
 * @throws {Error} if a program does not build; Go prints the reason to stderr
 */
export function askWebhooks(objects: readonly Manifest[]): string[][] {
  if (objects.length === 0) return []
  const said = PROGRAMS.map(folder => answers(folder, objects))
  return objects.map((_, i) => said.flatMap(of => of[i] ?? []))
}

/** @returns the errors of each object; null for a kind that the program does not validate */
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
