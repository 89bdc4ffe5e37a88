import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { changedSource } from '../../function/transform/find.ts'

const folder = mkdtempSync(join(tmpdir(), 'changed-'))
after(() => rmSync(folder, { recursive: true }))

const file = (name: string, seconds?: number) => {
  const path = join(folder, name)
  if (seconds !== undefined) {
    writeFileSync(path, '')
    utimesSync(path, seconds, seconds)
  }
  return path
}

test('reports a built transform.js that is older than transform.ts', () => {
  const built = file('transform.js', 2_000)
  assert.equal(changedSource(built), undefined)
  const source = file('transform.ts', 1_000)
  assert.equal(changedSource(built), undefined)
  file('transform.ts', 2_000)
  assert.equal(changedSource(built), undefined)
  file('transform.ts', 2_001)
  assert.equal(changedSource(built), source)
  assert.equal(changedSource(source), undefined)
})
