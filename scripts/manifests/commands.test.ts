import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { exists, filesBelow, kustomize, read } from './sources.ts'

const PAGES = ['README.md', 'CONTRIBUTING.md', ...filesBelow('docs').filter(path => path.endsWith('.md'))]
const { scripts } = JSON.parse(read('package.json'))

/** The shell commands a page shows, a block at a time. */
const blocks = (page: string) =>
  [...read(page).matchAll(/^( *)```sh\n([\s\S]*?)^ *```/gm)].map(([, indent = '', text = '']) => text.replaceAll(`\n${indent}`, '\n'))

for (const page of PAGES) {
  blocks(page).forEach((block, i) => {
    test(`${page}: commands ${i + 1} are the shell's`, () => {
      const { status, stderr } = spawnSync('bash', ['-n'], { input: block, encoding: 'utf8' })
      assert.equal(status, 0, stderr)
    })

    test(`${page}: commands ${i + 1} name what is there`, () => {
      const missing = [
        ...[...block.matchAll(/npm run (?:--silent )?([\w:-]+)/g)]
          .filter(([, script]) => !(String(script) in scripts))
          .map(([command]) => command),
        ...[...block.matchAll(/-[kf] ((?:knative|kserve|kubernetes|monitoring)\/\S+)/g)]
          .filter(([, path]) => !exists(String(path)))
          .map(([command]) => command),
      ]
      assert.deepEqual(missing, [])
    })
  })
}

test('what the pages apply builds', () => {
  const folders = new Set(
    PAGES.flatMap(page => blocks(page).flatMap(block => [...block.matchAll(/apply -k ([\w/-]+)/g)].map(([, path]) => String(path)))),
  )
  assert.ok(folders.size > 5)
  for (const folder of folders) kustomize(folder)
})
