import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import manifest from '../../package.json' with { type: 'json' }
import lock from '../../package-lock.json' with { type: 'json' }
import { IMAGE } from '../../scripts/release/version.ts'
import { projectFolder } from '../server.ts'

/** Third-party or generated files, and the tests, which use invented versions. */
const SKIPPED = new Set(['node_modules', '.git', 'build', 'coverage', 'schemas', 'test'])

const texts = readdirSync(projectFolder, { withFileTypes: true })
  .flatMap(entry => {
    if (SKIPPED.has(entry.name)) return []
    if (!entry.isDirectory()) return [entry.name]
    const inside = readdirSync(join(projectFolder, entry.name), {
      recursive: true,
      encoding: 'utf8',
    })
    return inside
      .filter(path => !path.split('/').some(part => SKIPPED.has(part)))
      .map(path => join(entry.name, path))
  })
  .filter(path => /\.(ya?ml|md|sh|ts|mjs|json)$|^Dockerfile$/.test(path) && path !== 'CHANGELOG.md')

test('every reference to an image of this function has the version of package.json', () => {
  const images = texts.flatMap(path =>
    Array.from(
      readFileSync(join(projectFolder, path), 'utf8').matchAll(IMAGE),
      ([, , version]) => ({ path, version }),
    ),
  )
  assert.ok(images.some(({ path }) => path === 'kubernetes/image/kustomization.yaml'))
  assert.deepEqual(
    images.filter(({ version }) => version !== manifest.version),
    [],
  )
})

test('the lock file has the version of package.json', () => {
  assert.deepEqual([lock.version, lock.packages[''].version], [manifest.version, manifest.version])
})
