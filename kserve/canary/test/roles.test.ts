import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { loadAllYaml } from '@kubernetes/client-node'
import { canaryAt } from './harness.ts'
import { ROLLOUTS } from './objects.ts'

/* Each CronJob's role grants exactly the permissions that a run needs. */

interface Rule {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly resourceNames?: readonly string[]
  readonly verbs: readonly string[]
}

const VERBS: Readonly<Record<string, string>> = { GET: 'get', PATCH: 'patch', POST: 'create' }

const permission = (verb: string, group: string, resource: string, name = '') =>
  `${verb} ${group} ${resource} ${name}`.trim()

function permissions(folder: string): Set<string> {
  const path = fileURLToPath(new URL(`../${folder}`, import.meta.url))
  const built = execFileSync('kubectl', ['kustomize', path], { encoding: 'utf8' })
  const role = loadAllYaml(built).find(({ kind }) => kind === 'Role')
  return new Set(
    (role.rules as Rule[]).flatMap(({ apiGroups, resources, resourceNames = [''], verbs }) =>
      verbs.flatMap(verb =>
        resourceNames.map(name => permission(verb, String(apiGroups), String(resources), name)),
      ),
    ),
  )
}

/** The permissions that one promotion needs in each of the given modes. */
async function asked(modes: readonly (keyof typeof ROLLOUTS)[], t: Parameters<typeof canaryAt>[1]) {
  const needed = new Set<string>()
  for (const mode of modes) {
    const { api, run } = await canaryAt(10, t, { rollout: ROLLOUTS[mode] })
    assert.equal((await run(['--apply', '--start'])).code, 0)
    for (const line of api.asked) {
      const [, method = '', group = '', resource = '', name] =
        /^(\w+) \/apis\/([^/]+)\/[^/]+\/namespaces\/[^/]+\/([^/?]+)(?:\/([^?]+))?/.exec(line) ?? []
      needed.add(permission(VERBS[method] ?? method, group, resource, name))
    }
  }
  return needed
}

for (const [folder, modes] of [
  ['cronjob', ['KServe in Knative mode', 'KServe in Standard mode']],
  ['cronjob-http-route', ['an HTTPRoute']],
] as const)
  test(`the role of ${folder} grants exactly the permissions that its modes use`, async t => {
    assert.deepEqual([...(await asked(modes, t))].sort(), [...permissions(folder)].sort())
  })
