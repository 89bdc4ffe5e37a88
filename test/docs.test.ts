import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { generated } from '../scripts/docs.ts'
import { projectFolder } from './server.ts'

for (const [path, text] of generated()) {
  test(`${path} is up to date with the code and with Prometheus' rules`, () => {
    const file = join(projectFolder, path)
    assert.ok(existsSync(file), 'run npm run docs:write')
    assert.equal(readFileSync(file, 'utf8'), text, 'run npm run docs:write')
  })
}
