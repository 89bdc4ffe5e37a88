import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Manifest } from './sources.ts'

const FOLDER = fileURLToPath(new URL('admission', import.meta.url))

/** Kinds for which admission/ has a webhook. */
const ASKED =
  /^(serving\.knative\.dev\/v1 Service|serving\.kserve\.io\/\S+ (InferenceService|(Cluster)?ServingRuntime))$/

export const isAsked = ({ apiVersion, kind }: Manifest) => ASKED.test(`${apiVersion} ${kind}`)

export const hasGo = spawnSync('go', ['version']).error === undefined

/**
 * Asks the validation of Knative Serving and of KServe, compiled from their own modules: some minutes the first time.
 * @returns what they have against each object, in order
 * @throws {Error} if the program does not build, which Go explains on stderr
 */
export function askWebhooks(objects: readonly Manifest[]): string[][] {
  if (objects.length === 0) return []
  const { status, stdout } = spawnSync('go', ['run', '.'], {
    cwd: FOLDER,
    input: objects.map(object => `${JSON.stringify(object)}\n`).join(''),
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  if (status !== 0) throw new Error(`${FOLDER}: go run failed`)
  return stdout
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) ?? [])
}
