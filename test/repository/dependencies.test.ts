import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, suite, test } from 'node:test'
import { gunzipSync } from 'node:zlib'
import manifest from '../../package.json' with { type: 'json' }
import { projectFolder } from '../server.ts'

const temporary = mkdtempSync(join(tmpdir(), 'dependencies-'))
after(() => rmSync(temporary, { recursive: true }))

async function run(script: string, args: readonly string[] = [], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, [script, ...args], {
    cwd: projectFolder,
    // npm caches advisories independently of the registry.
    env: { ...process.env, npm_config_cache: mkdtempSync(join(temporary, 'cache-')), ...env },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const output = (await child.stdout.setEncoding('utf8').toArray()).join('')
  const code =
    child.exitCode ?? (await new Promise<number | null>(resolve => child.once('exit', resolve)))
  return { code, output }
}

test('the bill of materials lists exactly the production packages', async () => {
  const file = join(temporary, 'sbom.json')
  assert.equal((await run('scripts/sbom.mjs', [file])).code, 0)
  const bom = JSON.parse(readFileSync(file, 'utf8'))
  assert.deepEqual(
    [bom.bomFormat, bom.metadata.component.name, bom.metadata.component.version],
    ['CycloneDX', manifest.name, manifest.version],
  )
  const components = new Map<string, { version: string; hashes?: readonly unknown[] }>(
    bom.components.map((component: { name: string }) => [component.name, component]),
  )
  const { devDependencies } = manifest
  const bundled = ['ajv', 'express', 'jose', 'prom-client', '@opentelemetry/api'] as const
  const taken = bundled.map(name => [name, devDependencies[name]] as const)
  for (const [name, version] of [...Object.entries(manifest.dependencies), ...taken]) {
    assert.equal(components.get(name)?.version, version)
    assert.equal(components.get(name)?.hashes?.length, 1)
  }
  assert.equal(components.get('node')?.version, devDependencies.node)
  const development = Object.keys(devDependencies).filter(
    name =>
      name !== 'node' && !bundled.some(other => other === name || name.startsWith('@opentel')),
  )
  assert.deepEqual(
    development.filter(name => components.has(name)),
    [],
  )
})

suite('the audit', { concurrency: 2 }, () => {
  /**
   * Runs the audit against a local registry.
   * @param answer returns the advisories for packages, by name
   */
  async function audit(answer: (names: readonly string[]) => unknown, status = 200) {
    const registry = createServer(async (request, response) => {
      const body = Buffer.concat(await request.toArray())
      const asked =
        body.length === 0
          ? {}
          : JSON.parse(
              String(request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body),
            )
      // The registry knows only advisories, and no packages.
      const known = request.method === 'POST' ? status : 404
      response
        .writeHead(known, { 'content-type': 'application/json' })
        .end(JSON.stringify(answer(Object.keys(asked))))
    })
    await new Promise<void>(resolve => registry.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(registry.address() as AddressInfo).port}/`
    const result = await run('scripts/audit.mjs', [], {
      npm_config_registry: url,
      npm_config_fetch_retries: '0',
    })
    registry.close()
    return result
  }

  const advisory = (name: string, severity: string) => ({
    [name]: [
      {
        id: 1,
        url: 'https://advisories.example/1',
        title: 'remote code execution',
        severity,
        vulnerable_versions: '*',
        cwe: [],
        cvss: { score: 9 },
      },
    ],
  })

  test('passes if there are no advisories', async () => {
    const { code, output } = await audit(() => ({}))
    assert.equal(code, 0)
    assert.match(output, /packages, 0 with known vulnerabilities/)
  })

  // prom-client is also a dependency of a package that only tests use.
  for (const name of ['jose', 'prom-client']) {
    test(`fails if ${name} has a known vulnerability, and prints the advisory`, async () => {
      const { code, output } = await audit(() => advisory(name, 'high'))
      assert.equal(code, 1)
      assert.match(
        output,
        new RegExp(`high: ${name} \\*: remote code execution https://advisories\\.example/1`),
      )
    })
  }

  test('passes if the severity of the advisory is low', async () => {
    const { code, output } = await audit(() => advisory('jose', 'low'))
    assert.equal(code, 0, output)
  })

  test('passes if only a package that is not shipped is vulnerable', async () => {
    assert.equal(
      (await audit(names => (names.includes('supertest') ? advisory('supertest', 'critical') : {})))
        .code,
      0,
    )
  })

  test('passes, and reports that it audited nothing, if the registry returns no audit report', async () => {
    const { code, output } = await audit(() => ({ error: 'not found' }), 404)
    assert.equal(code, 0)
    assert.match(output, /^NOT audited: the registry returned no audit report/)
  })
})
