import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { exampleOf, findBundles, kustomize, PROJECT } from './sources.ts'

test('all manifests run the image named in kubernetes/image, except the local overlay and the canary command', t => {
  const copy = mkdtempSync(join(tmpdir(), 'manifests-'))
  t.after(() => rmSync(copy, { recursive: true }))
  for (const folder of ['knative', 'kserve', 'kubernetes', 'monitoring'])
    cpSync(join(PROJECT, folder), join(copy, folder), { recursive: true })
  const file = join(copy, 'kubernetes/image/kustomization.yaml')
  // The same change as `kustomize edit set image`.
  const yours = 'registry.example.com/iris'
  writeFileSync(
    file,
    readFileSync(file, 'utf8').replace(/newTag: .*/, `newName: ${yours}\n  newTag: "7"`),
  )
  // An example is a separate project, which names the image itself.
  const builds = findBundles().filter(
    ({ name }) => !name.endsWith('.yaml') && exampleOf(name) === undefined,
  )
  for (const { name } of builds) {
    const images = new Set(
      [...kustomize(join(copy, name)).matchAll(/\bimage: (\S+)/g)].map(([, image]) => image),
    )
    const others: Record<string, RegExp> = {
      'knative/overlays/local': /^dev\.local\//,
      'kserve/canary/cronjob': /\/onnx-function-canary:/,
      'kserve/canary/cronjob-http-route': /\/onnx-function-canary:/,
    }
    const expected = others[name] ?? new RegExp(`^${yours}:7$`)
    for (const image of images) assert.match(image as string, expected, name)
  }
})
