import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { exampleOf, exists, filesBelow, kustomize, PROJECT, read } from './sources.ts'

const FOLDERS = readdirSync(PROJECT, { withFileTypes: true })
  .filter(entry => entry.isDirectory() && !/^\.|^(node_modules|build)$/.test(entry.name))
  .map(({ name }) => name)
const PAGES = [
  'README.md',
  'CONTRIBUTING.md',
  ...FOLDERS.flatMap(filesBelow).filter(path => path.endsWith('.md') && !path.includes('/.')),
]
const { scripts } = JSON.parse(read('package.json'))
const PATH = new RegExp(`(?<![\\w./@-])(?:${FOLDERS.join('|')})/[\\w./-]*\\w`, 'g')

const folderOf = (page: string) => exampleOf(page) ?? '.'

const blocks = (page: string) =>
  [...read(page).matchAll(/^( *)```sh\n([\s\S]*?)^ *```/gm)].map(([, indent = '', text = '']) =>
    text.replaceAll(`\n${indent}`, '\n'),
  )

for (const page of PAGES) {
  blocks(page).forEach((block, i) => {
    test(`${page}: block ${i + 1} is valid shell syntax`, () => {
      const { status, stderr } = spawnSync('bash', ['-n'], { input: block, encoding: 'utf8' })
      assert.equal(status, 0, stderr)
    })

    test(`${page}: block ${i + 1} uses existing scripts and files`, () => {
      const missing = [
        // test/repository/contributing.test.ts checks other packages.
        ...[...block.matchAll(/npm run (?:--silent )?([\w:-]+)(?!.*--prefix)/g)]
          .filter(([, script]) => !(String(script) in scripts))
          .map(([command]) => command),
        // Names that start with a dot may be missing, because commands create those files.
        ...[...block.matchAll(PATH)]
          .map(([path]) => path)
          .filter(path => !path.includes('/.') && !exists(path)),
      ]
      assert.deepEqual(missing, [])
    })
  })
}

test('kustomize builds every folder that a page applies', () => {
  const folders = new Set(
    PAGES.flatMap(page =>
      blocks(page).flatMap(block =>
        [...block.matchAll(/apply (?:-n \S+ )?-k ([\w/-]+)/g)].map(([, path]) =>
          join(folderOf(page), String(path)),
        ),
      ),
    ),
  )
  assert.ok(folders.size > 5)
  for (const folder of folders) kustomize(folder)
})
