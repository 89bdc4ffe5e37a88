import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

const folder = import.meta.dirname
const words = readFileSync(join(folder, 'words.txt'), 'utf8').split('\n').slice(2, -1)

function misspelt(path, text) {
  const cspell = join(folder, 'node_modules/cspell/bin.mjs')
  const options = [
    '--config',
    join(folder, 'cspell.json'),
    '--words-only',
    '--no-progress',
    '--no-summary',
  ]
  const { stdout } = spawnSync(process.execPath, [cspell, 'lint', ...options, `stdin://${path}`], {
    cwd: join(folder, '../..'),
    input: text,
    encoding: 'utf8',
  })
  return stdout.split('\n').filter(word => word !== '')
}

test('cspell finds misspelt words and American spellings', () => {
  const text = 'The behaviour is recieved and honored: kserve reads the widht.\n'
  assert.deepEqual(misspelt('docs/a.md', text), ['recieved', 'honored', 'widht'])
})

test('cspell accepts deliberately misspelt words in tests, but nowhere else', () => {
  assert.deepEqual(misspelt('test/a.test.ts', '// The widht is recieved.\n'), ['recieved'])
})

test('the word list is sorted and contains no duplicates', () => {
  assert.deepEqual(words, [...new Set(words)].sort())
})
