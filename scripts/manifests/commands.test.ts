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
/** A path from here, and not the end of another one. */
const PATH = new RegExp(`(?<![\\w./@-])(?:${FOLDERS.join('|')})/[\\w./-]*\\w`, 'g')

/** Where a page's commands are typed: an example's in its folder. */
const folderOf = (page: string) => exampleOf(page) ?? '.'

/** The shell commands a page shows, a block at a time. */
const blocks = (page: string) =>
  [...read(page).matchAll(/^( *)```sh\n([\s\S]*?)^ *```/gm)].map(([, indent = '', text = '']) =>
    text.replaceAll(`\n${indent}`, '\n'),
  )

for (const page of PAGES) {
  blocks(page).forEach((block, i) => {
    test(`${page}: commands ${i + 1} are the shell's`, () => {
      const { status, stderr } = spawnSync('bash', ['-n'], { input: block, encoding: 'utf8' })
      assert.equal(status, 0, stderr)
    })

    test(`${page}: commands ${i + 1} name what is there`, () => {
      const missing = [
        // Of other packages test/repository/contributing.test.ts asks.
        ...[...block.matchAll(/npm run (?:--silent )?([\w:-]+)(?!.*--prefix)/g)]
          .filter(([, script]) => !(String(script) in scripts))
          .map(([command]) => command),
        // What has a dot before its name is made by a command.
        ...[...block.matchAll(PATH)]
          .map(([path]) => path)
          .filter(path => !path.includes('/.') && !exists(path)),
      ]
      assert.deepEqual(missing, [])
    })
  })
}

test('what the pages apply builds', () => {
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
